"""Keys of the search services and of batches appear in nothing printed, logged, raised or kept."""

from __future__ import annotations

import io
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Dice
from servers import Answer, fails
from services import NO_RESULT, Batches, Serp, serp, serp_error
from test_canary import KEY, WRITINGS, files, hits

from fireact_nb.agent import asking
from fireact_nb.agent.episode import Settings
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat
from fireact_nb.models.batches import ask_in_batch
from fireact_nb.realworld.cache import Kept
from fireact_nb.realworld.serpapi import SerpApi

ECHOES = [
    lambda s: serp(answer_box={"answer": f"It is {s}"}, organic_results=[{"snippet": s}]),
    lambda s: serp_error(401, f"Invalid API key {s}"),
    lambda s: serp_error(429, f"{s} has run out of searches"),
    lambda s: serp_error(400, f"https://serpapi.com/search?api_key={s}"),
    lambda s: serp_error(503, f"https://serpapi.com/search?api_key={s}"),
    lambda s: Answer(f"<html>api_key={s}</html>".encode(), 502),
    lambda s: Answer(drop="before"),
    lambda s: Answer(b"", 302, {"Location": f"http://127.0.0.1:9/?{s[:5]}"}),
]


def test_a_search_service_that_echoes_the_key(
    tmp_path: Path, logged: io.StringIO, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: high / 100)
    echoes = [echo(write(KEY)) for echo in ECHOES for write in WRITINGS.values()]
    now: list[Answer] = []
    shown: list[str] = []
    with Serp(KEY, lambda query, number: now[-1]) as service:
        engine = SerpApi(KEY, f"{service.url}/search.json")
        tool = Kept(engine, tmp_path / "kept")
        for number, answer in enumerate(echoes):
            now.append(answer)
            try:
                shown.append(tool.search(f"query {number}"))
            except FireActError as error:
                shown.append("".join(traceback.format_exception(error)) + repr(error))
        now.append(serp(answer_box={"answer": f"colour 1, says {KEY}"}))
        with Journal(tmp_path / "run.journal") as journal:
            played = generate(
                QUESTIONS[:4], Prompt("react", "t"), Dice(local=False), tool, journal=journal,
                yes=True, progress=False,
            )  # fmt: skip
        write_trajectories(tmp_path / "run.jsonl", played)
        now.append(NO_RESULT)
        assert service.seen[-1].query["api_key"] == KEY, "the key reaches the service, and only it"
    said = "\n".join(shown) + repr(vars(engine)) + repr(vars(tool)) + repr(engine)
    assert "[key]" in said and "api_key" in logged.getvalue()
    written = files(tmp_path)
    assert "[key]" in written and any(t.searches for t in played)
    printed = capfd.readouterr()
    for text in (said, written, logged.getvalue(), printed.out + printed.err):
        assert not hits(text), [line for line in text.split("\n") if hits(line)][:3]


def test_a_batch_service_that_echoes_the_key(
    tmp_path: Path, logged: io.StringIO, capfd: Any
) -> None:
    shown: list[str] = []
    with Batches(f"Answer: {KEY}") as service, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", f"{service.url}/v1", KEY, prices=(1, 1), retries=0)

        def ask() -> None:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                try:
                    done = ask_in_batch(
                        QUESTIONS[:5], Prompt("cot", "t"), chat, journal,
                        Settings(max_tokens=100), yes=True, poll=0.01,
                    )  # fmt: skip
                    shown.append(str(done))
                except FireActError as error:
                    shown.append("".join(traceback.format_exception(error)))
            shown.extend(str(w.message) for w in told)

        service.after_create = lambda: fails(400, f"no: {KEY}")
        ask()
        service.after_create, service.end = lambda: None, "failed"
        service.batches.clear()
        ask()
        service.end, service.fate = "expired", lambda id, place: "error" if place else "answered"
        ask()
        assert service.seen[-1].headers["authorization"] == f"Bearer {KEY}"
        assert len(journal.keys("call")) >= 3
    printed = capfd.readouterr()
    text = "\n".join([*shown, files(tmp_path), logged.getvalue(), printed.out, printed.err])
    assert "[key]" in text and not hits(text), [x for x in text.split("\n") if hits(x)][:3]
