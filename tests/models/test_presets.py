"""Presets: what stands there before a download is what the model has."""

from __future__ import annotations

import pytest

from fireact_nb.models.presets import DEFAULT, PRESETS, find_preset

# Weights in billions as their owners' pages state them.
STATED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 0.135,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 0.362,
    "Qwen/Qwen2.5-0.5B-Instruct": 0.49,
    "Qwen/Qwen2.5-1.5B-Instruct": 1.54,
    "Qwen/Qwen3-4B-Instruct-2507": 4.0,
    "meta-llama/Llama-2-7b-chat-hf": 6.74,
    "meta-llama/Llama-2-13b-chat-hf": 13.0,
    "codellama/CodeLlama-7b-Instruct-hf": 6.74,
    "codellama/CodeLlama-13b-Instruct-hf": 13.0,
    "codellama/CodeLlama-34b-Instruct-hf": 33.7,
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_shape_makes_the_model_of_the_stated_size(name: str) -> None:
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**PRESETS[name].shape)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() / 1e9 == pytest.approx(STATED[name], rel=0.015)


def test_presets_are_found_by_their_hub_name_alone() -> None:
    assert not PRESETS[DEFAULT].gated and not PRESETS[DEFAULT].paper
    assert find_preset(DEFAULT) == find_preset(f"{DEFAULT}@0123abc") == PRESETS[DEFAULT]
    assert find_preset("data/models/student") is None
    assert [p.model for p in PRESETS.values() if not p.paper and p.gated] == []
