"""How to fine-tune: the recipe, and the network that it makes of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ..models.weights import load_base

# The first recipes were written under these names. Files and the keys made of them keep them, or
# everything trained so far would count as trained by another recipe.
_NAMES_IN_FILES = {"learning_rate": "rate", "batch_size": "batch"}


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The defaults are the tiny students', chosen on dev.

    alpha: the adapter's product is scaled by alpha / rank.
    mask: which tokens carry loss. "agent" is Thought, Action and end of turn (the default);
    "all turns" adds the observations; "off" adds the question too.
    """

    kind: Literal["lora", "qlora", "full"] = "qlora"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 4e-3
    epochs: int = 6
    batch_size: int = 8
    mask: Literal["agent", "all turns", "off"] = "agent"
    max_length: int = 1024
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As it stands in recipe.json and in keys."""
        return {_NAMES_IN_FILES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Recipe:
        """From either form; what else a recipe.json holds (base, examples) is left aside."""
        today = {old: name for name, old in _NAMES_IN_FILES.items()}
        named = {today.get(name, name): value for name, value in row.items()}
        return cls(
            **{field.name: named[field.name] for field in fields(cls) if field.name in named}
        )


def prepare(model: str | Path, recipe: Recipe) -> tuple[Any, Any]:
    """The network to train and its tokenizer: quantised, with adapters, or whole."""
    network, tokenizer = load_base(model, quantized=recipe.kind == "qlora")
    if recipe.kind == "full":
        return network.float(), tokenizer  # half precision would round small updates away
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.kind == "qlora":
        # Checkpointing saves memory for a second forward pass; the CPU's models are small.
        big = network.device.type != "cpu"
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=big)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",  # fewer matrices fall short of full training (QLoRA)
        task_type="CAUSAL_LM",
    )
    return get_peft_model(network, config), tokenizer
