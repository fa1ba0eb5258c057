"""Models by their names on the hub: one commit for all, named by it, and an adapter's own base."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import holdings
import pytest
from books import BOOKS, RECIPE
from hub import HubServer, Repo

from fireact_nb.errors import FireActError
from fireact_nb.learning.memory import memory_parts
from fireact_nb.learning.recipe import REAL, recipe_for
from fireact_nb.learning.training import fine_tune
from fireact_nb.models import weights
from fireact_nb.models.local import LocalChat
from fireact_nb.models.sizes import _size_of
from fireact_nb.models.weights import describe

NAME = "Qwen/Qwen3-4B-Instruct-2507"
FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A tiny model under a real one's name; asked anew, for a process asks once."""
    repos = {("model", NAME): Repo(holdings.tiny_qwen(), FIRST)}
    with HubServer(repos) as server:
        server.adopt(monkeypatch, tmp_path / "cache")
        weights._find_commit.cache_clear()
        _size_of.cache_clear()
        yield server
    weights._find_commit.cache_clear()
    _size_of.cache_clear()


def test_a_hub_model_trains_and_its_adapter_knows_its_commit(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe_for(NAME) == REAL
    recipe = replace(RECIPE, kind="lora", epochs=1, learning_rate=2e-4)
    parts = memory_parts(NAME, recipe)
    assert {Path(asked.path).name for asked in server.asked} == {"config.json"}, "and no weights"
    assert parts["weights"] < 2**22, "of the model that is there, not of a larger one of its name"
    folder = fine_tune(NAME, BOOKS, tmp_path / "adapter", recipe, progress=False).folder
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == (NAME, FIRST)
    made = json.loads((folder / "recipe.json").read_text("utf-8"))
    assert made["base"] == describe(NAME) == f"{NAME}@aaaaaaaa"
    # Its owner changes a file: the adapter plays on the commit that it was trained on.
    monkeypatch.setattr(weights, "find_revision", lambda _, revision: revision or SECOND)
    weights._find_commit.cache_clear()
    assert describe(NAME) == f"{NAME}@bbbbbbbb"
    chat = LocalChat(NAME, folder)
    assert chat.name.startswith(f"{NAME}@aaaaaaaa+adapter@")
    with pytest.raises(FireActError, match="trained on .*@aaaaaaaa and does not belong"):
        LocalChat(f"{NAME}@{SECOND}", folder)


@pytest.mark.parametrize("kind", [str, Path])
def test_what_the_hub_refuses_is_told_in_its_own_words(
    server: HubServer, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repos["model", NAME] = Repo(holdings.tiny_qwen(), FIRST, gated=True)
    with pytest.raises(FireActError, match="gated.*HF_TOKEN") as caught:
        LocalChat(kind(NAME))
    assert "git checkout" not in str(caught.value)
    with pytest.raises(FireActError, match="no model Qwen/Qwen9"):
        describe(kind("Qwen/Qwen9"))
