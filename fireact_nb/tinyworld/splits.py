"""The splits of all tasks: which questions are asked in pretraining, training, dev and test.

Knows shares and seeds; how a question is worded and answered stands in `questions`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial

from ..agent.search import Bm25
from ..agent.tasks import Question
from .questions import CELLS, Form, Puzzle, choice, draw_form, fill_form
from .wordings import CHOICES
from .world import World

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
    for (kind, yes), share in CELLS[task].items():
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
                form = own[i % count][0]  # a tail question takes the form of a head question
                _, puzzle = _draw(world, rng, taken, False, partial(_same, form), search)
                chosen[split].append(puzzle)
    for split in sizes:
        rng.shuffle(chosen[split])
    return chosen


def _same(form: Form) -> Form:
    return form


def _choice_puzzles(world: World, rng: random.Random) -> dict[str, list[Puzzle]]:
    """The MMLU-like splits: every head fact belongs to one split; training asks some twice."""
    facts = [
        (entity, relation)
        for kind, relation in CHOICES
        for entity in world.kind(kind)
        if entity.head and choice(world, random.Random(0), entity, relation, 0)
    ]
    rng.shuffle(facts)
    sizes = SIZES["mmlu"]
    made: dict[str, list[Puzzle]] = {}
    for split in ("pretrain", "dev", "test", "train"):
        own = facts if split == "train" else facts[: sizes[split]]
        facts = facts[len(own) :]
        asked = [(entity, relation, rng.randrange(2)) for entity, relation in own]
        asked += [(entity, relation, 1 - wording) for entity, relation, wording in asked]
        puzzles = [choice(world, rng, *fact) for fact in asked[: sizes[split]]]
        made[split] = [puzzle for puzzle in puzzles if puzzle]
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
                options=p.options,
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
