"""Search tools: a query in, one short snippet out, as FireAct's SerpAPI tool answers.

Knows passages and queries; knows nothing of questions, agents or gold answers.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import FireActError
from .chat import Exhausted

NOTHING = "None"
# What is looked up for a random answer: things of many kinds, and hardly what a question is about.
UNRELATED = (
    "tectonic plates", "sourdough bread", "rules of curling", "photosynthesis", "Bronze Age trade",
    "bicycle gears", "tax on windows", "coral reefs", "shorthand writing", "origami cranes",
    "beekeeping in winter", "volcanic glass", "semaphore flags", "harpsichord tuning", "peat bogs",
    "soap making", "glacier speed", "paper sizes", "chess openings", "migration of eels",
)  # fmt: skip
_WORD = re.compile(r"\w+")
_STOPWORDS = frozenset(
    """
    a an and are at by did do for from in is of on the to was were
    """.split()
)


class Search(Protocol):
    """Anything that answers a query with one line of text.

    `salt` names the occasion (question, seed, round), so that a tool with a random part answers a
    repeated run the same way. A tool that is asked over a network says `remote = True`: then each
    occasion is journalled, tried again where it fails, and given up when it hangs. One that costs
    money says `may_cost = True`, too: then a run asks for a yes.
    """

    name: str

    def search(self, query: str, salt: str = "") -> str: ...


class Unavailable(Exhausted):
    """A search service did not answer this time; it asked to be left alone for `wait` seconds."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Bm25:
    """BM25 (by bm25s) over short passages; the best passage is the snippet, "None" if none matches.

    Ties go to the passage that comes first. Deterministic.
    """

    def __init__(self, passages: Sequence[str], name: str = "bm25") -> None:
        warnings.filterwarnings("ignore", "IProgress not found")  # a notebook without widgets
        import bm25s

        self.name = name
        self.passages = list(passages)
        self._vocabulary: dict[str, int] = {}
        tokens = [
            [self._vocabulary.setdefault(w, len(self._vocabulary)) for w in _words(passage)]
            for passage in self.passages
        ]
        self._index = bm25s.BM25(method="lucene", k1=1.2, b=0.5)
        self._index.index(
            bm25s.tokenization.Tokenized(ids=tokens, vocab=self._vocabulary),
            show_progress=False,
            create_empty_token=False,
        )

    def search(self, query: str, salt: str = "") -> str:
        import numpy as np

        ids = [self._vocabulary[w] for w in dict.fromkeys(_words(query)) if w in self._vocabulary]
        if not ids:
            return NOTHING
        scores = self._index.get_scores_from_ids(np.asarray(ids, dtype=np.int32))
        return self.passages[int(np.argmax(scores))]


def _words(text: str) -> list[str]:
    return [w for w in _WORD.findall(text.lower()) if w not in _STOPWORDS]


@dataclass(frozen=True)
class Condition:
    """What is done to the tool: nothing ("normal"), or it fails with probability `p`.

    Failing, it answers "None" (mode "none") or what some unrelated passage says ("random"); the
    paper's Table 3 has p=0.5. `str` gives the text of the outcomes table, such as "none 0.5".
    Raises FireActError for another mode, or a p that is no probability.
    """

    mode: str = "normal"
    p: float = 0.0

    def __post_init__(self) -> None:
        if self.mode == "normal" and self.p == 0:
            return
        if self.mode not in ("none", "random") or not 0 <= self.p <= 1:
            raise _unknown(f"{self.mode} {self.p:g}")

    def __str__(self) -> str:
        return self.mode if self.mode == "normal" else f"{self.mode} {self.p:g}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition that an outcomes table calls `text`. Raises FireActError for another."""
        mode, _, p = text.partition(" ")
        try:
            return NORMAL if text == "normal" else cls(mode, float(p))
        except ValueError as error:
            raise _unknown(text) from error

    def apply(self, tool: Search, seed: int = 0) -> Search:
        """The tool under this condition; `seed` is of the dice."""
        return tool if self == NORMAL else Unreliable(tool, self, seed)


NORMAL = Condition()


def _unknown(text: str) -> FireActError:
    return FireActError(
        f"There is no condition {text!r} of the search tool. Use 'normal', or 'none' or 'random' "
        "with the probability of a failure, 0 to 1, such as 'none 0.5'."
    )


class Unreliable:
    """A search tool under a condition other than normal.

    The dice depend only on seed, query and salt, so a run can be repeated. An unrelated passage is
    drawn from the tool's `passages`; a tool that cannot show all it has, such as a search engine,
    is asked one of `UNRELATED` instead, and soon its cache holds them all.
    """

    def __init__(self, tool: Search, condition: Condition, seed: int = 0) -> None:
        self.tool, self.condition, self.seed = tool, condition, seed
        self.name = f"{tool.name}, {condition.mode} with p={condition.p:g}"
        self.remote = getattr(tool, "remote", False)
        self.may_cost = getattr(tool, "may_cost", False)

    def search(self, query: str, salt: str = "") -> str:
        dice = random.Random(f"{self.seed}/{salt}/{query}")
        if dice.random() >= self.condition.p:
            return self.tool.search(query, salt)
        if self.condition.mode == "none":
            return NOTHING
        passages = getattr(self.tool, "passages", None)
        return dice.choice(passages) if passages else self.tool.search(dice.choice(UNRELATED), salt)
