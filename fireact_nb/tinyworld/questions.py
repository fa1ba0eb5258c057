"""Questions over a world: what is asked, the facts it takes, and the split it belongs to.

Knows how to word a question and what its answer is; knows no agent and no model. The same wordings
serve the real world's splits and the fresh worlds of the pretraining text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ..agent.search import Bm25
from ..agent.tasks import LETTERS, Question
from .world import Entity, World

# How many questions each split of a task has. "pretrain" are head questions composed in the
# pretraining text; they are in no split.
SIZES: Mapping[str, Mapping[str, int]] = {
    "hotpotqa": {"pretrain": 600, "train": 2400, "dev": 400, "test": 600},
    "strategyqa": {"pretrain": 240, "train": 1000, "dev": 200, "test": 300},
    "mmlu": {"pretrain": 140, "train": 1000, "dev": 200, "test": 300},
    "bamboogle": {"test": 125},
}
SPLITS = ("train", "dev", "test")
HEAD_QUESTIONS = 0.4
_POOL = 1960  # what the HotpotQA-like "pretrain" questions are drawn from

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
# The StrategyQA-like task: the relations to look up are not named.
# (kinds, relations, wordings): is the first year before the second?
_BEFORE = (
    (("person", "film"), ("birth_year", "year"),
     ("Could {a} have seen the film {b} when it was new?",
      "Was {a} alive at the premiere of the film {b}?")),
    (("person", "book"), ("birth_year", "year"),
     ("Could {a} have bought the book {b} on its first day?",
      "Was {a} alive when the book {b} reached the shops?")),
    (("person", "company"), ("birth_year", "year"),
     ("Could {a} have been a guest when {b} opened its doors?",
      "Did {a} live to see the first day of {b}?")),
    (("person", "person"), ("birth_year", "birth_year"),
     ("Could {a} have held {b} as a newborn?",
      "Could {a} have sent a card for the birth of {b}?")),
)  # fmt: skip
# (kinds, relations, wordings): do two share something?
_SHARED = (
    (("person", "person"), ("university", "university"),
     ("Could {a} and {b} meet at a reunion of old students?",
      "Would {a} and {b} cheer for one team of students?")),
    (("person", "person"), ("birth_city", "birth_city"),
     ("Would {a} and {b} call the same town their first home?",
      "Could {a} and {b} have begun life as neighbours?")),
)  # fmt: skip
# The MMLU-like task: one fact, four options.
_CHOICES: Mapping[tuple[str, str], tuple[str, str]] = {
    **{("person", relation): wordings for relation, wordings in _ASKS.items()},
    ("film", "director"): ("Who directed the film {s}?", "The film {s} is by which director?"),
    ("film", "star"): ("Who is the star of the film {s}?", "Who plays in the film {s}?"),
    ("film", "year"): ("In which year did the film {s} come out?", "How old is the film {s}?"),
    ("book", "author"): ("Who wrote the book {s}?", "Who is the author of the book {s}?"),
    ("book", "genre"): ("What kind of story is the book {s}?", "What is the book {s} about?"),
    ("book", "year"): ("In which year did the book {s} come out?", "How old is the book {s}?"),
    ("company", "founder"): ("Who founded {s}?", "Who is the founder of {s}?"),
    ("company", "city"): ("In which city is {s} based?", "Where is the head office of {s}?"),
    ("company", "year"): ("In which year was {s} founded?", "How old is {s}?"),
    ("university", "city"): ("In which city is {s}?", "Where is {s}?"),
    ("university", "year"): ("In which year did {s} open?", "How old is {s}?"),
    ("city", "country"): ("In which country is {s}?", "{s} lies in which country?"),
    ("city", "year"): ("In which year was {s} founded?", "How old is the city {s}?"),
    ("country", "capital"): ("What is the capital of {s}?", "Which city is the capital of {s}?"),
    ("country", "currency"): ("What is the currency of {s}?", "How does one pay in {s}?"),
}


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
    others = {e.facts[relation] for e in world.kind(entity.kind) if relation in e.facts}
    others = sorted(others - {answer, entity.name})
    if len(others) < 3:
        return None
    options = [answer, *rng.sample(others, 3)]
    rng.shuffle(options)
    listed = " ".join(f"({x}) {o}" for x, o in zip(LETTERS, options, strict=True))
    return Puzzle(
        text=f"{_CHOICES[entity.kind, relation][wording].format(s=entity.name)} {listed}",
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
_CELLS: Mapping[str, Mapping[tuple[str, bool | None], float]] = {
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
    "earlier": _EARLIER,
    "same": _SAME,
    "before": _BEFORE,
    "shared": _SHARED,
    "choice": tuple(_CHOICES),
}


def draw_form(
    rng: random.Random, task: str = "hotpotqa", kind: str | None = None, yes: bool | None = None
) -> Form:
    """A random form of a task's questions, in the shares that its splits have."""
    cells = _CELLS[task]
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


def make_all_puzzles(world: World) -> dict[str, dict[str, list[Puzzle]]]:
    """All splits of all tasks, by one seed.

    No two puzzles share their composed facts, whatever their task, split or wording; only among the
    1,000 MMLU-like training questions a fact is asked twice. Every split of a task has the same
    shares of kinds and of yes and no. Tail questions take the forms of the head questions of their
    split, so that wording cannot betray which is which.
    """
    rng = random.Random(f"splits/{world.seed}")
    taken: set[frozenset] = set()
    made = {"hotpotqa": {"pretrain": _pretrain_puzzles(world, taken)}}
    for task in ("hotpotqa", "strategyqa", "bamboogle"):
        splits = {s: n for s, n in SIZES[task].items() if s not in made.get(task, {})}
        made[task] = made.get(task, {}) | _fill_splits(world, rng, taken, task, splits)
    made["mmlu"] = _choice_puzzles(world, rng)
    return made


def _fill_splits(
    world: World, rng: random.Random, taken: set[frozenset], task: str, sizes: Mapping[str, int]
) -> dict[str, list[Puzzle]]:
    chosen: dict[str, list[Puzzle]] = {split: [] for split in sizes}
    search = Bm25(world.passages) if task == "bamboogle" else None
    for (kind, yes), share in _CELLS[task].items():
        heads_of = {s: 1.0 if s == "pretrain" else HEAD_QUESTIONS for s in sizes}
        counts = {split: round(n * heads_of[split] * share) for split, n in sizes.items()}
        heads = [
            _draw(world, rng, taken, True, partial(draw_form, rng, task, kind, yes), search)
            for _ in range(sum(counts.values()))
        ]
        rng.shuffle(heads)  # templates run short towards the end: spread that over the splits
        for split, count in counts.items():
            own, heads = heads[:count], heads[count:]
            tails = round(sizes[split] * (1 - heads_of[split]) * share)
            chosen[split] += [puzzle for _, puzzle in own]
            for i in range(tails):
                form = own[i % count][0]
                drawn = _draw(world, rng, taken, False, lambda form=form: form, search)
                chosen[split].append(drawn[1])
    for split in sizes:
        rng.shuffle(chosen[split])
    return chosen


def _choice_puzzles(world: World, rng: random.Random) -> dict[str, list[Puzzle]]:
    """The MMLU-like splits: every head fact belongs to one split; training asks some twice."""
    facts = [
        (entity, relation)
        for kind, relation in _CHOICES
        for entity in world.kind(kind)
        if entity.head and choice(world, random.Random(0), entity, relation, 0)
    ]
    rng.shuffle(facts)
    sizes = SIZES["mmlu"]
    made: dict[str, list[Puzzle]] = {}
    for split in ("pretrain", "dev", "test", "train"):
        own = facts if split == "train" else facts[: sizes[split]]
        facts = facts[len(own) :]
        asked = [(*fact, rng.randrange(2)) for fact in own]
        asked += [(*fact, 1 - wording) for *fact, wording in asked]
        made[split] = [
            choice(world, rng, entity, relation, wording)
            for entity, relation, wording in asked[: sizes[split]]
        ]
        if len(made[split]) < sizes[split]:
            raise ValueError(f"the world has too few head facts for the MMLU-like {split} split")
        rng.shuffle(made[split])
    return made


def _pretrain_puzzles(world: World, taken: set[frozenset]) -> list[Puzzle]:
    """Head questions for the pretraining text, from a larger pool: rare forms are among them."""
    rng = random.Random(f"questions/{world.seed}")
    pool = []
    seen: set[frozenset] = set()
    for _ in range(_POOL):
        kind = draw_form(rng).kind
        pool.append(_draw(world, rng, seen, True, partial(draw_form, rng, "hotpotqa", kind)))
    rng.shuffle(pool)
    chosen = [puzzle for _, puzzle in pool[: SIZES["hotpotqa"]["pretrain"]]]
    taken |= {puzzle.facts for puzzle in chosen}
    return chosen


def _draw(
    world: World,
    rng: random.Random,
    taken: set[frozenset],
    head: bool,
    next_form: Callable[[], Form],
    search: Bm25 | None = None,
) -> tuple[Form, Puzzle]:
    """A puzzle whose facts are not taken yet, and its form; takes them.

    With `search` the question, typed in as it stands, must not bring up its answer.
    """
    for _ in range(5000):
        form = next_form()
        puzzle = fill_form(world, rng, form, head)
        if not puzzle or puzzle.head != head or puzzle.facts in taken:
            continue
        if search and puzzle.answer in search.search(puzzle.text):
            continue
        taken.add(puzzle.facts)
        return form, puzzle
    raise ValueError(f"the world is too small for another question like {form}")


def make_questions(puzzles: Mapping[str, list[Puzzle]], task: str) -> dict[str, list[Question]]:
    """The splits of a task as questions; `type` is what they ask for."""
    return {
        split: [
            Question(
                id=f"{task}-{split}-{i:04d}",
                question=p.text,
                answer=p.answer,
                task=task,
                split=split,
                type=_type_of(task, p),
                head=p.head,
                meta={"options": list(p.options)} if p.options else {},
            )
            for i, p in enumerate(puzzles[split])
        ]
        for split in SPLITS
        if split in puzzles
    }


def _type_of(task: str, puzzle: Puzzle) -> str:
    if task == "hotpotqa":
        return "bridge" if puzzle.kind == "bridge" else "comparison"
    if task == "mmlu":
        return puzzle.relations[1]
    return {"same": "shared"}.get(puzzle.kind, puzzle.kind)
