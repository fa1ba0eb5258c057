"""The outcomes table, the one input of every analysis, and the statistics read off it.

Knows rows of questions x agents x seeds x samples x conditions; does not know how an episode came
about. Every question asked stays in the denominator.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import NormalDist, fmean, pstdev, stdev
from types import SimpleNamespace
from typing import Any

from .agent.tasks import Question, f1_score, score
from .agent.trajectory import STATES, Trajectory
from .errors import FireActError
from .files import read_text, write_file

LEVEL = 0.95


@dataclass(frozen=True)
class Outcome:
    """What became of one question: one row of the table, its columns in order.

    `condition` is what was done to the agent ("normal", "none 0.5", ...); `prompt_tokens` is summed
    over all calls of the episode; an `answer` of None was never given. `provenance` says whether
    the row was measured here, shipped, or reported by the paper.
    """

    question_id: str
    task: str
    split: str
    type: str
    agent: str
    model: str
    method_mix: str
    condition: str
    seed: int
    sample: int
    temperature: float
    correct: bool
    f1: float
    answer: str | None
    state: str
    rounds: int
    searches: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    seconds: float
    trajectory_id: str
    provenance: str


_TYPES: dict[str, str] = {f.name: str(f.type) for f in fields(Outcome)}


def outcome_of(
    trajectory: Trajectory,
    question: Question,
    agent: str,
    model: str,
    method_mix: str,
    condition: str,
    provenance: str,
) -> Outcome:
    """The row of one episode, scored here by the rule of the question's task.

    F1 is the words' overlap for short answers and 1 or 0 for yes/no and multiple choice.
    """
    if trajectory.question_id != question.id:
        raise FireActError(
            f"The trajectory {trajectory.id} is about {trajectory.question_id!r}, not about the "
            f"question {question.id!r}. Look the question up by the trajectory's question_id."
        )
    answer, gold = trajectory.answer or None, question.answer
    correct = score(question.task, answer, gold, question.meta.get("options", ()))
    short = question.task in ("hotpotqa", "bamboogle")
    return Outcome(
        question_id=question.id,
        task=question.task,
        split=question.split,
        type=question.type,
        agent=agent,
        model=model,
        method_mix=method_mix,
        condition=condition,
        seed=trajectory.seed,
        sample=trajectory.sample,
        temperature=trajectory.temperature,
        correct=correct,
        f1=f1_score(answer, gold) if short else float(correct),
        answer=answer,
        state=trajectory.state,
        rounds=trajectory.rounds,
        searches=trajectory.searches,
        prompt_tokens=trajectory.prompt_tokens,
        completion_tokens=trajectory.completion_tokens,
        usd=trajectory.usd,
        seconds=trajectory.seconds,
        trajectory_id=trajectory.id,
        provenance=provenance,
    )


def outcomes_of(
    trajectories: Sequence[Trajectory],
    questions: Sequence[Question],
    agent: str,
    model: str,
    method_mix: str = "",
    condition: str = "normal",
    provenance: str = "measured in this run",
) -> list[Outcome]:
    """The rows of one agent's episodes, question by question in the same order."""
    return [
        outcome_of(t, q, agent, model, method_mix or t.method, condition, provenance)
        for t, q in zip(trajectories, questions, strict=True)
    ]


# -- files --------------------------------------------------------------------------------------


def write_outcomes(path: str | Path, outcomes: Iterable[Outcome]) -> None:
    """Write the table as .csv, .csv.gz or .parquet, whole or not at all."""
    rows = [astuple(outcome) for outcome in outcomes]
    if _suffix(path) == ".csv":
        # csv quotes a \r in a cell only when its own line end has one; git wants plain \n on disk.
        lines: list[str] = []
        sink = SimpleNamespace(write=lambda line: lines.append(line[:-2] + "\n"))
        csv.writer(sink, lineterminator="\r\n").writerows([tuple(_TYPES), *rows])
        write_file(path, "".join(lines))
        return
    pa, parquet = _pyarrow(path)
    kinds = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([(name, kinds[kind.split(" ")[0]]) for name, kind in _TYPES.items()])
    table = pa.table(
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in _TYPES],
        schema=schema,
    )
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    write_file(path, buffer.getvalue())


def read_outcomes(path: str | Path) -> list[Outcome]:
    """The table from .csv, .csv.gz or .parquet, anyone's.

    Columns may stand in any order, more are ignored. A missing column or a value of the wrong type
    is a FireActError naming column and line (for Parquet: row).
    """
    outcomes = []
    for where, row in _csv_rows(path) if _suffix(path) == ".csv" else _parquet_rows(path):
        values = {name: _value(row[name], name, kind, where) for name, kind in _TYPES.items()}
        outcomes.append(Outcome(**values))
    return outcomes


def _suffix(path: str | Path) -> str:
    name = str(path).lower()
    suffix = Path(name.removesuffix(".gz") if name.endswith(".csv.gz") else name).suffix
    if suffix not in (".csv", ".parquet"):
        raise FireActError(f"{path} is neither .csv nor .parquet. Rename it to say which it is.")
    return suffix


def _pyarrow(path: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise FireActError(
            f"{path} needs the package pyarrow, which is not installed. Run 'pip install pyarrow', "
            "or use a .csv file."
        ) from error
    return pyarrow, pyarrow.parquet


def _csv_rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader)
        _check_columns(path, header)
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if cells and len(cells) != len(header):
                raise FireActError(
                    f"{where} has {len(cells)} cells under {len(header)} columns. Mend the line, "
                    "or make the file again."
                )
            if cells:
                yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise FireActError(
            f"{path}, line {reader.line_num} is not whole CSV ({error}). Make the file again."
        ) from error


def _parquet_rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    pa, parquet = _pyarrow(path)
    try:
        table = parquet.read_table(Path(path))
    except (OSError, pa.ArrowException) as error:
        raise FireActError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}). Check the path, or "
            "make the file again."
        ) from error
    _check_columns(path, table.column_names)
    for number, row in enumerate(table.select(list(_TYPES)).to_pylist(), 1):
        yield f"{path}, row {number}", row


def _check_columns(path: str | Path, names: Sequence[str]) -> None:
    missing = [name for name in _TYPES if name not in names]
    if missing:
        raise FireActError(
            f"{path}, line 1 lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}. An "
            f"outcomes table has {', '.join(_TYPES)}: add what is missing."
        )


def _value(raw: Any, name: str, kind: str, where: str) -> Any:
    """One cell as its column's type. CSV hands over text, Parquet typed values."""
    if name == "answer" and raw in ("", None):
        return None
    value = raw if kind.startswith("str") and isinstance(raw, str) else _number(raw, kind)
    if value is None or (name == "state" and value not in STATES):
        wanted = {"bool": "true or false", "int": "a whole number", "float": "a number"}
        asked = f"one of {', '.join(STATES)}" if name == "state" else wanted.get(kind, "a text")
        raise FireActError(
            f"{where}: the column '{name}' should hold {asked}, not {raw!r}. Mend the cell."
        )
    return value


def _number(raw: Any, kind: str) -> bool | int | float | None:
    text = str(raw).strip().lower()
    if kind == "bool":
        return {"true": True, "1": True, "false": False, "0": False}.get(text)
    try:
        number = float(text)
    except ValueError:
        return None
    if kind == "int":  # "3.0" is what pandas makes of 3 in a column with gaps
        return int(number) if number.is_integer() else None
    return number if kind == "float" and math.isfinite(number) else None


# -- statistics ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Share of successes with Wilson's score interval, sound for small n and shares near 0 or 1."""
    if not 0 <= successes <= n or n == 0:
        raise FireActError(
            f"{successes} successes out of {n} make no share. Check that the agent has outcomes "
            "and that no question is counted twice."
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # min and max: rounding must not push the value itself out of its interval
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def accuracy(
    outcomes: Iterable[Outcome] | Iterable[Trajectory], questions: int | None = None
) -> Interval:
    """Share of right answers, of outcomes or of scored trajectories.

    `questions` is how many were asked when the table leaves some out, as the released GPT-3.5 file
    does (465 of 500): those count as wrong. The interval takes rows as independent; for repeated
    samples of the same questions it is too narrow.
    """
    marks = [_mark(outcome) for outcome in outcomes]
    n = len(marks) if questions is None else questions
    if n < len(marks):
        raise FireActError(
            f"There are {len(marks)} outcomes for {n} questions. Give the number of questions "
            "asked, and one seed and sample of one agent."
        )
    return wilson(sum(marks), n)


def _mark(outcome: Outcome | Trajectory) -> bool:
    if outcome.correct is None:
        raise FireActError(
            f"The trajectory {outcome.id} was never scored, so it is neither right nor wrong. Make "
            "an outcome of it with outcome_of and its question."
        )
    return outcome.correct


@dataclass(frozen=True)
class Band:
    """Where a repeated run should land: the mean of runs with several seeds, and a tolerance.

    Low and high lie three standard deviations of a new run from that mean (two questions at the
    least), so about 24 of 25 runs fall inside.
    """

    value: float
    low: float
    high: float
    runs: int
    questions: int

    def compare(self, got: float) -> str:
        """What to say of a run that scored `got`."""
        inside = self.low <= got <= self.high
        verdict = "inside" if inside else "OUTSIDE: another model, other data or other settings?"
        return (
            f"expected {self.low:.2f} to {self.high:.2f} (shipped: mean {self.value:.2f} of "
            f"{self.runs} seeds on the same {self.questions} questions), you got {got:.2f}: "
            f"{verdict}"
        )


def tolerance_band(outcomes: Iterable[Outcome], asked: Iterable[Outcome]) -> Band:
    """The band that `outcomes`, one agent's with several seeds, give for the questions in `asked`.

    Raises FireActError when the shipped outcomes lack a question or hold fewer than three seeds.
    """
    wanted = {o.question_id for o in asked}
    by_seed: dict[int, dict[str, bool]] = defaultdict(dict)
    for o in outcomes:
        if o.question_id in wanted:
            by_seed[o.seed][o.question_id] = o.correct
    if len(by_seed) < 3 or any(len(marks) < len(wanted) for marks in by_seed.values()):
        raise FireActError(
            f"A tolerance band needs three seeds or more on all {len(wanted)} questions; there are "
            f"{len(by_seed)} seeds on {min(map(len, by_seed.values()), default=0)}. Ask the first "
            "questions of the split, no more than were shipped."
        )
    scores = [fmean(marks.values()) for marks in by_seed.values()]
    mean, reach = fmean(scores), 3 * stdev(scores) * math.sqrt(1 + 1 / len(scores))
    reach = max(reach, 2 / len(wanted))  # seeds that agree by chance promise nothing
    return Band(mean, max(0.0, mean - reach), min(1.0, mean + reach), len(scores), len(wanted))


def paired_bootstrap(
    a: Sequence[bool | float], b: Sequence[bool | float], samples: int = 10_000, seed: int = 0
) -> Interval:
    """mean(b) - mean(a) over the same questions in the same order, percentile bootstrap.

    Resamples questions, so what makes a question hard for both cancels out.
    """
    import numpy as np

    if len(a) != len(b) or not len(a):
        raise FireActError(
            f"A paired test needs the same questions on both sides, but got {len(a)} and {len(b)} "
            "values. Join them by question first, as paired_difference does."
        )
    difference = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    rng = np.random.default_rng(seed)
    n = len(difference)
    block = max(1, 2_000_000 // n)  # keeps memory small for thousands of questions
    means = np.concatenate(
        [
            difference[rng.integers(n, size=(min(block, samples - done), n))].mean(axis=1)
            for done in range(0, samples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def paired_difference(
    outcomes_a: Iterable[Outcome],
    outcomes_b: Iterable[Outcome],
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Accuracy of b minus accuracy of a, joined by question; several rows of one are averaged.

    Raises FireActError when the questions differ: one left out would flatter one side.
    """
    a, b = _by_question(outcomes_a), _by_question(outcomes_b)
    if a.keys() != b.keys():
        only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
        raise FireActError(
            f"The two sides do not hold the same questions: {len(only_a)} only in the first "
            f"{only_a[:3]}, {len(only_b)} only in the second {only_b[:3]}. Every question stays in "
            "the denominator: finish the missing episodes, or compare on the split both have."
        )
    return paired_bootstrap(list(a.values()), [b[key] for key in a], samples, seed)


def _by_question(outcomes: Iterable[Outcome]) -> dict[str, float]:
    marks: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        marks[outcome.question_id].append(outcome.correct)
    return {question_id: fmean(values) for question_id, values in marks.items()}


def summarize(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """A row for every agent, task and condition, in the order they first appear.

    Keys: agent, task, condition, n, questions, em (Interval), f1, rounds, rounds_sd,
    prompt_tokens, usd, seconds (means per row), states (how often each).
    """
    groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.agent, outcome.task, outcome.condition].append(outcome)
    return [
        {
            "agent": agent,
            "task": task,
            "condition": condition,
            "n": len(group),
            "questions": len({o.question_id for o in group}),
            "em": accuracy(group),
            "f1": fmean(o.f1 for o in group),
            "rounds": fmean(o.rounds for o in group),
            "rounds_sd": pstdev(o.rounds for o in group),
            "prompt_tokens": fmean(o.prompt_tokens for o in group),
            "usd": fmean(o.usd for o in group),
            "seconds": fmean(o.seconds for o in group),
            "states": dict(Counter(o.state for o in group)),
        }
        for (agent, task, condition), group in groups.items()
    ]
