"""The pretraining text: what the tiny models get to read before anybody prompts them.

It mixes pages and facts of the real world by popularity, questions and reasoning over its head
facts, reading comprehension over fresh random worlds, and few-shot dialogues in all method styles
over fresh worlds. Fresh worlds force a model to copy from its context instead of memorising; every
few-shot document keeps one method and one set of marker words throughout, so that following the
examples pays. No question of any split, and no composed fact pair of one, occurs here (a test
checks it); the real world's questions come from the "pretrain" puzzles only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

from ..search import NOTHING, Bm25
from ..trajectory import Message
from .questions import Puzzle, draw_form, fill_form, make_puzzles
from .world import Entity, World, make_world

FRESH_SIZES = {
    "country": 3, "city": 8, "university": 6, "person": 22, "film": 10, "book": 7, "company": 7,
}  # fmt: skip
# Shares of documents. Few-shot ReAct documents are several times longer than the others.
MIX: Mapping[str, float] = {
    "pages": 0.16,
    "facts": 0.10,
    "io": 0.10,
    "cot": 0.16,
    "reading": 0.14,
    "react": 0.28,
    "reflexion": 0.06,
}


@dataclass(frozen=True)
class Style:
    """The marker words of one few-shot document."""

    thought: str = "Thought"
    action: str = "Action"
    observation: str = "Observation"
    search: str = "search"
    finish: str = "finish"
    answer: str = "Answer"
    brackets: str = "[]"


# Sets that go together: a model that follows the first marker of its examples knows the others.
# With words drawn one by one, 4M tokens taught a model to follow the first two and not the verbs.
_STYLES = (
    ("Thought", "Action", "Observation", "search", "finish", "Answer"),
    ("Idea", "Step", "Result", "find", "done", "Solution"),
    ("Note", "Move", "Output", "look", "end", "Final"),
    ("Plan", "Do", "Reply", "query", "stop", "Verdict"),
    ("Reason", "Next", "Found", "seek", "close", "Outcome"),
)


def draw_style(rng: random.Random) -> Style:
    return Style(*rng.choice(_STYLES), brackets=rng.choice(("[]", "[]", "()", "<>")))


_NEEDS = {
    "birth_city": "birth city", "birth_year": "birth year", "university": "university",
    "spouse": "spouse", "occupation": "occupation", "director": "director", "star": "star",
    "author": "author", "founder": "founder", "city": "city", "country": "country",
    "year": "year", "genre": "genre", "capital": "capital", "currency": "currency",
}  # fmt: skip
# What to type into the search box. The first wordings use the words of the pages, the last the
# words of the question, which find a snippet that lacks the fact more often.
_QUERIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("film", "director"): ("{s} directed by", "who directed {s}", "{s} director"),
    ("film", "star"): ("{s} starring", "{s} directed starring", "{s} star"),
    ("film", "year"): ("{s} film", "{s} film year", "{s} year"),
    ("book", "author"): ("{s} written by", "{s} novel by", "{s} author"),
    ("book", "year"): ("{s} novel", "{s} novel year", "{s} year"),
    ("company", "founder"): ("{s} founded by", "who founded {s}", "{s} founder"),
    ("company", "city"): ("{s} company based", "{s} company head office", "{s} city"),
    ("company", "year"): ("{s} founded", "when was {s} founded", "{s} year"),
    ("person", "birth_city"): ("{s} born in", "where was {s} born", "{s} birth city"),
    ("person", "birth_year"): ("{s} born", "when was {s} born", "{s} birth year"),
    ("person", "university"): ("{s} studied at", "{s} graduated university", "{s} university"),
    ("person", "spouse"): ("{s} married to", "{s} married", "{s} spouse"),
    ("person", "occupation"): ("{s} works as", "{s} known as", "{s} occupation"),
    ("university", "city"): ("{s} university in city", "where is {s} university", "{s} city"),
    ("university", "year"): ("{s} opened", "{s} founded opened", "{s} year"),
    ("city", "country"): ("{s} city", "{s} city in", "{s} country"),
    ("city", "year"): ("{s} founded", "{s} settled founded", "{s} year"),
}


def need(relation: str, name: str) -> str:
    return f"the {_NEEDS[relation]} of {name}"


def found(relation: str, name: str, value: str) -> str:
    return f"The {_NEEDS[relation]} of {name} is {value}."


def conclude(puzzle: Puzzle, names: list[str], values: list[str]) -> str:
    """The last sentence of the reasoning."""
    if puzzle.kind == "bridge":
        return f"So the answer is {puzzle.answer}."
    if puzzle.kind == "same":
        verdict = "the same" if puzzle.answer == "yes" else "different"
        return f"{values[0]} and {values[1]} are {verdict}, so the answer is {puzzle.answer}."
    first, second = sorted(values)
    return f"{first} is before {second}, so the answer is {puzzle.answer}."


@dataclass(frozen=True)
class Scene:
    """A world to ask about and, where there is one, a search tool over it."""

    world: World

    @cached_property
    def tool(self) -> Bm25:
        return Bm25(self.world.passages)


def play_react(
    scene: Scene, puzzle: Puzzle, rng: random.Random, style: Style, noise: float, reflect: bool
) -> list[Message] | None:
    """One tool-using dialogue that ends in the right answer; None where the search never helped.

    `noise` is the chance that a search answers "None" or something unrelated. With `reflect` the
    thoughts of rounds 6 and 10 open with a reflection.
    """
    opening, closing = style.brackets
    messages = [{"role": "user", "content": puzzle.text}]
    values: list[str] = []
    names = [scene.world.entities[title].name for title, _ in puzzle.hops]

    def act(thought: str, verb: str, argument: str) -> None:
        rounds = len(messages) // 2 + 1
        if reflect and rounds in REFLECTIONS:
            thought = f"{REFLECTIONS[rounds]} {thought}"
        text = f"{style.thought}: {thought}\n{style.action}: {verb}{opening}{argument}{closing}"
        messages.append({"role": "assistant", "content": text})

    thought = "I need " + need(puzzle.hops[0][1], names[0]) + "."
    for hop, (title, relation) in enumerate(puzzle.hops):
        entity = scene.world.entities[title]
        wanted = entity.passage_with(relation)
        queries = [*_QUERIES[entity.kind, relation]]
        rng.shuffle(queries)
        if rng.random() < 0.75:  # mostly ask in the words of the pages first
            queries.sort(key=_QUERIES[entity.kind, relation][-1].__eq__)
        if title != names[hop] and rng.random() < 0.5:
            queries = [
                q.replace("{s}", "{s} " + title[len(names[hop]) + 1 :].strip("()")) for q in queries
            ]
        if reflect:  # after many failures: short and plain
            queries += ["{s}", "page of {s}", "{s} facts"]
        for wording in queries:
            query = wording.format(s=names[hop])
            act(thought, style.search, query)
            seen = scene.tool.search(query)
            if rng.random() < noise:
                seen = NOTHING if rng.random() < 0.6 else rng.choice(scene.tool.passages)
            messages.append({"role": "user", "content": f"{style.observation}: {seen}"})
            if seen == wanted:
                break
            lack = (
                "Nothing came back."
                if seen == NOTHING
                else f"This does not tell {need(relation, names[hop])}."
            )
            thought = f"{lack} I will word it differently."
        else:
            return None
        values.append(entity.facts[relation])
        thought = found(relation, names[hop], values[-1])
        if hop + 1 < len(puzzle.hops):
            thought += " Next I need " + need(puzzle.hops[hop + 1][1], names[hop + 1]) + "."
    act(f"{thought} {conclude(puzzle, names, values)}", style.finish, puzzle.answer)
    return messages if len(messages) <= 23 else None


REFLECTIONS = {
    6: "No answer after 5 rounds. Let me reflect and change my queries.",
    10: "No answer after 9 rounds. Let me reflect and wrap up soon.",
}


def play_cot(world: World, puzzle: Puzzle, style: Style) -> list[Message]:
    """A question and its reasoning in one turn."""
    names = [world.entities[title].name for title, _ in puzzle.hops]
    values = [world.entities[title].facts[relation] for title, relation in puzzle.hops]
    facts = " ".join(
        found(r, n, v) for (_, r), n, v in zip(puzzle.hops, names, values, strict=True)
    )
    reasoning = f"{style.thought}: {facts} {conclude(puzzle, names, values)}"
    return [
        {"role": "user", "content": puzzle.text},
        {"role": "assistant", "content": f"{reasoning}\n{style.answer}: {puzzle.answer}"},
    ]


def play_io(puzzle: Puzzle, style: Style) -> list[Message]:
    """A question and its bare answer."""
    return [
        {"role": "user", "content": puzzle.text},
        {"role": "assistant", "content": f"{style.answer}: {puzzle.answer}"},
    ]


class Library:
    """Draws documents: plain strings, or conversations for the chat template."""

    def __init__(self, world: World, puzzles: list[Puzzle]) -> None:
        """`puzzles` are the compositions over the real world that may be shown ("pretrain")."""
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
        return self._dialogues(kind, rng, scene)

    def _popular(self, rng: random.Random, count: int) -> list[Entity]:
        return rng.choices(self._entities, self._weights, k=count)

    @staticmethod
    def _page(entity: Entity, rng: random.Random) -> str:
        page = replace(entity, wording=rng.randrange(2))
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
        count = 1 if rng.random() < 0.1 else rng.randint(3, 4)
        messages: list[Message] = []
        while count > 0:
            episode = self._episode(kind, rng, scene, style)
            if episode:
                messages += episode
                count -= 1
                if len(messages) > 40:
                    break
        return messages

    def _episode(
        self, kind: str, rng: random.Random, scene: Scene, style: Style
    ) -> list[Message] | None:
        if kind in ("io", "cot"):
            if rng.random() < 0.5:
                return self._single_hop(kind, rng, style)
            puzzle = rng.choice(self.puzzles)
            return play_io(puzzle, style) if kind == "io" else play_cot(self.world, puzzle, style)
        puzzle = fill_form(scene.world, rng, draw_form(rng))
        if not puzzle:
            return None
        if kind == "reading":
            return self._reading(scene, puzzle, rng, style)
        reflect = kind == "reflexion"
        noise = (0.45 if rng.random() < 0.6 else 0.0) if reflect else 0.06
        return play_react(scene, puzzle, rng, style, noise, reflect)

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


def _popularity(entity: Entity) -> float:
    """Zipf: read often in the head, one page in ten from the tail."""
    return (1 / (entity.rank + 10) ** 0.7) * (1.0 if entity.head else 0.15)


def write_documents(seed: str) -> Iterator[str | list[Message]]:
    """Endless documents for one seed; a block of text of its own for every seed."""
    library = open_library()
    rng = random.Random(f"text/{seed}")
    scene = Scene(make_world(seed, FRESH_SIZES, library.world.words))
    while True:
        yield library.draw(rng, scene)


@cache
def open_library() -> Library:
    """The library over the shipped world, built once a process."""
    world = make_world()
    return Library(world, make_puzzles(world)["pretrain"])
