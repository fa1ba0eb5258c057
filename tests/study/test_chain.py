"""Every artifact's recipe: what it is made from, and what of the making is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import FEW
from doubles import QUESTIONS, study_rows

from fireact_nb.agent.search import NORMAL, Condition
from fireact_nb.agent.sources import Source
from fireact_nb.agent.trajectory import read_trajectories
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.artifacts import provenance, read_manifest, stale_links
from fireact_nb.errors import FireActError
from fireact_nb.study.chain import LINKS, MODELS, Link, remake, write_adapter
from fireact_nb.study.grid import (
    MAIN,
    REFLEXION_SEARCH,
    STUDENTS,
    TEACHER_PLAYS,
    shipped_agents,
    tuned,
)
from fireact_nb.study.rendering import render_tables
from fireact_nb.study.tables import study_tables

PLAYS = {source.artifact for source in TEACHER_PLAYS}
ADAPTERS = {agent.slug for agent in shipped_agents()}


def test_each_artifact_is_made_after_what_it_is_made_from():
    """In this order `artifacts all` makes them; so there is no cycle either."""
    made: set[str] = set()
    for name, link in LINKS.items():
        assert set(link.inputs) <= made, f"{name} before {set(link.inputs) - made}"
        assert len(set(link.inputs)) == len(link.inputs)
        made.add(name)
    paths = [link.path for link in LINKS.values()]
    assert len({p.casefold() for p in paths}) == len(paths)
    assert not [p for p in paths if p.startswith(("/", ".."))]


def test_the_chain_holds_every_artifact():
    tables = {"dev_outcomes", "study", "study_costs", "study_tables", "study_picture", "live"}
    assert LINKS.keys() == {"world", "tokenizer", *MODELS, *PLAYS, *ADAPTERS, *tables}
    assert LINKS.keys() == read_manifest().keys()
    assert set(MODELS) == {"teacher", *STUDENTS}
    for name in MODELS:
        assert LINKS[name].inputs == ("world", "tokenizer")
    for name in PLAYS:
        assert LINKS[name].inputs == ("world", "teacher")
    for agent in shipped_agents():
        assert LINKS[agent.slug].inputs == agent.inputs
    # A measurement is stale as soon as any model, trajectory or adapter is.
    assert {"world", *MODELS, *PLAYS, *ADAPTERS} == set(LINKS["study"].inputs)
    assert LINKS["dev_outcomes"].inputs == ("world", "teacher")
    plays = {"teacher_hotpotqa_react", "teacher_hotpotqa_cot", "teacher_hotpotqa_reflexion"}
    assert set(LINKS["live"].inputs) == {"world", MAIN, *plays}


def test_an_unknown_artifact_is_named_with_the_choices():
    with pytest.raises(FireActError, match="no artifact 'studnet'. There are: world, tokenizer, t"):
        remake("studnet")


def test_remaking_enters_the_manifest(tmp_path, monkeypatch):
    for name, inputs in (("world", ()), ("a", ("world",))):
        link = Link(f"deep/er/{name}.txt", inputs, lambda study, path: path.write_text(study.mark))
        monkeypatch.setitem(LINKS, name, link)
    for mark in ("made", "again"):
        for name in ("world", "a"):
            remake(name, tmp_path, SimpleNamespace(mark=mark))
    assert (tmp_path / "deep" / "er" / "a.txt").read_text() == "again"
    made = read_manifest(tmp_path)
    assert made["a"].inputs == {"world": made["world"].sha256} and stale_links(tmp_path) == []
    assert (made["a"].path, made["a"].command) == ("deep/er/a.txt", "fireact-nb artifacts a")


def test_what_is_shipped_of_an_adapter(bench, tmp_path):
    write_adapter(FEW, bench.study, tmp_path / "out")
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "recipe.json"}
    made = bench.study.train(FEW) / "adapter_model.safetensors"
    assert (tmp_path / "out" / made.name).read_bytes() == made.read_bytes()


def test_the_teachers_trajectories_are_kept_failures_too_and_asked_for_once(bench, tmp_path):
    count = TEACHER_PLAYS[Source("mmlu", "react")]
    for name in ("one", "again"):
        LINKS["teacher_mmlu_react"].make(bench.study, tmp_path / f"{name}.jsonl.gz")
    assert bench.world.calls == [("train", count, "mmlu"), (NORMAL, 0)] * 2
    assert len(bench.asked) == 6, "the journal was not used"
    one, again = (tmp_path / f"{name}.jsonl.gz" for name in ("one", "again"))
    assert one.read_bytes() == again.read_bytes()
    played = read_trajectories(one)
    assert [t.question_id for t in played] == [f"m{q.id}" for q in QUESTIONS[:6]]
    assert {t.method for t in played} == {"react"}
    # Reflexion has something to reflect on where the tool fails; every other play has a good tool.
    LINKS["teacher_hotpotqa_reflexion"].make(bench.study, tmp_path / "reflexion.jsonl.gz")
    assert bench.world.calls[-1] == (REFLEXION_SEARCH, 0)
    assert Condition("none", 0.3) == REFLEXION_SEARCH
    played = read_trajectories(tmp_path / "reflexion.jsonl.gz")
    assert {bool(t.correct) for t in played} == {True, False}


def test_the_tables_are_made_of_the_shipped_outcomes_and_costs(tmp_path):
    rows = study_rows(questions=4)
    training = {"seconds": 7.0, "saved_bytes": 10, "trained_parameters": 4321}
    full = tuned(MAIN, "react", "full").name
    costs = [{"agent": full, "seed": 0, "seconds": 9, "training": training}]

    def shipped(name: str) -> Path:
        return tmp_path / Path(LINKS[name].path).name

    study = SimpleNamespace(run=lambda: rows, costs=lambda: costs, shipped=shipped)
    for name in ("study", "study_costs", "study_tables"):
        LINKS[name].make(study, shipped(name))
    kept = read_outcomes(tmp_path / "study.csv.gz")
    note = "shipped, fireact-nb artifacts study"
    assert kept == [replace(row, seconds=round(row.seconds, 3), provenance=note) for row in rows]
    text = (tmp_path / "study.md").read_text("utf-8")
    assert text == render_tables(study_tables(kept, costs), provenance("study"))
    assert "4,321 weights trained" in text


def test_the_live_cells_say_how_they_were_made(tmp_path):
    rows = study_rows(questions=2)
    study = SimpleNamespace(run=lambda grid: rows[: len(grid)])
    LINKS["live"].make(study, tmp_path / "live.csv.gz")
    notes = {o.provenance for o in read_outcomes(tmp_path / "live.csv.gz")}
    assert notes == {"shipped, fireact-nb artifacts live"}


def test_what_was_played_on_dev_says_how_it_was_made(bench, tmp_path):
    LINKS["dev_outcomes"].make(bench.study, tmp_path / "dev.csv.gz")
    rows = read_outcomes(tmp_path / "dev.csv.gz")
    assert len(rows) == 4 * 6 and {o.split for o in rows} == {"dev"}
    assert {o.agent.split(", ")[1] for o in rows} == {"io", "cot", "react", "reflexion"}
    assert {o.provenance for o in rows} == {"shipped, fireact-nb artifacts dev_outcomes"}


def test_costs_are_kept_as_they_are(tmp_path):
    costs = [{"agent": "a", "seed": 0, "seconds": 3}]
    LINKS["study_costs"].make(SimpleNamespace(costs=lambda: costs), tmp_path / "costs.json")
    assert json.loads((tmp_path / "costs.json").read_text("utf-8")) == costs
