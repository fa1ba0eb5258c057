"""Rules that pick an agent for a question: by similar questions, its words, the agent's doubt.

A router is fitted on cases and shares of right answers, (questions, agents), and then sees cases
alone. Knows no outcomes; how a router is judged stands in `routing`. scikit-learn is imported late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import FireActError
from .evidence import Case

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Shares = NDArray[np.float64]  # (questions, agents)
    Places = NDArray[np.int64]  # (questions,), places of agents in the pool

Choose = Callable[[Sequence[Case]], "Places"]


class Router(Protocol):
    """`pays` names the agents that run for every question, chosen or not."""

    @property
    def pays(self) -> tuple[str, ...]: ...

    def fit(self, cases: Sequence[Case], shares: Shares, agents: Sequence[str]) -> Choose: ...


@dataclass(frozen=True)
class Nearest:
    """Whoever was right most often on the `k` most similar training questions, by TF-IDF."""

    k: int = 15
    pays: tuple[str, ...] = ()

    def fit(self, cases: Sequence[Case], shares: Shares, agents: Sequence[str]) -> Choose:
        vectorize = _vectorizer()
        neighbors = _sklearn("neighbors").NearestNeighbors(
            n_neighbors=min(self.k, len(cases)), metric="cosine"
        )
        neighbors.fit(vectorize.fit_transform([case.text for case in cases]))

        def choose(asked: Sequence[Case]) -> Places:
            near = neighbors.kneighbors(
                vectorize.transform([case.text for case in asked]), return_distance=False
            )
            return _best(shares[near].mean(axis=1), shares)

        return choose


@dataclass(frozen=True)
class Words:
    """Logistic regression on the question's words (TF-IDF): is this agent right? One an agent."""

    strength: float = 1.0  # scikit-learn's C: larger trusts the training questions more
    pays: tuple[str, ...] = ()

    def fit(self, cases: Sequence[Case], shares: Shares, agents: Sequence[str]) -> Choose:
        vectorize = _vectorizer()
        models = _regressions(
            vectorize.fit_transform([case.text for case in cases]), shares, self.strength
        )

        def choose(asked: Sequence[Case]) -> Places:
            return _best(_predict(models, vectorize.transform([c.text for c in asked])), shares)

        return choose


@dataclass(frozen=True)
class Signals:
    """Logistic regression on named signals; a missing one counts as its mean, and is told apart.

    `pays` names the agent whose samples the signals were read from.
    """

    names: tuple[str, ...]
    strength: float = 1.0
    pays: tuple[str, ...] = ()

    def fit(self, cases: Sequence[Case], shares: Shares, agents: Sequence[str]) -> Choose:
        import numpy as np

        def table(asked: Sequence[Case]) -> NDArray[np.float64]:
            return np.array([[c.signals.get(n, np.nan) for n in self.names] for c in asked])

        seen = table(cases)
        known = np.isfinite(seen)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, seen, 0).sum(axis=0) / count
        spread = np.sqrt(np.where(known, (seen - mean) ** 2, 0).sum(axis=0) / count)
        spread[spread == 0] = 1

        def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
            gone = ~np.isfinite(values)
            return np.hstack([np.where(gone, 0, (values - mean) / spread), gone])

        models = _regressions(scaled(seen), shares, self.strength)
        return lambda asked: _best(_predict(models, scaled(table(asked))), shares)


@dataclass(frozen=True)
class BackOff:
    """Ask `first`; where `signal` is below the threshold, ask `then`. Nothing is learnt.

    ReAct's own two rules (Yao et al. 2023, arXiv 2210.03629, section 3.2): CoT-SC, and ReAct where
    fewer than half of the samples give one answer; ReAct, and CoT-SC where it came to no answer.
    A question without the signal stays with `first`.
    """

    first: str
    then: str
    signal: str
    below: float = 0.5

    @property
    def pays(self) -> tuple[str, ...]:
        return (self.first,)

    def fit(self, cases: Sequence[Case], shares: Shares, agents: Sequence[str]) -> Choose:
        import numpy as np

        for name in (self.first, self.then):
            if name not in agents:
                raise FireActError(
                    f"There is no agent {name!r} to back off from or to. The agents are: "
                    f"{'; '.join(agents)}."
                )
        first, then = agents.index(self.first), agents.index(self.then)

        def choose(asked: Sequence[Case]) -> Places:
            signals = [case.signals.get(self.signal, self.below) for case in asked]
            return np.where(np.array(signals) < self.below, then, first)

        return choose


def _best(scores: Shares, seen: Shares) -> Places:
    """The place of the highest score; of equals, whoever was right more often in training."""
    import numpy as np

    return np.argmax(scores + 1e-9 * seen.mean(axis=0), axis=1)


def _regressions(features: Any, shares: Shares, strength: float) -> list[Any]:
    """For each agent a fitted model, or its share where that is the same everywhere."""
    import numpy as np

    models: list[Any] = []
    for share in shares.T:
        if share.min() == share.max() and share.min() in (0, 1):
            models.append(float(share[0]))
            continue
        # A share of right answers over seeds and samples: so much of the question counts as right.
        rows = np.arange(len(share))
        twice = features[np.concatenate([rows, rows])]
        marks = np.repeat([1, 0], len(share))
        weights = np.concatenate([share, 1 - share])
        model = _sklearn("linear_model").LogisticRegression(C=strength, max_iter=1000)
        models.append(model.fit(twice[weights > 0], marks[weights > 0], weights[weights > 0]))
    return models


def _predict(models: Sequence[Any], features: Any) -> Shares:
    import numpy as np

    count = features.shape[0]
    return np.column_stack(
        [
            np.full(count, m) if isinstance(m, float) else m.predict_proba(features)[:, 1]
            for m in models
        ]
    )


def _vectorizer() -> Any:
    text = _sklearn("feature_extraction.text")
    return text.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")


def _sklearn(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"sklearn.{part}")
    except ImportError as error:
        raise FireActError(
            f"Routers need the package scikit-learn, which cannot be imported ({error}). Run "
            "'pip install scikit-learn'; everything else works without it."
        ) from error
