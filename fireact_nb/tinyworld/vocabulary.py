"""The tokenizer of the tiny models: byte-level BPE, single digits, role tokens, a chat template."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .text import write_documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SIZE = 1280
PAD, DOCUMENT, END = "<|pad|>", "<|document|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
# Digits stand alone. A capitalised word is cut after its second letter: invented names are spelt in
# syllables that all names share, so an unseen name can be copied as well as a famous one.
_PIECES = r"\d| ?[A-Z][a-z]?| ?[^\W\dA-Z]+| ?[^\w\s]+|\s"
CHAT_TEMPLATE = (
    "<|document|>{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(documents: int = 4000) -> PreTrainedTokenizerFast:
    """Train on the dialogues of the pretraining text; the same bytes every time.

    Dialogues and code only (fresh worlds), so that no name of the real world becomes a token of its
    own and head and tail names cost the same.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[PAD, DOCUMENT, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(documents), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=DOCUMENT,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _sample(documents: int) -> Iterator[str]:
    for block in range(documents // 8):
        for document in itertools.islice(write_documents(f"tokenizer/{block}", code=True), 8):
            if not isinstance(document, str):
                for message in document:
                    yield message["content"]
            elif "\nprint(" in document:
                yield document


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer files that `AutoTokenizer.from_pretrained(folder)` reads."""
    train_tokenizer().save_pretrained(folder)
