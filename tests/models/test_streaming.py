"""A streamed answer says, piece by piece, what the whole one says; other people's clients read it.

The openai client and httpx are driven here; benchmarks/clients.py drives those that CI lacks.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter

import httpx
import openai
import pytest
import torch
from tiny import ask, tiny_model

from fireact_nb.models.local import LocalChat
from fireact_nb.models.sampling import Gumbel, Sampled, add_noise
from fireact_nb.models.server import make_app, start_server

NAME = "tiny-student"
LONG = {"model": NAME, "max_tokens": 40, "temperature": 0}


@pytest.fixture(scope="module")
def chat():
    model, tokenizer = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0.0  # it talks until it is cut
    return LocalChat(model, tokenizer=tokenizer, name="tiny")


@pytest.fixture(scope="module")
def url(chat):
    with start_server(make_app(chat, NAME)) as base:
        yield base


def messages(text="Where was the mother of Tom born?"):
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def talkative(chat):
    """A question and its long answer."""
    (reply,) = chat.reply([ask("Who?")])
    assert reply.completion_tokens == 40 and len(reply.text) > 30
    return "Who?", reply


def events(url, **fields):
    """The JSON of each event of a stream, and what came last, read by httpx alone."""
    lines = []
    sent = {**LONG, "messages": messages(), "stream": True, **fields}
    with httpx.stream("POST", f"{url}/chat/completions", json=sent, timeout=60) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    return [json.loads(line) for line in lines[:-1]], lines[-1]


def test_pieces_make_up_the_whole_with_ids_and_usage(url, talkative):
    question, reply = talkative
    asked = {"messages": messages(question), "stream_options": {"include_usage": True}}
    chunks, last = events(url, **asked)
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    *texts, end, usage = chunks
    deltas = [chunk["choices"][0]["delta"] for chunk in texts]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta["content"] for delta in deltas) == reply.text
    assert len(deltas) > 10, "the text must come while it is made"
    assert end["choices"][0]["finish_reason"] == reply.finish_reason
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == reply.completion_tokens
    assert "usage" not in events(url, messages=messages(question))[0][-1]


def test_a_stop_string_is_never_shown_not_even_its_beginning(url, talkative):
    question, reply = talkative
    for at in range(3, 15):
        stop = reply.text[at : at + 4]
        chunks, _ = events(url, messages=messages(question), stop=stop)
        said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        assert said == reply.text[: reply.text.index(stop)]
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_what_is_refused_is_refused_before_the_first_event(url):
    for sent, code in (
        (messages("7" * 300), "context_length_exceeded"),
        (messages("\ud800"), None),
    ):
        body = json.dumps({**LONG, "messages": sent, "stream": True})
        head = {"Content-Type": "application/json"}
        answer = httpx.post(f"{url}/chat/completions", content=body, headers=head, timeout=60)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == code


class Breaking:
    """The model says two words, then fails, or waits for `go` if there is one."""

    def __init__(self, chat, go=None):
        self.chat, self.go = chat, go
        self.batch_size, self.context, self.encode = chat.batch_size, chat.context, chat.encode

    def reply(self, batch, done, heard):
        for text in ("It", "It is"):
            heard[0](text)
        if self.go and not self.go.wait(30):
            return
        raise RuntimeError("out of memory")


def test_a_failure_in_the_middle_is_an_event_of_its_own(chat, caplog):
    said = []
    with (
        start_server(make_app(Breaking(chat), NAME)) as url,
        openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client,
        pytest.raises(openai.APIError, match="out of memory"),
    ):
        for chunk in client.chat.completions.create(**LONG, messages=messages(), stream=True):
            said.append(chunk.choices[0].delta.content)
    assert "".join(said) == "It is"


def test_a_piece_arrives_while_the_model_is_at_work_and_who_leaves_harms_nobody(chat, caplog):
    go = threading.Event()
    with start_server(make_app(Breaking(chat, go), NAME)) as url:
        body = {**LONG, "messages": messages(), "stream": True}
        with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            while '"content": "It"' not in next(lines):
                pass
        assert not go.is_set()  # and the caller has left
        go.set()
        assert httpx.get(f"{url}/models", timeout=30).status_code == 200


def test_the_openai_client_sync_async_and_streaming(chat, url, talkative):
    question, reply = talkative
    asked = {**LONG, "messages": messages(question)}
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        assert client.chat.completions.create(**asked).choices[0].message.content == reply.text
        stream = client.chat.completions.create(**asked, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream) == reply.text
        assert [model.id for model in client.models.list()] == [NAME]
        assert client.models.retrieve(NAME).id == NAME
        with client.chat.completions.stream(**asked, stop=reply.text[9:14]) as parts:
            told = parts.get_final_completion().choices[0].message.content
        assert told == reply.text[: reply.text.index(reply.text[9:14])]

    async def both():
        async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:
            whole = await client.chat.completions.create(**asked)
            stream = await client.chat.completions.create(**asked, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(pieces)

    assert asyncio.run(both()) == (reply.text, reply.text)


def test_only_the_likeliest_words_are_drawn():
    """Shares of 50, 30, 15 and 5 percent: what `top_p` leaves, at the rates it leaves."""
    scores = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log()
    for top_p, left in (
        (0.4, {1}),
        (0.5, {1}),
        (0.51, {1, 3}),
        (0.9, {0, 1, 3}),
        (1.0, {0, 1, 2, 3}),
    ):
        request = Sampled((), temperature=1.0, seed=3, top_p=top_p)
        noise = Gumbel(request)
        drawn = Counter(int(add_noise(scores.clone(), {0: noise}).argmax()) for _ in range(400))
        assert drawn.keys() == left, top_p
    assert abs(drawn[1] / 400 - 0.5) < 0.1
    warm = Sampled(
        (), temperature=2.0, seed=3, top_p=0.5
    )  # the shares are those at the temperature
    noise = Gumbel(warm)
    assert len({int(add_noise(scores.clone(), {0: noise}).argmax()) for _ in range(100)}) == 2
    none = Gumbel(Sampled((), temperature=1.0, top_p=0.0))
    assert {int(add_noise(scores.clone(), {0: none}).argmax()) for _ in range(50)} == {1}


def test_top_p_reaches_the_words_of_a_server(url, talkative):
    """With next to nothing left to draw from, sampling says what greedy decoding says."""
    question, reply = talkative
    sent = {**LONG, "temperature": 1.0, "messages": messages(question), "seed": 1}
    narrow = httpx.post(f"{url}/chat/completions", json={**sent, "top_p": 0.0}, timeout=60).json()
    wide = httpx.post(f"{url}/chat/completions", json=sent, timeout=60).json()
    assert narrow["choices"][0]["message"]["content"] == reply.text
    assert wide["choices"][0]["message"]["content"] != reply.text
