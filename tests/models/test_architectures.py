"""Real architectures, tiny and with random weights: each answers in batches as one by one."""

from __future__ import annotations

import pytest
import torch
from tiny import EXAMPLES, QUESTIONS, ask, same, tiny_chat, tiny_model

from fireact_nb.errors import FireActError
from fireact_nb.models.local import LocalChat
from fireact_nb.models.sizes import count_rows, measure

LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "head_dim": 16,
}
# What each needs besides the sizes of `tiny_model`.
KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 16, "head_dim": 16},
    "gemma2": {"sliding_window": 16, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {"sliding_window": 16, "head_dim": 16, "query_pre_attn_scalar": 16},
    "phi3": {},
    "smollm3": {},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "qwen3_5_text": LINEAR,
}


def requests():
    return [
        ask(shared + question, temperature=temperature, max_tokens=12)
        for question in QUESTIONS
        for shared, temperature in ((EXAMPLES, 0.0), ("", 0.8))
    ]


def check_batches(chat):
    together = [same(reply) for reply in chat.reply(requests())]
    for request, reply in zip(requests(), together, strict=True):
        chat._slots = None
        assert same(chat.reply([request])[0]) == reply
    assert len({reply.text for reply in together}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_answers_as_one_by_one(kind):
    check_batches(tiny_chat(model_type=kind, **KINDS[kind]))


def test_a_model_whose_words_have_a_config_of_their_own_answers():
    """As Gemma 3 from 4B on, which also sees."""
    model, tokenizer = tiny_model()
    import transformers

    text = {**model.config.to_dict(), "model_type": "gemma3_text", **KINDS["gemma3_text"]}
    text.pop("rope_parameters", None)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 1, "image_size": 28, "patch_size": 14}  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=vision)
    torch.manual_seed(0)
    nested = transformers.AutoModelForCausalLM.from_config(config).eval()
    chat = LocalChat(nested, tokenizer=tokenizer, name="nested")
    assert chat.context == 256 and measure(config).layers == 2
    replies = [same(reply) for reply in chat.reply(requests())]
    assert replies == [same(chat.reply([request])[0]) for request in requests()]


# -- memory --------------------------------------------------------------------------------------


def small_above(rows, chat, monkeypatch):
    forward = chat.model.forward

    def guarded(*args, **inputs):
        if inputs["input_ids"].shape[0] > rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, **inputs)

    monkeypatch.setattr(chat.model, "forward", guarded)


@pytest.mark.parametrize("keeps", [True, False])
def test_half_as_many_are_answered_at_once_where_memory_runs_out(keeps, monkeypatch):
    chat = tiny_chat()
    expected = [same(reply) for reply in chat.reply(requests())]
    chat.keeps, chat._slots, chat.batch_size = keeps, None, 8
    small_above(2, chat, monkeypatch)
    seen = []
    replies = chat.reply(requests(), done=lambda place, _: seen.append(place))
    assert [same(reply) for reply in replies] == expected
    assert sorted(seen) == list(range(len(expected))), "each is told once"
    assert chat.batch_size == 2


def test_no_memory_for_one_conversation_is_told(monkeypatch):
    chat = tiny_chat(batch_size=2)
    small_above(0, chat, monkeypatch)
    with pytest.raises(FireActError, match="ran out while tiny answered one .* smaller model"):
        chat.reply(requests())


def test_fewer_are_answered_at_once_where_less_is_free(monkeypatch):
    model, tokenizer = tiny_model()
    assert count_rows(model, 64) == 64
    a_row = 2 * 2 * 32 * 4 * 256 + 8 * len(tokenizer)
    monkeypatch.setattr("fireact_nb.models.sizes.free_memory", lambda: int(10.5 * a_row / 0.8))
    assert count_rows(model, 64) == 10 and count_rows(model, 4) == 4
    monkeypatch.setattr("fireact_nb.models.sizes.free_memory", lambda: 0)
    assert LocalChat(model, tokenizer=tokenizer, name="tiny").batch_size == 1
