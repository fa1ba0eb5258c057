"""A recipe keeps its keys in files: what was trained under them is found again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields, replace

import pytest
from books import RECIPE

from fireact_nb.artifacts import shipped
from fireact_nb.files import content_key, read_json
from fireact_nb.learning.masking import Example
from fireact_nb.learning.recipe import PAPER_SOURCES, Recipe, prepare, recipe_for
from fireact_nb.models.presets import DEFAULT, PRESETS


def test_the_keys_of_files_are_those_recipes_were_first_written_with() -> None:
    assert json.dumps(Recipe().to_dict()) == (
        '{"kind": "qlora", "rank": 16, "alpha": 32, "dropout": 0.0, "rate": 0.004, "epochs": 6, '
        '"batch": 8, "mask": "agent", "max_length": 1024, "seed": 0}'
    )


def test_keys_made_before_the_names_changed_are_made_again() -> None:
    """Of the study's fingerprints and of a training's checkpoints."""
    assert content_key(Recipe(kind="lora", rank=8, alpha=16).to_dict()) == (
        "dc674d4d96dca49da6fa9d79a664759b90d07c63fcd13a60133192590d9713c2"
    )
    examples = [Example((1, 2), (-100, 2))]
    assert content_key(Recipe().to_dict(), "base@00000000", examples) == (
        "bf64b338110a3c87c901bdebb7ee12d2316bcef2fcf4e1be483144d2812b165b"
    )


@pytest.mark.parametrize("write", [Recipe.to_dict, asdict])
def test_a_recipe_comes_back_from_either_form(write) -> None:
    kept = json.loads(json.dumps({**write(RECIPE), "base": "base@00000000", "examples": 12}))
    assert Recipe.from_dict(kept) == RECIPE
    assert Recipe.from_dict({"rank": 2}) == Recipe(rank=2)


def test_the_recipe_of_a_shipped_adapter_is_read() -> None:
    kept = read_json(shipped("student_multi_task_cot_0") / "recipe.json", dict)
    recipe = Recipe.from_dict(kept)
    assert recipe.to_dict() == {k: v for k, v in kept.items() if k not in ("base", "examples")}


# -- which recipe for which model -----------------------------------------------------------------


def test_the_tiny_students_rate_reaches_no_real_model(base) -> None:
    assert recipe_for(base) == Recipe()
    for name in PRESETS:
        assert recipe_for(name).learning_rate <= 3e-4
    assert recipe_for("someone/some-model").learning_rate <= 3e-4


def test_a_big_folder_is_no_tiny_one(tmp_path) -> None:
    with (tmp_path / "model-00001-of-00002.safetensors").open("wb") as file:
        os.truncate(file.fileno(), 2**28)
    assert recipe_for(tmp_path) == recipe_for(DEFAULT)


def test_the_papers_students_are_trained_as_far_as_possible_as_there() -> None:
    recipe = recipe_for("meta-llama/Llama-2-7b-chat-hf", seed=3)
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size) == (3e-4, 30, 16)
    assert (recipe.rank, recipe.alpha, recipe.dropout, recipe.max_length) == (8, 16, 0.05, 512)
    assert (recipe.targets, recipe.seed) == (("q_proj", "v_proj"), 3)
    assert {field.name for field in fields(Recipe)} == set(PAPER_SOURCES), "each has a source"
    kept = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(kept) == recipe


def test_named_matrices_alone_get_an_adapter(base) -> None:
    network, _ = prepare(base, replace(RECIPE, kind="lora", targets=("q_proj", "v_proj")))
    names = {n.split(".lora_")[0].rpartition(".")[2] for n, _ in network.named_parameters()
             if "lora_" in n}  # fmt: skip
    assert names == {"q_proj", "v_proj"}
