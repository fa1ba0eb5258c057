"""Whole runs against servers and search services with faults: nothing lost, nothing paid twice."""

from __future__ import annotations

import hashlib
import json
import math
import random
import threading
import time
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import Pages
from long import TRUST
from servers import Answer, ChatServer, fails, says

from fireact_nb.agent import chat as protocol
from fireact_nb.agent.asking import SEVERAL
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import STATES, Trajectory
from fireact_nb.errors import FireActError
from fireact_nb.files import content_key
from fireact_nb.models import api
from fireact_nb.models.api import OpenAIChat

BARE = Prompt("react", "test")


def questions(count: int) -> list[Question]:
    return [
        Question(f"q{n}", f"Which colour is thing {n}?", "colour 1", "hotpotqa", "dev")
        for n in range(count)
    ]


def play(asked: list[Question], chat: Any, journal: Journal | None = None, **more: Any) -> Any:
    tool = more.pop("search", Pages())
    return generate(asked, BARE, chat, tool, None, journal, yes=True, progress=False, **more)


def words(request: dict[str, Any]) -> str:
    """What the model says: fixed by what it is asked; one round to four."""
    digest = hashlib.sha256(json.dumps(request["messages"]).encode()).digest()
    if digest[0] < 100 or len(request["messages"]) > 6:
        return f"Thought: I know.\nAction: finish[colour {digest[1] % 3}]"
    return f"Thought: {digest[2]}.\nAction: search[thing {digest[3]}]"


class Ledger:
    """A server's script: what it bills stands in `paid`, by the request's content."""

    def __init__(self, faults: dict[str, float] | None = None, seed: int = 0) -> None:
        self.faults, self.dice, self.turn = faults or {}, random.Random(seed), threading.Lock()
        self.paid: Counter[str] = Counter()

    def __call__(self, request: dict[str, Any], number: int) -> Answer:
        with self.turn:
            draw = self.dice.random()
            for fault, rate in self.faults.items():
                draw -= rate
                if draw < 0:
                    return FAULTS[fault]
            self.paid[json.dumps(request["messages"])] += 1
        return says(words(request), tokens=(100, 20))


FAULTS = {
    "429": fails(429, "slow down"),
    "5xx": fails(503, "overloaded"),
    "hang": says("too late", delay=20),
    "reset": Answer(drop="before"),
    "garbage": Answer(b'\x00\xff{"choices": [{"mess'),
}
RATES = {"429": 0.3, "5xx": 0.1, "hang": 0.05, "reset": 0.05, "garbage": 0.02}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries a hundredth as long; those of the long form are real."""
    if not TRUST:
        real = api._delay
        monkeypatch.setattr(api, "_delay", lambda state: real(state) / 100)


@pytest.mark.slow
def test_one_call_ends_with_every_question_in_a_named_state(tmp_path: Path, hasty: None) -> None:
    asked = questions(1000 if TRUST else 60)
    ledger = Ledger(RATES)
    with ChatServer(ledger) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url, concurrency=64, timeout=5.0 if TRUST else 3.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one may fail, and says so
            played = play(asked, chat, journal)
        assert [t.question_id for t in played] == [q.id for q in asked]
        assert {t.state for t in played} <= set(STATES)
        failed = [t for t in played if t.state == "failed"]
        assert len(failed) <= len(asked) // 10
        assert len(journal.keys("trajectory")) == len(asked) - len(failed)
        assert max(ledger.paid.values()) == 1
        tries = len(server.seen)
        print(f"\n{len(asked)} questions, {tries} tries, {len(failed)} failed")
        # A rerun tries the failed ones alone, and pays for nothing that it has.
        ledger.faults = {}
        again = play(asked, chat, journal)
        assert not [t for t in again if t.state == "failed"]
        assert max(ledger.paid.values()) == 1
        assert {t.question_id for t, u in zip(played, again, strict=True) if t != u} == {
            t.question_id for t in failed
        }


def test_a_request_that_is_exhausted_ends_its_episode_and_is_tried_again(
    tmp_path: Path, hasty: None
) -> None:
    ill = True

    def script(request: dict[str, Any], number: int) -> Answer:
        broken = ill and any("thing 3?" in m["content"] for m in request["messages"])
        return FAULTS["5xx"] if broken else says(words(request))

    with ChatServer(script) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url, concurrency=4, retries=1)
        with pytest.warns(UserWarning, match="1 of 8 questions ended as failed.*overloaded"):
            played = play(questions(8), chat, journal)
        assert [t.state == "failed" for t in played] == [n == 3 for n in range(8)]
        assert (played[3].correct, played[3].answer) == (False, None)
        seen, ill = len(server.seen), False
        again = play(questions(8), chat, journal)
        assert all("thing 3?" in str(s.json) for s in server.seen[seen:])
    assert again[3].state != "failed" and again[:3] + again[4:] == played[:3] + played[4:]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_service_that_is_down_ends_the_run(count: int, hasty: None) -> None:
    with ChatServer([FAULTS["5xx"]]) as server:
        chat = OpenAIChat("double", server.url, concurrency=2, retries=1)
        with pytest.raises(FireActError, match="overloaded"):
            play(questions(count), chat)
        assert len(server.seen) <= 2 * min(count, SEVERAL + 1)


# Bodies that are no chat completion, or hardly one


def odd_bodies() -> list[bytes]:
    message = {"role": "assistant", "content": "hi"}
    odd: list[Any] = [None, True, 0, -1, 1e308, "", "x", [], {}, [[]], [None], {"a": 1}, "\ud800"]
    bodies = [value for value in odd]
    bodies += [{"choices": value} for value in odd]
    bodies += [{"choices": [value]} for value in odd]
    bodies += [{"choices": [{"message": value}]} for value in odd]
    bodies += [{"choices": [{"message": {**message, "content": value}}]} for value in odd]
    bodies += [{"choices": [{"message": {**message, "refusal": value}}]} for value in odd]
    bodies += [{"choices": [{"message": message, "finish_reason": value}]} for value in odd]
    texts = [json.dumps(body).encode() for body in bodies]
    return texts + [
        b"", b"\x00" * 100, b"\xff\xfe{", b"NaN", b"-Infinity", b"[" * 100_000, b'{"a":' * 50_000,
        b"9" * 5000, b'{"choices": ' + b"9" * 5000 + b"}", "ä".encode("utf-16"), b"\xef\xbb\xbf{}",
        b"data: {}\n\n",
    ]  # fmt: skip


def test_no_body_raises_anything_but_our_own_error(hasty: None) -> None:
    odd = odd_bodies()
    assert len(odd) >= 103
    answers = [Answer(body) for body in odd]
    errors = [
        {"error": {"message": v, "type": v, "code": v}} for v in (None, [], {}, 5, [[1]], "x")
    ]
    errors += [{"error": v} for v in (None, [], 5, "x")] + [[], 5, None, {"detail": [{"loc": 1}]}]
    answers += [Answer(e, status) for e in errors for status in (400, 401, 404, 429, 500)]
    answers += [
        Answer(b"not gzip", headers={"Content-Encoding": "gzip"}),
        Answer(b"{}", headers={"Content-Type": "text/plain; charset=no-such"}),
        Answer(b"", 204), Answer(b"", 302, {"Location": "ftp://nowhere"}), Answer(b"{", 700),
        Answer(b"", 429, {"Retry-After": "\x7f" * 50}),
    ]  # fmt: skip
    with ChatServer(lambda request, number: answers[number]) as server:
        chat = OpenAIChat("double", server.url, retries=0, timeout=5)
        ends: Counter[str] = Counter()
        request = protocol.Request(({"role": "user", "content": "hi"},))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while len(server.seen) < len(answers):
                try:
                    [reply] = chat.reply([request])
                except FireActError as error:
                    assert server.url in str(error)
                    ends["error"] += 1
                else:
                    assert isinstance(reply.text, str) and reply.seconds >= 0
                    ends["reply"] += 1
    assert ends["reply"] > 10 and ends["error"] > 60, ends


# Any concurrency


def timeless(played: list[Trajectory]) -> list[Trajectory]:
    return [replace(t, seconds=0.0) for t in played]


def test_concurrency_changes_nothing_and_a_replay_not_even_the_seconds(tmp_path: Path) -> None:
    asked = questions(200 if TRUST else 30)
    runs = []
    for concurrency in (1, 8, 64):
        with ChatServer(Ledger()) as server, Journal(tmp_path / f"{concurrency}") as journal:
            chat = OpenAIChat("double", server.url, concurrency=concurrency)
            chat.endpoint = "http://same/v1"  # a port of its own, and yet the same journal keys
            runs.append(play(asked, chat, journal))
            calls = [(key, journal.get(key)) for key in journal.keys("call")]
        # The calls alone, under another concurrency: all else follows from them.
        for other in (1, 64):
            with Journal(tmp_path / f"{concurrency}.{other}") as journal:
                for key, value in calls:
                    journal.put(key, value or {})
                chat = OpenAIChat("double", "http://127.0.0.1:9/v1", concurrency=other)
                chat.endpoint = "http://same/v1"
                assert play(asked, chat, journal) == runs[-1]
    assert timeless(runs[0]) == timeless(runs[1]) == timeless(runs[2])


@pytest.mark.parametrize("journalled", [True, False])
def test_one_question_twice_at_once_is_paid_once(tmp_path: Path, journalled: bool) -> None:
    one = questions(3)
    # The second of these asks the same under another name: another episode, the same requests.
    asked = [*one, *one, *(replace(q, id=q.id + "'") for q in one)]
    ledger = Ledger()

    def slowly(request: dict[str, Any], number: int) -> Answer:
        return replace(ledger(request, number), delay=0.05)

    with ChatServer(slowly) as server:
        chat = OpenAIChat("double", server.url, concurrency=16)
        if journalled:
            with Journal(tmp_path / "j") as journal:
                played = play(asked, chat, journal)
        else:
            played = play(asked, chat)
    assert max(ledger.paid.values()) == 1
    assert played[:3] == played[3:6]
    assert [t.steps for t in played[:3]] == [t.steps for t in played[6:]]


# The budget


@pytest.mark.parametrize("usage", [None, math.nan, -5, 10**30, "many", 0], ids=repr)
def test_a_cap_holds_whatever_the_server_counts(usage: Any) -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        body = {**says(words(request)).body, "usage": None}
        if usage is not None:
            body["usage"] = {"prompt_tokens": usage, "completion_tokens": usage}
        return Answer(body, delay=0.01)

    with ChatServer(script) as server:
        chat = OpenAIChat("double", server.url, concurrency=8, prices=(1000.0, 1000.0))
        with (
            pytest.raises(FireActError, match=r"budget of \$0\.50 is spent"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            play(questions(60), chat, max_usd=0.5)
        # The true costs, by four characters a token.
        texts = [m["content"] for s in server.seen for m in s.json["messages"]]
        texts += [words(s.json) for s in server.seen]
        cost = sum(map(len, texts)) / 4 * 1000 / 1e6
    assert 0 < cost <= 0.5
    assert len(server.seen) >= 2


def test_calls_under_way_at_the_end_of_a_budget_are_waited_for(tmp_path: Path) -> None:
    slow = says(words({"messages": []}), tokens=(1000, 5), delay=1.6)
    with ChatServer([replace(slow, delay=0.1), slow]) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url, concurrency=4, prices=(100.0, 0.0))
        with pytest.raises(FireActError, match="budget"):
            play(questions(40), chat, journal, max_usd=0.15)
        assert len(server.seen) == len(journal.keys("call")) == 4


# A search service


class Service(Pages):
    """Answers differently each time; fails, hangs or answers with no text as told. Bills each."""

    remote = True

    def __init__(self, troubles: dict[str, float] | None = None) -> None:
        self.troubles, self.dice = troubles or {}, random.Random(0)
        self.turn, self.billed, self.good = threading.Lock(), 0, 0

    def search(self, query: str, salt: str = "") -> Any:
        with self.turn:
            self.billed += 1
            draw, number = self.dice.random(), self.billed
            trouble = next((t for t, p in self.troubles.items() if (draw := draw - p) < 0), "")
            self.good += not trouble
        if trouble == "raises":
            raise ConnectionResetError("by peer")
        if trouble == "hangs":
            time.sleep(5)
        return None if trouble == "no text" else f"Answer {number} to {query}."


@pytest.fixture
def hasty_search(monkeypatch: pytest.MonkeyPatch, hasty: None) -> None:
    from fireact_nb.agent import asking

    monkeypatch.setattr(asking, "SEARCH_SECONDS", 0.3)
    if not TRUST:
        monkeypatch.setattr(asking.random, "uniform", lambda low, high: high / 100)


def test_a_search_service_is_asked_once_though_the_run_is_cut(
    tmp_path: Path, hasty_search: None
) -> None:
    asked = questions(150 if TRUST else 25)
    service = Service({"raises": 0.1, "hangs": 0.02, "no text": 0.05})

    class Cut(Journal):
        def write(self, key: str, value: dict, kind: str = "call") -> None:
            super().write(key, value, kind)
            if kind == "search" and len(self.keys("search")) == len(asked) // 2:
                raise FireActError("cut")

    with ChatServer(Ledger()) as server:
        chat = OpenAIChat("double", server.url, concurrency=8)
        with Cut(tmp_path / "j") as journal, pytest.raises(FireActError, match="cut"):
            play(asked, chat, journal, search=service)
        with Journal(tmp_path / "j") as journal:
            held = {key: journal.get(key, "search") for key in journal.keys("search")}
            played = play(asked, chat, journal, search=service)
            assert len(journal.keys("search")) == service.good == sum(t.searches for t in played)
            assert (
                held.items()
                <= {k: journal.get(k, "search") for k in journal.keys("search")}.items()
            )
            billed = service.billed
            assert play(asked, chat, journal, search=service) == played
            assert service.billed == billed
    assert all(t.state == "finished" for t in played)


def test_a_search_service_that_is_down_ends_the_run(hasty_search: None) -> None:
    with ChatServer(Ledger()) as server:
        chat = OpenAIChat("double", server.url, concurrency=4)
        with pytest.raises(FireActError, match="pages failed .*ConnectionResetError"):
            play(questions(60), chat, search=Service({"raises": 1.0}))
        assert len(server.seen) < 60


def test_a_search_that_fails_now_and_then_costs_its_episode_alone(
    tmp_path: Path, hasty_search: None
) -> None:
    class Picky(Service):
        def search(self, query: str, salt: str = "") -> Any:
            if salt.startswith("q5/"):
                raise OSError("no route")
            return super().search(query, salt)

    def script(request: dict[str, Any], number: int) -> Answer:
        again = len(request["messages"]) > 1
        return says("Thought: t\nAction: " + ("finish[x]" if again else "search[y]"))

    with ChatServer(script) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url, concurrency=4)
        with pytest.warns(UserWarning, match="1 of 9 questions .*no route"):
            played = play(questions(9), chat, journal, search=Picky())
        calls = len(server.seen)
        assert [t.state for t in played] == ["failed" if n == 5 else "finished" for n in range(9)]
        assert (played[5].rounds, played[5].prompt_tokens) == (1, 10)  # what was paid is counted
        # Frozen: whoever changes this key makes all journalled searches worthless.
        assert content_key("search", "pages", "y", "q0/0/0/1") in journal.keys("search")
        assert all(
            t.state == "finished" for t in play(questions(9), chat, journal, search=Service())
        )
        assert len(server.seen) == calls + 1


def test_a_local_tool_is_asked_directly_and_not_journalled(tmp_path: Path) -> None:
    threads = set()

    class Watched(Pages):
        def search(self, query: str, salt: str = "") -> str:
            threads.add(threading.current_thread().name)
            return super().search(query, salt)

    with ChatServer(Ledger()) as server, Journal(tmp_path / "j") as journal:
        play(
            questions(9), OpenAIChat("double", server.url, concurrency=2), journal, search=Watched()
        )
        assert not journal.keys("search") and 0 < len(threads) <= 2
