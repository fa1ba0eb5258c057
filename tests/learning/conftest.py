"""The shipped tokenizer, and a base model small enough to be trained in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from books import save_base

from fireact_nb.artifacts import DATA


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from fireact_nb.models.weights import load_tokenizer

    return load_tokenizer(DATA / "tokenizer")


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("models") / "base", tokenizer)
