"""How to fine-tune: the recipe, and the network that it makes of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ..models.presets import find_preset
from ..models.quirks import beside_torchao
from ..models.weights import load_base

# The first recipes were written under these names. Files and the keys made of them keep them, or
# everything trained so far would count as trained by another recipe.
_NAMES_IN_FILES = {"learning_rate": "rate", "batch_size": "batch"}


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. The defaults are the tiny students', chosen on dev.

    alpha: the adapter's product is scaled by alpha / rank.
    batch_size: conversations a step of the optimizer sees; how many of them are computed at once is
    found from the memory.
    targets: names of the matrices that get an adapter; all but the head's if none is named.
    tools: the conversations are native tool calls, to be played by `models.native.ToolChat`.
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
    targets: tuple[str, ...] = ()
    tools: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))  # a list where it was JSON

    def to_dict(self) -> dict[str, Any]:
        """As it stands in recipe.json and in keys: without `targets` and `tools` where none are."""
        row = {_NAMES_IN_FILES.get(name, name): value for name, value in asdict(self).items()}
        return {k: v for k, v in row.items() if k not in ("targets", "tools") or v}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Recipe:
        """From either form; what else a recipe.json holds (base, examples) is left aside."""
        today = {old: name for name, old in _NAMES_IN_FILES.items()}
        named = {today.get(name, name): value for name, value in row.items()}
        return cls(
            **{field.name: named[field.name] for field in fields(cls) if field.name in named}
        )


# An adapter on a model of 0.1 to 10 billion weights: QLoRA's rate (arXiv 2305.14314) and few
# rounds over the data. The tiny students learn at twenty times the rate, which would ruin these.
REAL = Recipe(learning_rate=2e-4, epochs=3, batch_size=16, dropout=0.05)
# The paper's students, as far as it tells; else as the authors' script does.
PAPER = Recipe(
    learning_rate=3e-4, epochs=30, batch_size=16, rank=8, alpha=16, dropout=0.05, max_length=512,
    targets=("q_proj", "v_proj"),
)  # fmt: skip
PAPER_SOURCES: Mapping[str, str] = {
    "kind": "ours: 4 bits, where the paper has 8",
    "learning_rate": "paper",
    "epochs": "paper",
    "batch_size": "paper",
    "rank": "released script",
    "alpha": "released script",
    "dropout": "released script",
    "targets": "released script",
    "max_length": "released script; it cuts longer conversations, which are left out here",
    "mask": "ours: the script's loss covers the observations too",
    "seed": "ours",
    "tools": "paper: the text form",
}
BIG = 50_000_000  # weights; from here on a model is no tiny one


def recipe_for(model: str | Path, **changes: Any) -> Recipe:
    """The recipe that fits a model, with `changes` of its fields.

    The paper's students get its settings (`PAPER_SOURCES` tells whose each is), other models of the
    hub and big folders those of adapters on real models, small folders the tiny students'.
    """
    preset = find_preset(str(model))
    if preset and preset.paper:
        return replace(PAPER, **changes)
    weights = sum(f.stat().st_size for f in Path(model).glob("*.safetensors")) // 2
    tiny = Path(model).is_dir() and weights < BIG
    return replace(Recipe() if tiny else REAL, **changes)


def prepare(model: str | Path, recipe: Recipe) -> tuple[Any, Any]:
    """The network to train and its tokenizer: quantised, with adapters, or whole."""
    network, tokenizer = load_base(model, quantized=recipe.kind == "qlora")
    # Checkpointing saves memory for a second forward pass; the CPU's models are small.
    saving = network.device.type != "cpu"
    ways = {"use_reentrant": False}  # the other way needs inputs with gradients, which are none
    if recipe.kind == "full":
        network = network.float()  # half precision would round small updates away
        if saving:
            network.gradient_checkpointing_enable(ways)
        return network, tokenizer
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.kind == "qlora":
        network = prepare_model_for_kbit_training(
            network, use_gradient_checkpointing=saving, gradient_checkpointing_kwargs=ways
        )
    elif saving:
        network.gradient_checkpointing_enable(ways)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        # Without names all matrices, for fewer fall short of full training (QLoRA).
        target_modules=list(recipe.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    with beside_torchao():
        network = get_peft_model(network, config)
    # Named when it is saved: with a name peft would ask the hub about it at each checkpoint.
    network.peft_config["default"].base_model_name_or_path = ""
    return network, tokenizer
