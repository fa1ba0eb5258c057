"""The tiny world as it is shipped: its questions, its search tool, its prompts, what was written.

Knows where they lie; knows neither models nor how an episode is played.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from ..agent.prompting import Prompt, load_prompt
from ..agent.search import NORMAL, Bm25, Condition, Search
from ..agent.sources import Source
from ..agent.tasks import Question, find_task, load_questions
from ..artifacts import Origin, find_own, find_shipped, shipped
from ..errors import FireActError
from ..files import read_text


@dataclass(frozen=True)
class TinyWorld:
    """The world that everything offline is played in; `lab.World` is the face it wears."""

    def questions(
        self, split: str, count: int | None = None, task: str = "hotpotqa"
    ) -> list[Question]:
        """The first `count` questions of a split (they are in random order); all without a count.

        Raises FireActError for an unknown split or task, or when the split is smaller.
        """
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

    def search(self, condition: Condition = NORMAL, seed: int = 0) -> Search:
        """BM25 over the encyclopedia, failing as `condition` says; `seed` is of its dice."""
        return condition.apply(_open_encyclopedia(), seed)

    def prompt(self, method: str, task: str = "hotpotqa") -> Prompt:
        """A method's prompt; a task without examples is asked like the task it resembles."""
        asked_like = find_task(task).prompts
        return load_prompt(method, "tiny" if asked_like == "hotpotqa" else f"tiny_{asked_like}")

    def held_out(self) -> list[Question]:
        """Every question that no training may see: dev and test of all tasks."""
        splits = sorted(p.stem.rsplit("_", 1) for p in shipped("world").glob("*.jsonl"))
        return [
            q
            for task, split in splits
            if split != "train"
            for q in self.questions(split, task=task)
        ]

    def written(self, source: Source) -> list[Origin]:
        """Where the teacher's episodes of a source lie: the learner's own files, then the shipped.

        Own ones are what `fireact-nb generate` writes without --out, and what notebook 02 leaves.
        """
        hint = ""
        if source.method != "reflexion":  # its shipped episodes needed a tool that fails
            hint = f"fireact-nb generate --task {source.task} --method {source.method} --count 500"
        return [
            *find_own(source.own_file, f"02/{source.own_file}"),
            find_shipped(source.artifact, hint),
        ]

    def pages(self) -> list[str]:
        """All of the encyclopedia, a passage a line of it."""
        return list(_open_encyclopedia().passages)


@cache
def _open_encyclopedia() -> Bm25:
    """The index, made once a process; its name holds a hash, so that journals tell worlds apart."""
    text = read_text(shipped("world") / "passages.txt")
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:8]
    return Bm25(text.splitlines(), name=f"tiny world {digest}")
