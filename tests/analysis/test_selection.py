"""Choosing among agents, by hand on small tables and against brute force on drawn ones."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, product
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import TRAJECTORY, drawn, mark

from fireact_nb.agent.trajectory import Step
from fireact_nb.analysis.outcomes import Outcome
from fireact_nb.analysis.selection import (
    best_fixed,
    corrected_oracle,
    implicit_choice,
    implicit_method,
    oracle_beyond_samples,
    oracle_choice,
    pass_at_k,
    random_choice,
    same_temperature,
)
from fireact_nb.analysis.statistics import Interval, wilson
from fireact_nb.errors import FireActError


def answers(marks, **change) -> list[Outcome]:
    """One row a question, right where the mark is true: "1100" or a list of booleans."""
    return [mark(f"q{n:03}", m in (True, "1"), **change) for n, m in enumerate(marks)]


def tries(*marks) -> list[Outcome]:
    """One string a question, one mark a sample."""
    return [
        mark(f"q{n:03}", m in (True, "1"), sample=sample, temperature=0.6)
        for n, row in enumerate(marks)
        for sample, m in enumerate(row)
    ]


POOL = {"react": answers("1100"), "cot": answers("1010"), "reflexion": answers("0000")}


# -- by hand ------------------------------------------------------------------------------------


def test_three_ways_to_choose_by_hand():
    assert random_choice(POOL).value == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 0) / 4)
    assert best_fixed(POOL) == ("react", wilson(2, 4))
    assert best_fixed({"worse": answers("100"), "best": answers("101")}) == ("best", wilson(2, 3))
    assert oracle_choice(POOL).value == 0.75


def test_an_agent_right_on_other_questions_helps_the_oracle_alone():
    alike = {"a": answers("1100"), "b": answers("1100")}
    apart = {"a": answers("1100"), "b": answers("0011")}
    assert random_choice(alike).value == random_choice(apart).value == 0.5
    assert best_fixed(alike)[1] == best_fixed(apart)[1]
    assert (oracle_choice(alike).value, oracle_choice(apart).value) == (0.5, 1.0)


def test_questions_are_joined_by_name_and_not_by_place():
    turned = {**POOL, "cot": [POOL["cot"][n] for n in (0, 2, 1, 3)]}  # by place it is "1100"
    assert random_choice(turned) == random_choice(POOL)
    assert best_fixed(turned) == best_fixed(POOL)
    assert oracle_choice(turned) == oracle_choice(POOL)
    samples = tries("111", "111", "111", "000")  # as the oracle: no question differs
    for pool in (POOL, turned):
        for rows in (samples, samples[::-1]):
            assert oracle_beyond_samples(pool, rows) == Interval(0, 0, 0)


def test_intervals_are_over_questions():
    """Half of 400 questions right: 1.96 standard errors are 0.049."""
    half = "10" * 200
    whole = oracle_choice({"a": answers(half)})
    assert whole.value == 0.5
    assert (whole.low, whole.high) == pytest.approx((0.451, 0.549), abs=0.006)
    # One of two agents always right, the other never: a random choice is one half everywhere.
    sure = random_choice({"a": answers("1" * 50), "b": answers("0" * 50)})
    assert sure == Interval(0.5, 0.5, 0.5)
    assert pass_at_k(tries(*half), 1) == whole


def test_pass_at_k_by_hand():
    samples = tries("100", "000")
    assert pass_at_k(samples, 1).value == pytest.approx(1 / 6)
    assert pass_at_k(samples, 2).value == pytest.approx(1 / 3)
    assert pass_at_k(samples, 3).value == 0.5
    assert pass_at_k(tries("11000"), 3).value == pytest.approx(1 - 1 / 10)  # 1 - C(3,3)/C(5,3)
    # More samples of one question than of another change no weight: questions count alike.
    assert pass_at_k(tries("1111", "0"), 1).value == 0.5


def test_oracle_beyond_samples_by_hand():
    samples = tries("111", "100", "000", "000")  # pass@3: 1, 1, 0, 0; the oracle: 1, 1, 1, 0
    assert oracle_beyond_samples(POOL, samples).value == 0.25
    two = {name: POOL[name] for name in ("react", "cot")}  # pass@2: 1, 2/3, 0, 0
    assert oracle_beyond_samples(two, samples).value == pytest.approx((0 + 1 / 3 + 1 + 0) / 4)


# -- what always holds --------------------------------------------------------------------------

GRID = st.tuples(st.integers(1, 4), st.integers(1, 7)).flatmap(
    lambda size: st.lists(
        st.lists(st.booleans(), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    )
)


@given(GRID)
def test_random_is_at_most_the_best_and_the_best_at_most_the_oracle(grid):
    pool = {f"agent {n}": answers(marks) for n, marks in enumerate(grid)}
    some, (name, best), all_of_them = random_choice(pool), best_fixed(pool), oracle_choice(pool)
    assert some.value <= best.value + 1e-12
    assert best.value <= all_of_them.value + 1e-12
    assert best.value == fmean(o.correct for o in pool[name])
    assert some.value == pytest.approx(fmean(m for marks in grid for m in marks))
    assert all_of_them.value == pytest.approx(
        fmean(any(column) for column in zip(*grid, strict=True))
    )
    for interval in (some, best, all_of_them):
        assert 0 <= interval.low <= interval.high <= 1


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 4))
def test_an_oracle_of_one_agent_several_times_is_that_agent(marks, copies):
    pool = {f"copy {n}": answers(marks) for n in range(copies)}
    share = fmean(marks)
    assert oracle_choice(pool).value == pytest.approx(share)
    assert random_choice(pool).value == pytest.approx(share)
    assert best_fixed(pool)[1].value == pytest.approx(share)
    # As its own samples it has nothing beyond them, whatever is resampled.
    same = tries(*[[m] * copies for m in marks])
    assert oracle_beyond_samples(pool, same) == Interval(0, 0, 0)


@given(GRID)
def test_the_oracle_of_some_agents_is_pass_at_k_of_the_same_rows(grid):
    pool = {f"agent {n}": answers(marks) for n, marks in enumerate(grid)}
    rows = [replace(row, sample=n) for n, rows in enumerate(pool.values()) for row in rows]
    assert pass_at_k(rows, len(grid)).value == pytest.approx(oracle_choice(pool).value)
    assert pass_at_k(rows, 1).value == pytest.approx(random_choice(pool).value)


SAMPLES = st.lists(st.lists(st.booleans(), min_size=5, max_size=6), min_size=1, max_size=4)


@given(SAMPLES)
def test_pass_at_k_is_brute_force_and_grows_with_k(rows):
    rates = [pass_at_k(tries(*rows), k).value for k in range(1, 6)]
    for k, rate in enumerate(rates, 1):
        subsets = [[any(some) for some in combinations(row, k)] for row in rows]
        assert rate == pytest.approx(fmean(fmean(hits) for hits in subsets))
    assert all(a <= b + 1e-12 for a, b in zip(rates, rates[1:], strict=False))


# -- several seeds and samples ------------------------------------------------------------------


def test_the_best_is_chosen_on_dev_and_measured_on_test():
    test = {"a": answers("110"), "b": answers("001")}
    dev = {"a": answers("0000"), "b": answers("0100")}
    assert best_fixed(test) == ("a", wilson(2, 3))
    assert best_fixed(test, dev) == ("b", wilson(1, 3))
    with pytest.raises(FireActError, match="agents are a, b, those on dev a. Give the same"):
        best_fixed(test, {"a": dev["a"]})


def test_seeds_are_paired_and_an_agent_of_one_stands_beside_each():
    two = answers("1100", seed=1) + answers("0000", seed=2)
    pool = {"a": two, "b": answers("0110", seed=7)}
    assert oracle_choice(pool).value == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert random_choice(pool).value == pytest.approx((1 / 4 + 1 / 2) / 2)
    name, score = best_fixed(pool)
    assert (name, score.value) == ("b", 0.5)
    # One seed right everywhere and one nowhere: the interval must not forget that seeds differ.
    apart = {"a": answers("1" * 50, seed=1) + answers("0" * 50, seed=2)}
    assert best_fixed(apart)[1].high - best_fixed(apart)[1].low > 0.9


def test_samples_make_the_oracle_what_one_try_of_each_expects():
    pool = {"a": tries("10"), "b": tries("10")}  # right in every second try, alone
    assert oracle_choice(pool).value == 0.75
    chances = {"a": [0.9, 0.2, 0.0], "b": [0.3, 0.2, 0.5]}
    found = [oracle_choice(drawn(chances, samples=3, draw=n)).value for n in range(300)]
    truth = fmean(1 - (1 - a) * (1 - b) for a, b in zip(*chances.values(), strict=True))
    assert abs(fmean(found) - truth) < 4 * stdev(found) / math.sqrt(len(found))


def informed(chances, seen):
    """By listing every draw: the score of whoever picks by `seen` samples and asks once more."""
    total = 0.0
    for counts in product(range(seen + 1), repeat=len(chances)):
        likely = math.prod(
            math.comb(seen, c) * p**c * (1 - p) ** (seen - c)
            for c, p in zip(counts, chances, strict=True)
        )
        tied = [p for c, p in zip(counts, chances, strict=True) if c == max(counts)]
        total += likely * fmean(tied)
    return total


def test_the_corrected_oracle_is_unbiased_on_agents_of_known_chances():
    """Against the exact score of a selector that saw n - 1 samples, within Monte Carlo error."""
    chances = {"a": [0.9, 0.5, 0.2, 0.0], "b": [0.3, 0.5, 0.6, 0.1], "c": [0.1, 0.5, 0.4, 0.0]}
    by_question = list(zip(*chances.values(), strict=True))
    best = fmean(map(max, by_question))
    for n in (2, 4):
        found = [corrected_oracle(drawn(chances, samples=n, draw=d)).value for d in range(400)]
        truth = fmean(informed(row, n - 1) for row in by_question)
        assert abs(fmean(found) - truth) < 4 * stdev(found) / math.sqrt(len(found))
        assert truth < best  # and the plain oracle is far above
    assert fmean(1 - math.prod(1 - p for p in row) for row in by_question) > best + 0.1


def test_the_corrected_oracle_sees_through_agents_that_guess_and_keeps_those_that_know():
    guess = {name: [0.5] * 200 for name in "abc"}
    lucky = oracle_choice(drawn(guess, samples=4))
    assert lucky.low > 0.83 and corrected_oracle(drawn(guess, samples=4)).high < 0.56
    know = {"a": [1.0, 0.0] * 100, "b": [0.0, 1.0] * 100}
    assert corrected_oracle(drawn(know, samples=2)) == Interval(1, 1, 1)
    with pytest.raises(FireActError, match="two samples or more"):
        corrected_oracle(drawn(know))
    with pytest.raises(FireActError, match="two samples or more"):
        corrected_oracle(drawn(know, samples=2) | {"a": drawn(know, samples=3)["a"]})


def test_a_control_has_one_temperature():
    samples = tries("111", "100", "000", "000")
    assert not same_temperature(POOL, samples)
    hot = {name: [replace(o, temperature=0.6) for o in rows] for name, rows in POOL.items()}
    assert same_temperature(hot, samples)
    mixed = [replace(samples[0], temperature=0.0), *samples[1:]]
    with pytest.raises(FireActError, match=r"temperatures \[0.0, 0.6\]"):
        pass_at_k(mixed, 2)


# -- implicit choice ----------------------------------------------------------------------------

SEARCH = Step("Thought: t\nAction: search[a]", "b")
FINISH = Step("Thought: u\nAction: finish[black cat]")
REFLECT = Step(
    "Thought: No answer after 5 rounds. Let me reflect and go on.\nAction: search[c]", "d"
)
RELEASED = Step("Thought: I haven't solved it, let me do a reflection.\nAction: search[c]", "d")


@pytest.mark.parametrize(
    ("steps", "method"),
    [
        ((FINISH,), "cot"),
        ((SEARCH, FINISH), "react"),
        ((SEARCH,), "react"),  # cut short: it did search
        ((Step("I am lost."),), "cot"),
        ((SEARCH, REFLECT, FINISH), "reflexion"),
        ((SEARCH, RELEASED, FINISH), "reflexion"),
        ((Step("Thought: to reflect is human\nAction: search[a]", "b"), FINISH), "react"),
    ],
)
def test_the_method_is_read_off_the_episode(steps, method):
    assert implicit_method(replace(TRAJECTORY, steps=steps)) == method


def test_implicit_choice_counts_methods_and_their_hits():
    episodes = [
        replace(TRAJECTORY, question_id=f"q{n}", steps=steps, correct=correct)
        for n, (steps, correct) in enumerate(
            [((FINISH,), True), ((FINISH,), False), ((SEARCH, FINISH), True), ((SEARCH,), False)]
        )
    ]
    implicit = implicit_choice(episodes)
    assert implicit.shares == {"cot": 0.5, "react": 0.5}
    assert implicit.chosen == {"q0": "cot", "q1": "cot", "q2": "react", "q3": "react"}
    assert implicit.scores["cot"] == wilson(1, 2)
    with pytest.raises(FireActError, match="no episodes"):
        implicit_choice([])
    with pytest.raises(FireActError, match="never scored"):
        implicit_choice([TRAJECTORY])


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("choose", [random_choice, best_fixed, oracle_choice])
@pytest.mark.parametrize(
    ("pool", "says"),
    [
        ({}, "pool is empty. Check its outcomes"),
        ({"a": []}, "pool is empty"),
        ({"a": answers("10"), "b": []}, "pool is empty"),
        (
            {"a": answers("10"), "b": answers("10") + answers("1", seed=1)},
            "b has 2 seeds, and some lack questions.*Finish the missing",
        ),
        (
            {"a": answers("10"), "b": answers("10") + answers("1", condition="none 0.5")},
            "b has 3 outcomes for 2 questions.*is there twice.*one condition",
        ),
        (
            {
                "a": answers("10", seed=1) + answers("10", seed=2),
                "b": answers("10", seed=1) + answers("10", seed=3),
            },
            r"b has the seeds \[1, 3\] and another agent \[1, 2\]",
        ),
        ({"a": answers("101"), "b": answers("10")}, "b has 2 questions and another agent 3"),
        (
            {"a": answers("10"), "b": [mark("q000", True), mark("q7", True)]},
            "b has 2 questions .* not the same ones. Every agent of the pool must have played",
        ),
    ],
)
def test_pools_to_choose_from(choose, pool, says):
    with pytest.raises(FireActError, match=says):
        choose(pool)


def test_too_few_samples_are_told_by_question():
    with pytest.raises(
        FireActError, match=r"pass@3 .* 1 have fewer \(first: \['q001'\]\)\. Sample"
    ):
        pass_at_k(tries("111", "10"), 3)
    for k, samples in ((1, []), (0, tries("11")), (-1, tries("11"))):
        with pytest.raises(FireActError, match="pass@"):
            pass_at_k(samples, k)
    with pytest.raises(FireActError, match="pass@3 needs at least 3 samples"):
        oracle_beyond_samples(POOL, tries("11", "11", "11", "11"))


def test_samples_of_other_questions_are_no_control():
    with pytest.raises(FireActError, match="samples hold 3 questions and the pool 4.* Sample the"):
        oracle_beyond_samples(POOL, tries("111", "111", "111"))
    with pytest.raises(FireActError, match="There is nobody to choose from"):
        oracle_beyond_samples({}, tries("1"))
