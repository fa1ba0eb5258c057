"""What trainings under test begin with: twelve trajectories, a recipe and a little model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.learning.recipe import Recipe

BOOKS = [
    Trajectory(
        f"q{n}",
        f"Who wrote book {n}?",
        (
            Step.of(f"I look up book {n}.", "search", f"book {n}", "Book: Novel by Ann."),
            Step.of("The author is Ann.", "finish", "Ann"),
        ),
    )
    for n in range(12)
]
RECIPE = Recipe(rank=4, alpha=12, batch_size=4, epochs=5, learning_rate=1e-2)
LONG = Recipe(kind="lora", rank=4, alpha=12, batch_size=4, epochs=30, learning_rate=1e-3)


def save_base(folder: Path, tokenizer: Any, width: int = 32) -> Path:
    """The smallest Llama that trains, with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
