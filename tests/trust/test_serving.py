"""R14: what a bad neighbour sends to `serve` is refused at once, and harms nobody else."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest
from tiny import ask, tiny_chat

from fireact_nb.models.local import LocalChat
from fireact_nb.models.server import make_app, start_server

NAME = "tiny"
LONG = os.environ.get("FIREACT_TRUST") == "1"
JSON = {"Content-Type": "application/json"}
SOON = 1.0  # seconds within which a refusal must come, and an answer beside bad neighbours


class Guest:
    """The real model, but a request with "boom" in it breaks every batch it is in."""

    def __init__(self, chat: LocalChat) -> None:
        self.chat, self.batch_size, self.context = chat, chat.batch_size, chat.context
        self.encode = chat.encode
        self.go, self.taken = threading.Event(), threading.Event()
        self.go.set()

    def reply(self, batch, done, heard):
        self.taken.set()
        assert self.go.wait(30)
        if any("boom" in request.messages[-1]["content"] for request in batch):
            raise RuntimeError("an index out of range")
        return self.chat.reply(batch, done, heard=heard)


@pytest.fixture(scope="module")
def guest():
    chat = tiny_chat()
    chat.reply([ask("warm", max_tokens=4, stop=("~",))])
    return Guest(chat)


@pytest.fixture(scope="module")
def app(guest):
    return make_app(guest, NAME)


@pytest.fixture(scope="module")
def port(app):
    with start_server(app) as url:
        yield int(url.rsplit(":")[-1].removesuffix("/v1"))


def body(text="Who?", **fields):
    asked = {"model": NAME, "max_tokens": 4, "temperature": 0}
    return {**asked, "messages": [{"role": "user", "content": text}], **fields}


def call(port, sent=None, **headers):
    """Status, error and seconds of one call; `sent` is JSON, or bytes as they are."""
    data = sent if isinstance(sent, bytes) else json.dumps(body() if sent is None else sent)
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    started = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", data, {**JSON, **own})
        answer = connection.getresponse()
        said = answer.read()
        streamed = answer.getheader("Content-Type", "").startswith("text/event-stream")
        error = None if streamed else json.loads(said).get("error")
        return answer.status, error, time.monotonic() - started
    finally:
        connection.close()


def soonest(*calls):
    """The quickest of three, for the machine may be busy: what waits for a neighbour never is."""
    return min((one() for one in calls * 3), key=lambda result: result[2])


@pytest.fixture
def busy(guest, port):
    """Somebody's batch is in the model for as long as the test runs."""
    guest.go.clear()
    guest.taken.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, port)
        assert guest.taken.wait(30)
        yield
        guest.go.set()
        assert first.result()[0] == 200


DEEP = b"[" * 100_000
TOO_MUCH = {
    "a body of 10 MB": (body("x" * 10_000_000), 413),
    "10 MB of no JSON": (b"\0" * 10_000_000, 413),
    "a stop string of 100,000": (body(stop="x" * 100_000), 400),
    "a stop string among four": (body(stop=["a", "b", "c", "x" * 10_000]), 400),
    "100,000 stop strings": (body(stop=["x"] * 20_000), 400),
    "more than the context": (body("7 " * 2_000), 400),
    "10,000 messages": (body(messages=[{"role": "user", "content": ""}] * 2_000), 400),
    "brackets within brackets": (DEEP, 400),
    "a number of 10,000 digits": (b'{"model": ' + b"9" * 10_000 + b"}", 400),
    "half a character": (body("\ud800"), 400),
    "half a character as the model": (body(model="\ud800" * 100), 404),
    "not UTF-8": (b'{"model": "\xff\xfe"}', 400),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_is_refused_at_once_though_the_model_is_busy(port, busy, what):
    sent, expected = TOO_MUCH[what]
    status, error, seconds = soonest(lambda: call(port, sent))
    assert status == expected and error["type"] == "invalid_request_error"
    assert len(error["message"]) < 300
    assert seconds <= SOON


def test_who_asks_beside_large_bodies_is_served(port):
    """Ten neighbours send 10 MB again and again."""
    over = threading.Event()

    def flood():
        while not over.is_set():
            assert call(port, b"x" * 10_000_000)[0] == 413

    with ThreadPoolExecutor(3) as pool:
        floods = [pool.submit(flood) for _ in range(3)]
        status, _, seconds = soonest(lambda: call(port))
        over.set()
        assert [f.result() for f in floods]
    assert status == 200 and seconds <= SOON


def test_slow_callers_hold_up_nobody(port, monkeypatch):
    """Heads and bodies that never end, a byte at a time; each is sent away after a while."""
    monkeypatch.setattr("fireact_nb.models.server._SLOWEST_BODY", 1.5)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    sized = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    callers = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(60)]
    try:
        for number, caller in enumerate(callers):
            caller.sendall(head + (sized if number % 2 else b"X-Never: e"))
        status, _, seconds = soonest(lambda: call(port))
        assert status == 200 and seconds <= SOON
        assert callers[1].recv(100).startswith(b"HTTP/1.1 408 ")
    finally:
        for caller in callers:
            caller.close()
    assert call(port)[0] == 200


def test_one_bad_request_in_a_batch_fails_alone(app, guest, port, busy, caplog):
    with ThreadPoolExecutor(20) as pool:
        sent = [pool.submit(call, port, body("boom" if n == 7 else f"{n}?")) for n in range(20)]
        end = time.monotonic() + 30
        while app.state.jobs.qsize() < 20:
            assert time.monotonic() < end
            time.sleep(0.01)
        guest.go.set()
        statuses = [future.result()[0] for future in sent]
    assert statuses == [200] * 7 + [500] + [200] * 12


def test_200_at_once_are_all_answered(port):
    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda n: call(port, body(f"{n}?"))[0], range(200)))
    assert statuses == [200] * 200


def test_who_hangs_up_leaves_the_queue(app, guest, port, busy):
    """And no place is left to those who come when too many wait."""
    for number in range(5):
        gone = HTTPConnection("127.0.0.1", port)
        gone.request("POST", "/v1/chat/completions", json.dumps(body(f"{number} boom")), JSON)
        gone.sock.close()
    end = time.monotonic() + 30
    while app.state.jobs.qsize() < 5:
        assert time.monotonic() < end
        time.sleep(0.01)
    asked = []
    plain = guest.chat.reply
    guest.chat.reply = lambda batch, done, heard: asked.extend(batch) or plain(batch, done)
    guest.go.set()
    try:
        assert call(port)[0] == 200
    finally:
        guest.chat.reply = plain
    assert not [r for r in asked if "boom" in r.messages[-1]["content"]]


def test_a_full_queue_says_so(app, guest, port, busy, monkeypatch):
    monkeypatch.setattr("fireact_nb.models.server._MOST_WAITING", 0)
    status, error, seconds = soonest(lambda: call(port))
    assert status == 429 and "waiting" in error["message"] and seconds <= SOON


HOSTS = {
    "localhost": 200,
    "localhost:8000": 200,
    "127.0.0.1": 200,
    "127.9.9.9:1": 200,
    "[::1]:8000": 200,
    "evil.example": 403,
    "evil.example:8000": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "evil@127.0.0.1.example": 403,
    "192.168.0.7": 403,
    "0.0.0.0": 403,
    "[::1": 403,
    "": 403,
    "x" * 5000: 403,
}


@pytest.mark.parametrize("host", HOSTS)
def test_only_names_of_this_machine_are_answered(port, host):
    status, error, _ = call(port, Host=host)
    assert status == HOSTS[host], error
    if status != 200:
        assert error["param"] == "Host" and len(error["message"]) < 300


def test_another_host_that_was_asked_for_takes_every_name(app, guest):
    with start_server(make_app(guest, NAME), host="0.0.0.0") as url:
        port = int(url.rsplit(":")[-1].removesuffix("/v1"))
        assert call(port, Host="gpu-box.example:8000")[0] == 200


def test_a_web_page_cannot_ask_without_asking_the_browser_first(port):
    """Forms and scripts may send anything but JSON anywhere; for JSON the browser asks first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert call(port, Content_Type=kind)[0] == 415
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "http://evil.example"})
    answer = connection.getresponse()
    assert answer.status == 405 and "access-control-allow-origin" not in answer.headers
    connection.close()


ODD = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**40, "", "x", "\0", "\ud800",
    "\u202e", [], {}, [[]], [{}], {"a": {}}, ["x"] * 9, "x" * 999,
]  # fmt: skip
FIELDS = (
    "model messages max_tokens max_completion_tokens temperature stop seed n top_p stream tools "
    "response_format user role"
).split()


def test_odd_values_anywhere_get_a_named_answer(port):
    """Never a 5xx, never a body that is not JSON."""
    dice = random.Random(0)
    for _ in range(2000 if LONG else 200):
        sent = body()
        for _ in range(dice.randint(1, 3)):
            sent[dice.choice(FIELDS)] = dice.choice(ODD)
        if dice.random() < 0.3:
            sent["messages"] = [{"role": dice.choice(ODD), "content": dice.choice(ODD)}]
        status, error, _ = call(port, sent)
        assert status in (200, 400, 404), (sent, error)
        assert (status == 200) == (error is None)


def test_the_end_does_not_wait_for_slow_callers(guest, monkeypatch):
    monkeypatch.setattr("fireact_nb.models.server._SLOWEST_BODY", 1.0)
    with start_server(make_app(guest, NAME)) as url:
        port = int(url.rsplit(":")[-1].removesuffix("/v1"))
        caller = socket.create_connection(("127.0.0.1", port))
        caller.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
        assert call(port)[0] == 200
        started = time.monotonic()
    assert time.monotonic() - started < 9
    caller.close()
