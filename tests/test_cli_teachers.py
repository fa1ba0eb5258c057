"""The command line with a server as the teacher and a service as the tool, over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from services import Batches, Reasoner, Serp, serp

from fireact_nb import artifacts, cli
from fireact_nb.agent.trajectory import read_trajectories
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.realworld import serpapi

pytestmark = pytest.mark.filterwarnings("ignore:.*takes no")
KEY = "0123456789abcdef0123456789abcdef"


def run(command: str, out: Path, url: str, *more: object) -> int:
    server = ["--base-url", f"{url}/v1", "--model", "double"]
    return cli.main([command, "--count", "3", "--out", str(out), *server, *map(str, more)])


def fail(capsys: Any, command: str, out: Path, *more: object) -> str:
    assert cli.main([command, "--count", "3", "--out", str(out), *map(str, more)]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_a_reasoning_model_plays_with_its_effort_and_its_cap(command: str, tmp_path: Path) -> None:
    out = tmp_path / ("o.jsonl" if command == "generate" else "o.csv")
    with Reasoner() as model:
        more = ["--max-tokens", 700, "--reasoning-effort", "low", "--split", "dev"]
        assert run(command, out, model.url, *more) == 0
    assert model.seen[-1].json["max_completion_tokens"] == 700
    assert model.seen[-1].json["reasoning_effort"] == "low"
    if command == "evaluate":
        assert {(o.agent, o.state) for o in read_outcomes(out)} == {
            ("double, low effort", "finished")
        }
    else:
        assert [t.meta["reasoning_tokens"] for t in read_trajectories(out)] == [200] * 3


def test_a_search_service_is_the_tool_and_costs_a_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERPAPI_API_KEY", KEY)
    monkeypatch.setattr(artifacts, "RUNS", tmp_path / "runs")
    out = tmp_path / "o.jsonl"
    with (
        Serp(KEY, lambda query, number: serp(answer_box={"answer": "found"})) as service,
        Reasoner("Thought: t\nAction: search[who]", thinks=1) as model,
    ):
        monkeypatch.setattr(serpapi, "URL", f"{service.url}/search.json")
        more = ["--split", "dev", "--search", "serpapi"]
        assert run("generate", out, model.url, *more) == 1
        said = capsys.readouterr().err
        assert "google by serpapi may" in said and "--yes" in said and not service.seen
        assert run("generate", out, model.url, *more, "--yes") == 0
        assert len(service.seen) == 1, "one query, one search"
    assert read_trajectories(out)[0].steps[0].observation == "found"
    assert len(list((tmp_path / "runs" / "searches").glob("*.json"))) == 1


def test_one_round_goes_by_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fireact_nb.models.batches.POLL", 0.01)
    out, more = tmp_path / "o.jsonl", ["--split", "dev", "--method", "cot", "--batch"]
    with Batches() as service:
        prices = ["--prices", 1, 2, "--max-usd", 1]
        assert run("generate", out, service.url, *more, *prices) == 1
        printed = capsys.readouterr()
        assert "3 episodes" in printed.out and "$1 and $2 for a million" in printed.out
        assert "--yes" in printed.err and not service.seen
        assert run("generate", out, service.url, *more, *prices, "--yes") == 0
        assert "3 of 3 requests answered by batch" in capsys.readouterr().out
        assert len(service.paid) == 3 and set(service.paid.values()) == {1}
    assert [t.answer for t in read_trajectories(out)] == ["x"] * 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--batch"], "--batch has no effect on a model of this machine"),
        (["--reasoning-effort", "low"], "--reasoning-effort has no effect"),
        (["--search", "bing"], "no search tool 'bing'"),
        (["--base-url", "http://127.0.0.1:9/v1", "--adapter", "x"], "--adapter is for a model on"),
        (["--base-url", "http://127.0.0.1:9/v1", "--max-usd", "1"], "--prices"),
        (["--search", "serpapi"], "SERPAPI_API_KEY"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_options_that_cannot_hold_are_named(
    command: str,
    more: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SERPAPI_API_KEY", raising=False)
    said = fail(capsys, command, tmp_path / "o.csv", "--split", "dev", *more)
    assert words in said and not list(tmp_path.iterdir())
