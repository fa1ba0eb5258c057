"""The outcomes table, the one input of every analysis: rows, files, schema errors.

Knows rows of questions x agents x seeds x samples x conditions; does not know how an episode came
about.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..agent.tasks import Question, f1_score, find_task, score
from ..agent.trajectory import STATES, Trajectory
from ..errors import FireActError
from ..files import read_text, write_file


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
    correct = score(question.task, answer, gold, question.options)
    short = find_task(question.task).form == "short answer"
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
