"""Dialogues over a world, played by rule: what the pretraining text shows of agents.

Knows the methods' forms, marker words and what to type into a search box; draws nothing itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..agent.search import NOTHING, Bm25
from ..agent.trajectory import Message
from .questions import Puzzle
from .world import Entity, World


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
# What to type into the search box: in the words of the commonest way a page puts it, of the second,
# of the third. What hits one page's wording misses another's.
_QUERIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("film", "director"): ("{s} directed by", "{s} work by director", "who made {s}"),
    ("film", "star"): ("{s} starring", "{s} work with", "who plays in {s}"),
    ("film", "year"): ("{s} film of", "{s} film from", "{s} film year"),
    ("book", "author"): ("{s} written by", "{s} author", "{s} from the pen of"),
    ("book", "genre"): ("{s} novel", "{s} novel story", "{s} novel genre"),
    ("book", "year"): ("{s} novel of", "{s} novel from", "{s} novel year"),
    ("company", "founder"): ("{s} founded by", "who started {s}", "{s} set up by"),
    ("company", "city"): ("{s} company based", "{s} company head office", "{s} company city"),
    ("company", "year"): ("{s} founded in", "{s} started in", "{s} set up since"),
    ("person", "birth_city"): ("{s} born in", "{s} native of", "{s} came to the world in"),
    ("person", "birth_year"): (
        "when was {s} born",
        "{s} native year",
        "{s} came to the world when",
    ),
    ("person", "university"): ("{s} studied at", "{s} graduated from", "{s} old student of"),
    ("person", "spouse"): ("{s} married to", "{s} husband or wife", "{s} shares a home with"),
    ("person", "occupation"): ("{s} works as", "{s} known as", "{s} profession"),
    ("university", "city"): ("{s} university in", "where is {s} university", "{s} city"),
    ("university", "year"): ("{s} opened", "{s} founded", "{s} opened founded"),
    ("city", "country"): ("{s} city in", "{s} a city of", "{s} country city"),
    ("city", "year"): ("{s} founded", "{s} settled", "{s} settled founded"),
    ("country", "capital"): ("{s} capital", "capital of {s}", "{s} capital city"),
    ("country", "currency"): ("{s} currency", "currency of {s}", "{s} currency money"),
}
# What a reflection turns to: the words of all ways at once, which find any of them.
_BROAD: Mapping[tuple[str, str], str] = {
    ("film", "director"): "{s} directed director made",
    ("film", "star"): "{s} starring with plays",
    ("book", "author"): "{s} written author pen",
    ("company", "founder"): "{s} founded started set up",
    ("company", "year"): "{s} founded started since",
    ("person", "birth_city"): "{s} born native world",
    ("person", "birth_year"): "{s} born native came",
    ("person", "university"): "{s} studied graduated student",
    ("person", "spouse"): "{s} married husband home",
    ("person", "occupation"): "{s} works known profession",
}


def need(relation: str, name: str) -> str:
    return f"the {_NEEDS[relation]} of {name}"


def found(relation: str, name: str, value: str) -> str:
    return f"The {_NEEDS[relation]} of {name} is {value}."


def conclude(puzzle: Puzzle, names: list[str], values: list[str]) -> str:
    """The last sentence of the reasoning."""
    if puzzle.kind in ("bridge", "choice"):
        return f"So the answer is {puzzle.said}."
    if puzzle.kind == "same":
        verdict = "the same" if puzzle.answer == "yes" else "different"
        return f"{values[0]} and {values[1]} are {verdict}, so the answer is {puzzle.answer}."
    if puzzle.kind == "before":
        order = "before" if puzzle.answer == "yes" else "after"
        return f"{values[0]} is {order} {values[1]}, so the answer is {puzzle.answer}."
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
    opening, closing = style.brackets[0], style.brackets[1]
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
        wanted = _passages_that_tell(scene.world, entity, relation)
        queries = _draw_queries(entity, relation, rng)
        broad = _BROAD.get((entity.kind, relation)) if reflect else None
        if broad:
            queries += [broad, *queries]
        lack = ""
        while queries:
            change = broad in queries and len(messages) // 2 + 1 >= min(REFLECTIONS)
            wording = queries.pop(queries.index(broad) if broad and change else 0)
            if lack:
                ask = "ask with several words at once" if change else "word it differently"
                thought = f"{lack} I will {ask}."
            query = wording.format(s=names[hop])
            act(thought, style.search, query)
            seen = scene.tool.search(query)
            if rng.random() < noise:
                seen = NOTHING if rng.random() < 0.6 else rng.choice(scene.tool.passages)
            messages.append({"role": "user", "content": f"{style.observation}: {seen}"})
            if seen in wanted:
                break
            lack = (
                "Nothing came back."
                if seen == NOTHING
                else f"This does not tell {need(relation, names[hop])}."
            )
        else:
            return None
        values.append(entity.facts[relation])
        thought = found(relation, names[hop], values[-1])
        if hop + 1 < len(puzzle.hops):
            thought += " Next I need " + need(puzzle.hops[hop + 1][1], names[hop + 1]) + "."
    act(f"{thought} {conclude(puzzle, names, values)}", style.finish, puzzle.said)
    return messages if len(messages) <= 23 else None


def _passages_that_tell(world: World, entity: Entity, relation: str) -> set[str]:
    """What a search must bring up to know the fact; a marriage is told on both pages."""
    pages = [entity] + ([world.linked(entity, relation)] if relation == "spouse" else [])
    return {page.passage_with(relation) for page in pages}


def _draw_queries(entity: Entity, relation: str, rng: random.Random) -> list[str]:
    """What to type into the search box, one wording after another."""
    queries = [*_QUERIES[entity.kind, relation]]
    rng.shuffle(queries)
    if rng.random() < 0.75:  # mostly ask in the words of most pages first
        queries = [*_QUERIES[entity.kind, relation]]
    if entity.title != entity.name and rng.random() < 0.5:  # a namesake: say which one
        addition = entity.title[len(entity.name) + 1 :].strip("()")
        queries = [q.replace("{s}", "{s} " + addition) for q in queries]
    return queries


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
        {"role": "assistant", "content": f"{reasoning}\n{style.answer}: {puzzle.said}"},
    ]


def play_io(puzzle: Puzzle, style: Style) -> list[Message]:
    """A question and its bare answer."""
    return [
        {"role": "user", "content": puzzle.text},
        {"role": "assistant", "content": f"{style.answer}: {puzzle.said}"},
    ]
