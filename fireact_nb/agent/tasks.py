"""Questions, where they come from, and when an answer counts as right.

Knows the four tasks of the paper and the official HotpotQA metrics; knows no agent and no search.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..errors import FireActError
from ..files import read_json_lines, write_file

LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """One question with its gold answer.

    `head` tells, in the tiny world, whether head facts alone answer it; None where nobody knows.
    `options` are the texts of a multiple-choice question, which `question` shows, too.
    """

    id: str
    question: str
    answer: str
    task: str
    split: str
    type: str = ""
    head: bool | None = None
    options: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """The question as files and journal keys hold it, with the options inside `meta`."""
        row = asdict(self)
        # Hashes of shipped files and keys of journals were taken of this shape: it must not change.
        if options := row.pop("options"):
            row["meta"]["options"] = list(options)
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Question:
        """A question from `to_dict`'s row, or from one with the options beside `meta`."""
        meta = dict(row.get("meta", {}))
        inside = meta.pop("options", ())
        return cls(**{**row, "options": tuple(row.get("options", inside)), "meta": meta})


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


def _same_words(prediction: str, gold: str, options: Sequence[str]) -> bool:
    return exact_match(prediction, gold)


def _same_verdict(prediction: str, gold: str, options: Sequence[str]) -> bool:
    said = normalize_answer(prediction)
    return said in ("yes", "no") and said == normalize_answer(gold)


def _same_option(prediction: str, gold: str, options: Sequence[str]) -> bool:
    return bool(_choices(prediction, options) & _choices(gold, options))


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


@dataclass(frozen=True)
class Task:
    """A kind of question: what an answer is, when it is right, whose prompts ask for it.

    `right(prediction, gold, options)` is the scoring rule; `prompts` names the task whose worked
    examples are shown, its own or another's with the same form.
    """

    name: str
    form: Literal["short answer", "yes or no", "multiple choice"]
    right: Callable[[str, str, Sequence[str]], bool]
    prompts: str


# In the order of the paper's Table 5. Bamboogle is for testing only, so it has no examples to show.
TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("hotpotqa", "short answer", _same_words, "hotpotqa"),
        Task("strategyqa", "yes or no", _same_verdict, "strategyqa"),
        Task("bamboogle", "short answer", _same_words, "hotpotqa"),
        Task("mmlu", "multiple choice", _same_option, "mmlu"),
    )
}


def find_task(name: str) -> Task:
    """The task of that name. Raises FireActError for any other."""
    if name not in TASKS:
        raise FireActError(
            f"There is no task {name!r}. The tasks are {', '.join(TASKS)}; name a short-answer "
            "task of your own 'hotpotqa', whose scoring rule it shares."
        )
    return TASKS[name]


def score(task: str, prediction: str | None, gold: str, options: Sequence[str] = ()) -> bool:
    """Is the prediction right by the rule of its task?

    hotpotqa, bamboogle: exact match. strategyqa: yes or no and nothing else ("not sure" is wrong).
    mmlu: the letter ("B", "(b)", "B."), the exact text of the option, or both ("B. Paris"); "an
    apple" is not option A. `options` are the four texts; without them only letters can be compared
    with letters. Raises FireActError for an unknown task.
    """
    rule = find_task(task).right
    return prediction is not None and rule(prediction, gold, options)


_REQUIRED = ("id", "question", "answer", "task", "split")
_FIELDS = {f.name for f in fields(Question)}


def load_questions(path: str | Path) -> list[Question]:
    """Questions from our own JSON lines, as `save_questions` writes them; ids must be unique."""
    questions: dict[str, Question] = {}
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        for name in _REQUIRED:
            _text_field(row, name, where)
        if row.keys() - _FIELDS:
            raise FireActError(
                f"{where} has a field {min(row.keys() - _FIELDS)!r} that a question does not have. "
                "Put it inside 'meta', or check the spelling."
            )
        if row["task"] not in TASKS:
            raise FireActError(
                f"{where} names the task {row['task']!r}. Use one of {', '.join(TASKS)}."
            )
        _check_kinds(row, where)
        if row["id"] in questions:
            raise FireActError(
                f"{where} repeats the id {row['id']!r}. Give every question its own."
            )
        questions[row["id"]] = Question.from_dict(row)
    return list(questions.values())


def _check_kinds(row: Mapping[str, Any], where: str) -> None:
    """Raise FireActError when a field that may be left out is there and of the wrong kind."""
    meta, head, kind = row.get("meta", {}), row.get("head"), row.get("type", "")
    if not (isinstance(meta, dict) and isinstance(head, bool | None) and isinstance(kind, str)):
        raise FireActError(
            f"{where}: 'meta' must be an object, 'head' true, false or null, 'type' a text. "
            "Fix the line."
        )
    for options in (row.get("options", []), meta.get("options", [])):
        if not (isinstance(options, list) and all(isinstance(text, str) for text in options)):
            raise FireActError(f"{where}: 'options' must be a list of texts. Fix the line.")


def save_questions(path: str | Path, questions: Iterable[Question]) -> None:
    """Write questions as JSON lines."""
    lines = [json.dumps(q.to_dict(), ensure_ascii=False) + "\n" for q in questions]
    write_file(path, "".join(lines))


def _text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    if not isinstance(row.get(name), str) or not row[name]:
        raise FireActError(
            f"{where} needs a text {name!r}, but has {row.get(name)!r}. Fix the entry, or "
            "download the file again."
        )
    return row[name]
