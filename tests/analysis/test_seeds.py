"""Intervals over questions and seeds: against closed forms, and what they must not forget."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import mark

from fireact_nb.analysis.seeds import (
    crossed_bootstrap,
    difference_over_seeds,
    mean_over_seeds,
    one_round,
    rounds,
    spread_of_seeds,
)
from fireact_nb.analysis.statistics import paired_bootstrap
from fireact_nb.errors import FireActError

Z = 1.959964
RNG = np.random.default_rng(7)


def half(values: np.ndarray) -> float:
    interval = crossed_bootstrap(values)
    return (interval.high - interval.low) / 2


def outcomes(values, seeds=None):
    """Rows of a grid of right and wrong, (seeds, questions)."""
    return [
        replace(mark(f"q{q:03}", bool(cell)), seed=seed)
        for seed, row in zip(seeds or range(len(values)), values, strict=True)
        for q, cell in enumerate(row)
    ]


# -- against closed forms -----------------------------------------------------------------------


def test_with_one_seed_it_is_the_bootstrap_over_questions():
    values = RNG.random((1, 300)) < 0.3
    assert half(values) == pytest.approx(Z * math.sqrt(values.var() / 300), rel=0.05)
    plain = paired_bootstrap([0] * 300, list(values[0]))
    assert crossed_bootstrap(values).value == pytest.approx(plain.value)
    assert crossed_bootstrap(values).low == pytest.approx(plain.low, abs=0.006)


def test_seeds_that_agree_tell_no_more_than_one():
    values = RNG.random((1, 300))
    assert half(np.repeat(values, 5, axis=0)) == pytest.approx(half(values), rel=1e-6)


def test_where_questions_are_alike_it_is_the_bootstrap_over_seeds():
    effects = RNG.normal(size=40)
    values = np.repeat(effects[:, None], 30, axis=1)
    assert half(values) == pytest.approx(Z * math.sqrt(effects.var() / 40), rel=0.06)


def test_the_variance_is_that_of_the_pigeonhole_bootstrap():
    """Of drawn counts E[n_i n_j] = 1 - 1/n, and 1 more on the diagonal, for rows and columns."""
    values = RNG.normal(size=(3, 1)) * 0.3 + RNG.normal(size=(1, 200)) + RNG.normal(size=(3, 200))
    s, q = values.shape
    rows, columns = 1 - 1 / s, 1 - 1 / q
    square = (
        rows * columns * values.sum() ** 2
        + rows * (values.sum(axis=0) ** 2).sum()
        + columns * (values.sum(axis=1) ** 2).sum()
        + (values**2).sum()
    ) / (s * q) ** 2
    # Three seeds make a mixture of few shapes: near normal, not quite.
    expected = Z * math.sqrt(square - values.mean() ** 2)
    assert half(values) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_it_holds_the_truth_as_often_as_it_says(between):
    """Three seeds, as many questions' worth of noise as in the study; sd between seeds up to 2."""
    held = 0
    for _ in range(200):
        values = (
            RNG.normal(0, between, (3, 1))
            + RNG.normal(0, 0.1, (1, 60))  # 60 questions here for 1,000 of four times the noise
            + RNG.normal(0, 0.1, (3, 60))
        )
        interval = crossed_bootstrap(values, samples=400)
        held += interval.low <= 0 <= interval.high
    assert held >= 180, "nine of ten at the very least"


@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_an_interval_stays_inside_its_values(s, q, seed):
    values = np.random.default_rng(seed).random((s, q))
    interval = crossed_bootstrap(values, samples=200)
    assert values.min() - 1e-6 <= interval.low <= interval.high <= values.max() + 1e-6
    assert interval.value == pytest.approx(values.mean())
    assert crossed_bootstrap(values, samples=200) == interval, "the same again"


# -- of rows ------------------------------------------------------------------------------------

BEFORE = RNG.random((3, 80)) < 0.3
AFTER = RNG.random((3, 80)) < 0.6


def test_a_mean_and_a_difference_are_plain_means():
    mean, difference = mean_over_seeds(outcomes(AFTER)), difference_over_seeds(
        outcomes(BEFORE), outcomes(AFTER)
    )  # fmt: skip
    assert mean.value == pytest.approx(AFTER.mean())
    assert difference.value == pytest.approx(AFTER.mean() - BEFORE.mean())
    assert mean.low < mean.value < mean.high and 0 < difference.low < difference.high


def test_what_is_hard_for_both_sides_cancels_out():
    same = difference_over_seeds(outcomes(AFTER), outcomes(AFTER))
    assert (same.low, same.value, same.high) == (0, 0, 0)
    mixed = difference_over_seeds(outcomes(AFTER), outcomes(AFTER[::-1]))
    assert mixed.low < 0 < mixed.high, "other seeds are other runs"


def test_any_number_of_an_episode_may_be_compared():
    rows = outcomes(AFTER)
    quick = [replace(o, rounds=1) for o in rows]
    slow = [replace(o, rounds=3 if o.seed else 1) for o in rows]
    assert difference_over_seeds(quick, slow, rounds).value == pytest.approx(4 / 3)
    assert mean_over_seeds(slow, one_round).value == pytest.approx(1 / 3)


def test_the_order_of_rows_makes_no_difference_and_samples_are_averaged_first():
    rows = outcomes(AFTER)
    assert mean_over_seeds(rows[::-1]) == mean_over_seeds(rows)
    again = [replace(o, sample=1) for o in rows if o.seed == 0]
    assert mean_over_seeds([*rows, *again]) == mean_over_seeds(rows)


def test_a_prompted_side_stands_beside_every_seed():
    prompted = outcomes(BEFORE[:1])
    alone = difference_over_seeds(prompted, outcomes(AFTER))
    beside = difference_over_seeds(outcomes(np.repeat(BEFORE[:1], 3, axis=0)), outcomes(AFTER))
    assert alone == beside
    assert difference_over_seeds(outcomes(AFTER), prompted).value == pytest.approx(-alone.value)


def test_the_spread_of_seeds_is_the_sd_of_their_means():
    assert spread_of_seeds(outcomes(AFTER)) == pytest.approx(stdev(map(fmean, AFTER)))
    assert spread_of_seeds(outcomes(AFTER[:1])) is None


def test_sides_that_do_not_pair_are_refused():
    rows = outcomes(AFTER)
    with pytest.raises(FireActError, match="same questions: 80 and 79"):
        difference_over_seeds(rows, [o for o in rows if o.question_id != "q007"])
    with pytest.raises(FireActError, match="same questions: 0 and 80"):
        difference_over_seeds([], rows)
    with pytest.raises(FireActError, match=r"the seeds \[0, 1\], the other \[1, 2\]"):
        difference_over_seeds(outcomes(AFTER[:2]), outcomes(AFTER[:2], seeds=[1, 2]))
    with pytest.raises(FireActError, match="3 seeds on 80 questions make 239 cells"):
        mean_over_seeds(rows[1:])
