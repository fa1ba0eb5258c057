"""Questions over a world: what is asked, and the facts it takes.

Knows how to make a question of a kind and what its answer is; knows no agent and no model. The same
kinds serve the real world's splits and the fresh worlds of the pretraining text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..agent.tasks import LETTERS
from .wordings import (
    ASKS,
    BEFORE,
    BRIDGES,
    CHOICES,
    EARLIER,
    HELD_OUT,
    LONG_ASKS,
    PHRASES,
    SAME,
    SHARED,
)
from .world import Entity, World


@dataclass(frozen=True)
class Puzzle:
    """A question with the facts behind it.

    `hops` are (title, relation) pairs in the order they must be known; `kind` is "bridge",
    "earlier", "same", "before" or "choice"; `relations` names the template; `options` are the four
    texts of a "choice".
    """

    text: str
    answer: str
    kind: str
    relations: tuple[str, ...]
    hops: tuple[tuple[str, str], ...]
    head: bool
    options: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The answer as an agent is to say it: an option by its text, which scores as its letter.

        Tiny models never learnt to look up a letter: with letters in the text, 5.5M tokens left
        them at chance.
        """
        return self.options[LETTERS.index(self.answer)] if self.options else self.answer

    @property
    def facts(self) -> frozenset[tuple[str, str]]:
        """The composed facts, whatever the wording or the order of the two sides."""
        return frozenset(self.hops)


def _mention(entity: Entity) -> str:
    """How a question names an entity: films and books say what they are."""
    return f"the {entity.kind} {entity.name}" if entity.kind in ("film", "book") else entity.name


def _clear(entity: Entity) -> bool:
    """A namesake cannot be named by its bare name."""
    return entity.title == entity.name or entity.kind in ("film", "book")


def bridge(
    world: World, entity: Entity, template: tuple[str, str, str], wording: int
) -> Puzzle | None:
    """A two-hop question, or None where a fact is missing or the answer would be ambiguous."""
    kind, via, what = template
    if entity.kind != kind or via not in entity.links or not _clear(entity):
        return None
    middle = world.linked(entity, via)
    if what not in middle.facts:
        return None
    if template in LONG_ASKS:
        text = LONG_ASKS[template][wording].format(s=_mention(entity))
    else:
        phrase = PHRASES[kind, via].format(s=_mention(entity))
        text = ASKS[what][wording].format(s=phrase)
    return Puzzle(
        text=text[0].upper() + text[1:],
        answer=middle.facts[what],
        kind="bridge",
        relations=template,
        hops=((entity.title, via), (middle.title, what)),
        head=entity.head and middle.head,
    )


def compare(
    kind: str,
    relation: str,
    wordings: tuple[str, ...],
    a: Entity,
    b: Entity,
    wording: int,
    same: bool,
) -> Puzzle | None:
    """A comparison of one relation of two entities; None where it has no clear answer."""
    if a.name == b.name or not (_clear(a) and _clear(b)):
        return None
    left, right = a.facts.get(relation), b.facts.get(relation)
    if left is None or right is None or (left == right and not same):
        return None
    if left == right and a.links.get(relation) != b.links.get(relation):
        return None  # two namesakes: neither yes nor no can be read off the pages
    answer = (
        ("yes" if left == right else "no") if same else (a if int(left) < int(right) else b).name
    )
    text = wordings[wording].format(a=a.name, b=b.name)
    return Puzzle(
        text=text[0].upper() + text[1:],
        answer=answer,
        kind="same" if same else "earlier",
        relations=(kind, relation),
        hops=((a.title, relation), (b.title, relation)),
        head=a.head and b.head,
    )


def implied(
    kinds: tuple[str, str],
    relations: tuple[str, str],
    wording: str,
    a: Entity,
    b: Entity,
    shared: bool,
) -> Puzzle | None:
    """A yes/no question that does not name its relations; None where it has no clear answer."""
    if a.name == b.name or not (_clear(a) and _clear(b)):
        return None
    left, right = a.facts.get(relations[0]), b.facts.get(relations[1])
    if left is None or right is None or (left == right and not shared):
        return None
    if left == right and a.links.get(relations[0]) != b.links.get(relations[1]):
        return None
    yes = left == right if shared else int(left) < int(right)
    return Puzzle(
        text=wording.format(a=a.name, b=b.name),
        answer="yes" if yes else "no",
        kind="same" if shared else "before",
        relations=(*kinds, *relations),
        hops=((a.title, relations[0]), (b.title, relations[1])),
        head=a.head and b.head,
    )


def choice(
    world: World, rng: random.Random, entity: Entity, relation: str, wording: int
) -> Puzzle | None:
    """One fact with four options, three of them true of other pages; None without enough."""
    if relation not in entity.facts or not _clear(entity):
        return None
    answer = entity.facts[relation]
    told = {e.facts[relation] for e in world.kind(entity.kind) if relation in e.facts}
    others = sorted(told - {answer, entity.name})  # sorted: a set's order is not the seed's
    if len(others) < 3:
        return None
    options = [answer, *rng.sample(others, 3)]
    rng.shuffle(options)
    listed = " ".join(f"({x}) {o}" for x, o in zip(LETTERS, options, strict=True))
    return Puzzle(
        text=f"{CHOICES[entity.kind, relation][wording].format(s=entity.name)} {listed}",
        answer=LETTERS[options.index(answer)],
        kind="choice",
        relations=(entity.kind, relation),
        hops=((entity.title, relation),),
        head=entity.head,
        options=tuple(options),
    )


@dataclass(frozen=True)
class Form:
    """What kind of question to ask, before anything is chosen to ask it about."""

    kind: str
    template: tuple
    wording: int
    yes: bool = False


# What every split of a task has its share of: kinds of question, with yes and no told apart.
CELLS: Mapping[str, Mapping[tuple[str, bool | None], float]] = {
    "hotpotqa": {
        ("bridge", None): 0.5,
        ("earlier", None): 0.25,
        ("same", True): 0.125,
        ("same", False): 0.125,
    },
    "strategyqa": {
        ("before", True): 0.25,
        ("before", False): 0.25,
        ("shared", True): 0.25,
        ("shared", False): 0.25,
    },
    "bamboogle": {("held out", None): 1.0},
    "mmlu": {("choice", None): 1.0},
}
_TEMPLATES: Mapping[str, tuple] = {
    "bridge": BRIDGES,
    "held out": HELD_OUT,
    "earlier": EARLIER,
    "same": SAME,
    "before": BEFORE,
    "shared": SHARED,
    "choice": tuple(CHOICES),
}


def draw_form(
    rng: random.Random, task: str = "hotpotqa", kind: str | None = None, yes: bool | None = None
) -> Form:
    """A random form of a task's questions, in the shares that its splits have."""
    cells = CELLS[task]
    kind = kind or rng.choices([k for k, _ in cells], list(cells.values()))[0]
    form = Form(kind, rng.choice(_TEMPLATES[kind]), rng.randrange(2), yes=rng.random() < 0.5)
    return form if yes is None else replace(form, yes=yes)


def fill_form(
    world: World, rng: random.Random, form: Form, head: bool | None = None
) -> Puzzle | None:
    """A question of one form about random entities; None when the dice fell badly."""

    def pool(kind: str) -> list[Entity]:
        return [e for e in world.kind(kind) if head is None or e.head == head]

    if form.kind in ("bridge", "held out", "choice"):
        own = pool(form.template[0])
        if not own:
            return None
        if form.kind == "choice":
            return choice(world, rng, rng.choice(own), form.template[1], form.wording)
        return bridge(world, rng.choice(own), form.template, form.wording)
    if form.kind in ("before", "shared"):
        kinds, relations, wordings = form.template
    else:
        kind, relation, wordings = form.template
        kinds, relations = (kind, kind), (relation, relation)
    left = [e for e in pool(kinds[0]) if relations[0] in e.facts]
    if not left:
        return None
    a = rng.choice(left)
    value = a.facts[relations[0]]
    right = [e for e in pool(kinds[1]) if relations[1] in e.facts and e is not a]
    if form.kind in ("same", "shared"):  # without this nearly every answer would be no
        right = [e for e in right if (e.facts[relations[1]] == value) == form.yes]
    if form.kind == "before":
        right = [e for e in right if (value < e.facts[relations[1]]) == form.yes]
    if not right:
        return None
    b = rng.choice(right)
    if form.kind in ("before", "shared"):
        return implied(kinds, relations, wordings[form.wording], a, b, form.kind == "shared")
    return compare(kinds[0], relations[0], wordings, a, b, form.wording, form.kind == "same")
