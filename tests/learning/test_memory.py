"""What a training takes: each part of a step is counted, and what cannot fit is not begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from books import BOOKS

from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import encode
from fireact_nb.learning.memory import fit_rows, measure_memory, memory_needed, memory_parts
from fireact_nb.learning.recipe import Recipe, prepare, recipe_for
from fireact_nb.learning.training import fine_tune
from fireact_nb.models.weights import load_tokenizer


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


@pytest.mark.parametrize("model", ["student", "student_large"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_memory_is_computed_before_it_is_taken(kind: str, dropout: float, model: str) -> None:
    """Part by part, from the config alone, as a real step then takes it."""
    recipe = Recipe(kind=kind, rank=8, dropout=dropout)  # type: ignore[arg-type]
    folder = DATA / "models" / model
    measured = measure_memory(folder, BOOKS[:1] * 4, recipe)
    length = len(encode(BOOKS[0], load_tokenizer(folder)).input_ids)
    computed = memory_parts(folder, recipe, 4, length)
    for part in ("weights", "gradients", "moments"):
        assert computed[part] == pytest.approx(measured[part], rel=0.03), part
    # What is saved for the backward pass holds the logits once; the peak holds them twice.
    saved = computed["activations"] + computed["logits"] / 2
    assert saved == pytest.approx(measured["activations"], rel=0.1)


def test_the_papers_largest_student_fits_no_t4_and_a_smaller_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a hub: a preset's shape is known."""
    monkeypatch.setattr("fireact_nb.learning.memory.free_memory", lambda: int(14.5 * 2**30))
    for kind in ("full", "lora", "qlora"):
        recipe = recipe_for("codellama/CodeLlama-34b-Instruct-hf", kind=kind)
        with pytest.raises(
            FireActError, match=r"34b.* needs about \d+\.\d GiB .*the model \w+/"
        ) as it:
            fine_tune("codellama/CodeLlama-34b-Instruct-hf", BOOKS, tmp_path / "a", recipe)
        assert ("kind='qlora'" in str(it.value)) == (kind != "qlora")
    assert not (tmp_path / "a").exists()


def test_a_large_vocabulary_counts() -> None:
    """Its logits took eight times what was counted once."""
    small = memory_parts("HuggingFaceTB/SmolLM2-360M-Instruct", Recipe(), 8, 512)
    large = memory_parts("Qwen/Qwen2.5-0.5B-Instruct", Recipe(), 8, 512)
    assert large["logits"] == pytest.approx(small["logits"] * 151_936 / 49_152)
    assert large["logits"] > 4 * 2**30, "more than all the weights"


def test_the_batch_is_what_the_memory_holds(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(kind="lora", batch_size=12)
    loaded = memory_parts(base, recipe)["weights"]

    def fit(rows: float) -> int:
        free = (memory_needed(base, recipe, int(rows), 400) - loaded) * 1.02 / 0.9
        monkeypatch.setattr("fireact_nb.learning.memory.free_memory", lambda: free)
        return fit_rows(base, recipe, 400)

    assert [fit(rows) for rows in (1, 3, 4, 5, 11)] == [1, 3, 4, 4, 6], "divisors of the batch"
    monkeypatch.setattr("fireact_nb.learning.memory.free_memory", lambda: 1000)
    with pytest.raises(FireActError, match="base is loaded, but .*400 tokens. Use"):
        fit_rows(base, recipe, 400)


def test_the_tiny_rate_is_refused_for_a_real_model(tmp_path: Path) -> None:
    for name in ("HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Llama-2-7b-chat-hf"):
        with pytest.raises(FireActError, match="0.004 is for the tiny .*recipe_for"):
            fine_tune(name, BOOKS, tmp_path / "a", Recipe())
