"""Search tools: a query in, one short snippet out, as FireAct's SerpAPI tool answers.

Knows passages and queries; knows nothing of questions, agents or gold answers.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Sequence
from typing import Literal, Protocol

NOTHING = "None"
_WORD = re.compile(r"\w+")
_STOPWORDS = frozenset(
    """
    a an and are at by did do for from in is of on the to was were
    """.split()
)


class Search(Protocol):
    """Anything that answers a query with one line of text.

    `salt` names the occasion (question, seed, round), so that a tool with a random part answers a
    repeated run the same way.
    """

    name: str

    def search(self, query: str, salt: str = "") -> str: ...


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


class Unreliable:
    """Any search tool, failing with probability `p` (paper, Table 3: p=0.5).

    mode "none" answers "None"; mode "random" answers what some unrelated earlier passage says.
    The dice depend only on seed, query and salt, so a run can be repeated.
    """

    def __init__(
        self, tool: Bm25, p: float = 0.5, mode: Literal["none", "random"] = "none", seed: int = 0
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability; {p} is not between 0 and 1")
        if mode not in ("none", "random"):
            raise ValueError(f"mode is 'none' or 'random', not {mode!r}")
        self.tool, self.p, self.mode, self.seed = tool, p, mode, seed
        self.name = f"{tool.name}, {mode} with p={p:g}"

    def search(self, query: str, salt: str = "") -> str:
        dice = random.Random(f"{self.seed}/{salt}/{query}")
        if dice.random() >= self.p:
            return self.tool.search(query, salt)
        return NOTHING if self.mode == "none" else dice.choice(self.tool.passages)
