"""The real questions, from the files in which the authors ship them.

Knows file layouts; how an answer is scored stands with the tasks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..agent.tasks import LETTERS, Question
from ..errors import FireActError
from ..files import read_json, read_text
from .rows import Row, typed


@dataclass(frozen=True)
class _HotpotQA:
    question: str
    answer: str
    type: str
    __pydantic_config__ = {"str_min_length": 1}


@dataclass(frozen=True)
class _StrategyQA:
    qid: str
    question: str
    answer: bool
    __pydantic_config__ = {"str_min_length": 1}


def load_hotpotqa(path: str | Path, split: str = "dev") -> list[Question]:
    """HotpotQA in the authors' simplified JSON: a list of {question, answer, type}.

    A question's id holds its place in the list, which is how the released trajectories name it.
    """
    cure = "Check that this is the file you meant, or download it again."
    return [
        Question(f"hotpotqa:{split}:{n}", row.question, row.answer, "hotpotqa", split, row.type)
        for n, row in enumerate(_entries(path, _HotpotQA, cure))
    ]


def load_strategyqa(path: str | Path, split: str = "dev") -> list[Question]:
    """StrategyQA's JSON: a list of {qid, question, answer}; true becomes "yes", false "no"."""
    cure = "An answer is true or false. StrategyQA's test file has none: use train or dev."
    questions = []
    for row in _entries(path, _StrategyQA, cure):
        id, answer = f"strategyqa:{split}:{row.qid}", "yes" if row.answer else "no"
        questions.append(Question(id, row.question, answer, "strategyqa", split, "yes/no"))
    return questions


def load_bamboogle(path: str | Path) -> list[Question]:
    """Bamboogle's CSV with the columns Question and Answer: 125 questions, for testing only."""
    rows = list(_csv_rows(path, 2))
    if [cell.strip() for cell in rows[0][1]] != ["Question", "Answer"]:
        raise FireActError(
            f"{rows[0][0]} should be the header 'Question,Answer'. Check that this is Bamboogle's "
            "CSV."
        )
    return [
        Question(f"bamboogle:test:{n}", question, answer, "bamboogle", "test", "bridge")
        for n, (_, (question, answer)) in enumerate(rows[1:])
    ]


def load_mmlu(folder: str | Path) -> list[Question]:
    """MMLU's folder of <subject>_<split>.csv: question, four options, letter; no header.

    The options become part of the question, one a line; `type` is the subject.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise FireActError(
            f"There is no CSV file in {folder}. Give the folder that holds MMLU's files such as "
            "anatomy_dev.csv."
        )
    questions = []
    for path in files:
        subject, _, split = path.stem.rpartition("_")
        if not subject:
            raise FireActError(
                f"{path} is not named <subject>_<split>.csv as MMLU's files are. Rename or move it."
            )
        for n, (where, (stem, *options, letter)) in enumerate(_csv_rows(path, 6)):
            if letter.strip() not in tuple(LETTERS):
                raise FireActError(
                    f"{where} ends in {letter!r}, not in A, B, C or D. Download the file again."
                )
            questions.append(
                Question(
                    f"mmlu:{split}:{subject}:{n}",
                    ask_options(stem, options),
                    letter.strip(),
                    "mmlu",
                    split,
                    subject,
                    options=tuple(options),
                )
            )
    return questions


def ask_options(stem: str, options: Sequence[str]) -> str:
    """A multiple-choice question as it is asked: the stem, and below it an option a line."""
    lines = [f"{mark}. {text}" for mark, text in zip(LETTERS, options, strict=True)]
    return "\n".join([stem, *lines])


def _entries(path: str | Path, kind: type[Row], cure: str) -> Iterator[Row]:
    for n, row in enumerate(read_json(path)):
        yield typed(kind, row, f"{path}, entry {n}", cure)


def _csv_rows(path: str | Path, width: int) -> Iterator[tuple[str, list[str]]]:
    # strict: an unclosed quote would otherwise swallow the rest of the file without a word
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if row and (len(row) != width or not row[0].strip() or not row[-1].strip()):
                raise FireActError(
                    f"{where} should hold {width} filled columns but reads {str(row)[:60]!r}. "
                    "Download the file again."
                )
            if row:
                yield where, row
    except csv.Error as error:
        raise FireActError(
            f"{path}, line {reader.line_num} is not whole CSV ({error}). Download the file again."
        ) from error
