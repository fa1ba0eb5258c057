"""A recipe keeps its keys in files: what was trained under them is found again."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from books import RECIPE

from fireact_nb.artifacts import shipped
from fireact_nb.files import content_key, read_json
from fireact_nb.learning.masking import Example
from fireact_nb.learning.recipe import Recipe


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
