"""Open models by name: what is known of each before anything is downloaded.

Knows shapes, licences and who released what; knows neither weights nor recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A model of the hub. `shape` is what of its config decides about memory.

    gated: its owner must agree to a request first, and a token goes with the download.
    paper: it is one of the paper's own students.
    """

    model: str
    shape: Mapping[str, Any] = field(repr=False)
    licence: str
    gated: bool = False
    paper: bool = False
    note: str = ""


def _shape(
    kind: str, vocabulary: int, width: int, inner: int, layers: int, heads: int, pairs: int,
    tied: bool = False, context: int = 4096, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A config's decisive lines; `pairs`: heads of keys and values."""
    return {
        "model_type": kind,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "tie_word_embeddings": tied,
        "max_position_embeddings": context,
        **more,
    }


_QWEN = 151_936  # Qwen's vocabulary; the embeddings alone are a quarter of the smallest model
_ALL = (
    Preset(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        _shape("llama", 49_152, 576, 1536, 30, 9, 3, tied=True, context=8192),
        "Apache-2.0",
        note="runs on a CPU",
    ),
    Preset(
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        _shape("llama", 49_152, 960, 2560, 32, 15, 5, tied=True, context=8192),
        "Apache-2.0",
        note="runs on a CPU",
    ),
    Preset(
        "Qwen/Qwen2.5-0.5B-Instruct",
        _shape("qwen2", _QWEN, 896, 4864, 24, 14, 2, tied=True, context=32_768),
        "Apache-2.0",
        note="quick on a T4",
    ),
    Preset(
        "Qwen/Qwen2.5-1.5B-Instruct",
        _shape("qwen2", _QWEN, 1536, 8960, 28, 12, 2, tied=True, context=32_768),
        "Apache-2.0",
        note="quick on a T4",
    ),
    Preset(
        "Qwen/Qwen3-4B-Instruct-2507",
        _shape("qwen3", _QWEN, 2560, 9728, 36, 32, 8, tied=True, context=262_144, head_dim=128),
        "Apache-2.0",
        note="the default: answers without thinking",
    ),
    *(
        Preset(
            f"meta-llama/Llama-2-{size}-chat-hf",
            _shape("llama", 32_000, width, inner, layers, heads, heads),
            "Llama 2 Community License",
            gated=True,
            paper=True,
        )
        for size, width, inner, layers, heads in (
            ("7b", 4096, 11_008, 32, 32),
            ("13b", 5120, 13_824, 40, 40),
        )
    ),
    *(
        Preset(
            f"codellama/CodeLlama-{size}-Instruct-hf",
            _shape("llama", words, width, inner, layers, heads, pairs, context=16_384),
            "Llama 2 Community License",
            paper=True,
        )
        for size, words, width, inner, layers, heads, pairs in (
            ("7b", 32_016, 4096, 11_008, 32, 32, 32),
            ("13b", 32_016, 5120, 13_824, 40, 40, 40),
            ("34b", 32_000, 8192, 22_016, 48, 64, 8),
        )
    ),
)
PRESETS: Mapping[str, Preset] = {preset.model: preset for preset in _ALL}
DEFAULT = "Qwen/Qwen3-4B-Instruct-2507"


def find_preset(model: str) -> Preset | None:
    """The preset of a model's hub name, with or without a "@revision"; None for any other."""
    return PRESETS.get(str(model).partition("@")[0])
