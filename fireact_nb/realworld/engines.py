"""The search tools of the real world, by name.

Knows names alone; each service stands in a room of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .. import artifacts
from ..agent.search import Search
from ..errors import FireActError
from .cache import Engine, Kept
from .paragraphs import Page, Paragraphs
from .serpapi import SerpApi
from .wikipedia import Wikipedia

ENGINES: Mapping[str, Callable[[], Engine]] = {"serpapi": SerpApi, "wikipedia": Wikipedia}


def open_search(name: str, folder: str | Path | None = None, pages: Iterable[Page] = ()) -> Search:
    """The search tool "bm25" over `pages`, or a service: "serpapi", "wikipedia".

    What a service answers is kept in `folder`, by default `searches` beside the learner's runs.
    Raises FireActError for another name, or without the pages or the key that the tool needs.
    """
    if name == "bm25":
        if not (found := list(pages)):
            raise FireActError(
                "There are no paragraphs for BM25 to search. Load a data set that brings its own, "
                "as HotpotQA does, or search by wikipedia."
            )
        return Paragraphs(found)
    if name not in ENGINES:
        raise FireActError(
            f"There is no search tool {name!r}. Choose one of: bm25, {', '.join(ENGINES)}."
        )
    return Kept(ENGINES[name](), folder or artifacts.RUNS / "searches")
