"""LocalChat: a reply never depends on what shares its batch.

The model is tiny and untrained, but a real one: attention, positions, cache, tokens and stops.
"""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest
import torch
import transformers
from tiny import EXAMPLES, QUESTIONS, ask, same, tiny_chat, tiny_model

from fireact_nb.agent.chat import Stop
from fireact_nb.models.local import LocalChat
from fireact_nb.models.sampling import Gumbel, add_noise


@pytest.fixture(scope="module")
def chat():
    return tiny_chat()


@pytest.fixture
def read(chat, monkeypatch):
    """The shape (rows, tokens) of every pass through the model; nothing is kept from before."""
    monkeypatch.setattr(chat, "_slots", None)
    return spy_on(chat, monkeypatch)


def spy_on(chat, monkeypatch):
    forward, seen = chat.model.forward, []

    def spy(*args, **inputs):
        seen.append(tuple(inputs["input_ids"].shape))
        return forward(*args, **inputs)

    monkeypatch.setattr(chat.model, "forward", spy)
    return seen


def prompts(read):
    """How many tokens were read, those that the model said not counted."""
    return sum(rows * tokens for rows, tokens in read if tokens > 1)


def alone(chat, requests):
    """Each by itself, with nothing kept."""
    replies = []
    for request in requests:
        chat._slots = None
        replies.append(same(chat.reply([request])[0]))
    return replies


def together(chat, requests):
    return [same(reply) for reply in chat.reply(requests)]


def test_greedy_reply_is_that_of_plain_unpadded_generation(chat, read):
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    replies = together(chat, requests)
    whole = sum(len(chat.encode(request)) for request in requests)
    assert prompts(read) < whole / 2, "the examples are read once"
    for request, reply in zip(requests, replies, strict=True):
        ids = chat.encode(request)
        plain = chat.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=40,
        )[0, len(ids) :].tolist()
        ended = plain[-1] == chat.tokenizer.eos_token_id
        assert reply.text == chat.tokenizer.decode(plain, skip_special_tokens=True)
        assert reply.prompt_tokens == len(ids) and reply.completion_tokens == len(plain)
        assert reply.finish_reason == ("stop" if ended else "length")
    assert len({reply.text for reply in replies}) > 2


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("shared", [EXAMPLES, ""], ids=["shared", "unshared"])
@pytest.mark.parametrize("stop", [(), ("e", "an")], ids=["free", "stops"])
def test_a_batch_answers_as_one_by_one(chat, temperature, shared, stop):
    requests = [
        ask(shared + question, temperature=temperature, seed=seed, stop=stop)
        for seed, question in enumerate(QUESTIONS * 2)
    ]
    replies = together(chat, requests)
    assert replies == alone(chat, requests)
    if not stop:  # some rows left before others
        assert len({reply.completion_tokens for reply in replies}) > 1
    assert not any(end in reply.text for reply in replies for end in stop)


@pytest.mark.parametrize("keeps", [True, False], ids=["slots", "batches"])
def test_small_batches_and_mixed_settings_keep_the_order(chat, read, monkeypatch, keeps):
    monkeypatch.setattr(chat, "batch_size", 3)
    monkeypatch.setattr(chat, "keeps", keeps)
    requests = [
        ask(EXAMPLES + question, max_tokens=size, temperature=heat, stop=stop, seed=7)
        for question in QUESTIONS
        for size, heat, stop in ((5, 0.0, ()), (12, 0.8, ("o",)))
    ]
    replies = together(chat, requests)
    assert max(rows for rows, _ in read) == 3
    monkeypatch.setattr(chat, "keeps", True)
    assert replies == alone(chat, requests)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "mistral", "sliding_window": 16},
        {"model_type": "gpt2", "n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 2},
        {"attn_implementation": "eager"},
    ],
    ids=["sliding window", "learned positions", "other attention"],
)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_models_whose_keys_cannot_be_kept_answer_in_padded_batches(changes, temperature):
    chat = tiny_chat(**changes)
    assert not chat.keeps
    requests = [
        ask(EXAMPLES + question, temperature=temperature, stop=stop)
        for question in QUESTIONS
        for stop in ((), ("e",))
    ]
    requests.append(ask("7" * 300))
    assert together(chat, requests) == alone(chat, requests)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
def test_slots_and_batches_say_the_same(kind, heads):
    """Also where heads share keys and values."""
    window = {"sliding_window": None} if kind == "mistral" else {}
    chat = tiny_chat(model_type=kind, num_key_value_heads=heads, **window)
    assert chat.keeps
    requests = [
        ask(shared + question, temperature=temperature, stop=("e",))
        for question in QUESTIONS
        for temperature in (0.0, 0.8)
        for shared in (EXAMPLES, "")
    ]
    kept = together(chat, requests)
    chat.keeps = False
    assert kept == together(chat, requests)


def talk(chat, request, rounds, say="Observation: Tom was born in 1931 in the city."):
    """The requests of one conversation, each with what the model said before."""
    requests = [request]
    for _ in range(rounds):
        (reply,) = chat.reply([request])
        turns = ({"role": "assistant", "content": reply.text}, {"role": "user", "content": say})
        request = replace(request, messages=request.messages + turns)
        requests.append(request)
    return requests


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_conversation_is_read_once(chat, monkeypatch, temperature):
    """Round by round with others beside it; with what a journal answered instead; with a cue."""
    firsts = [ask(q, temperature=temperature, max_tokens=12) for q in QUESTIONS]
    talks = [talk(chat, first, rounds=4) for first in firsts]
    cued = [replace(t[-1], prefix="Thought: Let me reflect.") for t in talks]
    rounds = [*map(list, zip(*talks, strict=True)), cued]
    expected = [alone(chat, requests) for requests in rounds]
    chat._slots = None
    seen = spy_on(chat, monkeypatch)
    for number, (requests, replies) in enumerate(zip(rounds, expected, strict=True)):
        seen.clear()
        assert together(chat, requests) == replies
        whole = sum(len(chat.encode(request)) for request in requests)
        assert number == 0 or prompts(seen) < whole * 0.8
    # As after a kill: the third round was journalled, so no slot ever said it.
    chat._slots = None
    assert together(chat, rounds[0]) == expected[0]
    assert together(chat, rounds[3][::-1]) == expected[3][::-1]
    # Two samples of one conversation at once, then what went before it.
    twice = [replace(r, sample=s) for r in rounds[4] for s in (0, 1)]
    assert together(chat, twice) == alone(chat, twice)
    assert together(chat, rounds[1]) == expected[1]


def test_what_is_kept_is_bounded(chat, monkeypatch):
    """By the rows of a call, and between calls by bytes."""
    from fireact_nb.models import local

    chat._slots = None
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    for request in requests * 2:
        chat.reply([request])
    slots = chat._slots[1]
    config = chat.model.config
    a_token = 2 * config.num_hidden_layers * config.hidden_size * 4
    assert slots.count == 1 and slots.nbytes == slots.count * slots.reserved * a_token
    chat.reply(requests)
    assert slots.count == len(requests) and slots.reserved <= chat.context + 2 * 128
    monkeypatch.setattr(local, "KEPT", slots.nbytes - 1)
    chat.reply(requests)
    assert chat._slots is None


def test_other_weights_forget_what_was_read():
    chat = tiny_chat()
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    before = together(chat, requests)
    with torch.no_grad():
        chat.model.model.layers[0].self_attn.v_proj.weight.mul_(-1)
    after = together(chat, requests)
    assert after == alone(chat, requests) and after != before


@pytest.mark.parametrize("at", [0, 3])
def test_a_stop_ends_within_a_step_and_nothing_half_written_is_used(chat, monkeypatch, at):
    requests = [ask(EXAMPLES + q, max_tokens=20 + i) for i, q in enumerate(QUESTIONS * 2)]
    expected = alone(chat, requests)
    monkeypatch.setattr(chat, "batch_size", 4)
    stop, got = Stop(), {}

    def done(place, reply):
        got[place] = same(reply)
        if len(got) == at:
            stop.set()

    if not at:
        stop.set()
    with pytest.raises(CancelledError):
        chat.reply(requests, done, stop)
    assert at <= len(got) < at + 4
    assert all(expected[place] == reply for place, reply in got.items())
    assert together(chat, requests) == expected


def test_an_error_leaves_nothing_half_written(chat, monkeypatch):
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    expected = alone(chat, requests)
    chat._slots = None
    forward, calls = chat.model.forward, []

    def fail(*args, **inputs):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return forward(*args, **inputs)

    with monkeypatch.context() as patch:
        patch.setattr(chat.model, "forward", fail)
        with pytest.raises(KeyboardInterrupt):
            chat.reply(requests)
    assert together(chat, requests) == expected


def test_stop_strings_cut_what_would_have_followed(chat):
    requests = [ask(q, temperature=1.0, seed=seed) for q in QUESTIONS for seed in range(4)]
    wholes = [(r, whole) for r in requests if len((whole := chat.reply([r])[0]).text) > 20]
    assert len(wholes) > 2
    for request, whole in wholes:
        for stop in ((whole.text[7:10],), (whole.text[12:14], whole.text[5:9])):
            (reply,) = chat.reply([replace(request, stop=stop)])
            first = min(whole.text.index(end) for end in stop)
            assert reply.text == whole.text[:first]
            assert reply.finish_reason == "stop"
            assert reply.completion_tokens <= whole.completion_tokens


def test_stop_strings_outside_the_vocabulary_do_no_harm(chat):
    requests = [ask(question, stop=("終わり", "😀", "\n")) for question in QUESTIONS]
    assert together(chat, requests) == together(chat, [replace(r, stop=()) for r in requests])


def test_reply_includes_the_prefix_and_continues_it(chat):
    cue = "Thought: Let me reflect."
    requests = [ask(EXAMPLES + q, prefix=cue, temperature=1.0) for q in QUESTIONS]
    replies = together(chat, requests)
    assert all(reply.text.startswith(cue) for reply in replies)
    assert any(len(reply.text) > len(cue) for reply in replies)
    assert replies == alone(chat, requests)
    without = chat.reply([replace(request, prefix="") for request in requests])
    for reply, plain in zip(replies, without, strict=True):
        assert reply.prompt_tokens > plain.prompt_tokens


def test_full_context_harms_no_other(chat):
    # A digit is a token. The last three leave fewer than 16 of 256 tokens, or none.
    requests = [ask("7" * n, max_tokens=64) for n in (5, 90, 180, 200, 220, 240, 250, 300)]
    replies = together(chat, requests)
    assert replies == alone(chat, requests)
    assert [reply.finish_reason == "context full" for reply in replies] == [False] * 5 + [True] * 3
    for reply in replies[:5]:
        assert reply.completion_tokens > 0
        assert reply.prompt_tokens + reply.completion_tokens <= chat.context
    for reply in replies[5:]:
        assert reply.text == "" and reply.completion_tokens == 0


def test_seed_and_sample_tell_samples_apart(chat):
    base = ask(QUESTIONS[1], temperature=1.0)
    requests = [base, base, replace(base, seed=1), replace(base, sample=1)]
    texts = [reply.text for reply in chat.reply(requests)]
    assert texts[0] == texts[1] and len(set(texts)) > 1


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_noise_samples_the_softmax(temperature):
    scores = torch.tensor([0.0, 0.4, 0.9, 1.0, -2.0])
    noises = {i: Gumbel(ask("x", temperature=temperature, seed=i)) for i in range(50)}
    drawn = torch.cat([add_noise(scores.repeat(50, 1), noises).argmax(-1) for _ in range(100)])
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert torch.allclose(shares, (scores / temperature).softmax(-1), atol=0.03)


def test_hardly_any_temperature_is_greedy(chat):
    requests = [ask(question) for question in QUESTIONS]
    cold = [replace(request, temperature=1e-30) for request in requests]
    assert together(chat, cold) == together(chat, requests)


def test_done_is_called_once_for_each_request(chat, monkeypatch):
    monkeypatch.setattr(chat, "batch_size", 2)
    requests = [ask(question) for question in QUESTIONS] + [ask("7" * 300)]
    seen = []
    replies = chat.reply(requests, done=lambda place, reply: seen.append((place, reply)))
    assert sorted(seen, key=lambda pair: pair[0]) == list(enumerate(replies))
    assert chat.reply([]) == []


def test_generation_settings_of_a_model_are_ignored_without_a_warning(chat, caplog, monkeypatch):
    """Hub models ask for sampling and penalties of their own (Qwen's do)."""
    requests = [ask(EXAMPLES + question, temperature=t) for question in QUESTIONS for t in (0, 0.8)]
    expected = together(chat, requests)
    theirs = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.3}
    for name, value in {**theirs, "do_sample": True}.items():
        monkeypatch.setattr(chat.model.generation_config, name, value)
    logger = logging.getLogger("transformers")
    monkeypatch.setattr(logger, "propagate", True)
    transformers.utils.logging.warning_once.cache_clear()
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert together(chat, requests) == expected
    assert not caplog.records


def test_any_end_that_the_model_or_its_tokenizer_names_ends_a_turn():
    model, tokenizer = tiny_model()
    chat = LocalChat(model, tokenizer=tokenizer, name="tiny")
    for text in map(str, range(99)):  # a random model may write nothing but one token
        request = ask(text)
        ids = chat.encode(request)
        row = model.generate(torch.tensor([ids]), max_new_tokens=20)[0, len(ids) :].tolist()
        fresh = [i for i in range(1, len(row)) if row[i] not in row[:i]]
        if fresh:
            break
    at = fresh[0]
    model.generation_config.eos_token_id = [row[at]]
    chat = LocalChat(model, tokenizer=tokenizer, name="tiny")
    assert chat.ends == sorted({row[at], tokenizer.eos_token_id})
    reply, beside, _ = together(chat, [request, ask("7" * 9), ask("7" * 30)])
    assert [reply, beside] == alone(chat, [request, ask("7" * 9)])
    assert (reply.finish_reason, reply.completion_tokens) == ("stop", at + 1)
    assert reply.text == tokenizer.decode(row[:at], skip_special_tokens=True)


def test_loaded_model_needs_tokenizer_and_name():
    model, tokenizer = tiny_model()
    with pytest.raises(ValueError, match="tokenizer and a name"):
        LocalChat(model, tokenizer=tokenizer)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_tokenizer_without_padding_answers_the_same(chat, temperature):
    """As Llama's: the end of a turn stands in for it."""
    model, tokenizer = tiny_model()
    tokenizer.pad_token = None
    bare = LocalChat(model, tokenizer=tokenizer, name="tiny")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    requests = [ask(EXAMPLES + question, temperature=temperature) for question in QUESTIONS]
    assert together(bare, requests) == together(chat, requests)
