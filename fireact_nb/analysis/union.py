"""What each agent of a pool adds to their union: its growth, fair shares, who alone is right.

Knows pools alone. All of it is exact for any number of agents: a union of independent tries is a
product, so no subset has to be listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from .pools import Pool, interval, nodes, oracle_grid, questions_of, rates
from .statistics import Interval

if TYPE_CHECKING:
    from .pools import Grid, Rates


@dataclass(frozen=True)
class Growth:
    """One step of the oracle's growth: who was added, and what the oracle over all so far reaches.

    `of_size` is the mean over every choice of as many agents from the pool. It picks nobody, so it
    is the one to stand beside pass@k; `oracle` follows the luckiest order.
    """

    added: str
    oracle: Interval
    of_size: Interval


@dataclass(frozen=True)
class Alone:
    """The share of questions that one agent alone gets right, and which they are.

    A question is named where the agent was right at all and no other ever.
    """

    share: Interval
    questions: tuple[str, ...]


def oracle_growth(pool: Pool) -> tuple[Growth, ...]:
    """The oracle as agents join it: first the best one, then always whoever adds most.

    Who adds most is read off the same questions, so the middle of the curve is a little optimistic.
    """
    shares, names = rates(pool), list(pool)
    joined: list[int] = []
    steps = []
    while len(joined) < len(names):
        left = [n for n in range(len(names)) if n not in joined]
        best = max(left, key=lambda n: oracle_grid(shares[[*joined, n]]).mean())
        joined.append(best)
        steps.append(
            Growth(
                names[best],
                interval(oracle_grid(shares[joined])),
                interval(1 - _mean_product(1 - shares, len(joined))),
            )
        )
    return tuple(steps)


def _mean_product(values: Rates, k: int) -> Grid:
    """The mean over all sets of k agents of the product of their values, (seeds, questions)."""
    import numpy as np

    # Elementary symmetric polynomials, an agent at a time: e_k(with v) = e_k + v e_(k-1).
    sums = np.zeros((k + 1, *values.shape[1:]))
    sums[0] = 1
    for value in values:
        sums[1:] += value * sums[:-1]
    return sums[k] / comb(len(values), k)


def shapley(pool: Pool) -> dict[str, Interval]:
    """Each agent's fair share of the oracle; the values add up to it.

    What an agent adds to the union when it joins, averaged over all orders of joining (Shapley
    1953, "A value for n-person games"). Exact by Owen's integral (1972, Management Science 18,
    64-79): agent i with chance p adds p times the product of (1 - t p_j) over all others, t from 0
    to 1, a polynomial in t.
    """
    import numpy as np

    shares = rates(pool)
    places, weights = nodes(len(shares))
    found = {}
    for mine, name in enumerate(pool):
        others = np.delete(shares, mine, axis=0)
        missed = np.stack([(1 - t * others).prod(axis=0) for t in places])
        found[name] = interval(shares[mine] * np.tensordot(weights, missed, axes=1))
    return found


def alone(pool: Pool) -> dict[str, Alone]:
    """For each agent the questions that it alone gets right: what is lost without it."""
    import numpy as np

    shares, questions = rates(pool), questions_of(pool)
    found = {}
    for mine, name in enumerate(pool):
        others = np.delete(shares, mine, axis=0)
        only = shares[mine] * (1 - others).prod(axis=0)
        ever = (shares[mine].max(axis=0) > 0) & ~(others > 0).any(axis=(0, 1))
        named = tuple(q for q, yes in zip(questions, ever, strict=True) if yes)
        found[name] = Alone(interval(only), named)
    return found


def unsolved(pool: Pool) -> tuple[str, ...]:
    """The questions that no agent ever got right."""
    best = list(rates(pool).max(axis=(0, 1)))
    return tuple(q for q, share in zip(questions_of(pool), best, strict=True) if share == 0)
