"""Questions over a world: what is asked, the facts it takes, and the split it belongs to.

Knows how to word a question and what its answer is; knows no agent and no model. The same wordings
serve the real world's splits and the fresh worlds of the pretraining text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ..tasks import Question
from .world import Entity, World

SPLITS: Mapping[str, int] = {"train": 2400, "dev": 400, "test": 600}
HEAD_QUESTIONS = 0.4
PRETRAIN = 600  # head questions composed in the pretraining text, in no split
_POOL = 1960

# How a relation is named inside a longer question: "the director of the film X".
_PHRASES = {
    ("film", "director"): "the director of {s}",
    ("film", "star"): "the star of {s}",
    ("book", "author"): "the author of {s}",
    ("company", "founder"): "the founder of {s}",
    ("person", "spouse"): "the spouse of {s}",
}
# How a relation is asked of the one who is named or described as {s}.
_ASKS = {
    "birth_city": ("In which city was {s} born?", "Where was {s} born?"),
    "birth_year": ("In which year was {s} born?", "When was {s} born?"),
    "university": ("Which university did {s} attend?", "Where did {s} study?"),
    "spouse": ("Who is {s} married to?", "Who married {s}?"),
    "occupation": ("What does {s} work as?", "What is {s} known as?"),
}
# Two hops that need a wording of their own.
_LONG_ASKS = {
    ("person", "birth_city", "country"): (
        "In which country was {s} born?",
        "{s} was born in a city of which country?",
    ),
    ("person", "university", "city"): (
        "In which city is the university that {s} attended?",
        "{s} studied in which city?",
    ),
    ("company", "city", "country"): (
        "In which country is {s} based?",
        "The head office of {s} is in which country?",
    ),
    ("person", "birth_city", "year"): (
        "In which year was the city where {s} was born founded?",
        "{s} was born in a city founded in which year?",
    ),
    ("person", "university", "year"): (
        "In which year did the university that {s} attended open?",
        "{s} studied at a university that opened in which year?",
    ),
}
_TWO_HOPS = (
    *((k, via, what) for k, via in (("film", "director"), ("film", "star"), ("book", "author"))
      for what in ("birth_city", "birth_year", "university")),
    ("film", "director", "spouse"),
    ("book", "author", "spouse"),
    ("company", "founder", "birth_city"),
    ("company", "founder", "university"),
    ("company", "founder", "spouse"),
    ("person", "spouse", "birth_city"),
    ("person", "spouse", "occupation"),
    *_LONG_ASKS,
)  # fmt: skip
# Relation pairs kept for the Bamboogle-like task: in no other split and in no pretraining text.
HELD_OUT = (
    ("film", "star", "university"),
    ("film", "director", "spouse"),
    ("book", "author", "birth_city"),
    ("company", "founder", "spouse"),
    ("person", "spouse", "occupation"),
)
BRIDGES = tuple(t for t in _TWO_HOPS if t not in HELD_OUT)
# (kind, relation, wordings): which of two is the earlier one?
_EARLIER = (
    (
        "film",
        "year",
        ("Which film came out first, {a} or {b}?", "Which is the older film, {a} or {b}?"),
    ),
    (
        "book",
        "year",
        ("Which book came out first, {a} or {b}?", "Which is the older novel, {a} or {b}?"),
    ),
    (
        "company",
        "year",
        ("Which company was founded first, {a} or {b}?", "Which is the older company, {a} or {b}?"),
    ),
    ("person", "birth_year", ("Who was born first, {a} or {b}?", "Who is older, {a} or {b}?")),
)
# (kind, relation, wordings): do two share something?
_SAME = (
    (
        "person",
        "birth_city",
        ("Were {a} and {b} born in the same city?", "Do {a} and {b} come from the same city?"),
    ),
    (
        "person",
        "university",
        ("Did {a} and {b} attend the same university?", "Did {a} and {b} study at the same place?"),
    ),
    (
        "person",
        "occupation",
        ("Do {a} and {b} have the same occupation?", "Do {a} and {b} do the same work?"),
    ),
    (
        "film",
        "director",
        ("Do {a} and {b} have the same director?", "Was one director behind both {a} and {b}?"),
    ),
    (
        "company",
        "city",
        (
            "Are {a} and {b} based in the same city?",
            "Do {a} and {b} have their head office in one city?",
        ),
    ),
)


@dataclass(frozen=True)
class Puzzle:
    """A question with the facts behind it.

    `hops` are (title, relation) pairs in the order they must be known; `kind` is "bridge",
    "earlier" or "same"; `relations` names the template.
    """

    text: str
    answer: str
    kind: str
    relations: tuple[str, ...]
    hops: tuple[tuple[str, str], ...]
    head: bool

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
    if template in _LONG_ASKS:
        text = _LONG_ASKS[template][wording].format(s=_mention(entity))
    else:
        phrase = _PHRASES[kind, via].format(s=_mention(entity))
        text = _ASKS[what][wording].format(s=phrase)
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


@dataclass(frozen=True)
class Form:
    """What kind of question to ask, before anything is chosen to ask it about."""

    kind: str
    template: tuple
    wording: int
    yes: bool = False


_KINDS = {"bridge": 0.5, "earlier": 0.25, "same": 0.25}
# The same with yes and no told apart: what every split has its share of.
_CELLS: Mapping[tuple[str, bool | None], float] = {
    ("bridge", None): 0.5,
    ("earlier", None): 0.25,
    ("same", True): 0.125,
    ("same", False): 0.125,
}


def draw_form(rng: random.Random, kind: str | None = None, yes: bool | None = None) -> Form:
    """A random form of the HotpotQA-like task: half bridges, a quarter earlier, a quarter same."""
    kind = kind or rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    templates = {"bridge": BRIDGES, "earlier": _EARLIER, "same": _SAME}[kind]
    form = Form(kind, rng.choice(templates), rng.randrange(2), yes=rng.random() < 0.5)
    return form if yes is None else replace(form, yes=yes)


def fill_form(
    world: World, rng: random.Random, form: Form, head: bool | None = None
) -> Puzzle | None:
    """A question of one form about random entities; None when the dice fell badly."""
    kind = form.template[0]
    pool = [e for e in world.kind(kind) if head is None or e.head == head]
    if form.kind == "bridge":
        return bridge(world, rng.choice(pool), form.template, form.wording) if pool else None
    _, relation, wordings = form.template
    pool = [e for e in pool if relation in e.facts]
    if len(pool) < 2:
        return None
    a = rng.choice(pool)
    same = form.kind == "same"
    if same:  # without this nearly every answer would be no
        pool = [e for e in pool if (e.facts[relation] == a.facts[relation]) == form.yes]
    pool = [e for e in pool if e is not a]
    if not pool:
        return None
    return compare(kind, relation, wordings, a, rng.choice(pool), form.wording, same)


def make_puzzles(world: World) -> dict[str, list[Puzzle]]:
    """All splits and the compositions left to the pretraining text ("pretrain"), by one seed.

    No two puzzles share their composed facts, whatever their split or wording. Every split has the
    same shares of bridges, earlier-than and yes and no. Tail questions take the forms of the head
    questions of their split, so that wording cannot betray which is which.
    """
    pretrain = _pretrain_puzzles(world)
    rng = random.Random(f"splits/{world.seed}")
    taken = {puzzle.facts for puzzle in pretrain}
    chosen: dict[str, list[Puzzle]] = {split: [] for split in SPLITS}
    for (kind, yes), share in _CELLS.items():
        counts = {split: round(n * HEAD_QUESTIONS * share) for split, n in SPLITS.items()}
        heads = [
            _draw(world, rng, taken, True, partial(draw_form, rng, kind, yes))
            for _ in range(sum(counts.values()))
        ]
        rng.shuffle(heads)  # templates run short towards the end: spread that over the splits
        for split, count in counts.items():
            own, heads = heads[:count], heads[count:]
            tails = round(SPLITS[split] * (1 - HEAD_QUESTIONS) * share)
            chosen[split] += [puzzle for _, puzzle in own]
            for i in range(tails):
                form = own[i % count][0]
                chosen[split].append(_draw(world, rng, taken, False, lambda form=form: form)[1])
    for split in SPLITS:
        rng.shuffle(chosen[split])
    return {"pretrain": pretrain, **chosen}


def _pretrain_puzzles(world: World) -> list[Puzzle]:
    """Head questions for the pretraining text, from a larger pool: rare forms are among them."""
    rng = random.Random(f"questions/{world.seed}")
    taken: set[frozenset] = set()
    pool = []
    for _ in range(_POOL):
        kind = draw_form(rng).kind
        pool.append(_draw(world, rng, taken, True, partial(draw_form, rng, kind)))
    rng.shuffle(pool)
    return [puzzle for _, puzzle in pool[:PRETRAIN]]


def _draw(
    world: World,
    rng: random.Random,
    taken: set[frozenset],
    head: bool,
    next_form: Callable[[], Form],
) -> tuple[Form, Puzzle]:
    """A puzzle whose facts are not taken yet, and its form; takes them."""
    for _ in range(5000):
        form = next_form()
        puzzle = fill_form(world, rng, form, head)
        if puzzle and puzzle.head == head and puzzle.facts not in taken:
            taken.add(puzzle.facts)
            return form, puzzle
    raise ValueError(f"the world is too small for another question like {form}")


def make_questions(puzzles: Mapping[str, list[Puzzle]]) -> dict[str, list[Question]]:
    """The HotpotQA-like splits as questions."""
    return {
        split: [
            Question(
                id=f"hotpotqa-{split}-{i:04d}",
                question=p.text,
                answer=p.answer,
                task="hotpotqa",
                split=split,
                type="bridge" if p.kind == "bridge" else "comparison",
                head=p.head,
            )
            for i, p in enumerate(puzzles[split])
        ]
        for split in SPLITS
    }
