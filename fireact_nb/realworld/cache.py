"""What search services answered, kept in a folder: asked once, read by every later run.

Knows files and queries; what a service answers, and which words of it are shown, its room knows.
"""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from ..agent.search import NOTHING
from ..agent.secrets import hide
from ..errors import FireActError
from ..files import content_key, read_json, write_file
from .paragraphs import SNIPPET, sentences_of, snippet


class Engine(Protocol):
    """A search service: `find` asks it once, `read` picks the title and the text to show.

    What `find` gives is kept, so it is all that `read` needs and no more; it is JSON. No text means
    that nothing was found.
    """

    name: str
    may_cost: bool

    def find(self, query: str) -> dict[str, Any]: ...

    def read(self, found: dict[str, Any]) -> tuple[str, str]: ...


class Kept:
    """A service as a search tool: one snippet of bounded length, and no query asked twice.

    Answers are whole files in `folder`, named by engine and query, never by the key; any number of
    runs may share it. A query that is under way is waited for, not asked again.
    """

    remote = True

    def __init__(self, engine: Engine, folder: str | Path, limit: int = SNIPPET) -> None:
        self.engine, self.folder, self.limit = engine, Path(folder), limit
        self.name, self.may_cost = engine.name, engine.may_cost
        self._turns: defaultdict[str, Lock] = defaultdict(Lock)

    def search(self, query: str, salt: str = "") -> str:
        query = " ".join(query.split())
        title, said = self.engine.read(self._find(query))
        return snippet(title, sentences_of(said), query, self.limit) if said else NOTHING

    def _find(self, query: str) -> dict[str, Any]:
        path = self.folder / f"{content_key(self.engine.name, query)[:32]}.json"
        with self._turns[path.name]:
            with suppress(FireActError, KeyError):  # a damaged file counts as none
                if path.exists():
                    return read_json(path, dict)["found"]
            found = _hidden(self.engine.find(query))
            record = {"engine": self.engine.name, "query": hide(query), "found": found}
            try:
                write_file(path, json.dumps(record, indent=1) + "\n")
            except FireActError as error:  # it is paid, and a journal may yet hold it
                warnings.warn(f"What {self.name} answered is used, but: {error}", stacklevel=2)
            return found


def _hidden(value: Any) -> Any:
    """What a service said, without the keys that it may have said with it."""
    if isinstance(value, dict):
        return {hide(str(name)): _hidden(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_hidden(part) for part in value]
    return hide(value) if isinstance(value, str) else value
