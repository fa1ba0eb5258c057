"""Rows looked up by agent, seeds averaged by question, and verdicts by the interval alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doubles import study_rows

from fireact_nb.agent.search import NORMAL
from fireact_nb.analysis.statistics import Interval
from fireact_nb.errors import FireActError
from fireact_nb.study.grid import MAIN, NOISE, prompted, tuned
from fireact_nb.study.results import Claim, Line, Outcomes, Table, common_seeds, same_questions

ROWS = study_rows(questions=40)
REACT = tuned(MAIN, "react")


# -- looked up ----------------------------------------------------------------------------------


def test_rows_are_looked_up_by_the_grids_agent_or_by_any_name():
    results = Outcomes(ROWS)
    mine = [replace(row, agent="my own") for row in results.of(REACT, seed=1)]
    assert Outcomes(mine).of("my own") == mine
    assert results.of(REACT) == results.of(REACT.name) == results.of(tuned(MAIN, "react", seed=1))
    assert {row.seed for row in results.of(REACT)} == {0, 1}
    assert {row.seed for row in results.of(REACT, seed=1)} == {1}
    for condition in (NORMAL, *NOISE):
        rows = results.of(REACT, condition=condition)
        assert rows == results.of(REACT, condition=str(condition))
        assert {row.condition for row in rows} == {str(condition)}
    assert {row.temperature for row in results.of(REACT, sampled=True)} == {0.6}
    assert {row.task for row in results.of(REACT, "mmlu")} == {"mmlu"}


def test_what_is_not_there_is_named_with_the_agents_that_are():
    few = Outcomes(Outcomes(ROWS).of(REACT))
    with pytest.raises(FireActError, match=r"'teacher, io, 2 examples' on hotpotqa \(normal\).*"
                       "agents are: student, react 500"):  # fmt: skip
        few.of(prompted("teacher", "io"))
    with pytest.raises(FireActError, match=r"'student, react 500' on hotpotqa \(none 0.5\)"):
        few.of(REACT, condition=NOISE[0])


def test_a_training_is_told_in_words_where_it_is_known():
    training = {"seconds": 61.4, "saved_bytes": 1_234_567, "trained_parameters": 54_321}
    costs = [{"agent": REACT.name, "seed": 0, "seconds": 9, "training": training}]
    words = "61 s on one core, 1.23 MB, 54,321 weights trained"
    results = Outcomes([], costs)
    assert results.training(REACT) == results.training(REACT.name) == words
    assert results.training(REACT, seed=1) == "" == Outcomes([]).training(REACT)


def test_two_sides_are_cut_to_what_both_have():
    rows = Outcomes(ROWS).of(REACT)
    few = [row for row in rows if row.seed == 1 and row.question_id < "hotpotqa-007"]
    one, other = common_seeds(rows, few)
    assert {row.seed for row in one} == {1} and other == few
    one, other = same_questions(few, rows)
    assert one == few and {row.question_id for row in other} == {row.question_id for row in few}


def test_seeds_are_averaged_by_question_before_the_interval():
    """Two seeds that answer alike tell no more than one: n counts questions."""
    rows = Outcomes(ROWS).of(REACT, seed=0)
    twice = [*rows, *(replace(o, seed=1) for o in rows)]
    one, two = (Outcomes([]).line("x", some) for some in (rows, twice))
    assert (two.ours, two.n) == (one.ours, one.n) == (one.ours, 40)
    assert two.seeds == one.seeds * 2


# -- verdicts -----------------------------------------------------------------------------------

UP, DOWN = Interval(0.05, 0.01, 0.09), Interval(-0.05, -0.09, -0.01)


@pytest.mark.parametrize(
    ("said", "ours", "verdict"),
    [
        (2.0, UP, "agrees"),
        (-2.0, DOWN, "agrees"),
        (2.0, DOWN, "disagrees"),
        (-2.0, UP, "disagrees"),
        (2.0, Interval(0.05, -0.001, 0.1), "not resolved"),
        (-2.0, Interval(0.05, -0.001, 0.1), "not resolved"),
        (2.0, Interval(0.05, 0.0, 0.1), "not resolved"),
        (2.0, Interval(-0.05, -0.1, 0.0), "not resolved"),
        (2.0, Interval(0, 0, 0), "not resolved"),
        (None, UP, "up"),
        (None, DOWN, "down"),
        (None, Interval(0.05, -0.001, 0.1), "not resolved"),
    ],
)
def test_a_verdict_is_read_off_the_interval_and_its_sign(said, ours, verdict):
    assert Claim("b minus a", said, ours).verdict == verdict


@pytest.mark.parametrize(
    ("sign", "ours", "verdict"),
    [
        (1, UP, "agrees"),
        (-1, DOWN, "agrees"),
        (1, DOWN, "disagrees"),
        (-1, UP, "disagrees"),
        (1, Interval(0.05, -0.001, 0.1), "not resolved"),
        (0, UP, "up"),
    ],
)
def test_a_direction_of_unknown_size_is_judged_alike(sign, ours, verdict):
    assert Claim("b minus a", None, ours, sign).verdict == verdict


def test_the_differences_of_a_table_are_rows_of_a_figure():
    from fireact_nb.analysis.figures import plot_differences

    unclear = Interval(0.05, -0.001, 0.1)
    claims = (Claim("b minus a", -3, DOWN), Claim("c minus a", None, UP, -1),
              Claim("f minus a", 1, unclear))  # fmt: skip
    rows = Table("T", "paper, Table 9", (Line("a", UP, 40, (0.25,)),), claims).differences
    assert rows == [
        ("b minus a", DOWN, -0.03),
        ("c minus a", UP, None),
        ("f minus a", unclear, 0.01),
    ]
    alt = plot_differences(rows, "A title", "difference in EM", "shipped").get_label()
    assert all(text in alt for text, *_ in rows) and "paper, as reported +0.010" in alt
