"""A template written anew for trainers says the tokenizer's own words and marks what is learnt."""

from __future__ import annotations

from typing import Any

import pytest
from books import BOOKS
from families import FAMILIES, make_tokenizer

from fireact_nb.errors import FireActError
from fireact_nb.learning.marking import MARK, mark_template, read_shape
from fireact_nb.learning.masking import encode

LEARNT = [name for name, family in FAMILIES.items() if family.end]
# Where the last turn is written otherwise than earlier ones, there is no one shape.
ODD = {n for n in LEARNT if FAMILIES[n].scaffold} | {
    "llama2", "gemma4_v5", "phi3", "phi3_5", "cohere2", "nemotron_3_nano",
}  # fmt: skip


def marked(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens and marks of a conversation, as any trainer gets them of the marked template."""
    template = mark_template(tokenizer, BOOKS[:3], 9999)
    assert MARK.search(template)
    messages = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}]
    found = tokenizer.apply_chat_template(
        messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
    )
    return found["input_ids"], found["assistant_masks"]


def test_the_shipped_template_is_marked_and_says_the_same(tokenizer: Any) -> None:
    assert not MARK.search(tokenizer.chat_template)
    ids, marks = marked(tokenizer)
    learnt = [token for token, mark in zip(ids, marks, strict=True) if mark]
    assert tokenizer.decode(learnt) == "Ann.<|end|>"
    assert tokenizer.decode(ids) == "<|document|><|user|>Who?<|end|><|assistant|>Ann.<|end|>"
    asked = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who?"}],
        chat_template=mark_template(tokenizer, BOOKS[:1], 9999),
        tokenize=False, add_generation_prompt=True,
    )  # fmt: skip
    assert asked == "<|document|><|system|>Be short.<|end|><|user|>Who?<|end|><|assistant|>"


@pytest.mark.parametrize("name", FAMILIES)
def test_real_templates_are_marked_or_refused(name: str, tokenizer: Any) -> None:
    tokenizer = make_tokenizer(name, tokenizer)
    try:
        ids, marks = marked(tokenizer)
    except FireActError as error:
        assert name not in LEARNT or name in ODD, error
        return
    learnt = tokenizer.decode([t for t, mark in zip(ids, marks, strict=True) if mark])
    assert learnt.rstrip().endswith(f"Ann.{FAMILIES[name].end}")


@pytest.mark.parametrize("name", ["tiny", "qwen2_5", "llama3_1", "gemma3", "zephyr"])
def test_pieces_tokenised_one_by_one_are_ours(name: str, tokenizer: Any) -> None:
    """As LLaMA-Factory writes them: the opening once, then user and agent by turns."""
    tokenizer = tokenizer if name == "tiny" else make_tokenizer(name, tokenizer)
    shape = read_shape(tokenizer)
    for book in BOOKS[:5]:
        texts = [book.question, *(t for s in book.steps for t in (s.text, s.observation) if t)]
        pieces = [shape.first]
        for place, text in enumerate(texts):
            if place % 2:
                pieces.append(shape.lead + text + shape.end + shape.space)
            else:
                heard = f"Observation: {text}" if place else text
                pieces.append(shape.user + heard + shape.ask)
        ids = [t for p in pieces for t in tokenizer(p, add_special_tokens=False)["input_ids"]]
        assert ids == list(encode(book, tokenizer, max_length=9999).input_ids)
