"""What a choice costs: by hand."""

from __future__ import annotations

import pytest
from rows import mark

from fireact_nb.analysis.costs import Point, area, cheapest_correct, dollars, front, points, tokens
from fireact_nb.analysis.selection import oracle_choice
from fireact_nb.analysis.statistics import Interval
from fireact_nb.errors import FireActError


def played(marks, price, **change):
    return [
        mark(
            f"q{n:03}",
            m == "1",
            prompt_tokens=price - 1,
            completion_tokens=1,
            usd=price / 10,
            **change,
        )
        for n, m in enumerate(marks)
    ]


POOL = {"cot": played("1100", 10), "react": played("1011", 100), "long": played("0010", 300)}


def point(name, cost, score):
    return Point(name, cost, Interval(score, score, score))


def test_the_cheapest_right_agent_is_paid_and_the_cheapest_where_none_is():
    found = cheapest_correct(POOL)
    assert found.cost == (10 + 10 + 100 + 100) / 4
    assert found.score == oracle_choice(POOL)
    lost = {"a": played("00", 20), "b": played("00", 50)}
    assert (cheapest_correct(lost).cost, cheapest_correct(lost).score.value) == (20, 0)
    assert cheapest_correct(POOL, dollars).cost == pytest.approx(5.5)
    twice = {"a": [*played("10", 5), *played("01", 5, sample=1)]}
    with pytest.raises(FireActError, match="one sample of every seed"):
        cheapest_correct(twice)


def test_the_front_leaves_out_whom_another_beats():
    every = points(POOL)
    assert [(p.name, p.cost, p.score.value) for p in every] == [
        ("cot", 10, 0.5), ("react", 100, 0.75), ("long", 300, 0.25),
    ]  # fmt: skip
    assert [p.name for p in front(every)] == ["cot", "react"]
    equal = [point("dear", 2, 0.5), point("cheap", 1, 0.5), point("twin", 1, 0.4)]
    assert [p.name for p in front(equal)] == ["cheap"]
    assert tokens(POOL["cot"][0]) == 10


def test_the_area_by_hand():
    a, b, c = point("a", 0, 0.2), point("b", 10, 0.6), point("c", 20, 0.6)
    # A line from 0.2 to 0.6 over the first half of the range, flat over the second.
    assert area([a, b, c]) == pytest.approx(0.5 * 0.4 + 0.5 * 0.6)
    # What lies under the line between its neighbours adds nothing: a coin does as well.
    assert area([a, point("low", 5, 0.3), b, c]) == pytest.approx(area([a, b, c]))
    assert area([a, point("high", 5, 0.5), b, c]) > area([a, b, c])
    # Whoever may spend more need not: dear and bad takes nothing away.
    assert area([a, b, point("bad", 20, 0.1)]) == pytest.approx(area([a, b, c]))
    assert area([point("one", 7, 0.4)]) == 0.4
    with pytest.raises(FireActError, match="no point"):
        area([])
