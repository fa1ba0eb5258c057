"""Growth, fair shares and who alone is right: against listing every subset and every order."""

from __future__ import annotations

import math
from itertools import combinations, permutations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import drawn, mark

from fireact_nb.analysis.selection import oracle_choice
from fireact_nb.analysis.union import alone, oracle_growth, shapley, unsolved

CHANCES = {"a": [0.9, 0.2, 0.0], "b": [0.3, 0.2, 0.5], "c": [0.0, 0.6, 1.0], "d": [0.5] * 3}


def answers(marks):
    return [mark(f"q{n:03}", m in (True, "1")) for n, m in enumerate(marks)]


GRID = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda size: st.lists(
        st.lists(st.booleans(), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    )
)


def union(rows, names):
    """The expected share of questions that one of these agents gets right, one try each."""
    if not names:
        return 0.0
    return fmean(
        1 - math.prod(1 - p for p in column)
        for column in zip(*(rows[n] for n in names), strict=True)
    )


def brute_shapley(rows):
    orders = list(permutations(rows))
    return {
        name: fmean(
            union(rows, order[: order.index(name) + 1]) - union(rows, order[: order.index(name)])
            for order in orders
        )
        for name in rows
    }


@settings(max_examples=20)
@given(GRID)
def test_fair_shares_are_those_of_every_order_and_add_up_to_the_oracle(grid):
    pool = {f"agent {n}": answers(marks) for n, marks in enumerate(grid)}
    shares = {name: interval.value for name, interval in shapley(pool).items()}
    assert shares == pytest.approx(
        brute_shapley({f"agent {n}": marks for n, marks in enumerate(grid)}), abs=1e-9
    )
    assert sum(shares.values()) == pytest.approx(oracle_choice(pool).value, abs=1e-9)


def observed(pool):
    """Each agent's share of right samples by question."""
    return {
        name: [
            fmean(o.correct for o in rows if o.question_id == q)
            for q in sorted({o.question_id for o in rows})
        ]
        for name, rows in pool.items()
    }


def test_with_samples_all_is_exact_too():
    pool = drawn(CHANCES, samples=4)
    rows = observed(pool)
    values = {name: interval.value for name, interval in shapley(pool).items()}
    assert values == pytest.approx(brute_shapley(rows), abs=1e-12)
    for step, k in zip(oracle_growth(pool), range(1, 5), strict=True):
        every = fmean(union(rows, names) for names in combinations(rows, k))
        assert step.of_size.value == pytest.approx(every, abs=1e-12)
    for name, only in alone(pool).items():
        rest = [n for n in rows if n != name]
        assert only.share.value == pytest.approx(
            union(rows, [*rows]) - union(rows, rest), abs=1e-12
        )


def test_growth_begins_with_the_best_and_ends_at_the_oracle():
    pool = {"a": answers("1100"), "b": answers("1110"), "c": answers("1001")}
    steps = oracle_growth(pool)
    assert [step.added for step in steps] == ["b", "c", "a"]
    assert [step.oracle.value for step in steps] == [0.75, 1.0, 1.0]
    assert steps[0].of_size.value == pytest.approx((2 + 3 + 2) / 12)
    assert steps[-1].oracle == oracle_choice(pool)


@settings(max_examples=20)
@given(GRID)
def test_growth_never_falls_and_gains_less_each_time(grid):
    pool = {f"agent {n}": answers(marks) for n, marks in enumerate(grid)}
    curve = [0.0, *(step.oracle.value for step in oracle_growth(pool))]
    gains = [b - a for a, b in zip(curve, curve[1:], strict=False)]
    assert all(gain >= -1e-12 for gain in gains)
    assert all(a >= b - 1e-12 for a, b in zip(gains, gains[1:], strict=False))


def test_who_alone_is_right_by_hand():
    pool = {"a": answers("11000"), "b": answers("10100"), "c": answers("10100")}
    only = alone(pool)
    assert only["a"].questions == ("q001",) and only["a"].share.value == pytest.approx(0.2)
    assert only["b"].questions == only["c"].questions == ()
    assert unsolved(pool) == ("q003", "q004")
    # Of twelve copies nobody is missed, and each has its twelfth of the whole.
    twelve = {str(n): answers("110") for n in range(12)}
    assert shapley(twelve)["3"].value == pytest.approx(2 / 3 / 12)
    assert alone(twelve)["3"].share.value == 0
