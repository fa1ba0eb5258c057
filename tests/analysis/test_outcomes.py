"""The outcomes table on disk, and intervals against published and simulated values."""

from __future__ import annotations

import csv
import gzip
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import OUTCOME, QUESTION, TRAJECTORY, mark

from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import STATES
from fireact_nb.analysis.outcomes import Outcome, outcome_of, read_outcomes, write_outcomes
from fireact_nb.analysis.statistics import (
    Interval,
    accuracy,
    paired_bootstrap,
    paired_difference,
    summarize,
    tolerance_band,
    wilson,
)
from fireact_nb.errors import FireActError
from fireact_nb.files import write_file

# The columns of design.md, in its order.
COLUMNS = [
    *("question_id", "task", "split", "type", "agent", "model", "method_mix", "condition"),
    *("seed", "sample", "temperature", "correct", "f1", "answer", "state", "rounds", "searches"),
    *("prompt_tokens", "completion_tokens", "usd", "seconds", "trajectory_id", "provenance"),
]


def test_the_columns_are_the_designs():
    assert [f.name for f in fields(Outcome)] == COLUMNS


def test_outcome_of_scores_by_the_rule_of_the_task():
    assert (OUTCOME.correct, OUTCOME.answer) == (False, "black cat")
    assert OUTCOME.f1 == pytest.approx(2 / 3)
    assert (OUTCOME.rounds, OUTCOME.searches, OUTCOME.state, OUTCOME.seed) == (2, 1, "finished", 3)
    assert OUTCOME.trajectory_id == "q1/react/tiny/3.0"
    choice = Question("q1", "Which?", "B", "mmlu", "dev", options=("dog", "cat"))
    row = outcome_of(replace(TRAJECTORY, answer="Cat"), choice, "s", "m", "react", "n", "p")
    assert (row.correct, row.f1) == (True, 1.0)
    lost = replace(TRAJECTORY, answer=None, state="context full")
    row = outcome_of(lost, QUESTION, "s", "m", "react", "n", "p")
    assert (row.correct, row.f1, row.answer, row.state) == (False, 0.0, None, "context full")
    with pytest.raises(FireActError, match="'q1'.*'q2'"):
        outcome_of(TRAJECTORY, replace(QUESTION, id="q2"), "s", "m", "react", "n", "p")


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**53), 2**53)
OUTCOMES = st.builds(
    Outcome,
    **{
        f.name: {"int": WHOLE, "float": NUMBERS, "bool": st.booleans()}.get(str(f.type), st.text())
        for f in fields(Outcome)
        if f.name not in ("answer", "state")
    },
    answer=st.none() | st.text(min_size=1),
    state=st.sampled_from(STATES),
)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
@given(outcomes=st.lists(OUTCOMES, max_size=3))
def test_the_table_comes_back(tmp_path_factory, suffix, outcomes):
    path = tmp_path_factory.getbasetemp() / f"outcomes.{suffix}"
    write_outcomes(path, outcomes)
    assert read_outcomes(path) == outcomes


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=1", "''=1", "'a", "'"])
def test_no_text_of_a_csv_is_a_formula_and_all_come_back(tmp_path, text):
    row = replace(OUTCOME, answer=text, model=text, type=text, seed=-3)
    write_outcomes(tmp_path / "x.csv", [row])
    assert read_outcomes(tmp_path / "x.csv") == [row]
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        (cells,) = csv.DictReader(file)
    assert cells["seed"] == "-3" and cells["answer"][0] not in "=+-@\t\r"


def test_csv_on_disk_has_plain_line_ends(tmp_path):
    write_outcomes(tmp_path / "o.csv", [OUTCOME])
    content = (tmp_path / "o.csv").read_bytes()
    assert b"\r" not in content and content.count(b"\n") == 2


def test_a_packed_table_is_the_same_table(tmp_path):
    rows = [mark(f"q{n}", n % 2 == 0) for n in range(50)]
    for name in ("o.csv", "o.csv.gz", "again.csv.gz"):
        write_outcomes(tmp_path / name, rows)
        assert read_outcomes(tmp_path / name) == rows
    plain, packed, again = (
        (tmp_path / name).read_bytes() for name in ("o.csv", "o.csv.gz", "again.csv.gz")
    )
    assert gzip.decompress(packed) == plain and len(packed) < len(plain) / 3
    assert packed == again, "the manifest holds its hash"
    (tmp_path / "o.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(FireActError, match=r"o\.csv\.gz is not a whole gzip file"):
        read_outcomes(tmp_path / "o.csv.gz")
    write_file(tmp_path / "o.csv.gz", plain[:-20])
    with pytest.raises(FireActError, match=r"o\.csv\.gz, line 51"):
        read_outcomes(tmp_path / "o.csv.gz")
    for name in ("o.gz", "o.xlsx.gz", "o.parquet.gz"):  # Parquet is packed within
        with pytest.raises(FireActError, match="neither .csv nor .parquet"):
            write_outcomes(tmp_path / name, rows)


def write_csv(path, header, *rows):
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def test_a_table_of_ones_own(tmp_path):
    """Other order, more columns, a spreadsheet's byte-order mark and its ways of writing values."""
    path = tmp_path / "own.csv"
    cells = asdict(OUTCOME) | {
        "correct": " TRUE", "rounds": "3.0", "seed": " 3", "answer": "", "note": "mine"
    }  # fmt: skip
    write_csv(path, list(cells)[::-1], list(cells.values())[::-1])
    (row,) = read_outcomes(path)
    assert row == replace(OUTCOME, correct=True, rounds=3, answer=None)


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("correct", "maybe", "true or false"),
        ("rounds", "2.5", "whole number"),
        ("rounds", "", "whole number"),
        ("prompt_tokens", "inf", "whole number"),
        ("f1", "nan", "a number"),
        ("usd", "$1", "a number"),
        ("state", "done", "out of rounds"),
    ],
)
def test_a_wrong_cell_is_named_by_column_and_line(tmp_path, column, cell, says):
    path = tmp_path / "own.csv"
    good = asdict(OUTCOME)
    write_csv(path, COLUMNS, good.values(), (good | {column: cell}).values())
    with pytest.raises(FireActError, match=f"line 3.*'{column}'.*{says}"):
        read_outcomes(path)


def test_a_wrong_parquet_cell_is_named_by_column_and_row(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    def write(*rows: dict) -> None:
        parquet.write_table(pa.Table.from_pylist(list(rows)), path)

    path = tmp_path / "own.parquet"
    good = asdict(OUTCOME)
    write(good, good)
    assert read_outcomes(path) == [OUTCOME, OUTCOME]
    write(good, good | {"usd": None})
    with pytest.raises(FireActError, match="row 2.*'usd'"):
        read_outcomes(path)
    write(good | {"question_id": 5})
    with pytest.raises(FireActError, match="row 1.*'question_id'.*a text"):
        read_outcomes(path)
    write(good | {"answer": 0})
    with pytest.raises(FireActError, match="row 1.*'answer'.*a text"):
        read_outcomes(path)
    write({k: v for k, v in good.items() if k not in ("usd", "state")})
    with pytest.raises(FireActError, match="columns state, usd"):
        read_outcomes(path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FireActError, match="Parquet"):
        read_outcomes(path)


def test_broken_tables_are_named(tmp_path):
    path = tmp_path / "own.csv"
    good = asdict(OUTCOME)
    write_csv(path, COLUMNS[:-1], list(good.values())[:-1])
    with pytest.raises(FireActError, match="line 1 lacks the column provenance"):
        read_outcomes(path)
    write_csv(path, COLUMNS, list(good.values()), list(good.values())[:-2])
    with pytest.raises(FireActError, match="line 3 has 21 cells under 23"):
        read_outcomes(path)
    row = ",".join(map(str, [*good.values()][:-1]))
    path.write_text(f'{",".join(COLUMNS)}\n{row},"open', encoding="utf-8")
    with pytest.raises(FireActError, match="line 2 is not whole CSV"):
        read_outcomes(path)
    path.write_text("", encoding="utf-8")
    for missing in (path, tmp_path / "no.csv", tmp_path / "no.parquet", tmp_path / "table.xlsx"):
        with pytest.raises(FireActError, match=str(missing)):
            read_outcomes(missing)


# -- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_against_published_values(successes, n, low, high):
    interval = wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_and_mirrors(case):
    successes, n = case
    interval, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)


def test_accuracy_counts_every_question_that_was_asked():
    rows = [mark("a", True), mark("b", False)]
    assert accuracy(rows).value == 0.5
    assert accuracy(rows, questions=4) == wilson(1, 4)
    assert accuracy([replace(TRAJECTORY, correct=True)], questions=2).value == 0.5
    for bad in (lambda: accuracy([]), lambda: accuracy(rows, questions=1)):
        with pytest.raises(FireActError):
            bad()
    with pytest.raises(FireActError, match="never scored"):
        accuracy([TRAJECTORY])


def test_the_bootstrap_covers_the_truth_and_shrinks_with_agreement():
    import numpy as np

    rng = np.random.default_rng(0)
    truth, covered, trials = 0.15, 0, 300
    for trial in range(trials):
        hardness = rng.random(120)
        a, b = hardness < 0.35, hardness < 0.35 + truth  # b is right wherever a is
        interval = paired_bootstrap(a, b, samples=400, seed=trial)
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / trials <= 0.985
    a, b = rng.random(120) < 0.35, rng.random(120) < 0.5  # as far apart, but unpaired
    loose = paired_bootstrap(a, b)
    assert loose.high - loose.low > 1.3 * (interval.high - interval.low)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_bootstrap_is_repeatable_and_mirrors(pairs):
    a, b = zip(*pairs, strict=True)
    there, back = paired_bootstrap(a, b, samples=50), paired_bootstrap(b, a, samples=50)
    assert there == paired_bootstrap(a, b, samples=50)
    assert -1 <= there.low <= there.high <= 1
    assert (there.value, there.low) == pytest.approx((-back.value, -back.high))


def test_paired_values_must_pair():
    for a, b in (([], []), ([1], [1, 0])):
        with pytest.raises(FireActError, match="same questions"):
            paired_bootstrap(a, b)


def test_paired_difference_joins_by_question():
    a = [mark("x", True), mark("y", False), mark("z", False)]
    b = [mark("z", True), mark("x", True), mark("y", False)]
    assert paired_difference(a, b).value == pytest.approx(1 / 3)
    assert paired_difference(a, a[::-1]) == Interval(0, 0, 0)
    twice = [*b, mark("z", False, sample=1)]
    assert paired_difference(a, twice).value == pytest.approx(1 / 6)
    with pytest.raises(FireActError, match=r"1 only in the first \['y'\], 0 only in the second"):
        paired_difference(a, [b[0], b[1]])
    with pytest.raises(FireActError, match="denominator"):
        paired_difference([], b)


def test_summary_keeps_agents_tasks_and_conditions_apart():
    rows = [
        mark("x", True, rounds=1),
        mark("y", False, rounds=3, state="malformed"),
        mark("x", True, condition="none 0.5"),
        mark("x", True, agent="other", task="mmlu"),
    ]
    first, *others = summarize(rows)
    assert first["em"] == wilson(1, 2)
    assert (first["n"], first["questions"], first["rounds"], first["rounds_sd"]) == (2, 2, 2, 1)
    assert first["states"] == {"finished": 1, "malformed": 1}
    assert first["prompt_tokens"] == 70
    assert [(r["agent"], r["task"], r["condition"]) for r in others] == [
        ("student", "hotpotqa", "none 0.5"),
        ("other", "mmlu", "normal"),
    ]
    assert summarize([]) == []


def runs_of(shares, questions=20):
    """One agent's rows, with a seed for each share of right answers."""
    return [
        mark(f"q{i}", i < share * questions, seed=seed)
        for seed, share in enumerate(shares)
        for i in range(questions)
    ]


def test_a_band_holds_what_the_seeds_promise():
    rows = runs_of([0.3, 0.4, 0.5])
    band = tolerance_band(rows, rows)
    assert (band.value, band.runs, band.questions) == (pytest.approx(0.4), 3, 20)
    assert band.high - 0.4 == pytest.approx(3 * 0.1 * (4 / 3) ** 0.5)
    assert band.low == pytest.approx(0.4 - (band.high - 0.4))
    assert band.compare(0.5).endswith("inside")
    assert "OUTSIDE" in band.compare(0.9) and "you got 0.90" in band.compare(0.9)


def test_a_band_is_never_narrower_than_two_questions_nor_outside_zero_and_one():
    rows = runs_of([0.5, 0.5, 0.5])
    assert tolerance_band(rows, rows).low == pytest.approx(0.4)
    assert tolerance_band(runs_of([0, 0, 0]), rows).low == 0
    assert tolerance_band(runs_of([1, 1, 1]), rows).high == 1


def test_a_band_looks_at_the_questions_that_were_asked():
    rows = runs_of([0.3, 0.4, 0.5])
    few = [mark(f"q{i}", True) for i in range(6)]
    assert (tolerance_band(rows, few).value, tolerance_band(rows, few).questions) == (1, 6)
    with pytest.raises(FireActError, match="no more than were shipped"):
        tolerance_band(rows, [*few, mark("elsewhere", True)])
    with pytest.raises(FireActError, match="three seeds"):
        tolerance_band(runs_of([0.3, 0.4]), rows)
