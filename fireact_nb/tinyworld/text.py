"""The pretraining text: what the tiny models get to read before anybody prompts them.

It mixes pages and facts of the real world by popularity, questions and reasoning over its head
facts, reading comprehension over fresh random worlds, and few-shot dialogues in all method styles
over fresh worlds. Fresh worlds force a model to copy from its context instead of memorising; every
few-shot document keeps one method and one set of marker words throughout, so that following the
examples pays. No question of any split occurs here, and no message of a dialogue holds the
composed facts of one (tests check it); the real world's questions come from the "pretrain" puzzles
only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from ..agent.trajectory import Message
from .dialogues import Scene, Style, draw_style, found, need, play_cot, play_io, play_react
from .programs import write_code
from .questions import Puzzle, choice, draw_form, fill_form
from .splits import make_all_puzzles
from .world import Entity, World, make_world

FRESH_SIZES = {
    "country": 3, "city": 8, "university": 6, "person": 22, "film": 10, "book": 7, "company": 7,
}  # fmt: skip
# Shares of documents. Few-shot ReAct documents are several times longer than the others.
MIX: Mapping[str, float] = {
    "pages": 0.14,
    "facts": 0.15,
    "drills": 0.05,
    "io": 0.10,
    "cot": 0.18,
    "reading": 0.12,
    "react": 0.22,
    "reflexion": 0.04,
}

TASK_MIX: Mapping[str, float] = {"hotpotqa": 0.64, "strategyqa": 0.2, "mmlu": 0.16}
CODE_SHARE = 0.4  # of the documents of the code students; a fifth of their tokens


class Library:
    """Draws documents: plain strings, or conversations for the chat template."""

    def __init__(self, world: World, puzzles: Mapping[str, list[Puzzle]]) -> None:
        """`puzzles`: by task, the questions on the real world that may be shown ("pretrain")."""
        self.world, self.puzzles = world, puzzles
        self._entities = list(world.entities.values())
        self._weights = [_popularity(e) for e in self._entities]

    def draw(self, rng: random.Random, scene: Scene) -> str | list[Message]:
        """One document; `scene` is a fresh world for the dialogues."""
        kind = rng.choices(list(MIX), list(MIX.values()))[0]
        if kind == "pages":
            return "\n".join(self._page(e, rng) for e in self._popular(rng, rng.randint(3, 8)))
        if kind == "facts":
            facts = [self._fact(e, rng) for e in self._popular(rng, rng.randint(6, 14))]
            return " ".join(found(r, e.name, v) for e, r, v in facts)
        if kind == "drills":
            return " ".join(_drill(scene.world, rng) for _ in range(rng.randint(8, 14)))
        return self._dialogues(kind, rng, scene)

    def _popular(self, rng: random.Random, count: int) -> list[Entity]:
        return rng.choices(self._entities, self._weights, k=count)

    @staticmethod
    def _page(entity: Entity, rng: random.Random) -> str:
        page = replace(entity, wording=rng.randrange(6))
        sentences = list(page.sentences)
        if rng.random() < 0.5:
            return "\n".join(f"{entity.title}: {s}" for s in sentences)
        rng.shuffle(sentences)
        return f"{entity.title}: " + " ".join(sentences)

    @staticmethod
    def _fact(entity: Entity, rng: random.Random) -> tuple[Entity, str, str]:
        relation = rng.choice(list(entity.facts))
        return entity, relation, entity.facts[relation]

    def _dialogues(self, kind: str, rng: random.Random, scene: Scene) -> list[Message]:
        style = draw_style(rng)
        task = rng.choices(list(TASK_MIX), list(TASK_MIX.values()))[0]
        count = 1 if rng.random() < 0.1 else rng.randint(3, 4)
        messages: list[Message] = []
        while count > 0:
            episode = self._episode(kind, task, rng, scene, style)
            if episode:
                messages += episode
                count -= 1
                if len(messages) > 40:
                    break
        return messages

    def _episode(
        self, kind: str, task: str, rng: random.Random, scene: Scene, style: Style
    ) -> list[Message] | None:
        if kind in ("io", "cot"):
            if rng.random() < 0.5:
                return self._single_hop(kind, rng, style)
            puzzle = rng.choice(self.puzzles[task])
            if puzzle.kind == "choice":  # other options every time, so that letters mean nothing
                ((title, relation),) = puzzle.hops
                entity = self.world.entities[title]
                puzzle = choice(self.world, rng, entity, relation, rng.randrange(2)) or puzzle
            return play_io(puzzle, style) if kind == "io" else play_cot(self.world, puzzle, style)
        fresh = fill_form(scene.world, rng, draw_form(rng, task))
        if not fresh:
            return None
        if kind == "reading":
            return self._reading(scene, fresh, rng, style)
        reflect = kind == "reflexion"
        noise = (0.45 if rng.random() < 0.6 else 0.0) if reflect else 0.06
        return play_react(scene, fresh, rng, style, noise, reflect)

    def _single_hop(self, kind: str, rng: random.Random, style: Style) -> list[Message]:
        """One fact of a popular page, asked for directly."""
        entity, relation, value = self._fact(self._popular(rng, 1)[0], rng)
        question = f"What is {need(relation, entity.name)}?"
        answer = f"{style.answer}: {value}"
        if kind == "cot":
            fact = found(relation, entity.name, value)
            answer = f"{style.thought}: {fact} So the answer is {value}.\n{answer}"
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    def _reading(
        self, scene: Scene, puzzle: Puzzle, rng: random.Random, style: Style
    ) -> list[Message]:
        """Reasoning over passages given in the question, among passages that do not matter."""
        passages = [scene.world.entities[t].passage_with(r) for t, r in puzzle.hops]
        passages += rng.sample(scene.tool.passages, rng.randint(0, 3))
        rng.shuffle(passages)
        question, answer = play_cot(scene.world, puzzle, style)
        context = "\n".join(passages)
        return [{"role": "user", "content": f"{context}\n{question['content']}"}, answer]


def _drill(world: World, rng: random.Random) -> str:
    """One comparison of names or years: what the verdicts of the reasoning rest on."""
    if rng.random() < 0.5:
        left, right = rng.sample(range(1930, 2020), 2)
        return f"{left} is {'before' if left < right else 'after'} {right}."
    pool = world.kind(rng.choice(("city", "university", "person")))
    a = rng.choice(pool).name
    b = a if rng.random() < 0.5 else rng.choice(pool).name
    return f"{a} and {b} are {'the same' if a == b else 'different'}."


def _popularity(entity: Entity) -> float:
    """Zipf: read often in the head, one page in ten from the tail."""
    return (1 / (entity.rank + 10) ** 0.7) * (1.0 if entity.head else 0.15)


def write_documents(seed: str, code: bool = False) -> Iterator[str | list[Message]]:
    """Endless documents for one seed; a block of text of its own for every seed.

    With `code`, code-like documents stand between the same documents as without.
    """
    library = open_library()
    rng = random.Random(f"text/{seed}")
    dice = random.Random(f"code/{seed}")
    scene = Scene(make_world(seed, FRESH_SIZES, library.world.words))
    while True:
        while code and dice.random() < CODE_SHARE:
            yield write_code(scene.world, dice)
        yield library.draw(rng, scene)


@cache
def open_library() -> Library:
    """The library over the shipped world, built once a process."""
    world = make_world()
    made = make_all_puzzles(world)
    return Library(world, {task: made[task]["pretrain"] for task in TASK_MIX})
