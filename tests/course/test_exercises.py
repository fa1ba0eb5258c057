"""The exercises' checks: they never raise, and every card of every notebook is complete.

The right answers, and typical wrong ones with what is said to them, stand in answers_NN.py.
"""

from __future__ import annotations

import re
from fractions import Fraction
from statistics import stdev
from typing import Any

import answers_01
import answers_02
import answers_03
import answers_04
import answers_05
import answers_06
import answers_07
import answers_08
import numpy
import pytest
import strangers
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb.course import check, series
from fireact_nb.course.exercises.checks import JUDGES
from fireact_nb.errors import FireActError

NUMBERS = list(JUDGES)
ANSWERS = [
    answers_01,
    answers_02,
    answers_03,
    answers_04,
    answers_05,
    answers_06,
    answers_07,
    answers_08,
]
RIGHT = {number: answer for module in ANSWERS for number, answer in module.RIGHT.items()}
WRONG = [row for module in ANSWERS for row in module.WRONG]
LESSONS = [s for s in series.sources() if not s.stem.startswith("00")]
things = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just({}),
    st.lists(st.integers(), max_size=3), st.tuples(st.text(max_size=3)), st.just(print),
)  # fmt: skip


def cards(source: Any) -> list[tuple[Any, Any, Any]]:
    """The text above, the stub, and the text below, of each exercise of a notebook."""
    cells = series.read_source(source).cells
    return [
        (cells[i - 1], cell, cells[i + 1])
        for i, cell in enumerate(cells)
        if "exercise" in cell.metadata.get("tags", [])
    ]


def test_an_unknown_number_is_refused() -> None:
    with pytest.raises(FireActError, match="no exercise '99.9'.*01.1"):
        check("99.9", ...)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_untouched_stub_is_waiting(number: str) -> None:
    assert check(number, ...).state == "waiting"
    if number != "01.3":  # which wants a text
        assert check(number, lambda *arguments: ...).state == "waiting"


@pytest.mark.parametrize("number", NUMBERS)
@given(value=things, is_function=st.booleans())
def test_no_answer_breaks_a_check(number: str, value: Any, is_function: bool) -> None:
    verdict = check(number, (lambda *arguments: value) if is_function else value)
    assert verdict.state in ("waiting", "not yet")
    assert number in repr(verdict) and len(verdict.message) > 15


@pytest.mark.parametrize("number", NUMBERS)
def test_an_error_in_the_learners_code_is_told(number: str) -> None:
    def broken(*arguments):
        raise KeyError("spelling")

    verdict = check(number, broken)
    assert verdict.state == "not yet"
    assert number == "01.3" or "your code raised KeyError: 'spelling'" in verdict.message


class Hostile:
    """Comes back from a learner's function, and answers every question with an error."""

    def refuse(self, *_: object) -> Any:
        raise RuntimeError("no")

    __eq__ = __lt__ = __len__ = __iter__ = __getitem__ = __repr__ = refuse


@pytest.mark.parametrize("number", NUMBERS)
def test_neither_an_exit_nor_a_hostile_value_breaks_a_check(number: str) -> None:
    def leave(*arguments):
        raise SystemExit(1)

    for answer in (leave, Hostile(), lambda *arguments: Hostile()):
        assert check(number, answer).state == "not yet"


def in_place(row):
    row["conversations"] = row.pop("messages")
    for message in row["conversations"]:
        role = message.pop("role")
        message["from"] = {"user": "human", "assistant": "gpt"}.get(role, role)
        message["value"] = message.pop("content")
    return row


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("01.1", lambda turn: [*answers_01.RIGHT["01.1"](turn)]),
        ("01.3", answers_01.EXAMPLE.replace("[1942]", "[1942.]") + "\n\n"),
        ("02.1", lambda ts: (t for t in answers_02.RIGHT["02.1"](ts))),
        ("02.2", lambda thought: int(answers_02.slips(thought))),
        ("02.3", lambda *case: numpy.float32(answers_02.price_of(*case))),
        ("03.2", in_place),
        ("03.3", lambda tokens: (*map(int, answers_03.mask_of(tokens)),)),
        ("03.3", lambda tokens: numpy.array(answers_03.mask_of(tokens))),
        ("03.4", lambda ts, qs: filter(lambda t: t in answers_03.leaks(ts, qs), ts)),
        ("04.2", lambda b, levels: [*map(numpy.array, answers_04.quantise(b, levels))]),
        ("04.4", lambda w, a, b, alpha: w.double() + alpha / len(a) * (b @ a).double()),
        ("05.1", lambda budget: numpy.array(answers_05.by_largest_remainder(budget))),
        ("05.2", lambda pairs, held_out: iter(answers_05.clean(pairs, held_out))),
        ("06.3", lambda p, h: numpy.int64(answers_06.needed(p, h))),
        ("07.2", lambda m: Fraction(sum(map(sum, m.values())), sum(map(len, m.values())))),
    ],
)
def test_a_right_answer_in_another_style_is_solved(number: str, answer: Any) -> None:
    assert check(number, answer).state == "solved", check(number, answer)


@pytest.mark.parametrize("source", LESSONS, ids=[s.stem for s in LESSONS])
def test_every_card_is_complete(source: Any) -> None:
    found = cards(source)
    assert len(found) >= 3
    for place, (above, stub, below) in enumerate(found, 1):
        number = f"{source.stem[:2]}.{place}"
        assert re.search(rf"^### Exercise {number} · \S", above.source, re.MULTILINE), number
        assert re.search(r"\*Difficulty: [123] of 3 · about \d+ minutes\*", above.source), number
        assert stub.source.rstrip().splitlines()[-1].startswith(f'check("{number}", '), number
        assert "..." in stub.source and number in NUMBERS
        assert below.source.index("<summary>Hint</summary>") < below.source.index(
            "<summary>Solution</summary>"
        )
        assert below.source.count("<details>") == below.source.count("</details>") == 2


def test_every_judge_has_its_card() -> None:
    stubs = "".join(stub.source for source in LESSONS for _, stub, _ in cards(source))
    assert [n for n in NUMBERS if f'check("{n}", ' not in stubs] == []


@pytest.mark.parametrize("source", LESSONS, ids=[s.stem for s in LESSONS])
def test_solutions_take_the_place_of_stubs(source: Any) -> None:
    plain, solved = series.read_source(source), series.read_source(source, solved=True)
    changed = [a for a, b in zip(plain.cells, solved.cells, strict=True) if a.source != b.source]
    assert len(changed) == len(cards(source))
    assert all("exercise" in cell.metadata.tags for cell in changed)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_right_answer_is_solved(number: str) -> None:
    assert check(number, RIGHT[number]).state == "solved", check(number, RIGHT[number])


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_a_wrong_answer_gets_its_own_message(number: str, answer: Any, message: str) -> None:
    verdict = check(number, answer)
    assert verdict.state == "not yet"
    assert re.search(message, verdict.message), verdict.message


@pytest.mark.parametrize("number", NUMBERS)
def test_three_typical_wrong_answers_are_foreseen(number: str) -> None:
    assert sum(n == number for n, _, _ in WRONG) >= 3


def test_the_weights_handed_to_a_merge_are_fresh_each_time() -> None:
    assert check("04.4", answers_04.merging_in_place).state == "not yet"
    assert check("04.4", RIGHT["04.4"]).state == "solved"


def test_the_other_standard_deviation_is_as_good() -> None:
    def spread(a, b, differences):
        return stdev(differences) / len(differences) ** 0.5

    assert check("06.2", lambda a, b: answers_06.paired(a, b, spread=spread)).state == "solved"


@pytest.mark.parametrize("number", NUMBERS)
def test_strangers_are_judged_rightly(number: str) -> None:
    """Answers tried against the checks by somebody who did not write them."""
    refused = [check(number, answer) for answer in strangers.RIGHT[number]]
    assert [v.message for v in refused if v.state != "solved"] == []
    accepted = [
        n for n, a in enumerate(strangers.WRONG[number]) if check(number, a).state != "not yet"
    ]
    assert accepted == []


def test_strangers_tried_much() -> None:
    assert sum(map(len, [*strangers.RIGHT.values(), *strangers.WRONG.values()])) >= 250
