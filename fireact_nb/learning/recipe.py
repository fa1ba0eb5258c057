"""How to fine-tune: the recipe, and the network that it makes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..models.weights import load_base


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The defaults are the tiny students', chosen on dev.

    mask: which tokens carry loss. "agent" is Thought, Action and end of turn (the default);
    "all turns" adds the observations; "off" adds the question too.
    """

    kind: Literal["lora", "qlora", "full"] = "qlora"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    rate: float = 4e-3
    epochs: int = 6
    batch: int = 8
    mask: Literal["agent", "all turns", "off"] = "agent"
    max_length: int = 1024
    seed: int = 0


def prepare(model: str | Path, recipe: Recipe) -> tuple[Any, Any]:
    """The network to train and its tokenizer: quantised, with adapters, or whole."""
    network, tokenizer = load_base(model, quantized=recipe.kind == "qlora")
    if recipe.kind == "full":
        return network.float(), tokenizer
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.kind == "qlora":
        big = network.device.type != "cpu"
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=big)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(network, config), tokenizer
