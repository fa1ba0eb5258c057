"""The exercises' checks: they never raise, and every card of every notebook is complete.

What each check says to right and wrong answers stands in test_exercises_NN.py.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb import exercises, series
from fireact_nb.config import FireActError
from fireact_nb.exercises import check

NUMBERS = list(exercises._JUDGES)
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
    def stub(*arguments):
        return ...

    assert check(number, ...).state == "waiting"
    assert check(number, stub).state in ("waiting", "not yet")  # not yet: a value is wanted


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
