"""What a choice costs beside what it scores: the cheapest-correct oracle, the front, its area.

Knows pools; a cost is any number that a row of the outcomes table can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import FireActError
from .outcomes import Outcome
from .pools import Pool, interval, rates
from .statistics import Interval

Cost = Callable[[Outcome], float]


@dataclass(frozen=True)
class Point:
    """A way to choose: what it scores, and what it costs a question on average."""

    name: str
    cost: float
    score: Interval


def tokens(outcome: Outcome) -> float:
    """What the model read and wrote, over all calls of the episode."""
    return float(outcome.prompt_tokens + outcome.completion_tokens)


def dollars(outcome: Outcome) -> float:
    """What the episode's calls cost."""
    return outcome.usd


def points(pool: Pool, cost: Cost = tokens) -> list[Point]:
    """Each agent of the pool, always asked."""
    shares, costs = rates(pool), rates(pool, cost)
    return [Point(name, float(costs[n].mean()), interval(shares[n])) for n, name in enumerate(pool)]


def cheapest_correct(pool: Pool, cost: Cost = tokens) -> Point:
    """The oracle that asks the cheapest agent of those that will be right; if none, the cheapest.

    Its score is the oracle's; its cost what knowing in advance would save. Raises FireActError for
    several samples, of which it would have to pick one.
    """
    import numpy as np

    shares, costs = rates(pool), rates(pool, cost)
    if not np.isin(shares, (0.0, 1.0)).all():
        raise FireActError(
            "Which agent is the cheapest right one is a matter of a single try. Give one sample of "
            "every seed and question."
        )
    right = shares == 1
    dear = np.where(right, costs, np.inf).min(axis=0)
    paid = np.where(right.any(axis=0), dear, costs.min(axis=0))
    return Point("cheapest right", float(paid.mean()), interval(right.any(axis=0).astype(float)))


def front(every: Sequence[Point]) -> list[Point]:
    """Those that no other beats: each costs more than the one before it, and scores more."""
    found: list[Point] = []
    for point in sorted(every, key=lambda p: (p.cost, -p.score.value)):
        if not found or point.score.value > found[-1].score.value:
            found.append(point)
    return found


def area(every: Sequence[Point]) -> float:
    """The best score to be had, averaged over what may be spent: from the cheapest point's cost to
    the dearest's.

    Between two points of the front one may toss a coin, so the front is taken as its concave hull
    (the AIQ of RouterBench; Hu et al. 2024, arXiv 2403.12031). Between 0 and 1; two sets of
    points are compared fairly only over the same range of costs, so add the same cheapest and
    dearest point to both. With one cost it is the best score.
    """
    if not every:
        raise FireActError("There is no point to draw a front through. Check the pool.")
    hull: list[tuple[float, float]] = []
    for point in front(every):
        x, y = point.cost, point.score.value
        while len(hull) > 1 and _above(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    start, dearest = hull[0][0], max(point.cost for point in every)
    if dearest == start:
        return hull[-1][1]
    hull.append((dearest, hull[-1][1]))  # whoever may spend more need not
    parts = zip(hull, hull[1:], strict=False)
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in parts) / (dearest - start)


def _above(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether the straight line from a to c passes over b, or through it."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
