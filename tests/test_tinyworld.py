"""The tiny world: the same bytes everywhere, right gold answers, and the rules that keep it honest.

Reads the very rows of the pretraining text that the shipped models were trained on.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fireact_nb.artifacts import DATA, tiny_questions
from fireact_nb.study import write_tokenizer, write_world
from fireact_nb.tinyworld.questions import (
    HEAD_QUESTIONS,
    HELD_OUT,
    SPLITS,
    Puzzle,
    draw_form,
    fill_form,
    make_puzzles,
    make_questions,
)
from fireact_nb.tinyworld.text import (
    FRESH_SIZES,
    draw_style,
    found,
    open_library,
    write_documents,
)
from fireact_nb.tinyworld.world import SEED, World, make_world
from fireact_nb.trajectory import Message

Document = str | list[Message]

ROWS = 600
ROW_CHARACTERS = 4000  # more than the 1,025 tokens of a row ever come to
FACT = re.compile(r"The ([a-z][a-z ]*?) of ([A-Z].+?) is (.+?)\.")


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def puzzles(world: World) -> dict[str, list[Puzzle]]:
    return make_puzzles(world)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """The documents of the first rows that every tiny model was trained on."""
    kept: list[Document] = []
    for row in range(ROWS):
        characters = 0
        for document in write_documents(f"{SEED}/{row}"):
            kept.append(document)
            characters += sum(map(len, contents(document)))
            if characters > ROW_CHARACTERS:
                break
    return kept


def contents(document: Document) -> list[str]:
    """The text of a plain document, or of each message."""
    return [document] if isinstance(document, str) else [m["content"] for m in document]


def split_puzzles(puzzles: dict[str, list[Puzzle]]) -> Iterator[tuple[str, Puzzle]]:
    return ((split, puzzle) for split in SPLITS for puzzle in puzzles[split])


# -- byte for byte ------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_world_and_tokenizer_are_the_shipped_bytes(tmp_path):
    write_world(tmp_path / "world")
    write_world(tmp_path / "again")
    write_tokenizer(tmp_path / "tokenizer")
    assert files(tmp_path / "world") == files(tmp_path / "again") == files(DATA / "tinyworld")
    assert files(tmp_path / "tokenizer") == files(DATA / "tokenizer")


def test_another_hash_seed_writes_the_same_bytes(tmp_path):
    program = (
        "import sys; from pathlib import Path; from fireact_nb import study; p = Path(sys.argv[1]);"
        "study.write_world(p / 'world'); study.write_tokenizer(p / 'tokenizer');"
        "from fireact_nb.tinyworld.text import write_documents; from itertools import islice;"
        "print(ascii(list(islice(write_documents('a seed'), 8))))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=os.environ | {"PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert files(tmp_path / "world") == files(DATA / "tinyworld")
    assert files(tmp_path / "tokenizer") == files(DATA / "tokenizer")
    assert told.strip() == ascii(list(itertools.islice(write_documents("a seed"), 8)))


# -- splits -------------------------------------------------------------------------------------


def test_sizes_ids_and_head_share(puzzles):
    questions = make_questions(puzzles)
    assert {s: len(q) for s, q in questions.items()} == {"train": 2400, "dev": 400, "test": 600}
    ids = [q.id for split in questions.values() for q in split]
    assert len(set(ids)) == len(ids)
    for split, own in questions.items():
        assert own == tiny_questions(split)
        assert sum(q.head for q in own) / len(own) == pytest.approx(HEAD_QUESTIONS, abs=0.02)


def test_no_text_and_no_composed_facts_are_shared(puzzles):
    every = [puzzle for own in puzzles.values() for puzzle in own]
    assert {"pretrain", *SPLITS} == set(puzzles)
    assert not repeated(p.text.casefold() for p in every)
    assert not repeated(p.facts for p in every)


def repeated(things) -> list:
    return [thing for thing, count in Counter(things).items() if count > 1]


@pytest.mark.parametrize("split", SPLITS)
def test_yes_and_no_are_balanced(puzzles, split):
    answers = [p.answer for p in puzzles[split] if p.kind == "same"]
    assert set(answers) == {"yes", "no"}
    share = answers.count("yes") / len(answers)
    assert 0.4 <= share <= 0.6, f"{split}: {share:.0%} of {len(answers)} are yes"


# -- gold answers -------------------------------------------------------------------------------

# What a question that asks for a relation says, in one wording or the other.
HINTS = {
    "birth_city": "born|come from",
    "birth_year": "born|older",
    "university": "universit|stud",
    "spouse": "spouse|marri",
    "occupation": "work|known|occupation",
    "director": "director",
    "star": "star",
    "author": "author",
    "founder": "founder",
    "city": "city|based|office",
    "country": "country",
    "year": "year|first|older",
}


def gold(world: World, puzzle: Puzzle) -> str:
    """The answer by following the hops through the pages, links before names."""
    pages = [world.entities[title] for title, _ in puzzle.hops]
    relations = [relation for _, relation in puzzle.hops]
    values = [page.facts[relation] for page, relation in zip(pages, relations, strict=True)]
    if puzzle.kind == "bridge":
        assert pages[0].links[relations[0]] == pages[1].title
        assert values[0] == pages[1].name
        return values[1]
    assert relations[0] == relations[1]
    if puzzle.kind == "same":
        named = [p.links.get(r, p.facts[r]) for p, r in zip(pages, relations, strict=True)]
        return "yes" if named[0] == named[1] else "no"
    assert values[0] != values[1]
    return min(pages, key=lambda page: int(page.facts[relations[0]])).name


def test_gold_answers_follow_from_the_pages(world, puzzles):
    wrong = [
        (puzzle.text, puzzle.answer, gold(world, puzzle))
        for _, puzzle in split_puzzles(puzzles)
        if puzzle.answer != gold(world, puzzle)
    ]
    assert not wrong, wrong[:3]
    questions = {q.question: q.answer for split in SPLITS for q in tiny_questions(split)}
    assert questions == {p.text: p.answer for _, p in split_puzzles(puzzles)}


def test_questions_name_one_page_and_ask_for_its_facts(world, puzzles):
    for _, puzzle in split_puzzles(puzzles):
        named = puzzle.hops[:1] if puzzle.kind == "bridge" else puzzle.hops
        for title, _ in named:
            page = world.entities[title]
            assert page.name in puzzle.text
            assert sum(e.name == page.name for e in world.kind(page.kind)) == 1, puzzle.text
        if puzzle.kind == "bridge":
            hidden = world.entities[puzzle.hops[1][0]].name
            assert hidden not in puzzle.text, "the page in between must be looked up"
        asked = mask(world, puzzle)
        for _, relation in puzzle.hops:
            assert re.search(HINTS[relation], asked.lower()), (relation, puzzle.text)


def test_head_means_that_all_pages_are_head_pages(world, puzzles):
    for _, puzzle in split_puzzles(puzzles):
        assert puzzle.head == all(world.entities[title].head for title, _ in puzzle.hops)


# -- honesty: what the pretraining text holds ---------------------------------------------------


def test_no_question_of_a_split_is_in_the_text(puzzles, documents):
    messages = {text for document in documents for text in contents(document)}
    lines = {line.strip() for text in messages for line in text.splitlines()}
    shown = {p.text for p in puzzles["pretrain"]} & lines
    assert len(shown) > 300, "the check must see the compositions that may be shown"
    for split, puzzle in split_puzzles(puzzles):
        assert puzzle.text not in lines, (split, puzzle.text)
    everything = "\n".join(sorted(messages)).casefold()
    for split in ("dev", "test"):
        for puzzle in puzzles[split]:
            assert puzzle.text.casefold() not in everything, (split, puzzle.text)


def test_no_composed_facts_of_a_split_are_in_one_message(world, puzzles, documents):
    said: list[set[str]] = [
        {match.group(0) for match in FACT.finditer(text)}
        for document in documents
        if not isinstance(document, str)
        for text in contents(document)
    ]
    where: dict[str, set[int]] = {}
    for place, sentences in enumerate(said):
        for sentence in sentences:
            where.setdefault(sentence, set()).add(place)

    def composed(puzzle: Puzzle) -> set[int]:
        sentences = [
            found(relation, world.entities[title].name, world.entities[title].facts[relation])
            for title, relation in puzzle.hops
        ]
        return set.intersection(*(where.get(s, set()) for s in sentences))

    assert sum(bool(composed(p)) for p in puzzles["pretrain"]) > 300, "the check must see some"
    for split, puzzle in split_puzzles(puzzles):
        assert not composed(puzzle), (split, puzzle.text)


def test_the_real_world_is_asked_about_by_pretrain_puzzles_alone(world, puzzles, documents):
    assert open_library().puzzles == puzzles["pretrain"]
    real = invented_words(world)
    names = {page.name for page in world.entities.values()}
    allowed = {p.text for p in puzzles["pretrain"]}
    asked: Counter[str] = Counter()
    for document in documents:
        if isinstance(document, str):
            continue
        for message in document:
            question = message["content"].splitlines()[-1]
            if message["role"] != "user" or not question.endswith("?"):
                continue
            if not real & set(re.findall(r"\w+", question)):
                asked["fresh"] += 1
            elif question in allowed:
                asked["pretrain"] += 1
            else:
                one = re.fullmatch(r"What is the ([a-z ]+) of (.+)\?", question)
                assert one and one[2] in names, question
                asked["one fact"] += 1
    assert min(asked[kind] for kind in ("fresh", "pretrain", "one fact")) > 500


# The kind of page that a relation to a person belongs to.
OWNERS = {
    "director": "film",
    "star": "film",
    "author": "book",
    "founder": "company",
    "spouse": "person",
}


def test_held_out_relation_pairs_occur_nowhere(puzzles, documents):
    for own in puzzles.values():
        assert not [p.text for p in own if p.relations in HELD_OUT]
    rng = random.Random("held out")
    fresh = make_world("held out", FRESH_SIZES)
    forms = [draw_form(rng) for _ in range(3000)]
    assert not [form for form in forms if form.template in HELD_OUT]
    asked = [p for p in (fill_form(fresh, rng, form) for form in forms) if p]
    assert len(asked) > 1000
    assert not [p.text for p in asked if p.relations in HELD_OUT]
    chains: Counter[tuple[str, ...]] = Counter()
    for document in documents:
        if isinstance(document, str):
            continue
        for text in contents(document):
            facts = [match.groups() for match in FACT.finditer(text)]
            for (via, _, middle), (what, name, _) in itertools.pairwise(facts):
                if middle == name and via in OWNERS:
                    chains[OWNERS[via], via, what.replace(" ", "_")] += 1
    assert chains["film", "director", "birth_city"] > 50, "the check must see chains"
    assert not set(chains) & set(HELD_OUT)


# Where in a page's name the word stands that was made of syllables.
INVENTED = {
    "country": 0,
    "city": 0,
    "university": 0,
    "person": 1,
    "film": 1,
    "book": 1,
    "company": 0,
}


def invented_words(world: World, *kinds: str) -> set[str]:
    """The words made of syllables in the names of pages of some kinds, of all kinds if none."""
    pages = [e for e in world.entities.values() if e.kind in (kinds or INVENTED)]
    return {e.name.split()[INVENTED[e.kind]] for e in pages}


def currencies(world: World) -> set[str]:
    return {country.facts["currency"] for country in world.kind("country")}


@pytest.fixture(scope="module")
def fresh_worlds(world) -> list[World]:
    """The fresh worlds of the first rows of the pretraining text."""
    return [make_world(f"{SEED}/{row}", FRESH_SIZES, world.words) for row in range(ROWS)]


@pytest.mark.parametrize("kind", [kind for kind in INVENTED if kind != "country"])
def test_fresh_worlds_share_no_invented_word_with_the_real_one(world, fresh_worlds, kind):
    real = invented_words(world)
    assert {"Lodelia", "Kenel", "Sirin", "Situs", "Zerin", "Lelan"} <= real
    shared = [(row, invented_words(w, kind) & real) for row, w in enumerate(fresh_worlds)]
    shared = [(row, words) for row, words in shared if words]
    assert not shared, f"{len(shared)} of {ROWS} rows, first {shared[:3]}"


@pytest.mark.parametrize("words", [lambda w: invented_words(w, "country"), currencies])
def test_a_fresh_world_rarely_reuses_a_country_or_a_currency(world, fresh_worlds, words):
    """`World.words` misses these two, and closing that would alter the text the weights have read.

    Such a row tells nothing of a split's questions; it only says of a real name what is not so.
    """
    shared = [row for row, w in enumerate(fresh_worlds) if words(w) & words(world)]
    assert 0 < len(shared) <= 0.02 * ROWS, f"{len(shared)} of {ROWS} rows"


def test_facts_of_the_head_are_read_more_often(world, documents):
    """Counts a page line for each fact it states, and a sentence of reasoning for its fact."""
    seen: Counter[tuple[str, str]] = Counter()
    by_name = {e.name: e for e in world.entities.values() if e.title == e.name}
    for text in itertools.chain.from_iterable(map(contents, documents)):
        for relation, name, value in FACT.findall(text):
            page = by_name.get(name)
            relation = relation.replace(" ", "_")
            if page and page.facts.get(relation) == value:
                seen[page.title, relation] += 1
    for document in documents:
        for line in document.splitlines() if isinstance(document, str) else ():
            page = by_name.get(line.partition(": ")[0])
            for relation, value in page.facts.items() if page else ():
                seen[page.title, relation] += value in line
    rates = {}
    for head in (True, False):
        facts = [(e.title, r) for e in by_name.values() if e.head == head for r in e.facts]
        rates[head] = sum(seen[fact] for fact in facts) / len(facts)
    assert rates[False] > 0
    assert rates[True] >= 3 * rates[False], rates


# -- few-shot documents -------------------------------------------------------------------------

STYLES = {
    ("Thought", "Action", "Observation", "search", "finish", "Answer"),
    ("Idea", "Step", "Result", "find", "done", "Solution"),
    ("Note", "Move", "Output", "look", "end", "Final"),
    ("Plan", "Do", "Reply", "query", "stop", "Verdict"),
    ("Reason", "Next", "Found", "seek", "close", "Outcome"),
}
_ACTS = re.compile(r"(\w+): (.+)\n(\w+): (\w+)([\[(<])(.+)([\])>])", re.DOTALL)
_REASONS = re.compile(r"(\w+): (.+)\n(\w+): (.+)")
_ANSWERS = re.compile(r"(\w+): (.+)")


def markers(document: list[Message]) -> tuple[set[str], set[tuple[str, str]], set[str]]:
    """The shapes of a few-shot document's turns, its marker words with their places, its brackets.

    An observation is the user message after an action; a question, which ends in "?", is not.
    """
    shapes, labels, brackets = set(), set(), set()
    observed = False
    for message, following in itertools.zip_longest(document, document[1:]):
        text = message["content"]
        if message["role"] == "user":
            if observed:
                labels.add(("observation", text.partition(": ")[0]))
            continue
        observed = bool(following) and not following["content"].endswith("?")
        if act := _ACTS.fullmatch(text):
            shapes.add("react")
            labels |= {("thought", act[1]), ("action", act[3])}
            labels.add(("search" if observed else "finish", act[4]))
            brackets.add(act[5] + act[7])
        elif reason := _REASONS.fullmatch(text):
            shapes.add("cot")
            labels |= {("thought", reason[1]), ("answer", reason[3])}
        elif answer := _ANSWERS.fullmatch(text):
            shapes.add("io")
            labels.add(("answer", answer[1]))
        else:
            shapes.add(f"unreadable: {text}")
    return shapes, labels, brackets


PLACES = ("thought", "action", "observation", "search", "finish", "answer")


def test_a_few_shot_document_keeps_one_method_and_one_style(documents):
    seen: Counter[tuple[str, str]] = Counter()
    for document in documents:
        if isinstance(document, str):
            continue
        shapes, labels, brackets = markers(document)
        assert len(shapes) == 1 and len(brackets) <= 1, (shapes, brackets)
        fitting = [s for s in STYLES if labels <= set(zip(PLACES, s, strict=True))]
        assert len(fitting) == 1, labels
        seen[shapes.pop(), fitting[0][0]] += 1
    assert {style for _, style in seen} == {style[0] for style in STYLES}
    assert {shape for shape, _ in seen} == {"react", "cot", "io"}
    rng = random.Random(0)
    assert {draw_style(rng).brackets for _ in range(99)} == {"[]", "()", "<>"}


# -- wording ------------------------------------------------------------------------------------


def mask(world: World, puzzle: Puzzle) -> str:
    """The question without the names in it."""
    text = puzzle.text
    for title, _ in puzzle.hops:
        text = text.replace(world.entities[title].name, "NAME")
    return text


def probe(
    train: Sequence[tuple[str, bool]], held_out: Sequence[tuple[str, bool]], rounds: int = 400
) -> float:
    """AUC on held-out texts of a logistic regression on bags of words and of word pairs."""
    tokens = [bag(text) for text, _ in train]
    vocabulary = {word: i for i, word in enumerate(sorted(set().union(*tokens)))}

    def matrix(rows: Sequence[tuple[str, bool]]) -> tuple[np.ndarray, np.ndarray]:
        x = np.zeros((len(rows), len(vocabulary) + 1))
        x[:, -1] = 1
        for row, (text, _) in enumerate(rows):
            x[row, [vocabulary[w] for w in bag(text) if w in vocabulary]] = 1
        return x, np.array([label for _, label in rows], dtype=float)

    x, y = matrix(train)
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-x @ weights))
        weights -= 0.5 * (x.T @ (p - y) / len(y) + 1e-4 * weights)
    x, y = matrix(held_out)
    return auc(x @ weights, y)


def bag(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {*words, *map(" ".join, itertools.pairwise(words))}


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The chance that a positive outranks a negative, ties counting half."""
    scores = np.round(scores, 9)
    above = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def test_wording_does_not_betray_head_or_tail(world, puzzles):
    def rows(splits: Sequence[str], label) -> list[tuple[str, bool]]:
        return [(mask(world, p), label(p)) for s in splits for p in puzzles[s]]

    def is_head(puzzle: Puzzle) -> bool:
        return puzzle.head

    def is_bridge(puzzle: Puzzle) -> bool:
        return puzzle.kind == "bridge"

    held_out = ("dev", "test")
    assert probe(rows(["train"], is_bridge), rows(held_out, is_bridge)) > 0.9
    measured = probe(rows(["train"], is_head), rows(held_out, is_head))
    assert measured <= 0.55, f"AUC {measured:.3f}"
