"""The real world's fixtures: a hub on this machine, empty caches, a runs folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import holdings
import pytest
from hub import HubServer

from fireact_nb import artifacts
from fireact_nb.realworld import datasets, release, shelf


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with the four data sets and the authors' release, and nothing fetched yet."""
    held = holdings.hub_datasets() | {("model", "authors/release"): holdings.release()}
    monkeypatch.setattr(artifacts, "RUNS", tmp_path / "runs")
    with HubServer(dict(held)) as server:
        server.adopt(monkeypatch, tmp_path)
        monkeypatch.setenv("FIREACT_RELEASE", f"{server.url}/authors/release/resolve/main")
        forget()
        yield server
    forget()


def forget() -> None:
    """What was read of another test's hub."""
    for cached in (
        datasets._load_split,
        release.released_training,
        shelf._held_out_words,
        shelf._find_released,
        shelf._open_paragraphs,
    ):
        cached.cache_clear()
