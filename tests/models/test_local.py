"""LocalChat: a reply never depends on what shares its batch.

The model is tiny and untrained, but a real one: attention, positions, cache, tokens and stops.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import pytest
import torch
import transformers
from tiny import EXAMPLES, QUESTIONS, ask, same, tiny_chat, tiny_model

from fireact_nb.models.local import GumbelSampler, LocalChat


@pytest.fixture(scope="module")
def chat():
    return tiny_chat()


@pytest.fixture
def cached(chat, monkeypatch):
    """For each call of generate: how many tokens came from the prefix cache."""
    return spy_on(chat, monkeypatch)


def spy_on(chat, monkeypatch):
    generate, seen = chat.model.generate, []

    def spy(**inputs):
        cache = inputs.get("past_key_values")
        seen.append(cache.get_seq_length() if cache is not None else 0)
        return generate(**inputs)

    monkeypatch.setattr(chat.model, "generate", spy)
    return seen


def alone(chat, requests):
    return [same(chat.reply([request])[0]) for request in requests]


def together(chat, requests):
    return [same(reply) for reply in chat.reply(requests)]


def test_greedy_reply_is_that_of_plain_unpadded_generation(chat, cached):
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    replies = together(chat, requests)
    assert len(cached) == 1 and cached[0] > 60
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
def test_a_batch_answers_as_one_by_one(chat, cached, temperature, shared, stop):
    requests = [
        ask(shared + question, temperature=temperature, seed=seed, stop=stop)
        for seed, question in enumerate(QUESTIONS * 2)
    ]
    replies = together(chat, requests)
    assert len(cached) == 1 and (cached[0] > 60 if shared else cached[0] == 0)
    assert replies == alone(chat, requests)
    if not stop:  # some rows were padded when they had ended
        assert len({reply.completion_tokens for reply in replies}) > 1
    assert not any(end in reply.text for reply in replies for end in stop)


def test_small_batches_and_mixed_settings_keep_the_order(cached, chat, monkeypatch):
    monkeypatch.setattr(chat, "batch_size", 3)
    requests = [
        ask(EXAMPLES + question, max_tokens=size, temperature=heat, stop=stop, seed=7)
        for question in QUESTIONS
        for size, heat, stop in ((5, 0.0, ()), (12, 0.8, ("o",)))
    ]
    replies = together(chat, requests)
    assert len(cached) == 4
    assert replies == alone(chat, requests)


def test_a_sliding_window_takes_no_prefix_cache(monkeypatch):
    chat = tiny_chat(model_type="mistral", sliding_window=16)
    cached = spy_on(chat, monkeypatch)
    requests = [ask(EXAMPLES + question) for question in QUESTIONS]
    replies = together(chat, requests)
    assert cached == [0]
    assert replies == alone(chat, requests)


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
    noise = GumbelSampler([ask("x", temperature=temperature, seed=seed) for seed in range(50)])
    drawn = torch.cat([noise(None, scores.expand(50, -1)).argmax(-1) for _ in range(100)])
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
