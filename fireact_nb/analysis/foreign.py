"""Results of other people's harnesses as rows of the outcomes table: inspect_ai, lm-eval.

Knows their files as of inspect_ai 0.3.285 (log version 2) and lm-evaluation-harness 0.4.13. What
they don't tell (the split, a seed, dollars) has a column's plain value, named at each reader.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import read_json, read_json_lines
from ..realworld.rows import typed
from .outcomes import Outcome

Row = tuple[Outcome, str | None]  # an outcome and its question's text
# A sample is one entry or, newer and large, a folder with a shell that lacks the long lists.
_SAMPLE_ENTRY = re.compile(r"samples/[^/]+\.json|samples/[^/]+/sample\.json")
_CURE = "Check that the file is whole and of the kind its name says, or write it again."


@dataclass(frozen=True)
class _Sample:
    """What is read of inspect_ai's EvalSample."""

    id: int | str
    epoch: int
    input: Any = ""
    messages: Any = ()
    output: Any = None
    scores: dict[str, Any] | None = None
    model_usage: Any = None
    total_time: float | None = None
    uuid: str | None = None
    error: Any = None
    limit: Any = None
    attachments: Any = None


def read_inspect(path: str | Path, scorer: str = "") -> list[Row]:
    """The samples of an inspect_ai log, .eval or .json: a row for each sample and epoch.

    The agent is the log's model and, if it has one, its solver; the question's id its dataset and
    the sample's id; `sample` the epoch. An answer is right where the scorer (its first one, or the
    named) gave full marks; F1 holds partial ones. Samples that ended in an error or were never
    scored stay, as failed and wrong. Rounds are the assistant's messages, searches its tool calls.
    Where the log names no temperature it is 1.0, what most services then take. Raises FireActError
    naming the sample and its field.
    """
    header, samples = _open_log(Path(path))
    spec = _of(header, "eval", dict, f"{path}")
    config = spec.get("model_generate_config") or {}
    dataset = spec.get("dataset") or {}
    task = str(dataset.get("name") or spec.get("task") or Path(path).stem)
    agent = ", ".join(filter(None, (str(spec.get("model", "unknown")), spec.get("solver"))))
    common = {
        "task": task, "split": "", "type": "", "agent": agent,
        "model": str(spec.get("model", "unknown")), "method_mix": str(spec.get("solver") or ""),
        "condition": "normal", "seed": int(config.get("seed") or 0),
        "temperature": float(1.0 if (heat := config.get("temperature")) is None else heat),
        "provenance": f"inspect_ai, {Path(path).name}",
    }  # fmt: skip
    rows = [_inspect_row(where, sample, scorer, common) for where, sample in samples]
    played = [sample for _, sample in samples if not sample.get("error")]
    if played and not any(sample.get("scores") for sample in played):
        raise FireActError(
            f"{path} was never scored, so its samples are neither right nor wrong. Run 'inspect "
            "score' on it first."
        )
    if not rows:
        raise FireActError(
            f"{path} holds no samples: the run logged none, or was stopped before the first ended. "
            "Run it with its samples logged."
        )
    return rows + _missing(rows, dataset, spec.get("config") or {}, common)


def _inspect_row(where: str, entry: Any, scorer: str, common: Mapping[str, Any]) -> Row:
    sample = typed(_Sample, entry, where, _CURE)
    scores = sample.scores or {}
    if scorer and scores and scorer not in scores:
        raise FireActError(
            f"{where}, field 'scores': there is no scorer {scorer!r}, only {', '.join(scores)}. "
            "Name one of them."
        )
    name = scorer or next(iter(scores), "")
    score = scores.get(name) or {}
    points = _points(score.get("value", 0.0), f"{where}, field 'scores.{name}.value'")
    used = [usage for usage in (sample.model_usage or {}).values() if isinstance(usage, dict)]
    turns = [m for m in sample.messages if m.get("role") == "assistant"]
    outcome = Outcome(
        **common,
        question_id=f"{common['task']}:{sample.id}",
        sample=sample.epoch - 1,
        correct=points >= 1 and not sample.error,
        f1=min(1.0, max(0.0, points)),
        answer=score.get("answer") or _completion(sample.output) or None,
        state=_state(sample, bool(score)),
        rounds=len(turns),
        searches=sum(len(m.get("tool_calls") or ()) for m in turns),
        prompt_tokens=_sum(used, "input_tokens", "input_tokens_cache_read",
                           "input_tokens_cache_write"),
        completion_tokens=_sum(used, "output_tokens"),
        usd=float(sum(usage.get("total_cost") or 0.0 for usage in used)),
        seconds=sample.total_time or 0.0,
        trajectory_id=sample.uuid or f"{common['provenance']}/{sample.id}/{sample.epoch}",
    )  # fmt: skip
    return outcome, _asked(sample) or None


def _missing(
    rows: list[Row], dataset: Mapping[str, Any], config: Mapping[str, Any], common: dict[str, Any]
) -> list[Row]:
    """Samples that were to be played and are not in the log: in the denominator they stay."""
    there = {(o.question_id, o.sample) for o, _ in rows}
    found: list[Row] = []
    for id in dataset.get("sample_ids") or ():
        for epoch in range(int(config.get("epochs") or 1)):
            if (question := f"{common['task']}:{id}", epoch) not in there:
                found.append(
                    (
                        Outcome(
                            **common, question_id=question, sample=epoch, correct=False, f1=0.0,
                            answer=None, state="failed", rounds=0, searches=0, prompt_tokens=0,
                            completion_tokens=0, usd=0.0, seconds=0.0,
                            trajectory_id=f"{common['provenance']}/{id}/{epoch + 1}",
                        ),
                        None,
                    )
                )  # fmt: skip
    return found


def _state(sample: _Sample, scored: bool) -> str:
    kind = (sample.limit or {}).get("type") if isinstance(sample.limit, dict) else None
    if sample.error or (not scored and not kind):
        return "failed"
    if kind:
        return "context full" if kind == "context" else "out of rounds"
    choices = (sample.output or {}).get("choices") or [{}]
    return "refused" if choices[0].get("stop_reason") == "content_filter" else "finished"


def _points(value: Any, where: str) -> float:
    """A score as a number, as inspect_ai's own `value_to_float` reads it."""
    named = {"c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0,
             "false": 0.0}  # fmt: skip
    if isinstance(value, str) and value.lower() in named:
        return named[value.lower()]
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise FireActError(
            f"{where} should be one mark, such as 'C' or 0.5, not {str(value)[:40]!r}. Name the "
            "scorer that gives one."
        ) from error
    return 0.0 if math.isnan(number) else number  # NaN stands for: could not be scored


def _completion(output: Any) -> str:
    choices = (output or {}).get("choices") or [{}]
    return _text((choices[0].get("message") or {}).get("content"))


def _asked(sample: _Sample) -> str:
    """What the model was asked: the last user message of the input."""
    said = sample.input
    if isinstance(said, list):
        users = [m for m in said if m.get("role") == "user"]
        said = _text(users[-1].get("content")) if users else ""
    text = str(said)
    key = text.removeprefix("attachment://")
    return str((sample.attachments or {}).get(key, text)) if key != text else text


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return str(content or "")


def _sum(used: list[dict[str, Any]], *names: str) -> int:
    return int(sum(usage.get(name) or 0 for usage in used for name in names))


def _open_log(path: Path) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The log's header, and its samples with where each stands."""
    if path.suffix.lower() != ".eval":
        log = read_json(path, dict)
        samples = _of(log, "samples", list, str(path)) if log.get("samples") is not None else []
        return log, [(f"{path}, sample {n}", sample) for n, sample in enumerate(samples, 1)]
    try:
        with zipfile.ZipFile(path) as log_zip:
            names = log_zip.namelist()
            head = "header.json" if "header.json" in names else "_journal/start.json"
            entries = [name for name in names if _SAMPLE_ENTRY.fullmatch(name)]
            header = _entry(log_zip, head, path)
            return header, [(f"{path}, {n}", _entry(log_zip, n, path)) for n in sorted(entries)]
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise FireActError(
            f"{path} cannot be read as an inspect_ai log ({error}). Check the path, or copy the "
            "file again when the run has ended."
        ) from error


def _entry(log_zip: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        return json.loads(log_zip.read(name))
    except NotImplementedError as error:
        try:  # teaches zipfile Zstandard, in which newer logs are packed; Python 3.14 knows it
            import zipfile_zstd  # noqa: F401
        except ImportError:
            raise FireActError(
                f"{path} is packed with Zstandard, which this Python cannot unpack. Run 'pip "
                "install zipfile-zstd', or 'inspect log convert --to json' on the log."
            ) from error
        return json.loads(log_zip.read(name))
    except ValueError as error:
        raise FireActError(f"{path}, {name} is not whole JSON ({error}). {_CURE}") from error


def _of(value: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    if not isinstance(value.get(name), kind):
        raise FireActError(
            f"{where}, field {name!r} should be a JSON {'object' if kind is dict else 'list'}, not "
            f"{str(value.get(name))[:40]!r}. {_CURE}"
        )
    return value[name]


# -- lm-evaluation-harness ----------------------------------------------------------------------


@dataclass(frozen=True)
class _LmSample:
    """What is read of a line of lm-eval's samples_<task>_<date>.jsonl."""

    doc_id: int
    doc: Any
    arguments: Any
    filtered_resps: Any
    metrics: tuple[str, ...] = ()
    filter: str = ""


_LM_NAME = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT.*")
# In this order: a stricter word for "right" comes first. Older files name no metrics.
_RIGHT = ("exact_match", "em", "acc", "pass@1", "mc1", "contains")
_QUESTION_FIELDS = ("question", "query", "Question", "problem", "input", "prompt", "sentence")


def read_lm_eval(path: str | Path, metric: str = "") -> list[Row]:
    """The samples that lm-eval wrote with --log_samples, a row for each document and filter.

    The agent is the folder that the file lies in, lm-eval's name of the model, with the filter if
    there are several. `metric` says what counts as right: the first of exact_match, em, acc, ... if
    none is named. Tokens, dollars and seconds are 0, for the file holds none; the temperature is 0
    unless a sample's arguments name one. Raises FireActError naming line and field.
    """
    lines = list(read_json_lines(path))
    filters = {str(row.get("filter", "")) for _, row in lines}
    named = _LM_NAME.fullmatch(Path(path).stem)
    task = named[1] if named else Path(path).stem
    model = Path(path).resolve().parent.name
    return [
        _lm_row(f"{path}, line {n}", row, metric, task, model, len(filters) > 1) for n, row in lines
    ]


def _lm_row(
    where: str, row: dict[str, Any], metric: str, task: str, model: str, several: bool
) -> Row:
    sample = typed(_LmSample, row, where, _CURE)
    known = sample.metrics or tuple(name for name in _RIGHT if name in row)
    name = metric or next((n for n in (*_RIGHT, *known) if n in known), "")
    value = row.get(name)
    if not isinstance(value, int | float):
        raise FireActError(
            f"{where}, field {name or 'metrics'!r} should say whether the sample is right, not "
            f"{value!r}. Its metrics are: {', '.join(known) or 'none'}; name one of them."
        )
    partial = row.get("f1", value)
    heat = _arguments(sample.arguments)[1].get("temperature") or 0.0
    outcome = Outcome(
        question_id=f"{task}:{sample.doc_id}", task=task, split="", type="",
        agent=f"{model}, {sample.filter}" if several else model, model=model, method_mix="",
        condition="normal", seed=0, sample=0, temperature=float(heat), correct=value >= 1,
        f1=float(partial) if isinstance(partial, int | float) else float(value),
        answer=_lm_answer(sample.filtered_resps), state="finished", rounds=1, searches=0,
        prompt_tokens=0, completion_tokens=0, usd=0.0, seconds=0.0,
        trajectory_id=f"{task}:{sample.doc_id}/{model}/{sample.filter}",
        provenance=f"lm-evaluation-harness, {Path(where.split(', line')[0]).name}",
    )  # fmt: skip
    return outcome, _lm_question(sample)


def _arguments(arguments: Any) -> tuple[str, dict[str, Any]]:
    """The first request's prompt and, of a generation, its settings."""
    first = arguments.get("gen_args_0", {}) if isinstance(arguments, dict) else {}
    settings = first.get("arg_1")
    return str(first.get("arg_0", "")), settings if isinstance(settings, dict) else {}


def _lm_answer(responses: Any) -> str | None:
    """A generated text; of a multiple choice the place of the likeliest option, from 0."""
    if not isinstance(responses, list) or not responses:
        return None
    if isinstance(responses[0], str):
        return responses[0] or None
    try:
        scores = [float(choice[0]) for choice in responses]
    except (TypeError, ValueError, IndexError):
        return str(responses[0])
    return str(scores.index(max(scores)))


def _lm_question(sample: _LmSample) -> str | None:
    doc = sample.doc if isinstance(sample.doc, dict) else {}
    asked = next((doc[n] for n in _QUESTION_FIELDS if isinstance(doc.get(n), str)), None)
    return asked or _arguments(sample.arguments)[0] or None


def looks_like(row: Mapping[str, Any]) -> str:
    """Whose file a JSON object comes from: "inspect_ai", "lm-eval" or ""."""
    if isinstance(row.get("eval"), dict) and "version" in row:
        return "inspect_ai"
    return "lm-eval" if {"doc_id", "doc", "filtered_resps"} <= row.keys() else ""
