"""The API chat against a real server on this machine: what passes, what stops a run, and how."""

from __future__ import annotations

import math
import socket
import threading
import time
import traceback
from concurrent.futures import CancelledError
from email.utils import formatdate
from typing import Any

import pytest
from servers import (
    BROKEN_JSON,
    CUT_SHORT,
    DROPPED,
    FILTERED,
    NO_CHOICES,
    QUOTA,
    TOO_LONG,
    Answer,
    ChatServer,
    Script,
    fails,
    says,
)

from fireact_nb.agent.chat import Reply, Request, Stop
from fireact_nb.errors import FireActError
from fireact_nb.files import content_key
from fireact_nb.models.api import LONGEST_WAIT, OpenAIChat

KEY = "sk-test-0123456789abcdefghijklmnop"


def ask(text: str = "hi", **settings: Any) -> Request:
    return Request(({"role": "user", "content": text},), **settings)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class NoWaiting(Stop):
    """Is never set, and notes the waits instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return False


class Talk:
    """A server with a script, a chat that asks it, and the waits the chat asked for."""

    def __init__(self, script: Script, **settings: Any) -> None:
        self.server = ChatServer(script)
        self.chat = OpenAIChat("double", self.server.url, **settings)
        self.stop = NoWaiting()
        self.waits = self.stop.waits

    def ask(self, request: Request) -> Reply:
        (reply,) = self.chat.reply([request], stop=self.stop)
        return reply

    def __enter__(self) -> Talk:
        self.server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.server.__exit__(*error)

    def error(self, request: Request | None = None) -> str:
        """The text of the error that asking ends in."""
        with pytest.raises(FireActError) as caught:
            self.ask(request or ask())
        return str(caught.value)


# What is sent and what is read


def test_a_request_goes_out_and_a_reply_comes_back() -> None:
    with Talk([says("Paris", tokens=(1000, 200))], api_key=KEY, prices=(0.5, 1.5)) as talk:
        request = ask("Capital of France?", max_tokens=7, temperature=0.5, stop=("\n",), seed=3)
        reply = talk.ask(request)
    (seen,) = talk.server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.json == {
        "model": "double",
        "messages": [{"role": "user", "content": "Capital of France?"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "stop": ["\n"],
        "seed": 30_000,
    }
    assert reply == Reply("Paris", 1000, 200, "stop", reply.seconds, pytest.approx(0.0008))
    assert 0 < reply.seconds < 5
    assert (talk.chat.name, talk.chat.endpoint) == ("double", talk.server.url)


def test_samples_of_one_question_draw_different_seeds() -> None:
    with Talk([says("x")]) as talk:
        for sample in range(2):
            talk.ask(ask(temperature=0.7, seed=1, sample=sample))
        talk.ask(ask())
    first, second, greedy = (seen.json for seen in talk.server.seen)
    assert first["seed"] != second["seed"]
    assert "seed" not in greedy and "stop" not in greedy


def test_equal_requests_have_equal_keys_however_they_are_written() -> None:
    message = {"role": "user", "content": "hi"}
    one = Request([message], temperature=0, stop=["\n"])  # type: ignore[arg-type]
    assert content_key(one) == content_key(Request((message,), temperature=0.0, stop=("\n",)))
    assert content_key(one) != content_key(Request((message,), sample=1))
    with pytest.raises(ValueError, match="tuple of strings"):
        Request((message,), stop="\n")  # type: ignore[arg-type]


def test_openai_itself_is_asked_with_the_limit_its_new_models_know() -> None:
    chat = OpenAIChat("gpt", api_key=KEY)
    assert chat.endpoint == "https://api.openai.com/v1"
    assert chat.dialect.body(ask(max_tokens=9))["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    ("answer", "text", "finish"),
    [
        (says("done"), "done", "stop"),
        (says("cut o", "length"), "cut o", "length"),
        (FILTERED, "It was", "refused"),
        (says(None, refusal="I can't."), "I can't.", "refused"),
        (says(None), "", "stop"),
        (says("half \ud83d"), "half ?", "stop"),
        (TOO_LONG, "", "context full"),
        (fails(400, "maximum context length is 512 tokens", "400"), "", "context full"),
        (fails(400, "too big", kind="exceed_context_size_error"), "", "context full"),
        (fails(400, "blocked", "content_filter"), "", "refused"),
    ],
)
def test_every_way_a_reply_ends_has_its_name(answer: Answer, text: str, finish: str) -> None:
    with Talk([answer]) as talk:
        reply = talk.ask(ask())
    assert (reply.text, reply.finish_reason) == (text, finish)
    assert len(talk.server.seen) == 1


NO_COUNTS = [
    None, {}, [], "many", {"prompt_tokens": None}, {"prompt_tokens": "9", "completion_tokens": "9"},
    {"prompt_tokens": math.nan, "completion_tokens": math.nan},
    {"prompt_tokens": math.inf, "completion_tokens": math.inf},
    {"prompt_tokens": -900, "completion_tokens": -900},
    {"prompt_tokens": 10**40, "completion_tokens": 10**40},
    {"prompt_tokens": 0, "completion_tokens": 0},
]  # fmt: skip


@pytest.mark.parametrize("usage", NO_COUNTS, ids=repr)
def test_tokens_that_a_server_counts_wrongly_are_estimated_and_it_is_said_once(usage: Any) -> None:
    body = {**says("word " * 30).body, "usage": usage}
    with Talk([Answer(body)], prices=(1, 1)) as talk:
        with pytest.warns(UserWarning, match="estimated") as told:
            replies = [talk.ask(ask("one two three four " * 10)) for _ in range(3)]
        assert sum("estimated" in str(w.message) for w in told) == 1
    for reply in replies:
        # English has about four characters a token, and an estimate is on the dear side.
        assert 190 / 4 <= reply.prompt_tokens <= 190 / 2
        assert 150 / 4 <= reply.completion_tokens <= 150 / 2
        assert reply.usd == pytest.approx((reply.prompt_tokens + reply.completion_tokens) / 1e6)


def test_at_most_four_stops_are_sent_and_all_are_obeyed() -> None:
    stops = ("a!", "b!", "c!", "d!", "e!", "f!")
    with Talk([says("one f! two e! three", "length")]) as talk:
        reply = talk.ask(ask(stop=stops))
    assert talk.server.seen[0].json["stop"] == ["a!", "b!", "c!", "d!"]
    assert (reply.text, reply.finish_reason) == ("one ", "stop")


@pytest.mark.parametrize(
    ("prefix", "said", "text"),
    [
        ("Thought: Think anew.", "Thought: Think anew. Now", "Thought: Think anew. Now"),
        ("Thought: Think anew.", "\n Thought: Think anew.\nA", "Thought: Think anew.\nA"),
        ("Thought: Think anew. ", "Thought: Think anew. Now", "Thought: Think anew. Now"),
        ("Thought: Think anew.", "Now", "Thought: Think anew. Now"),
        ("Thought: Think anew. ", "Now", "Thought: Think anew. Now"),
        ("Thought: Think anew.", "Thought: Now", "Thought: Think anew. Now"),
        ("I think", "I know", "I think I know"),
    ],
)
def test_a_reply_has_its_prefix_once(prefix: str, said: str, text: str) -> None:
    request = Request(
        (
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "Observation: None"},
        ),
        prefix=prefix,
    )
    with Talk([says(said)]) as talk:
        assert talk.ask(request).text == text
    sent = talk.server.seen[0].json["messages"]
    assert sent[2]["content"] == f"Observation: None\nBegin your reply with exactly: {prefix}"
    assert [m["content"] for m in sent[:2]] == ["Q", "A"]
    assert request.messages[2]["content"] == "Observation: None"


# Troubles that pass


@pytest.mark.parametrize(
    "trouble",
    [
        *(fails(status) for status in (408, 409, 429, 500, 502, 503, 529)),
        Answer(b"<html>Bad gateway</html>", 502, {"Content-Type": "text/html"}),
        Answer(b"<html>Welcome</html>", 200, {"Content-Type": "text/html"}),
        Answer(b"\xff\xfe"),
        Answer([1, 2]),
        Answer({"choices": [{"index": 0}]}),
        DROPPED,
        CUT_SHORT,
        NO_CHOICES,
        BROKEN_JSON,
    ],
)
def test_a_trouble_that_passes_is_waited_out(trouble: Answer) -> None:
    with Talk([trouble, trouble, says("at last")]) as talk:
        assert talk.ask(ask()).text == "at last"
    assert len(talk.server.seen) == 3
    assert len(talk.waits) == 2


def test_waits_grow_with_full_jitter_and_stay_under_the_cap() -> None:
    waits = []
    with Talk([fails(500)], retries=9) as talk:
        for _ in range(12):
            talk.waits.clear()
            assert "Gave up after 10 attempts" in talk.error()
            waits.append(list(talk.waits))
    for column, delays in enumerate(zip(*waits, strict=True)):
        assert min(delays) >= 0 and max(delays) <= min(LONGEST_WAIT, 2**column)
        assert len(set(delays)) == len(delays)
    # Full jitter: over a dozen runs, the late waits use the whole span, not just its upper half.
    late = [delay for row in waits for delay in row[6:]]
    assert min(late) < 30 < max(late)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry_after": "7"}, 7, 8),
        ({"retry_after_ms": "2500"}, 2.5, 3.5),
        ({"retry_after": "3600"}, LONGEST_WAIT, LONGEST_WAIT),
        ({"retry_after": "-5"}, 0, 1),
        ({"retry_after": "nan"}, 0, 1),
        ({"retry_after": "inf"}, 0, 1),
        ({"retry_after": "soon"}, 0, 1),
    ],
)
def test_the_server_may_say_how_long_to_wait(
    headers: dict[str, str], least: float, most: float
) -> None:
    with Talk([fails(429, **headers), says("x")]) as talk:  # type: ignore[arg-type]
        talk.ask(ask())
    assert least <= talk.waits[0] <= most


def test_the_server_may_name_a_date_to_wait_for() -> None:
    date = formatdate(time.time() + 30, usegmt=True)
    with Talk([fails(503, retry_after=date), says("x")]) as talk:
        talk.ask(ask())
    assert 25 < talk.waits[0] <= 31


def test_a_slow_server_times_out_and_is_asked_again() -> None:
    with Talk([says("late", delay=20), says("in time")], timeout=0.3) as talk:
        assert talk.ask(ask()).text == "in time"
    with Talk([says("late", delay=20)], timeout=0.2, retries=1) as talk:
        text = talk.error()
    assert "did not answer within 0.2 s" in text and "Gave up after 2 attempts" in text


def test_the_client_library_tries_nothing_again_by_itself() -> None:
    with Talk([fails(500)], retries=0) as talk:
        assert "Gave up after 1 attempt." in talk.error()
    assert len(talk.server.seen) == 1


def test_an_unreachable_server_is_named_with_what_to_check() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    stop = NoWaiting()
    chat = OpenAIChat("m", url, retries=2)
    with pytest.raises(FireActError, match="cannot be reached .*that the server is running") as got:
        chat.reply([ask()], stop=stop)
    assert url in str(got.value) and "3 attempts" in str(got.value)
    assert len(stop.waits) == 2


def test_what_is_no_chat_server_is_told_apart() -> None:
    page = Answer(b"<html>Welcome</html>", 200, {"Content-Type": "text/html"})
    with Talk([page], retries=1) as talk:
        assert "not with a chat completion" in talk.error()


# Troubles that stop the run


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        (fails(400, "Unsupported parameter: 'stop'"), "Unsupported parameter.*which parameters"),
        (fails(401, "Incorrect API key"), "check OPENAI_API_KEY"),
        (fails(402, "Insufficient balance"), "Add credit"),
        (fails(403, "Country not supported"), "may not use 'double'"),
        (fails(404, "no such model"), "really called 'double'"),
        (fails(422, "temperature: too high"), "temperature: too high"),
        (Answer({"detail": "wrong model"}, 422), "wrong model"),
        (Answer({"error": "wrong model"}, 400), "wrong model"),
        (QUOTA, "Add credit.*not paid again"),
    ],
)
def test_what_cannot_pass_stops_at_once_and_says_what_to_do(trouble: Answer, advice: str) -> None:
    with Talk([trouble]) as talk:
        text = talk.error()
        assert talk.server.url in text and "\n" not in text
    assert len(talk.server.seen) == 1 and not talk.waits
    with pytest.raises(FireActError, match=advice):
        raise FireActError(text)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500])
@pytest.mark.parametrize("key", [KEY, KEY.replace("sk-", "")])
@pytest.mark.parametrize("padding", [0, 255])  # long texts are cut, perhaps in the middle of a key
def test_the_key_is_never_shown_though_the_server_echoes_it(
    status: int, key: str, padding: int
) -> None:
    masked = "sk-test-****************mnop"
    said = f"{'.' * padding} key {key}, that is {masked}, Authorization: Bearer {key}"
    with Talk([fails(status, said)], api_key=key, retries=1) as talk:
        with pytest.raises(FireActError) as caught:
            talk.ask(ask())
        assert key not in repr(talk.chat) and key not in repr(talk.chat._client)
    shown = "".join(traceback.format_exception(caught.value))
    assert "test-" not in shown and "mnop" not in shown
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_a_key_of_any_shape_is_scrubbed() -> None:
    with Talk([fails(401, "no such key: hunter2")], api_key="hunter2") as talk:
        text = talk.error()
    assert "hunter2" not in text and "no such key: [key]" in text


def test_without_a_key_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (None, "", "  \n"):
        with pytest.raises(FireActError, match="OPENAI_API_KEY is not set"):
            OpenAIChat("gpt", api_key=key)
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
    assert OpenAIChat("gpt")._client.api_key == KEY
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n" + KEY)
    with pytest.raises(FireActError, match="holds a space") as caught:
        OpenAIChat("gpt")
    assert KEY not in str(caught.value)


def test_a_server_on_this_machine_needs_no_key() -> None:
    with Talk([says("x")]) as talk:
        talk.ask(ask())
    assert talk.server.seen[0].headers["authorization"] == "Bearer local"
    for url in ("http://localhost:8000/v1", "http://[::1]:8000/v1"):
        OpenAIChat("m", url)
    for url in ("http://localhost.example.com/v1", "http://10.0.0.1/v1"):
        with pytest.raises(FireActError, match="OPENAI_API_KEY"):
            OpenAIChat("m", url)


# Many requests, and stopping


def test_replies_come_in_order_one_after_another_in_the_callers_thread() -> None:
    def echo(request: dict[str, Any], number: int) -> Answer:
        return says(request["messages"][0]["content"])

    told: list[tuple[int, str, str]] = []
    with Talk(echo, concurrency=4) as talk:
        replies = talk.chat.reply(
            [ask(str(n)) for n in range(9)],
            lambda place, reply: told.append((place, reply.text, threading.current_thread().name)),
        )
        assert talk.chat.reply([]) == []
    assert [reply.text for reply in replies] == [str(n) for n in range(9)]
    assert told == [(n, str(n), threading.current_thread().name) for n in range(9)]
    assert talk.server.most_at_once == 1 and talk.chat.batch_size == 4


def test_what_goes_wrong_with_a_reply_ends_the_batch() -> None:
    def done(place: int, reply: Reply) -> None:
        raise FireActError("the journal is full")

    with Talk([says("x")]) as talk, pytest.raises(FireActError, match="the journal is full"):
        talk.chat.reply([ask()] * 30, done)
    assert len(talk.server.seen) == 1


def test_a_wait_ends_when_it_is_told_to() -> None:
    stop = Stop()
    with Talk([fails(500, retry_after="50")]) as talk:
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with pytest.raises(CancelledError):
            talk.chat.reply([ask()], stop=stop)
        with pytest.raises(CancelledError):
            talk.chat.reply([ask()], stop=stop)
    assert time.monotonic() - started < 5
    assert len(talk.server.seen) == 1


def test_a_call_that_hangs_is_ended_by_the_closers_and_the_chat_lives_on() -> None:
    stop = Stop()

    def end() -> None:
        stop.set()
        for close in stop.closers:
            close()

    with Talk([says("x"), says("late", delay=30), says("y")]) as talk:
        assert talk.ask(ask()).text == "x"
        threading.Timer(0.3, end).start()
        started = time.monotonic()
        with pytest.raises(CancelledError):
            talk.chat.reply([ask()], stop=stop)
        assert time.monotonic() - started < 5
        assert talk.ask(ask()).text == "y"
    assert len(talk.server.seen) == 3
