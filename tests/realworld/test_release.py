"""The authors' release: fetched once, checked by its hash, each row with its task and method."""

from __future__ import annotations

from collections import Counter

import pytest
from hub import HubServer

from fireact_nb.errors import FireActError
from fireact_nb.realworld import release
from fireact_nb.realworld.release import (
    FILES,
    RELEASED_RUNS,
    fetch_released,
    released_run,
    released_training,
)


def test_a_file_is_fetched_once_and_says_where_it_is_from(hub_server: HubServer) -> None:
    path, label = fetch_released(FILES["hotpotqa"])
    asked = len(hub_server.asked)
    assert fetch_released(FILES["hotpotqa"]) == (path, label) and len(hub_server.asked) == asked
    assert hub_server.url in label and path.name in label


def test_another_file_than_the_authors_is_refused(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of one's own is asked for no hash; what claims to be theirs is."""
    monkeypatch.setattr(release, "ADDRESS", f"{hub_server.url}/authors/release/resolve/main")
    monkeypatch.delenv("FIREACT_RELEASE")
    with pytest.raises(FireActError, match="not the file that the authors released"):
        fetch_released(FILES["hotpotqa"])


@pytest.mark.parametrize(("path", "words"), [("/nowhere", "status 4"), (None, "cannot be reached")])
def test_what_cannot_be_fetched_says_what_to_do(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, path: str | None, words: str
) -> None:
    address = f"{hub_server.url}{path}" if path else "http://127.0.0.1:9"
    monkeypatch.setenv("FIREACT_RELEASE", address)
    with pytest.raises(FireActError, match=f"{words}.*FIREACT_RELEASE"):
        fetch_released(FILES["hotpotqa"])


def test_each_row_knows_its_task_and_method(hub_server: HubServer) -> None:
    for task, methods in (
        ("hotpotqa", {"react", "cot", "reflexion"}),
        ("strategyqa", {"react", "cot"}),
        ("mmlu", {"react", "cot"}),
    ):
        found = released_training(task)
        assert {t.method for t in found.trajectories} == methods
        assert {t.task for t in found.trajectories} == {task}
        assert all(t.gold == t.answer for t in found.trajectories if t.correct)


def test_failed_rows_are_flagged_and_odd_ones_told(hub_server: HubServer) -> None:
    verdicts = Counter((t.method, t.correct) for t in released_training("hotpotqa").trajectories)
    assert verdicts["reflexion", False] == 23 and verdicts["react", False] == 0
    assert "instruction" in released_training("mmlu").odd[0]


def test_the_options_go_back_into_the_question(hub_server: HubServer) -> None:
    for t in released_training("mmlu").trajectories:
        assert [line[:3] for line in t.question.splitlines()[1:]] == ["A. ", "B. ", "C. ", "D. "]
        assert t.steps[0].text.startswith("Thought:") and t.meta["moved"]


@pytest.mark.parametrize("name", RELEASED_RUNS)
def test_a_released_run_is_read(hub_server: HubServer, name: str) -> None:
    found = released_run(name)
    assert found.trajectories and not found.odd
    assert {t.method for t in found.trajectories} == {"fireact"}
