"""The real world: its questions, its search over HotpotQA's own paragraphs, and what was written.

Knows where they come from; knows neither models nor how an episode is played. Everything is
fetched when it is first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .. import artifacts
from ..agent.prompting import Prompt, load_prompt
from ..agent.search import NORMAL, Condition, Search
from ..agent.sources import Source
from ..agent.tasks import Question, find_task, normalize_answer
from ..agent.trajectory import write_trajectories
from ..artifacts import Origin, find_own
from ..errors import FireActError
from .datasets import find_datasets, load_split, read_paragraphs
from .engines import open_search
from .paragraphs import Page, Paragraphs
from .release import released_training


@dataclass(frozen=True)
class RealWorld:
    """HotpotQA, StrategyQA, MMLU and Bamboogle as they are; `lab.World` is the face it wears.

    `setting` says which paragraphs HotpotQA comes with: "distractor" or "fullwiki". `engine` is
    what searches: "bm25" over these paragraphs, or a name that `open_search` knows. `folder` is
    where, inside the runs folder, the learner's own files of this world lie. `agreed`: an engine
    that costs may be asked.
    """

    setting: str = "distractor"
    engine: str = "bm25"
    folder: str = "colab"
    agreed: bool = False

    def questions(
        self, split: str, count: int | None = None, task: str = "hotpotqa"
    ) -> list[Question]:
        """The first `count` questions of a split (they are in random order); all without a count.

        A training question that is held out under another id or in another task is left out.
        Raises FireActError for an unknown split or task, or when the split is smaller.
        """
        questions = load_split(task, split, self.setting)
        if split == "train":
            held_out = _held_out_words(self.setting)
            questions = [q for q in questions if normalize_answer(q.question) not in held_out]
        if count is not None and count > len(questions):
            raise FireActError(
                f"{count} questions were asked for and the split {split} of {task} has "
                f"{len(questions)}."
            )
        return questions[:count]

    def search(self, condition: Condition = NORMAL, seed: int = 0) -> Search:
        """The engine, failing as `condition` says; `seed` is of its dice."""
        if self.engine == "bm25":
            return condition.apply(_open_paragraphs(self.setting), seed)
        tool = open_search(self.engine)
        return condition.apply(_agree(tool) if self.agreed else tool, seed)

    def prompt(self, method: str, task: str = "hotpotqa") -> Prompt:
        """A method's prompt; a task without examples is asked like the task it resembles.

        Reflexion of a task without examples of one is its ReAct with HotpotQA's cues.
        """
        name = find_task(task).prompts
        if method == "reflexion" and name != "hotpotqa":
            react, cues = load_prompt("react", name), load_prompt("reflexion", "hotpotqa").cues
            return Prompt("reflexion", name, react.messages, cues)
        return load_prompt(method, name)

    def held_out(self) -> list[Question]:
        """Every question that no training may see: dev and test of all tasks."""
        return [
            q
            for data in find_datasets(self.setting).values()
            for split in data.parts
            if split != "train"
            for q in load_split(data.task, split, self.setting)
        ]

    def written(self, source: Source) -> list[Origin]:
        """Where the teacher's episodes of a source lie: the learner's own, then the authors'.

        The authors' are those of their release, without what is held out here: the hub's StrategyQA
        tests on questions that the authors trained on.
        """
        own = [f"{self.folder}/{source.own_file}", f"{self.folder}/02/{source.own_file}"]
        return [*find_own(*own), _find_released(source, self.setting)]

    def pages(self) -> list[str]:
        """Every paragraph that the search knows; empty for an engine that knows more than we do."""
        if self.engine != "bm25":
            return []
        pages = _open_paragraphs(self.setting).pages
        return [f"{page.title}: {' '.join(page.sentences)}" for page in pages]


def _agree(tool: Search) -> Search:
    """The tool as one that a run needs no further yes for."""
    tool.may_cost = False  # type: ignore[attr-defined]
    return tool


@cache
def _held_out_words(setting: str) -> frozenset[str]:
    return frozenset(normalize_answer(q.question) for q in RealWorld(setting).held_out())


@cache
def _find_released(source: Source, setting: str) -> Origin:
    """The released rows of a source as a file of ours in the runs folder, and where they are from.

    Raises FireActError for a source of which the authors released nothing.
    """
    found = released_training(source.task)
    rows = [t for t in found.trajectories if t.method == source.method]
    if not rows:
        raise FireActError(
            f"The authors released no {source.method} trajectories of {source.task}. Let a teacher "
            f"write some: fireact-nb generate --profile colab --task {source.task} --method "
            f"{source.method}"
        )
    held_out = _held_out_words(setting)
    clean = [t for t in rows if normalize_answer(t.question) not in held_out]
    notes = [f"{len(rows) - len(clean)} held out here"] if len(clean) < len(rows) else []
    notes += [f"{len(found.odd)} odd rows left out"] if found.odd else []
    path = artifacts.RUNS / "released" / setting / source.own_file
    write_trajectories(path, clean)
    return Origin(path, "; ".join([f"{found.label}, by GPT-4", *notes]))


@cache
def _open_paragraphs(setting: str) -> Paragraphs:
    """The index, made once a process, over every paragraph that comes with a question of ours."""
    pages = (
        Page(title, tuple(sentences))
        for split in ("test", "train")
        for title, sentences in read_paragraphs(split, setting)
    )
    return Paragraphs(pages)
