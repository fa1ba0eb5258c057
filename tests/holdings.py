"""What the hub of the tests holds: a tiny model under a real name, small data sets, a release.

Made of the tiny world: its pages, questions and trajectories in the shapes of the real files. The
chat template is the real one, from trl's package. No real data and no trained weights.
"""

from __future__ import annotations

import io
import json
import random
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from hub import Holdings, Repo

from fireact_nb.agent.rollouts import successes
from fireact_nb.agent.sources import Source
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Trajectory, read_trajectories, render_messages, unify
from fireact_nb.artifacts import DATA, shipped
from fireact_nb.hub import split_name
from fireact_nb.profiles import PROFILES
from fireact_nb.realworld.datasets import SETTINGS, find_datasets
from fireact_nb.realworld.release import FILES, RELEASED_RUNS
from fireact_nb.tinyworld import TinyWorld

STUDENT, STUDENT_COMMIT = split_name(PROFILES["colab"].student)
WORLD = TinyWorld()
# Which of our tokenizer's marks stand in for Qwen's; the vocabulary is ours.
_MARKS = {"<|pad|>": "<|endoftext|>", "<|end|>": "<|im_end|>", "<|user|>": "<|im_start|>",
          "<|assistant|>": "<tool_call>", "<|system|>": "</tool_call>"}  # fmt: skip


def hub_template(name: str) -> str:
    """A family's chat template, word for word, from trl's package; trl itself is not imported."""
    found = find_spec("trl")
    assert found and found.submodule_search_locations, "trl is a test dependency: make test"
    folder = Path(found.submodule_search_locations[0]) / "chat_templates"
    return (folder / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def tiny_qwen() -> dict[str, bytes]:
    """The files of a Qwen3 of 0.1 million random weights, which ends most turns early."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = (DATA / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8")
    for ours, theirs in _MARKS.items():
        tokenizer = tokenizer.replace(json.dumps(ours)[1:-1], theirs)
    config = Qwen3Config(
        vocab_size=1280, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
        max_position_embeddings=262_144, bos_token_id=0, eos_token_id=2, pad_token_id=0,
        initializer_range=0.5, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    network = Qwen3ForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        network.lm_head.weight[2] *= 2.5
        network.lm_head.weight[0] = 0.0  # as a trained model, it writes no padding
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        files = {p.name: p.read_bytes() for p in Path(folder).iterdir()}
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>", "model_max_length": 1_010_000,
        "clean_up_tokenization_spaces": False, "chat_template": hub_template("qwen3_instruct_2507"),
    }  # fmt: skip
    files["tokenizer.json"] = tokenizer.encode("utf-8")
    files["tokenizer_config.json"] = json.dumps(about).encode("utf-8")
    files["generation_config.json"] = json.dumps({"eos_token_id": [2, 0]}).encode("utf-8")
    return files


def parquet(rows: Sequence[dict[str, Any]], schema: Any = None) -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), sink)
    return sink.getvalue()


@cache
def _pages() -> list[tuple[str, list[str]]]:
    """The encyclopedia's pages: title and sentences."""
    pages: dict[str, list[str]] = {}
    for passage in WORLD.pages():
        title, _, fact = passage.partition(": ")
        pages.setdefault(title, []).append(fact)
    return list(pages.items())


def _hotpotqa(questions: Iterable[Question]) -> bytes:
    """Rows in HotpotQA's schema, each with ten paragraphs; together they hold every page."""
    pages = cycle(_pages())
    rows = []
    for n, q in enumerate(questions):
        titles, sentences = zip(*islice(pages, 10), strict=True)
        facts = {"title": list(titles[:2]), "sent_id": [0, 0]}
        context = {"title": list(titles), "sentences": list(sentences)}
        rows.append({"id": f"{n:024x}", "question": q.question, "answer": q.answer, "type": q.type,
                     "level": "hard", "supporting_facts": facts, "context": context})  # fmt: skip
    return parquet(rows)


def _strategyqa(questions: Iterable[Question]) -> bytes:
    return parquet(
        [{"qid": f"{n:020x}", "term": "t", "description": "d", "question": q.question,
          "answer": q.answer == "yes", "facts": "f"} for n, q in enumerate(questions)]
    )  # fmt: skip


def _mmlu(questions: Iterable[Question]) -> bytes:
    import pyarrow

    text, number = pyarrow.string(), pyarrow.int64()
    schema = pyarrow.schema({"question": text, "subject": text, "choices": pyarrow.list_(text),
                             "answer": number})  # fmt: skip
    return parquet(
        [{"question": q.question.partition(" (A)")[0], "subject": q.type.replace(" ", "_") or "x",
          "choices": list(q.options), "answer": "ABCD".index(q.answer)} for q in questions],
        schema,
    )  # fmt: skip


@cache
def hub_datasets() -> Holdings:
    """The four data sets at their pinned commits, under their real file names."""

    def asked(task: str, *splits: str) -> list[Question]:
        return [q for split in splits for q in WORLD.questions(split, task=task)]

    rows = {
        "hotpotqa": {"train": _hotpotqa(asked("hotpotqa", "train")),
                     "dev": _hotpotqa(asked("hotpotqa", "dev", "test"))},
        "strategyqa": {"train": _strategyqa(asked("strategyqa", "train")),
                       "test": _strategyqa(asked("strategyqa", "test"))},
        "mmlu": {s: _mmlu(asked("mmlu", s)) for s in ("train", "dev", "test")},
        "bamboogle": {"test": parquet([{"Question": q.question, "Answer": q.answer}
                                       for q in asked("bamboogle", "test")])},
    }  # fmt: skip
    holdings: Holdings = {}
    for setting in SETTINGS:
        for task, data in find_datasets(setting).items():
            key = ("dataset", data.repo)
            known = holdings[key].files if key in holdings else {}
            files = {data.parts[split].file: content for split, content in rows[task].items()}
            holdings[key] = Repo(known | files, data.revision)
    return holdings


def _unified(task: str, method: str, count: int) -> list[Trajectory]:
    kept = successes(read_trajectories(shipped(Source(task, method).artifact)))
    if method == "reflexion":  # those with a cue first, as a filter of ours would have it
        kept.sort(key=lambda t: -t.rounds)
        return [_with_cue(t) for t in kept[:count]]
    return [unify(t) for t in kept[:count]]


def _with_cue(trajectory: Trajectory) -> Trajectory:
    """Its reflection in the words of the released rows, by which these are known."""
    steps = list(trajectory.steps)
    cue = "Thought: Now that I haven't solved the task within 5 steps, let me do a reflection. "
    steps[5] = replace(steps[5], text=steps[5].text.replace("Thought: ", cue, 1))
    return replace(trajectory, steps=tuple(steps))


def _alpaca(trajectory: Trajectory, reward: str) -> dict[str, str]:
    """A row as the authors released it; MMLU's options stand at the head of the output."""
    contents = [message["content"] for message in render_messages(trajectory)]
    question, output = contents[0], "\n".join(contents[1:])
    if trajectory.task == "mmlu":
        stem, *options = re.split(r" \([A-D]\) ", question)
        lines = [f"{mark}. {text}" for mark, text in zip("ABCD", options, strict=True)]
        question, output = f"Question: {stem}", "\n".join([*lines, output])
    output += f"\nObservation: Episode finished, reward = {reward}\n"
    return {"instruction": question, "input": "", "output": output}


@cache
def release() -> Repo:
    """The authors' files, small: their mixes and the episodes of three fine-tuned agents."""
    hotpotqa = [_alpaca(t, "True") for t in _unified("hotpotqa", "react", 400)]
    hotpotqa += [_alpaca(t, "1") for t in _unified("hotpotqa", "cot", 187)]
    reflexion = _unified("hotpotqa", "reflexion", 47)
    hotpotqa += [_alpaca(t, "False" if n % 2 else "True") for n, t in enumerate(reflexion)]
    tasks = [(task, method) for method in ("react", "cot") for task in ("strategyqa", "mmlu")]
    by_task = {pair: [_alpaca(t, "1") for t in _unified(*pair, 80)] for pair in tasks}
    by_react = [*hotpotqa[:400], *by_task["strategyqa", "react"], *by_task["mmlu", "react"]]
    by_cot = [*by_task["strategyqa", "cot"], *by_task["mmlu", "cot"]]
    odd = {"instruction": ["odd"], "output": "an odd row"}
    everything = [*by_react, *hotpotqa[400:], *by_cot, odd]
    files = {
        FILES["hotpotqa"].path: hotpotqa,
        FILES["multi-task"].path: by_react,
        FILES["multi-task, multi-method"].path: everything,
    }
    runs = {file.path: _episodes(seed) for seed, file in enumerate(RELEASED_RUNS.values())}
    content = {**files, **runs}
    return Repo({path: json.dumps(rows).encode("utf-8") for path, rows in content.items()})


def _episodes(seed: int) -> dict[str, Any]:
    """An agent's episodes on dev questions that are not ours, right by chance."""
    dice, rows = random.Random(seed), {}
    for n, t in enumerate(_unified("hotpotqa", "react", 60)):
        if seed == 0 and n % 10 == 0:
            continue  # as in the first of the real files, unfinished episodes are left out
        right = dice.random() < 0.4
        gold = t.answer if right else "something else"
        traj = render_messages(t)
        end = f"Observation: Episode finished, reward = {right}"
        rows[str(n)] = {"reward": right, "em": right, "f1": float(right), "gt": gold,
                        "traj": [*traj, {"role": "user", "content": end}]}  # fmt: skip
    return rows


def everything() -> Holdings:
    """All that profile colab fetches; the release lies in a repository of its own."""
    return {
        **hub_datasets(),
        ("model", STUDENT): Repo(tiny_qwen(), STUDENT_COMMIT),
        ("model", "authors/release"): release(),
    }
