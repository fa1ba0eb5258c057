"""The tiny world: the same bytes everywhere, right gold answers, and the rules that keep it honest.

Reads the very rows of the pretraining text that the shipped models were trained on.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fireact_nb.agent.tasks import LETTERS, TASKS, score
from fireact_nb.agent.trajectory import Message
from fireact_nb.artifacts import DATA
from fireact_nb.study.chain import write_tokenizer, write_world
from fireact_nb.tinyworld import TinyWorld
from fireact_nb.tinyworld.dialogues import draw_style, found
from fireact_nb.tinyworld.questions import Puzzle, choice, draw_form, fill_form
from fireact_nb.tinyworld.splits import make_all_puzzles, make_questions
from fireact_nb.tinyworld.text import FRESH_SIZES, open_library, write_documents
from fireact_nb.tinyworld.wordings import HELD_OUT
from fireact_nb.tinyworld.world import SEED, World, make_world

WORLD = TinyWorld()


Document = str | list[Message]
Puzzles = dict[str, dict[str, list[Puzzle]]]  # by task and split

ROWS = 600
ROW_CHARACTERS = 4000  # more than the 1,025 tokens of a row ever come to
FACT = re.compile(r"The ([a-z][a-z ]*?) of ([A-Z].+?) is (.+?)\.")
SIZES = {
    "hotpotqa": {"pretrain": 600, "train": 2400, "dev": 400, "test": 600},
    "strategyqa": {"pretrain": 240, "train": 1000, "dev": 200, "test": 300},
    "mmlu": {"pretrain": 140, "train": 1000, "dev": 200, "test": 300},
    "bamboogle": {"test": 125},
}
each_task = pytest.mark.parametrize("task", TASKS)
each_two_hop_task = pytest.mark.parametrize("task", [t for t in TASKS if t != "mmlu"])


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def puzzles(world: World) -> Puzzles:
    return make_all_puzzles(world)


@pytest.fixture(scope="module")
def rows() -> list[Document]:
    """The documents of the first rows that the code students were trained on."""
    kept: list[Document] = []
    for row in range(ROWS):
        characters = 0
        for document in write_documents(f"{SEED}/{row}", code=True):
            kept.append(document)
            if not is_program(document):
                characters += sum(map(len, contents(document)))
            if characters > ROW_CHARACTERS:
                break
    return kept


@pytest.fixture(scope="module")
def documents(rows: list[Document]) -> list[Document]:
    """Those that every tiny model was trained on."""
    return [document for document in rows if not is_program(document)]


@pytest.fixture(scope="module")
def programs(rows: list[Document]) -> list[str]:
    """Those that the code students alone were trained on."""
    return [document for document in rows if is_program(document)]


def is_program(document: Document) -> bool:
    return isinstance(document, str) and "\nprint(" in document


def contents(document: Document) -> list[str]:
    """The text of a plain document, or of each message."""
    return [document] if isinstance(document, str) else [m["content"] for m in document]


def dialogues(documents: list[Document]) -> Iterator[list[Message]]:
    return (document for document in documents if not isinstance(document, str))


def split_puzzles(puzzles: Puzzles, *tasks: str) -> Iterator[tuple[str, Puzzle]]:
    """The puzzles of the splits, of some tasks or of all."""
    for task in tasks or TASKS:
        for split, own in puzzles[task].items():
            if split != "pretrain":
                yield from ((f"{task} {split}", puzzle) for puzzle in own)


def asked(question: str) -> str:
    """The question up to "(A)" if it has options, since those can be drawn anew."""
    return "".join(question.partition("(A)")[:2])


def options_of(question: str) -> list[str]:
    """The four options that a question lists, in the order of their letters."""
    listed = question.removeprefix(asked(question).removesuffix("(A)"))
    return list(re.fullmatch(r"\(A\) (.+) \(B\) (.+) \(C\) (.+) \(D\) (.+)", listed).groups())


def is_question(content: str) -> bool:
    """Is a user message a question? It may stand below passages and be followed by options."""
    return "?" in content


def repeated(things) -> list:
    return [thing for thing, count in Counter(things).items() if count > 1]


# -- byte for byte ------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.slow
def test_world_and_tokenizer_are_the_shipped_bytes(tmp_path):
    write_world(tmp_path / "world")
    write_world(tmp_path / "again")
    write_tokenizer(tmp_path / "tokenizer")
    assert files(tmp_path / "world") == files(tmp_path / "again") == files(DATA / "tinyworld")
    assert files(tmp_path / "tokenizer") == files(DATA / "tokenizer")


@pytest.mark.slow
def test_another_hash_seed_writes_the_same_bytes(tmp_path):
    program = (
        "import sys; from pathlib import Path; p = Path(sys.argv[1]); "
        "from fireact_nb.study import chain;"
        "chain.write_world(p / 'world'); chain.write_tokenizer(p / 'tokenizer');"
        "from fireact_nb.tinyworld.text import write_documents; from itertools import islice;"
        "print(ascii(list(islice(write_documents('a seed', code=True), 20))))"
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
    assert told.strip() == ascii(list(itertools.islice(write_documents("a seed", code=True), 20)))


# -- splits -------------------------------------------------------------------------------------


@each_task
def test_sizes_and_head_share(puzzles, task):
    assert {split: len(own) for split, own in puzzles[task].items()} == SIZES[task]
    for split, own in puzzles[task].items():
        share = 1.0 if task == "mmlu" or split == "pretrain" else 0.4
        assert sum(p.head for p in own) / len(own) == pytest.approx(share, abs=0.02), split


def test_the_shipped_questions_are_those_of_the_puzzles(world, puzzles):
    ids = {"train": [], "held out": []}
    for task in TASKS:
        made = make_questions(puzzles[task], task)
        assert list(made) == [split for split in SIZES[task] if split != "pretrain"]
        for split, own in made.items():
            assert own == WORLD.questions(split, task=task)
            assert {(q.task, q.split) for q in own} == {(task, split)}
            ids["train" if split == "train" else "held out"] += [q.id for q in own]
    assert not repeated(ids["train"] + ids["held out"])
    assert sorted(q.id for q in WORLD.held_out()) == sorted(ids["held out"])


def test_no_text_and_no_composed_facts_are_shared(puzzles):
    every = [puzzle for splits in puzzles.values() for own in splits.values() for puzzle in own]
    assert not repeated(p.text.casefold() for p in every)
    composed = [p.facts for p in every if p.kind != "choice"]
    assert len(composed) == sum(sum(SIZES[task].values()) for task in TASKS if task != "mmlu")
    assert all(len(facts) == 2 for facts in composed)
    assert not repeated(composed)


def test_mmlu_asks_for_a_fact_in_one_split_only(puzzles):
    facts = {split: [p.hops for p in own] for split, own in puzzles["mmlu"].items()}
    assert all(len(hops) == 1 for own in facts.values() for hops in own)
    assert not repeated(hops for own in facts.values() for hops in set(own))
    for split in ("pretrain", "dev", "test"):
        assert not repeated(facts[split])
    twice = repeated(facts["train"])
    assert 0 < len(twice) == len(facts["train"]) - len(set(facts["train"])), "none thrice"
    assert not repeated(asked(p.text) for p in puzzles["mmlu"]["train"]), "in other words"


@pytest.mark.parametrize("split", SIZES["mmlu"])
def test_mmlu_letters_are_balanced(puzzles, split):
    letters = Counter(p.answer for p in puzzles["mmlu"][split])
    assert set(letters) == set(LETTERS)
    shares = [count / letters.total() for count in letters.values()]
    assert min(shares) >= 0.15 and max(shares) <= 0.35, letters


@pytest.mark.parametrize("task", ["hotpotqa", "strategyqa"])
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_yes_and_no_are_balanced(puzzles, task, split):
    """In every kind of question, and in its head and its tail, so that neither hints at yes."""
    answers: dict[tuple[str, bool], list[str]] = {}
    for p in puzzles[task][split]:
        if task == "strategyqa" or p.kind == "same":
            answers.setdefault((p.kind, p.head), []).append(p.answer)
    assert len(answers) == (4 if task == "strategyqa" else 2)
    for cell, own in answers.items():
        assert set(own) == {"yes", "no"}
        share = own.count("yes") / len(own)
        assert 0.4 <= share <= 0.6, f"{cell}: {share:.0%} of {len(own)} are yes"


# -- gold answers -------------------------------------------------------------------------------

# What a question that asks for a relation says, in one wording or the other.
HINTS = {
    "birth_city": "born|come from",
    "birth_year": "born|older",
    "university": "universit|stud",
    "spouse": "spouse|marri",
    "occupation": "work|known|occupation",
    "director": "direct",
    "star": "star|plays",
    "author": "author|wrote",
    "founder": "found",
    "city": "city|based|office|where",
    "country": "country",
    "year": "year|first|old",
    "genre": "what kind|about",
    "capital": "capital",
    "currency": "currency|pay",
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
    if puzzle.kind == "choice":
        options = options_of(puzzle.text)
        assert len(options) == len(set(options)) == 4 and options.count(values[0]) == 1
        return LETTERS[options.index(values[0])]
    if puzzle.kind in ("before", "earlier"):
        assert values[0] != values[1]
    if puzzle.kind == "before":
        return "yes" if int(values[0]) < int(values[1]) else "no"
    assert relations[0] == relations[1]
    if puzzle.kind == "same":
        named = [p.links.get(r, p.facts[r]) for p, r in zip(pages, relations, strict=True)]
        return "yes" if named[0] == named[1] else "no"
    assert puzzle.kind == "earlier"
    return min(pages, key=lambda page: int(page.facts[relations[0]])).name


@each_task
def test_gold_answers_follow_from_the_pages(world, puzzles, task):
    """Those of the puzzles that the pretraining text may show, too."""
    wrong = [
        (split, puzzle.text, puzzle.answer, gold(world, puzzle))
        for split, own in puzzles[task].items()
        for puzzle in own
        if puzzle.answer != gold(world, puzzle)
    ]
    assert not wrong, wrong[:3]


def test_what_a_question_needs_can_be_found(world, puzzles):
    passages = set(WORLD.search().passages)
    for _, puzzle in split_puzzles(puzzles):
        for title, relation in puzzle.hops:
            page = world.entities[title]
            passage = page.passage_with(relation)
            assert passage in passages and page.facts[relation] in passage


def test_a_page_states_its_facts_in_every_wording(world):
    for page in world.entities.values():
        pages = [replace(page, wording=wording).sentences for wording in range(3)]
        assert page.sentences in pages and len(set(pages)) > 1
        for sentences in pages:
            assert all(value in " ".join(sentences) for value in page.facts.values()), sentences
    assert {page.wording for page in world.entities.values()} == {0, 1, 2}


@each_task
def test_questions_name_one_page_and_ask_for_its_facts(world, puzzles, task):
    for _, puzzle in split_puzzles(puzzles, task):
        named = puzzle.hops[:1] if puzzle.kind == "bridge" else puzzle.hops
        places = []
        for title, _ in named:
            page = world.entities[title]
            places.append(asked(puzzle.text).index(page.name))
            assert sum(e.name == page.name for e in world.kind(page.kind)) == 1, puzzle.text
        assert places == sorted(places), "who comes first decides what is yes"
        if puzzle.kind == "bridge":
            hidden = world.entities[puzzle.hops[1][0]].name
            assert hidden not in puzzle.text, "the page in between must be looked up"
        wording = asked(mask(world, puzzle)).lower()
        for _, relation in puzzle.hops:
            if task == "strategyqa":
                assert relation.replace("_", " ") not in wording, "what to look up is implied"
            else:
                assert re.search(HINTS[relation], wording), (relation, puzzle.text)


def test_searching_for_a_bamboogle_question_does_not_bring_up_its_answer(puzzles):
    tool = WORLD.search()
    for puzzle in puzzles["bamboogle"]["test"]:
        assert puzzle.answer not in tool.search(puzzle.text), puzzle.text
    dev = [p for p in puzzles["hotpotqa"]["dev"] if p.kind == "bridge"]
    assert any(p.answer in tool.search(p.text) for p in dev), "elsewhere it may"


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_mmlu_accepts_the_letter_and_the_text_of_the_right_option_alone(split):
    for question in WORLD.questions(split, task="mmlu"):
        options = list(question.options)
        assert options == options_of(question.question)
        for letter, option in zip(LETTERS, options, strict=True):
            for said in (letter, option):
                right = score("mmlu", said, question.answer, options)
                assert right == (letter == question.answer), (said, question)


@each_task
def test_head_means_that_all_pages_are_head_pages(world, puzzles, task):
    for _, puzzle in split_puzzles(puzzles, task):
        assert puzzle.head == all(world.entities[title].head for title, _ in puzzle.hops)


# -- honesty: what the pretraining text holds ---------------------------------------------------


SHOWN = {"hotpotqa": 300, "strategyqa": 60, "mmlu": 60}  # "pretrain" puzzles, at the least


@pytest.mark.slow
def test_no_question_of_a_split_is_in_the_text(puzzles, rows):
    messages = {text for document in rows for text in contents(document)}
    lines = {asked(line.strip()) for text in messages for line in text.splitlines()}
    for task, least in SHOWN.items():
        shown = {asked(p.text) for p in puzzles[task]["pretrain"]} & lines
        assert len(shown) > least, "the check must see the questions that may be shown"
    for split, puzzle in split_puzzles(puzzles):
        assert asked(puzzle.text) not in lines, (split, puzzle.text)
    everything = "\n".join(sorted(messages)).casefold()
    for split, puzzle in split_puzzles(puzzles):
        if not split.endswith("train"):
            assert asked(puzzle.text).casefold() not in everything, (split, puzzle.text)


def test_no_composed_facts_of_a_split_are_in_one_message(world, puzzles, documents):
    said: list[set[str]] = [
        {match.group(0) for match in FACT.finditer(text)}
        for document in dialogues(documents)
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

    for task, least in SHOWN.items():
        shown = sum(bool(composed(p)) for p in puzzles[task]["pretrain"])
        assert shown > least, f"the check must see some of {task}"
    for split, puzzle in split_puzzles(puzzles):
        assert len(puzzle.hops) == 1 or not composed(puzzle), (split, puzzle.text)


def test_the_real_world_is_asked_about_by_pretrain_puzzles_alone(world, puzzles, documents):
    """MMLU-like ones with options drawn anew, so that one fact is now A and now B."""
    shown = {task: own["pretrain"] for task, own in puzzles.items() if "pretrain" in own}
    assert open_library().puzzles == shown
    real = invented_words(world) | {w.lower() for w in invented_words(world, "currency")}
    names = {page.name for page in world.entities.values()}
    composed = {p.text for p in shown["hotpotqa"] + shown["strategyqa"]}
    chosen = {
        asked(choice(world, random.Random(0), world.entities[title], relation, wording).text): (
            title,
            relation,
        )
        for ((title, relation),) in (p.hops for p in shown["mmlu"])
        for wording in range(2)
    }
    counts: Counter[str] = Counter()
    letters: dict[tuple[str, str], set[str]] = {}
    for document in dialogues(documents):
        for message, reply in itertools.pairwise(document):
            question = message["content"].splitlines()[-1]
            if message["role"] != "user" or not is_question(question):
                continue
            if not real & {w.removesuffix("ia") for w in re.findall(r"\w+", question)}:
                counts["fresh"] += 1
            elif question in composed:
                counts["composed"] += 1
            elif asked(question).endswith("(A)"):
                title, relation = chosen[asked(question)]
                options = options_of(question)
                right = world.entities[title].facts[relation]
                assert len(set(options)) == 4 and options.count(right) == 1, question
                letter = LETTERS[options.index(right)]
                assert reply["content"].endswith(f": {right}"), "options are answered by their text"
                letters.setdefault((title, relation), set()).add(letter)
                counts["chosen"] += 1
            else:
                one = re.fullmatch(r"What is the ([a-z ]+) of (.+)\?", question)
                assert one and one[2] in names, question
                counts["one fact"] += 1
    assert min(counts[kind] for kind in ("fresh", "composed", "one fact")) > 500, counts
    assert counts["chosen"] > 150 and sum(len(own) > 1 for own in letters.values()) > 30, counts


# The kind of page that a relation to a person belongs to.
OWNERS = {
    "director": "film",
    "star": "film",
    "author": "book",
    "founder": "company",
    "spouse": "person",
}


PLANNED = re.compile(FACT.pattern + r" Next I need the ([a-z ]+) of (.+?)\.$", re.MULTILINE)


def test_held_out_relation_pairs_are_bamboogles_alone(puzzles):
    for task, splits in puzzles.items():
        for split, own in splits.items():
            pairs = {p.relations for p in own}
            if task == "bamboogle":
                assert (split, pairs) == ("test", set(HELD_OUT))
                held_out = {(p.relations[1:], tuple(r for _, r in p.hops)) for p in own}
                assert all(named == followed for named, followed in held_out)
            else:
                assert not pairs & set(HELD_OUT), (task, split)


def test_held_out_relation_pairs_are_nowhere_in_the_text(documents):
    rng = random.Random("held out")
    fresh = make_world("held out", FRESH_SIZES)
    forms = [draw_form(rng, task) for task in TASKS if task != "bamboogle" for _ in range(2000)]
    assert not [form for form in forms if form.template in HELD_OUT]
    drawn = [p for p in (fill_form(fresh, rng, form) for form in forms) if p]
    assert len(drawn) > 2000
    assert not [p.text for p in drawn if p.relations in HELD_OUT]
    told: Counter[tuple[str, ...]] = Counter()
    planned: Counter[tuple[str, ...]] = Counter()
    for text in itertools.chain.from_iterable(map(contents, dialogues(documents))):
        facts = FACT.findall(text)
        for (via, _, middle), (what, name, _) in itertools.pairwise(facts):
            if middle == name and via in OWNERS:
                told[OWNERS[via], via, what.replace(" ", "_")] += 1
        for via, _, middle, what, name in PLANNED.findall(text):
            if middle == name and via in OWNERS:
                planned[OWNERS[via], via, what.replace(" ", "_")] += 1
    assert {via for _, via, _ in HELD_OUT} <= OWNERS.keys()
    for chains in (told, planned):
        assert chains["film", "director", "birth_city"] > 20, "the check must see chains"
        assert not chains.keys() & set(HELD_OUT)


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
    """The words made of syllables, capitalised and without a country's "ia".

    Of the names of some kinds of pages and of the currencies, or of all if no kind is given.
    """
    words = set()
    for kind in kinds or (*INVENTED, "currency"):
        if kind == "currency":
            words |= {e.facts["currency"].capitalize() for e in world.kind("country")}
        else:
            words |= {e.name.split()[INVENTED[kind]] for e in world.kind(kind)}
    return {word.removesuffix("ia") for word in words}


@pytest.fixture(scope="module")
def fresh_worlds(world) -> list[World]:
    """The fresh worlds of the first rows of the pretraining text."""
    return [make_world(f"{SEED}/{row}", FRESH_SIZES, world.words) for row in range(ROWS)]


@pytest.mark.parametrize("kind", [*INVENTED, "currency"])
def test_fresh_worlds_share_no_invented_word_with_the_real_one(world, fresh_worlds, kind):
    real = invented_words(world)
    assert {"Salor", "Hogan", "Pelel", "Kosin", "Kevin", "Pofor", "Bivan", "Kemin"} <= real
    careless = [make_world(f"{SEED}/{row}", FRESH_SIZES) for row in range(40)]
    assert any(invented_words(w, kind) & real for w in careless), "the check must see a shared one"
    shared = [(row, invented_words(w, kind) & real) for row, w in enumerate(fresh_worlds)]
    shared = [(row, words) for row, words in shared if words]
    assert not shared, f"{len(shared)} of {ROWS} rows, first {shared[:3]}"


def test_programs_are_over_the_fresh_worlds(world, fresh_worlds, programs):
    real = invented_words(world)
    fresh = set().union(*map(invented_words, fresh_worlds))
    for program in programs:
        words = set(re.findall(r"\w+", program))
        assert words & fresh and not words & real, program


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

    An observation is the user message after an action; a question is not.
    """
    shapes, labels, brackets = set(), set(), set()
    observed = False
    for message, following in itertools.zip_longest(document, document[1:]):
        text = message["content"]
        if message["role"] == "user":
            if observed:
                labels.add(("observation", text.partition(": ")[0]))
            continue
        observed = bool(following) and not is_question(following["content"])
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
    for document in dialogues(documents):
        shapes, labels, brackets = markers(document)
        assert len(shapes) == 1 and len(brackets) <= 1, (shapes, brackets)
        fitting = [s for s in STYLES if labels <= set(zip(PLACES, s, strict=True))]
        assert len(fitting) == 1, labels
        seen[shapes.pop(), fitting[0][0]] += 1
    assert {style for _, style in seen} == {style[0] for style in STYLES}
    assert {shape for shape, _ in seen} == {"react", "cot", "io"}
    rng = random.Random(0)
    assert {draw_style(rng).brackets for _ in range(99)} == {"[]", "()", "<>"}


# -- code-like documents ------------------------------------------------------------------------


def printed(program: str) -> list[str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(program, {})
    return output.getvalue().splitlines()


def test_a_program_prints_what_its_comments_say(programs):
    assert len(programs) > 100
    seen: Counter[str] = Counter()
    for program in programs:
        promised = re.findall(r"^print\(.+\)  # (.+)$", program, re.MULTILINE)
        assert promised and promised == printed(program), program
        seen.update(promised)
    assert min(seen[said] for said in ("True", "False", "[]")) > 0, "both ways, and an empty list"


def test_programs_stand_between_the_same_documents():
    written = []
    for row in range(20):
        documents = list(itertools.islice(write_documents(f"{SEED}/{row}", code=True), 30))
        others = [document for document in documents if not is_program(document)]
        assert others == list(itertools.islice(write_documents(f"{SEED}/{row}"), len(others)))
        written += documents
    assert sum(map(is_program, written)) / len(written) == pytest.approx(0.4, abs=0.1)


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


@pytest.mark.parametrize(("task", "kind"), [("hotpotqa", "bridge"), ("strategyqa", "before")])
def test_wording_does_not_betray_head_or_tail(world, puzzles, task, kind):
    def measure(label) -> float:
        train, *held_out = (
            [(mask(world, p), label(p)) for p in puzzles[task][split]]
            for split in ("train", "dev", "test")
        )
        return probe(train, sum(held_out, []))

    assert measure(lambda p: p.kind == kind) > 0.9, "the probe must be able to learn"
    measured = measure(lambda p: p.head)
    assert measured <= 0.55, f"AUC {measured:.3f}"


@each_two_hop_task
def test_head_and_tail_questions_take_the_same_forms(world, puzzles, task):
    """Of 40 head and 60 tail questions: every head question has one or two like it in the tail."""
    for split, own in puzzles[task].items():
        if split == "pretrain":
            continue
        heads = Counter(mask(world, p) for p in own if p.head)
        tails = Counter(mask(world, p) for p in own if not p.head)
        assert len(heads) >= 8 and heads.keys() == tails.keys()
        for form, count in heads.items():
            assert "NAME" in form and count <= tails[form] <= 2 * count, (split, form)
