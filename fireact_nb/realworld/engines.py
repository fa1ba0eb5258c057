"""The search services there are, by name.

Knows names alone; each service stands in a room of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .. import artifacts
from ..agent.search import Search
from ..errors import FireActError
from .cache import Engine, Kept
from .serpapi import SerpApi
from .wikipedia import Wikipedia

ENGINES: Mapping[str, Callable[[], Engine]] = {"serpapi": SerpApi, "wikipedia": Wikipedia}


def open_search(name: str, folder: str | Path | None = None) -> Search:
    """The search tool over a service ("serpapi", "wikipedia"), whose answers are kept in `folder`.

    The folder is by default `searches` beside the learner's runs. Raises FireActError for another
    name, or without the key that a service needs.
    """
    if name not in ENGINES:
        raise FireActError(
            f"There is no search service {name!r}. Choose one of: {', '.join(ENGINES)}."
        )
    return Kept(ENGINES[name](), folder or artifacts.RUNS / "searches")
