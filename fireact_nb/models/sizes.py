"""What models take of a machine's memory, computed from their configs, and what there is.

Knows shapes and bytes; loads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import file_state
from .presets import PRESETS, find_preset
from .weights import load_config


@dataclass(frozen=True)
class Size:
    """Of a causal LM: its numbers by where they lie.

    matrices: (in, out) of each linear layer but the head, by the layer's name. kept: embeddings,
    norms and head, which no quantisation rounds. widest: the largest matrix.
    """

    matrices: Mapping[str, tuple[int, int]]
    kept: int
    layers: int
    hidden: int
    inner: int
    attention: int  # width of all heads' queries
    pairs: int  # width of all heads' keys, or values
    repeated: int  # the same as attention takes them, where heads share keys and values
    vocabulary: int
    context: int

    @property
    def rounded(self) -> int:
        """Weights that quantisation rounds."""
        return sum(i * o for i, o in self.matrices.values())

    @property
    def weights(self) -> int:
        return self.rounded + self.kept

    @property
    def widest(self) -> int:
        return max((i * o for i, o in self.matrices.values()), default=0)


def size_of(model: str | Path) -> Size:
    """The size of a model by its config, of which the hub sends one small file and no weights.

    Where that cannot be had, a preset's is known. Raises FireActError for any other.
    """
    return _size_of(str(model), file_state(Path(model) / "config.json"))


@lru_cache(maxsize=32)
def _size_of(model: str, state: tuple[int, ...] | None) -> Size:
    """Asked several times by each training, so found once for each state of the config."""
    preset = find_preset(model)
    try:
        return measure(load_config(model))
    except FireActError:
        if preset is None:
            raise
        return size_of_preset(preset.model)


@lru_cache(maxsize=32)
def size_of_preset(name: str) -> Size:
    """The size of a preset as it is known here."""
    from transformers import AutoConfig

    return measure(AutoConfig.for_model(**PRESETS[name].shape))


def measure(config: Any) -> Size:
    """The size of the model that a config describes, built without any memory for its numbers."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network: Any = AutoModelForCausalLM.from_config(config)
    head = network.get_output_embeddings()
    matrices = {
        name: (module.in_features, module.out_features)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    text = read_text_config(config)
    width, pairs = _read_heads(text)
    return Size(
        matrices=matrices,
        kept=network.num_parameters() - sum(i * o for i, o in matrices.values()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        attention=width * text.num_attention_heads,
        pairs=width * pairs,
        repeated=width * text.num_attention_heads,
        vocabulary=text.vocab_size,
        context=text.max_position_embeddings,
    )


def read_text_config(config: Any) -> Any:
    """What a config says of the part that writes: models that also see keep it inside."""
    return config.get_text_config(decoder=True)


def _read_heads(text: Any) -> tuple[int, int]:
    """The width of a head, and how many heads have keys and values of their own."""
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return width, getattr(text, "num_key_value_heads", None) or text.num_attention_heads


_TALK = 2048  # tokens that a conversation with few-shot examples may come to


def count_rows(model: Any, most: int) -> int:
    """How many conversations a loaded model can answer at once in the free memory, up to `most`."""
    text = read_text_config(model.config)
    width, pairs = _read_heads(text)
    tokens = min(_TALK, getattr(text, "max_position_embeddings", _TALK))
    cache = 2 * text.num_hidden_layers * width * pairs * model.dtype.itemsize * tokens
    logits = 2 * 4 * text.vocab_size
    return max(1, min(most, int(0.8 * free_memory()) // (cache + logits)))


def total_memory() -> int:
    """Bytes of the GPU's memory, or of the machine's where there is none."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    import psutil

    return int(psutil.virtual_memory().total)


def free_memory() -> int:
    """Free bytes where models run: of the GPU if there is one, with what PyTorch holds in store."""
    import torch

    if torch.cuda.is_available():
        stored = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0] + stored)
    import psutil

    return int(psutil.virtual_memory().available)


def release_memory() -> None:
    """Hand back what PyTorch keeps of tensors that are gone."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch found no room for a tensor, on a GPU or in the machine's memory."""
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
