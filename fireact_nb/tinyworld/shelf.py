"""The tiny world as it is shipped: its questions, its search tool and its prompts.

Knows where they lie; knows neither models nor agents.
"""

from __future__ import annotations

import hashlib
from functools import cache

from ..agent.search import Bm25, Condition, Unreliable
from ..agent.tasks import Question, find_task, load_questions
from ..artifacts import shipped
from ..errors import FireActError
from ..files import read_text


def prompt_set(task: str) -> str:
    """The tiny world's prompts for a task; Bamboogle is asked like HotpotQA, as in the paper."""
    asked_like = find_task(task).prompts
    return "tiny" if asked_like == "hotpotqa" else f"tiny_{asked_like}"


@cache
def tiny_search() -> Bm25:
    """The search tool of the tiny world."""
    text = read_text(shipped("world") / "passages.txt")
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]
    return Bm25(text.splitlines(), name=f"tiny world {digest}")


def tiny_questions(split: str, count: int | None = None, task: str = "hotpotqa") -> list[Question]:
    """The first `count` questions of a split of the tiny world (they are in random order)."""
    path = shipped("world") / f"{task}_{split}.jsonl"
    if not path.exists():
        there = sorted(p.stem.replace("_", " ") for p in path.parent.glob("*.jsonl"))
        raise FireActError(
            f"The tiny world has no split {split!r} of {task!r}. There are: {', '.join(there)}."
        )
    questions = load_questions(path)
    if count is not None and count > len(questions):
        raise FireActError(
            f"{count} questions were asked for and the split {split} of {task} has "
            f"{len(questions)}."
        )
    return questions[:count]


def held_out_questions() -> list[Question]:
    """Every question that no training may see: dev and test of all tasks."""
    splits = sorted(p.stem.rsplit("_", 1) for p in shipped("world").glob("*.jsonl"))
    return [
        q for task, split in splits if split != "train" for q in tiny_questions(split, task=task)
    ]


def make_search(condition: Condition, seed: int = 0) -> Bm25 | Unreliable:
    """The tool under a condition (paper, Table 3)."""
    return condition.apply(tiny_search(), seed)
