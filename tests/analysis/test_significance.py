"""Tests of significance: against scipy, statsmodels, closed forms and simulation."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests

from fireact_nb.analysis.significance import (
    clustered_bootstrap,
    detectable_difference,
    holm,
    mcnemar,
)
from fireact_nb.analysis.statistics import paired_bootstrap
from fireact_nb.errors import FireActError


def sides(both, only_a, only_b, neither):
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


COUNTS = st.tuples(*[st.integers(0, 60)] * 4).filter(any)


@given(COUNTS)
def test_mcnemar_is_that_of_statsmodels_and_scipy(counts):
    both, only_a, only_b, neither = counts
    ours = mcnemar(*sides(*counts))
    assert (ours.only_a, ours.only_b) == (only_a, only_b)
    theirs = reference_mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    assert ours.p == pytest.approx(theirs, abs=1e-9)
    if only_a + only_b:
        assert ours.p == pytest.approx(binomtest(only_a, only_a + only_b).pvalue, abs=1e-9)
    assert mcnemar(*sides(*counts)[::-1]).p == ours.p


def test_mcnemar_by_hand_and_for_thousands():
    assert mcnemar(*sides(3, 5, 0, 2)).p == pytest.approx(2 / 2**5)
    assert mcnemar([True], [True]).p == 1
    many = mcnemar(*sides(0, 2600, 2400, 0))
    assert many.p == pytest.approx(binomtest(2400, 5000).pvalue, rel=1e-9)
    for a, b in (([], []), ([True], [True, False])):
        with pytest.raises(FireActError, match="same questions"):
            mcnemar(a, b)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1), min_size=1))
def test_holm_is_that_of_statsmodels(p_values):
    ours = holm(p_values)
    assert [*ours] == [*p_values]
    theirs = multipletests([*p_values.values()], method="holm")[1]
    assert [*ours.values()] == pytest.approx(list(theirs), abs=1e-9)


def test_holm_by_hand():
    assert holm({"x": 0.04, "y": 0.01, "z": 0.03}) == pytest.approx(
        {"x": 0.06, "y": 0.03, "z": 0.06}
    )
    assert holm({}) == {}


def test_samples_of_one_question_are_not_so_many_questions():
    """200 questions, each asked 5 times with the same result: the width of 200, not of 1,000."""
    rng = np.random.default_rng(0)
    marks = rng.random(200) < 0.4
    values, clusters = np.repeat(marks, 5), np.repeat(np.arange(200), 5)
    wide = clustered_bootstrap(values, clusters)
    exact = 1.959964 * math.sqrt(marks.var() / 200)
    assert (wide.high - wide.low) / 2 == pytest.approx(exact, rel=0.05)
    naive = paired_bootstrap([0.0] * 1000, list(values), samples=2000)
    assert wide.high - wide.low > 2 * (naive.high - naive.low)
    assert wide.value == pytest.approx(marks.mean())


def test_clusters_of_other_sizes_weigh_by_their_values():
    """Against the sandwich error of a mean with clusters, the one that statsmodels' OLS gives."""
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 9, size=300)
    clusters = np.repeat(np.arange(300), sizes)
    values = (rng.random(300) < 0.5)[clusters] * 0.8 + rng.random(len(clusters)) * 0.2
    ours = clustered_bootstrap(values, clusters)
    fit = OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    assert ours.value == pytest.approx(fit.params[0], abs=1e-9)
    assert (ours.high - ours.low) / 2 == pytest.approx(1.959964 * fit.bse[0], rel=0.06)
    for values, clusters in (([1.0, 2.0], ["a", "a"]), ([1.0], ["a", "b"]), ([], [])):
        with pytest.raises(FireActError, match="clusters"):
            clustered_bootstrap(values, clusters)


@pytest.mark.parametrize(("n", "disagreement"), [(125, 0.3), (500, 0.2), (5000, 0.1)])
def test_the_detectable_difference_has_the_power_it_promises(n, disagreement):
    d = detectable_difference(n, disagreement)
    # Put back into the formula it came from, the number of questions comes out again.
    z, power = norm.ppf(0.975), norm.ppf(0.8)
    root = math.sqrt(disagreement - d * d)
    assert (z * math.sqrt(disagreement) + power * root) ** 2 / d**2 == pytest.approx(n, rel=1e-9)
    # And by simulation with the plain z test of the discordant questions.
    rng = np.random.default_rng(0)
    up, down = (disagreement + d) / 2, (disagreement - d) / 2
    draws = rng.multinomial(n, [up, down, 1 - disagreement], size=4000)
    z_values = (draws[:, 0] - draws[:, 1]) / np.sqrt(np.maximum(draws[:, 0] + draws[:, 1], 1))
    assert fmean(abs(z_values) > z) == pytest.approx(0.8, abs=0.03)
    # The exact test is a little more careful.
    exact = fmean(2 * binom.cdf(min(x, y), x + y, 0.5) <= 0.05 for x, y, _ in draws[:500].tolist())
    assert 0.68 <= exact <= 0.83


@given(st.integers(1, 100_000), st.floats(0.001, 1))
def test_more_questions_show_smaller_differences(n, disagreement):
    d = detectable_difference(n, disagreement)
    assert 0 < d <= disagreement or d == 1
    assert detectable_difference(4 * n, disagreement) <= d
    assert detectable_difference(n, disagreement, power=0.9) >= d


def test_what_cannot_be_detected():
    assert detectable_difference(3, 0.1) == 1.0
    for n, share in ((0, 0.1), (10, 0.0), (10, 1.2)):
        with pytest.raises(FireActError, match="detect no difference"):
            detectable_difference(n, share)
