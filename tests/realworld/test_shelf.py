"""The real world wears the world's face; nothing that is held out is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import forget
from holdings import _strategyqa as strategyqa_rows
from hub import HubServer

from fireact_nb.agent import Condition, Source, read_trajectories
from fireact_nb.agent.tasks import TASKS
from fireact_nb.errors import FireActError
from fireact_nb.realworld.datasets import load_split
from fireact_nb.realworld.release import released_training
from fireact_nb.realworld.shelf import RealWorld

WORLD = RealWorld()


def test_the_face(hub_server: HubServer) -> None:
    held_out = {q.id for q in WORLD.held_out()}
    for task in TASKS:
        test = WORLD.questions("test", 3, task)
        assert len(test) == 3 and {q.id for q in test} <= held_out
        for method in ("io", "cot", "react", "reflexion", "fireact"):
            assert WORLD.prompt(method, task).method == method
    train = WORLD.questions("train")
    assert len(train) > 1508, "notebooks draw beyond what the release has played"
    assert not {q.id for q in train} & held_out
    with pytest.raises(FireActError, match="split test of bamboogle has 125"):
        WORLD.questions("test", 126, "bamboogle")


def test_its_search_knows_its_paragraphs(hub_server: HubServer) -> None:
    question = WORLD.questions("dev", 1)[0]
    sound, failing = WORLD.search(), WORLD.search(Condition("none", 1.0))
    assert failing.search(question.question) == "None" != sound.search(question.question)
    assert failing.name != sound.name
    pages, found = WORLD.pages(), sound.search(question.question)
    title = found.partition(": ")[0]
    assert [p for p in pages if p.startswith(f"{title}: ")] and len(set(pages)) == len(pages)
    assert len(found) <= 300


def test_reflexion_of_a_task_has_hotpotqas_cues(hub_server: HubServer) -> None:
    assert WORLD.prompt("reflexion", "mmlu").cues == WORLD.prompt("reflexion").cues
    assert WORLD.prompt("reflexion", "mmlu").messages == WORLD.prompt("react", "mmlu").messages


def test_what_is_written_is_the_authors(hub_server: HubServer) -> None:
    [origin] = WORLD.written(Source("hotpotqa", "react"))
    rows = read_trajectories(origin.path)
    assert len(rows) == 400 and "GPT-4" in origin.label and "paper, as reported" in origin.label
    with pytest.raises(FireActError, match="released no io trajectories of hotpotqa.*generate"):
        WORLD.written(Source("hotpotqa", "io"))


def test_a_released_row_that_is_tested_on_here_is_left_out(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the hub's StrategyQA does: its test questions are the authors' training questions."""
    held_out = {q.question for q in WORLD.held_out()}
    rows = released_training("strategyqa").trajectories
    leaked = next(t for t in rows if t.question not in held_out and t.method == "react")
    key = ("dataset", "ChilleD/StrategyQA")
    repo, question = hub_server.repos[key], load_split("strategyqa", "test")[0]
    [test] = [file for file in repo.files if "test" in file]
    changed = strategyqa_rows([replace(question, question=leaked.question.upper())])
    hub_server.repos[key] = replace(repo, files=repo.files | {test: changed})
    hub_server.adopt(monkeypatch, tmp_path / "elsewhere")  # where nothing was fetched before
    forget()
    [origin] = WORLD.written(Source("strategyqa", "react"))
    assert leaked.question not in {t.question for t in read_trajectories(origin.path)}
    assert "held out here" in origin.label
    train = WORLD.questions("train", task="strategyqa")
    assert leaked.question not in {q.question for q in train}
