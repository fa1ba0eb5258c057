"""Questions, where they come from, and when an answer counts as right.

Knows the four tasks of the paper and the official HotpotQA metrics; knows no agent and no search.
"""

from __future__ import annotations

import csv
import io
import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import FireActError
from .files import read_json, read_json_lines, read_text, write_file

TASKS = ("hotpotqa", "bamboogle", "strategyqa", "mmlu")
LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """One question with its gold answer.

    `head` tells, in the tiny world, whether head facts alone answer it; None where nobody knows.
    `meta["options"]` holds the four options of a multiple-choice question, which `question` shows.
    """

    id: str
    question: str
    answer: str
    task: str
    split: str
    type: str = ""
    head: bool | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


# -- metrics ------------------------------------------------------------------------------------


def normalize_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: hotpot_evaluate_v1.py."""
    text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(prediction: str | None, gold: str) -> bool:
    """Equal once normalised: hotpot_evaluate_v1.py, with one deviation.

    A gold answer that normalises to nothing (two in HotpotQA's dev set) never matches: the official
    script would count any answer of bare punctuation, or an empty one, as right.
    """
    if prediction is None:
        return False
    normal = normalize_answer(gold)
    return bool(normal) and normalize_answer(prediction) == normal


def f1_score(prediction: str | None, gold: str) -> float:
    """Overlap of words once normalised, 0 to 1: hotpot_evaluate_v1.py.

    yes, no and noanswer score only when both sides say the same.
    """
    if prediction is None:
        return 0.0
    said, wanted = normalize_answer(prediction), normalize_answer(gold)
    if said != wanted and {said, wanted} & {"yes", "no", "noanswer"}:
        return 0.0
    said_words, wanted_words = said.split(), wanted.split()
    same = sum((Counter(said_words) & Counter(wanted_words)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(said_words), same / len(wanted_words)
    return (2 * precision * recall) / (precision + recall)


def score(task: str, prediction: str | None, gold: str, options: Sequence[str] = ()) -> bool:
    """Is the prediction right by the rule of its task?

    hotpotqa, bamboogle: exact match. strategyqa: yes or no and nothing else ("not sure" is wrong).
    mmlu: the letter ("B", "(b)", "B."), the exact text of the option, or both ("B. Paris"); "an
    apple" is not option A. `options` are the four texts; without them only letters can be compared
    with letters.
    """
    if prediction is None:
        return False
    if task in ("hotpotqa", "bamboogle"):
        return exact_match(prediction, gold)
    if task == "strategyqa":
        said = normalize_answer(prediction)
        return said in ("yes", "no") and said == normalize_answer(gold)
    if task == "mmlu":
        return bool(_choices(prediction, options) & _choices(gold, options))
    raise FireActError(
        f"There is no scoring rule for the task {task!r}. The tasks are {', '.join(TASKS)}; score "
        "a short-answer task of your own as 'hotpotqa'."
    )


# The brackets and stops that may surround a letter; then, after a stop, the option's own text.
_LETTER = re.compile(r"\(?([A-D])\)?[.:]?|\(?([A-D])(?:\)[.:]?|[.:])\s+(\S.*)", re.I | re.DOTALL)


def _choices(text: str, options: Sequence[str]) -> set[str]:
    """The letters a text can mean: one, none, or several when options read the same."""
    text = text.strip()
    match = _LETTER.fullmatch(text)
    if match and match[1]:
        return {match[1].upper()}
    named = dict(zip(LETTERS, map(_plain, options), strict=False))
    letters = {letter for letter, option in named.items() if option == _plain(text)}
    if match and named.get(match[2].upper()) == _plain(match[3]):
        letters.add(match[2].upper())
    return letters


def _plain(text: str) -> str:
    # Punctuation stays: "-1" and "1" are different options.
    return " ".join(text.casefold().split()).removesuffix(".")


# -- files --------------------------------------------------------------------------------------

_REQUIRED = ("id", "question", "answer", "task", "split")
_FIELDS = {f.name for f in fields(Question)}


def load_questions(path: str | Path) -> list[Question]:
    """Questions from our own JSON lines, as `save_questions` writes them; ids must be unique."""
    questions: dict[str, Question] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        for name in _REQUIRED:
            _text(row, name, where)
        if row.keys() - _FIELDS:
            raise FireActError(
                f"{where} has a field {min(row.keys() - _FIELDS)!r} that a question does not have. "
                "Put it inside 'meta', or check the spelling."
            )
        if row["task"] not in TASKS:
            raise FireActError(
                f"{where} names the task {row['task']!r}. Use one of {', '.join(TASKS)}."
            )
        meta, head, kind = row.get("meta", {}), row.get("head"), row.get("type", "")
        if not (isinstance(meta, dict) and isinstance(head, bool | None) and isinstance(kind, str)):
            raise FireActError(
                f"{where}: 'meta' must be an object, 'head' true, false or null, 'type' a text. "
                "Mend the line."
            )
        if row["id"] in questions:
            raise FireActError(
                f"{where} repeats the id {row['id']!r}. Give every question its own."
            )
        questions[row["id"]] = Question(**row)
    return list(questions.values())


def save_questions(path: str | Path, questions: Iterable[Question]) -> None:
    """Write questions as JSON lines."""
    lines = [json.dumps(asdict(q), ensure_ascii=False) + "\n" for q in questions]
    write_file(path, "".join(lines))


def load_hotpotqa(path: str | Path, split: str = "dev") -> list[Question]:
    """HotpotQA in the authors' simplified JSON: a list of {question, answer, type}.

    A question's id holds its place in the list, which is how the released trajectories name it.
    """
    return [
        Question(
            f"hotpotqa:{split}:{n}",
            _text(row, "question", where),
            _text(row, "answer", where),
            "hotpotqa",
            split,
            _text(row, "type", where),
        )
        for n, where, row in _entries(path)
    ]


def load_strategyqa(path: str | Path, split: str = "dev") -> list[Question]:
    """StrategyQA's JSON: a list of {qid, question, answer}; true becomes "yes", false "no"."""
    questions = []
    for _, where, row in _entries(path):
        if not isinstance(row.get("answer"), bool):
            raise FireActError(
                f"{where} needs an 'answer' that is true or false. StrategyQA's test file has "
                "none: use train or dev."
            )
        answer = "yes" if row["answer"] else "no"
        id = f"strategyqa:{split}:{_text(row, 'qid', where)}"
        questions.append(
            Question(id, _text(row, "question", where), answer, "strategyqa", split, "yes/no")
        )
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
            lines = [f"{mark}. {text}" for mark, text in zip(LETTERS, options, strict=True)]
            questions.append(
                Question(
                    f"mmlu:{split}:{subject}:{n}",
                    "\n".join([stem, *lines]),
                    letter.strip(),
                    "mmlu",
                    split,
                    subject,
                    meta={"options": options},
                )
            )
    return questions


def _entries(path: str | Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for n, row in enumerate(read_json(path)):
        where = f"{path}, entry {n}"
        if not isinstance(row, dict):
            raise FireActError(
                f"{where} should be a JSON object, not {str(row)[:40]!r}. Check that this is the "
                "file you meant."
            )
        yield n, where, row


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    if not isinstance(row.get(name), str) or not row[name]:
        raise FireActError(
            f"{where} needs a text {name!r}, but has {row.get(name)!r}. Mend the entry, or "
            "download the file again."
        )
    return row[name]


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
