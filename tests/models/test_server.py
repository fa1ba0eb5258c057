"""The server answers an OpenAI client as the model answers directly, and refuses by name."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import EXAMPLES, QUESTIONS, ask, same, tiny_chat

from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat
from fireact_nb.models.local import LocalChat
from fireact_nb.models.server import make_app, serve, start_server

STUDENT = Path(__file__).parents[2] / "data" / "models" / "student"
NAME = "tiny-student"


@pytest.fixture(scope="module")
def chat():
    return tiny_chat()


@pytest.fixture(scope="module")
def url(chat):
    with start_server(make_app(chat, NAME)) as base:
        yield base


class Between:
    """A chat that shows each batch to `look` before the real one answers it."""

    def __init__(self, chat, look, batch_size=64):
        self.chat, self.look, self.batch_size = chat, look, batch_size
        self.context, self.encode = chat.context, chat.encode

    def reply(self, batch, done, heard):
        self.look(batch)
        return self.chat.reply(batch, done, heard=heard)


def call(url, body=None, path="/chat/completions", **headers):
    """Status and JSON of one plain HTTP call; a dict is sent as JSON, bytes as they are."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def body(text="Who?", **fields):
    greedy = {"model": NAME, "max_tokens": 12, "temperature": 0}
    return {**greedy, "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize("which", ["tiny", "student"])
def test_openai_client_gets_what_the_model_says(which, chat):
    if which == "student":
        if not (STUDENT / "model.safetensors").exists():
            pytest.skip("the shipped student is not there yet")
        chat = LocalChat(STUDENT)
    requests = [ask(f"{EXAMPLES}{q} {n}", max_tokens=24) for n in range(4) for q in QUESTIONS]
    assert len(requests) == 20
    direct = [same(reply) for reply in chat.reply(requests)]
    whole = next(reply for reply in direct if len(reply.text) > 8)
    stopping = replace(requests[direct.index(whole)], stop=("~~~", whole.text[4:7]))
    (stopped,) = chat.reply([stopping])
    with start_server(make_app(chat, NAME)) as url:
        client = OpenAIChat(NAME, base_url=url, concurrency=20, retries=0)
        with ThreadPoolExecutor(20) as pool:
            served = [same(reply) for (reply,) in pool.map(lambda r: client.reply([r]), requests)]
        (served_stopped,) = client.reply([stopping])
    assert served == direct
    assert same(served_stopped) == same(stopped)
    assert served_stopped.text == whole.text[: whole.text.index(whole.text[4:7])]
    assert served_stopped.finish_reason == "stop"


def test_answer_has_the_shape_of_openai(chat, url):
    status, answer = call(url, body(temperature=0, user="me", store=False, n=1, tools=[]))
    (direct,) = chat.reply([ask("Who?", max_tokens=12)])
    assert status == 200
    assert answer["object"] == "chat.completion" and answer["model"] == NAME
    assert answer["id"].startswith("chatcmpl-") and abs(answer["created"] - time.time()) < 60
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": direct.text}
    assert choice["finish_reason"] == direct.finish_reason
    used = answer["usage"]
    assert used["prompt_tokens"] == direct.prompt_tokens
    assert used["completion_tokens"] == direct.completion_tokens
    assert used["total_tokens"] == direct.prompt_tokens + direct.completion_tokens


def test_models_and_health(url):
    status, answer = call(url, path="/models")
    assert status == 200 and [model["id"] for model in answer["data"]] == [NAME]
    assert call(url.removesuffix("/v1"), path="/health") == (200, {"status": "ok", "model": NAME})


def test_one_model_is_found_by_its_id_and_no_other(url):
    assert call(url, path=f"/models/{NAME}")[1] == call(url, path="/models")[1]["data"][0]
    for other in ("gpt-4", "a/b"):
        status, answer = call(url, path=f"/models/{other}")
        assert status == 404 and answer["error"]["code"] == "model_not_found"


def test_a_model_may_have_a_hub_name(chat):
    with start_server(make_app(chat, "maker/model")) as url:
        assert call(url, path="/models/maker/model")[1]["id"] == "maker/model"


def test_parts_and_developer_read_as_texts_and_system(chat):
    seen = []
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    told = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    with start_server(make_app(Between(chat, seen.extend), NAME)) as url:
        assert call(url, body(messages=told))[0] == 200
    assert seen[0].messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    )


def test_settings_reach_the_model(chat):
    seen = []
    with start_server(make_app(Between(chat, seen.extend), NAME)) as url:
        call(url, body(max_completion_tokens=7, temperature=0.5, seed=11, stop="x", top_p=0.3))
        call(url, body(max_tokens=None, temperature=None, stop=["x", "y", "", "z"]))
        call(url, body(stop=None))
    first, second, third = seen
    assert (first.max_tokens, first.temperature, first.seed, first.top_p) == (7, 0.5, 11, 0.3)
    assert first.stop == ("x",)
    assert (second.max_tokens, second.temperature, second.stop) == (256, 1.0, ("x", "y", "z"))
    assert third.stop == () and third.seed != second.seed
    assert first.messages == ({"role": "user", "content": "Who?"},)


MESSAGES = [
    None,
    [],
    "hello",
    [{"role": "user"}],
    [{"content": "hello"}],
    [{"role": "tool", "content": "hello"}],
    [{"role": "user", "content": None}],
    [{"role": "user", "content": []}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    [{"role": "user", "content": [{"type": "text"}]}],
    ["hello"],
]
WRONG = {
    "model": [None, 3],
    "max_tokens": [0, -1, "many", 1.5],
    "max_completion_tokens": [0],
    "temperature": [-0.1, 2.1, "warm", float("nan")],
    "stop": [5, ["a"] * 5, [None]],
    "seed": ["x", 0.5],
    "top_p": [1.5, -1, "most"],
    "stream": ["maybe"],
    "stream_options": [[], {"include_usage": "perhaps"}],
}
UNSUPPORTED = {
    "n": [2, 0],
    "tools": [[{"type": "function", "function": {"name": "search"}}]],
    "tool_choice": ["required"],
    "response_format": [{"type": "json_object"}],
    "logprobs": [True],
    "logit_bias": [{"5": 3}],
    "frequency_penalty": [0.5],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [("messages", value) for value in MESSAGES]
    + [(name, value) for name, values in {**WRONG, **UNSUPPORTED}.items() for value in values],
)
def test_what_cannot_be_done_is_refused_by_name(url, field, value):
    status, answer = call(url, body(**{field: value}))
    assert status == 400
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(field) and field in error["message"]
    assert ("not supported" in error["message"]) == (field in UNSUPPORTED)


@pytest.mark.parametrize("sent", [b"{", b"[]", b'"text"', b"\xff", b""])
def test_a_body_that_is_no_json_object_is_refused(url, sent):
    status, answer = call(url, sent)
    assert status == 400 and answer["error"]["type"] == "invalid_request_error"


def test_an_unknown_path_is_refused_in_the_same_shape(url):
    status, answer = call(url, body(), path="/completions")
    assert status == 404 and answer["error"]["type"] == "invalid_request_error"
    assert call(url, path="/chat/completions")[0] == 405


def test_wrong_model_name_gets_the_served_one(url):
    status, answer = call(url, body(model="gpt-4"))
    assert status == 404
    assert answer["error"]["code"] == "model_not_found" and NAME in answer["error"]["message"]
    with pytest.raises(FireActError, match=NAME):
        OpenAIChat("gpt-4", base_url=url).reply([ask("Who?")])


def test_too_long_a_prompt_fills_the_context(url):
    status, answer = call(url, body("7" * 300))
    assert status == 400 and answer["error"]["code"] == "context_length_exceeded"
    assert "256" in answer["error"]["message"] and "30" in answer["error"]["message"]
    (reply,) = OpenAIChat(NAME, base_url=url).reply([ask("7" * 300)])
    assert reply.finish_reason == "context full"


class Held(Between):
    """Holds the first batch until `go` is set; `sizes` gets the size of each batch."""

    def __init__(self, chat, batch_size=64):
        super().__init__(chat, self.hold, batch_size)
        self.go, self.sizes = threading.Event(), []

    def hold(self, batch):
        self.sizes.append(len(batch))
        assert self.go.wait(30)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def test_requests_that_wait_are_answered_as_one_batch(chat):
    held = Held(chat, batch_size=6)
    app = make_app(held, NAME)
    with start_server(app) as url, ThreadPoolExecutor(10) as pool:
        first = pool.submit(call, url, body("first"))
        until(lambda: held.sizes)
        others = [pool.submit(call, url, body(f"question {n}")) for n in range(9)]
        until(lambda: app.state.jobs.qsize() == 9)
        held.go.set()
        answers = [future.result() for future in (first, *others)]
    assert [status for status, _ in answers] == [200] * 10
    assert held.sizes == [1, 6, 3]


def test_a_failing_batch_fails_its_own_requests_only(chat, caplog):
    def fail(batch):
        if any("boom" in request.messages[0]["content"] for request in batch):
            raise RuntimeError("out of memory")

    with start_server(make_app(Between(chat, fail), NAME)) as url:
        status, answer = call(url, body("boom"))
        assert call(url, body("Who?"))[0] == 200
    assert status == 500 and answer["error"]["type"] == "server_error"
    assert "out of memory" in answer["error"]["message"]
    assert "Traceback" in caplog.text


def test_messages_that_the_template_refuses_fail_alone():
    chat = tiny_chat()
    template = "{{ raise_exception('not so brief') if messages[0].content == 'Be brief.' }}"
    chat.tokenizer.chat_template = template + chat.tokenizer.chat_template
    held = Held(chat)
    system = body(messages=[{"role": "system", "content": "Be brief."}])
    surrogate = body("\ud800")
    app = make_app(held, NAME)
    with start_server(app) as url, ThreadPoolExecutor(4) as pool:
        first = pool.submit(call, url, body("first"))
        until(lambda: held.sizes)
        beside = pool.submit(call, url, body("beside"))
        refused, odd = call(url, system), call(url, surrogate)  # while the model is at work
        until(lambda: app.state.jobs.qsize() == 1)
        held.go.set()
        assert first.result()[0] == 200 and beside.result()[0] == 200
    assert refused[0] == 400 and "not so brief" in refused[1]["error"]["message"]
    assert odd[0] == 400
    assert held.sizes == [1, 1]


def test_the_server_always_ends_and_its_app_can_run_again():
    app = make_app(tiny_chat(), NAME)
    for _ in range(2):
        before = threading.active_count()
        with pytest.raises(ZeroDivisionError), start_server(app) as url:
            assert url.startswith("http://127.0.0.1:")
            assert call(url, body())[0] == 200
            raise ZeroDivisionError
        until(lambda before=before: threading.active_count() <= before)
        with pytest.raises(OSError):
            call(url, body())


def test_requests_under_way_are_answered_before_the_end(chat):
    held = Held(chat)
    with ThreadPoolExecutor(1) as pool:
        with start_server(make_app(held, NAME)) as url:
            under_way = pool.submit(call, url, body())
            until(lambda: held.sizes)
            threading.Timer(0.3, held.go.set).start()
        assert under_way.result()[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT to one thread")
def test_serve_says_where_and_stops_on_interrupt(chat, capsys):
    # A shell starts background jobs with interrupts ignored, and CI may be one.
    before, said = signal.signal(signal.SIGINT, signal.default_int_handler), []

    def interrupt():
        until(lambda: said.append(capsys.readouterr().out) or any(said))
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    try:
        threading.Thread(target=interrupt, daemon=True).start()
        serve(chat, NAME, port=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert f"{NAME} answers at http://127.0.0.1:" in "".join(said)


def test_only_loopback_is_bound_by_default():
    for function in (serve, start_server):
        assert inspect.signature(function).parameters["host"].default == "127.0.0.1"


def test_a_taken_port_is_named(chat, url):
    port = int(url.rsplit(":")[-1].removesuffix("/v1"))
    with pytest.raises(FireActError, match=f"127.0.0.1:{port}"):
        serve(chat, NAME, port=port)
    with pytest.raises(FireActError, match="99999"):
        serve(chat, NAME, port=99999)


@pytest.mark.parametrize("package", ["starlette.applications", "uvicorn"])
def test_missing_package_is_named(chat, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FireActError, match=r'pip install "fireact-nb\[serve\]"'):
        make_app(chat, NAME)
