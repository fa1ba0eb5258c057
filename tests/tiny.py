"""A tiny, untrained, but real language model behind LocalChat, and what it is asked."""

from __future__ import annotations

from dataclasses import replace

import torch
import transformers

from fireact_nb.agent.chat import Request
from fireact_nb.artifacts import DATA
from fireact_nb.models.local import LocalChat

TOKENIZER = DATA / "tokenizer"
EXAMPLES = "Question: Where was the mother of Tom born?\nThought: I search for Tom.\n" * 3
QUESTIONS = (
    "Who?",
    "When did the director of the film die, and where was the director born?",
    "Is the city older than 12 years?",
    "Which book did the company's founder write in the year 1931 about the river and the sea?",
    "Name the country.",
)


def tiny_model(**changes):
    """Wide enough weights that the reply depends on the prompt; a turn often ends by itself."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    settings = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.5,
        "tie_word_embeddings": False,
        **changes,
    }
    config = transformers.AutoConfig.for_model(**settings)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 2.5
        model.lm_head.weight[tokenizer.pad_token_id] = 0.0  # as a trained model, it writes none
    return model, tokenizer


def tiny_chat(batch_size=64, **changes):
    model, tokenizer = tiny_model(**changes)
    return LocalChat(model, tokenizer=tokenizer, name="tiny", batch_size=batch_size)


def ask(text, **settings):
    return Request(({"role": "user", "content": text},), **{"max_tokens": 40, **settings})


def same(reply):
    return replace(reply, seconds=0.0)
