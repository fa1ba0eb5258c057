"""Questions, where they come from, and when an answer counts as right.

Knows the four tasks of the paper and the official HotpotQA metrics; knows no agent and no search.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import read_json_lines, write_file

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


_REQUIRED = ("id", "question", "answer", "task", "split")
_FIELDS = {f.name for f in fields(Question)}


def load_questions(path: str | Path) -> list[Question]:
    """Questions from our own JSON lines, as `save_questions` writes them; ids must be unique."""
    questions: dict[str, Question] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        for name in _REQUIRED:
            text_field(row, name, where)
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


def text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    if not isinstance(row.get(name), str) or not row[name]:
        raise FireActError(
            f"{where} needs a text {name!r}, but has {row.get(name)!r}. Mend the entry, or "
            "download the file again."
        )
    return row[name]
