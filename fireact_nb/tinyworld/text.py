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
from dataclasses import dataclass, replace
from functools import cache, cached_property

from ..agent.search import NOTHING, Bm25
from ..agent.trajectory import Message
from .questions import Puzzle, choice, draw_form, fill_form, make_all_puzzles
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
        wanted = {entity.passage_with(relation)}
        if relation == "spouse":  # told on both pages
            wanted.add(scene.world.linked(entity, relation).passage_with(relation))
        queries = [*_QUERIES[entity.kind, relation]]
        rng.shuffle(queries)
        if rng.random() < 0.75:  # mostly ask in the words of most pages first
            queries = [*_QUERIES[entity.kind, relation]]
        if title != names[hop] and rng.random() < 0.5:
            addition = title[len(names[hop]) + 1 :].strip("()")
            queries = [q.replace("{s}", "{s} " + addition) for q in queries]
        broad = _BROAD.get((entity.kind, relation)) if reflect else None
        if broad:
            queries += [broad, *queries]
        lack = ""
        while queries:
            change = broad in queries and len(messages) // 2 + 1 >= min(REFLECTIONS)
            wording = queries.pop(queries.index(broad) if change else 0)
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
        puzzle = fill_form(scene.world, rng, draw_form(rng, task))
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


def _drill(world: World, rng: random.Random) -> str:
    """One comparison of names or years: what the verdicts of the reasoning rest on."""
    if rng.random() < 0.5:
        a, b = rng.sample(range(1930, 2020), 2)
        return f"{a} is {'before' if a < b else 'after'} {b}."
    pool = world.kind(rng.choice(("city", "university", "person")))
    a = rng.choice(pool).name
    b = a if rng.random() < 0.5 else rng.choice(pool).name
    return f"{a} and {b} are {'the same' if a == b else 'different'}."


def write_code(world: World, rng: random.Random) -> str:
    """A small program over a fresh world, its output in comments: what a code model reads."""
    kind = rng.choice(("person", "film", "book", "company"))
    sample = rng.sample(world.kind(kind), rng.randint(3, 5))
    entities = list({e.name: e for e in sample}.values())  # no namesakes: names are keys
    relation = rng.choice([r for r in entities[0].facts if all(r in e.facts for e in entities)])
    year = "birth_year" if kind == "person" else "year"
    rows = {
        e.name: {relation: _plain(e.facts[relation]), year: int(e.facts[year])} for e in entities
    }
    table = "\n".join(f"    {name!r}: {row}," for name, row in rows.items())
    a, b = rng.sample(entities, 2)
    lines = [f"{kind}s = {{\n{table}\n}}"]
    for _ in range(rng.randint(1, 2)):
        task = rng.randrange(4)
        if task == 0:
            lines += [
                f"def get_{relation}(name):\n    return {kind}s[name][{relation!r}]",
                f"print(get_{relation}({a.name!r}))  # {a.facts[relation]}",
            ]
        elif task == 1:
            same = a.facts[relation] == b.facts[relation]
            lines += [
                f"left = {kind}s[{a.name!r}][{relation!r}]\n"
                f"right = {kind}s[{b.name!r}][{relation!r}]",
                f"print(left == right)  # {same}",
            ]
        elif task == 2:
            first = min(entities, key=lambda e: int(e.facts[year]))
            lines += [
                f"first = min({kind}s, key=lambda name: {kind}s[name][{year!r}])",
                f"print(first)  # {first.name}",
            ]
        else:
            later = [e.name for e in entities if int(e.facts[year]) > int(a.facts[year])]
            lines += [
                f"later = [name for name, x in {kind}s.items() if x[{year!r}] > {a.facts[year]}]",
                f"print(later)  # {later}",
            ]
    return "\n".join(lines)


def _plain(value: str) -> str | int:
    return int(value) if value.isdigit() else value


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
