"""The README: its results are those of the shipped table, its tree and its commands exist."""

from __future__ import annotations

import re

import pytest

from fireact_nb.analysis.outcomes import Outcome, read_outcomes
from fireact_nb.analysis.statistics import summarize
from fireact_nb.artifacts import ROOT, provenance, shipped
from fireact_nb.cli import make_parser
from fireact_nb.files import read_json
from fireact_nb.study.rendering import render_tables
from fireact_nb.study.tables import study_tables

README = (ROOT / "README.md").read_text(encoding="utf-8")


def line_of(row: dict) -> str:
    em, low, high = (f"{100 * x:.1f}" for x in (row["em"].value, row["em"].low, row["em"].high))
    return (
        f"| {row['agent']} | {em} [{low}, {high}] | {row['rounds']:.1f} | "
        f"{row['prompt_tokens']:,.0f} |"
    )


def outcomes() -> list[Outcome]:
    return read_outcomes(shipped("dev_outcomes"))


def test_the_results_are_those_of_the_shipped_table() -> None:
    for row in summarize(outcomes()):
        assert line_of(row) in README, f"README lacks the line {line_of(row)}"


def test_every_row_of_the_table_holds_all_of_dev() -> None:
    assert {row["questions"] for row in summarize(outcomes())} == {400}


def test_the_differences_are_those_of_the_study() -> None:
    study = README.split("### The study")[1].split("## The tree")[0]
    shown = [line for line in study.splitlines() if re.match(r"\| .*\d", line)]
    tables = shipped("study_tables").read_text(encoding="utf-8").splitlines()
    assert len(shown) >= 10
    assert [line for line in shown if line not in tables] == []


@pytest.mark.slow
def test_the_shipped_tables_are_what_the_shipped_outcomes_say() -> None:
    rows, costs = read_outcomes(shipped("study")), read_json(shipped("study_costs"))
    tables = render_tables(study_tables(rows, costs), provenance("study"))
    assert tables == shipped("study_tables").read_text(encoding="utf-8")


def test_every_module_stands_in_the_tree() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    for module in (ROOT / "fireact_nb").rglob("[a-z]*.py"):
        if not re.fullmatch(r"nb0[2-7]", module.stem):  # told as "nb01 ... nb08"
            assert re.search(rf"\b{module.stem}\b", tree), module


def test_the_commands_parse() -> None:
    parser = make_parser()
    commands = re.findall(r"^fireact-nb (.+?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        parser.parse_args(command.split())
