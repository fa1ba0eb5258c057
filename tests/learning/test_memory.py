"""What a training takes: each part of a step is counted, and what cannot fit is not begun."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from books import BOOKS, RECIPE

from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import encode
from fireact_nb.learning.memory import measure_memory
from fireact_nb.learning.recipe import Recipe, prepare
from fireact_nb.learning.training import fine_tune


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_memory_is_what_the_parts_of_a_step_take(kind: str) -> None:
    """Of the shipped student: float32 weights, a gradient and two moments a trained weight."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("counts float32, which is the CPU's")
    recipe = Recipe(kind=kind, rank=8)  # type: ignore[arg-type]
    sizes = measure_memory(DATA / "models" / "student", BOOKS[:1], recipe)
    everything, matrices, adapter = 787_680, 663_552, 87_552
    trained = everything if kind == "full" else adapter
    assert sizes["gradients"] == 4 * trained
    assert sizes["moments"] == 8 * trained
    if kind == "qlora":
        packed = 4 * (everything - matrices + adapter) + matrices // 2 + matrices // 64
        assert packed < sizes["weights"] < packed + 50_000, "more than tables of levels"
    else:
        assert sizes["weights"] == 4 * (everything + (adapter if kind == "lora" else 0))
    tokenizer = prepare(DATA / "models" / "student", recipe)[1]
    tokens = len(encode(BOOKS[0], tokenizer).input_ids)
    lists = 6 * ((10 if kind == "full" else 8) * 96 + 4 * 256) + 1280  # Llama, a token
    assert sizes["activations"] == pytest.approx(4 * tokens * lists, rel=0.05)
    twice = measure_memory(DATA / "models" / "student", [BOOKS[0]] * 2, recipe)
    assert twice["activations"] == pytest.approx(2 * sizes["activations"], rel=0.1)
    assert {**twice, "activations": 0} == {**sizes, "activations": 0}


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_too_little_memory_is_told_before_the_start(kind: str, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with (tmp_path / "base" / "model.safetensors").open("wb") as weights:
        os.truncate(weights.fileno(), 2**42)  # 4 TiB, and nothing on the disk
    recipe = replace(RECIPE, kind=kind)
    with pytest.raises(FireActError, match=rf"base by {kind} needs .* are free.*kind='qlora'"):
        fine_tune(tmp_path / "base", BOOKS, tmp_path / "a", recipe)
    assert not (tmp_path / "a").exists()
