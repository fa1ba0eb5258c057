"""The outcomes table, the one input of every analysis: rows, files, schema errors.

Knows rows of questions x agents x seeds x samples x conditions; does not know how an episode came
about.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..agent.tasks import Question, f1_score, find_task, score
from ..agent.trajectory import STATES, Trajectory
from ..errors import FireActError
from ..files import read_text, write_file

if TYPE_CHECKING:
    from pydantic import TypeAdapter


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

    # For pydantic, which checks rows from files: a mean over infinity would say nothing.
    __pydantic_config__ = {"allow_inf_nan": False}


QUESTION = "question"  # the one column more that a table may have: the question's text
# Quotes before it count too, so that what is written comes back as it was.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
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
        rows = [tuple(_quote(cell) for cell in row) for row in rows]
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
    return [outcome for outcome, _ in read_rows(path)]


def read_rows(path: str | Path) -> list[tuple[Outcome, str | None]]:
    """As `read_outcomes`, each row with the text in its column "question", if there is one."""
    from pydantic import ValidationError

    rows = _csv_rows(path) if _suffix(path) == ".csv" else _parquet_rows(path)
    found = []
    for where, row in rows:
        # CSV knows no None, and a table written by hand has blanks behind its commas.
        answer = None if row["answer"] == "" else row["answer"]
        row |= {"answer": answer, "correct": str(row["correct"]).strip()}
        try:
            outcome = _row_type().validate_python(row)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0])
            raise _wrong_cell(where, name, row[name]) from error
        if outcome.state not in STATES:
            raise _wrong_cell(where, "state", outcome.state)
        found.append((outcome, row.get(QUESTION) or None))
    return found


@cache  # building it takes as long as reading a thousand rows
def _row_type() -> TypeAdapter[Outcome]:
    """Reads CSV's texts and Parquet's values alike: pandas writes 3.0 for 3 in a gappy column."""
    from pydantic import TypeAdapter

    return TypeAdapter(Outcome)


def _wrong_cell(where: str, name: str, value: Any) -> FireActError:
    kinds = {"bool": "true or false", "int": "a whole number", "float": "a number"}
    asked = f"one of {', '.join(STATES)}" if name == "state" else kinds.get(_TYPES[name], "a text")
    return FireActError(
        f"{where}: the column '{name}' should hold {asked}, not {value!r}. Fix the cell."
    )


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
                    f"{where} has {len(cells)} cells under {len(header)} columns. Fix the line, "
                    "or make the file again."
                )
            if cells:
                yield where, dict(zip(header, map(_unquote, cells), strict=True))
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
    extra = [QUESTION] if QUESTION in table.column_names else []
    for number, row in enumerate(table.select([*_TYPES, *extra]).to_pylist(), 1):
        yield f"{path}, row {number}", row


def _quote(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets a quote before it, which it hides."""
    return "'" + cell if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _unquote(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _check_columns(path: str | Path, names: Sequence[str]) -> None:
    missing = [name for name in _TYPES if name not in names]
    if missing:
        raise FireActError(
            f"{path}, line 1 lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}. An "
            f"outcomes table has {', '.join(_TYPES)}: add what is missing."
        )
