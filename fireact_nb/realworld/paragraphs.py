"""Paragraphs to search offline, and a snippet of bounded length from what was found.

Knows titles, sentences and words; the ranking is BM25, as in the tiny world.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..agent.search import NOTHING, Bm25
from ..files import content_key

SNIPPET = 300  # characters, about twice what a web search shows
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])")


@dataclass(frozen=True)
class Page:
    """A paragraph under its title, by sentences, as HotpotQA's `context` holds it."""

    title: str
    sentences: tuple[str, ...]


class Paragraphs:
    """BM25 over paragraphs: title and the best sentences of the best one, "None" if none matches.

    The same page twice counts once. The name holds a hash of all, so that a journal never mixes two
    collections up. Deterministic; `passages` are the snippets that a random answer is drawn from.
    """

    def __init__(self, pages: Iterable[Page], limit: int = SNIPPET) -> None:
        self.pages = list(dict.fromkeys(pages))
        self.limit = limit
        digest = content_key([(page.title, page.sentences) for page in self.pages], limit)[:8]
        self.name = f"bm25 over {len(self.pages):,} paragraphs ({digest})"
        self._index = Bm25([f"{p.title}: {' '.join(p.sentences)}" for p in self.pages])
        self._place = {text: n for n, text in enumerate(self._index.passages)}

    @cached_property
    def passages(self) -> list[str]:
        return [snippet(page.title, page.sentences, "", self.limit) for page in self.pages]

    def search(self, query: str, salt: str = "") -> str:
        found = self._index.search(query)
        if found == NOTHING:
            return NOTHING
        page = self.pages[self._place[found]]
        return snippet(page.title, page.sentences, query, self.limit)


def sentences_of(text: str) -> tuple[str, ...]:
    """A text's sentences, by their ends; an abbreviation may end one too early."""
    return tuple(filter(None, (part.strip() for part in _SENTENCE.split(" ".join(text.split())))))


def snippet(title: str, sentences: Sequence[str], query: str, limit: int = SNIPPET) -> str:
    """Title and those sentences in a row, within `limit` characters, that hold most of the query.

    What the title says already does not count. The first of equals; a single sentence that is too
    long is cut at a word.
    """
    head = f"{title}: " if title else ""
    room, wanted = max(1, limit - len(head)), _words(query) - _words(title)
    parts = [" ".join(part.split()) for part in sentences if part.strip()]
    best, most = "", -1
    for start in range(len(parts)):
        text = _cut(parts[start], room)
        for part in parts[start + 1 :]:
            if len(text) + 1 + len(part) > room:
                break
            text = f"{text} {part}"
        held = len(wanted & _words(text))
        if held > most:
            best, most = text, held
    return (head + best).rstrip(": ") or NOTHING


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _cut(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    return text[: max(1, room - 4)].rsplit(" ", 1)[0] + " ..."
