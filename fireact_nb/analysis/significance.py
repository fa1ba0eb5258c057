"""Is a difference more than chance, among how many, and what difference could be seen at all?

Knows marks of the same questions on two sides; knows no agent. Exact where an exact form is short;
the tests hold all of it against scipy and statsmodels, which nobody needs to have for it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ..errors import FireActError
from .statistics import LEVEL, Interval

POWER = 0.8
SAMPLES = 10_000


@dataclass(frozen=True)
class McNemar:
    """How often one side alone was right, and how probable so uneven a split is by chance."""

    only_a: int
    only_b: int
    p: float

    def __str__(self) -> str:
        return f"{self.only_a} only first, {self.only_b} only second, p = {self.p:.3g}"


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """The exact two-sided test of two agents' marks on the same questions in the same order.

    Where they differ, each is right as often as the other if they are equally good: a fair coin
    (McNemar 1947, Psychometrika 12, 153-157; the binomial form). Raises FireActError where the two
    sides do not pair.
    """
    if len(a) != len(b) or not len(a):
        raise FireActError(
            f"McNemar's test needs the same questions on both sides, but got {len(a)} and "
            f"{len(b)} marks. Join them by question first."
        )
    only_a = sum(bool(x) and not y for x, y in zip(a, b, strict=True))
    only_b = sum(bool(y) and not x for x, y in zip(a, b, strict=True))
    n = only_a + only_b
    # Whole numbers up to the last division, so that nothing is lost for thousands of questions.
    tail = ways = 1
    for k in range(min(only_a, only_b)):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**n))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Each comparison's p-value, adjusted for there being several; names in the order given.

    Holm 1979, Scandinavian Journal of Statistics 6, 65-70: the chance of one false alarm among all
    comparisons stays below the level that an adjusted p-value is compared with.
    """
    adjusted, worst, left = dict(p_values), 0.0, len(p_values)
    for name in sorted(p_values, key=lambda name: p_values[name]):
        worst = max(worst, min(1.0, left * p_values[name]))
        adjusted[name] = worst
        left -= 1
    return adjusted


def clustered_bootstrap(
    values: Sequence[float], clusters: Sequence[Hashable], samples: int = SAMPLES, seed: int = 0
) -> Interval:
    """The mean of values that come in clusters, such as many samples of one question.

    Whole clusters are drawn again, for values of one cluster say nearly the same thing twice
    (Cameron, Gelbach and Miller 2008, Review of Economics and Statistics 90, 414-427); percentiles.
    Clusters may differ in size: each value weighs the same. Raises FireActError where there are
    fewer than two clusters.
    """
    import numpy as np

    names, place = np.unique([str(cluster) for cluster in clusters], return_inverse=True)
    count = len(names)
    if count < 2 or len(values) != len(place):
        raise FireActError(
            f"{len(values)} values in {count} clusters tell nothing of how clusters differ. Give "
            "each value its cluster, such as its question's id, and two clusters or more."
        )
    sizes = np.bincount(place)
    sums = np.bincount(place, weights=np.asarray(values, dtype=float))
    rng = np.random.default_rng(seed)
    block = max(1, 2_000_000 // count)
    means = []
    for done in range(0, samples, block):
        drawn = rng.integers(count, size=(min(block, samples - done), count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def detectable_difference(
    n: int, disagreement: float, power: float = POWER, level: float = LEVEL
) -> float:
    """The smallest difference of two accuracies that n questions, paired, show with this power.

    `disagreement` is the share of questions on which exactly one side is right. Solved for the
    difference d from n = (z_level sqrt(D) + z_power sqrt(D - d^2))^2 / d^2 (Connor 1987,
    Biometrics 43, 207-211). At most `disagreement` itself; 1.0 where even that would be missed.
    """
    if n < 1 or not 0 < disagreement <= 1:
        raise FireActError(
            f"{n} questions with a share of {disagreement} in dispute detect no difference. Give "
            "one question or more, and a share above 0 and up to 1."
        )
    a, b = NormalDist().inv_cdf((1 + level) / 2), NormalDist().inv_cdf(power)
    # (d sqrt(n) - a sqrt(D))^2 = b^2 (D - d^2), a quadratic in d; its larger root has d sqrt(n) on
    # the right side of a sqrt(D).
    root = a * a * n * disagreement - (n + b * b) * disagreement * (a * a - b * b)
    if root < 0:
        return 1.0
    found = (a * math.sqrt(n * disagreement) + math.sqrt(root)) / (n + b * b)
    return found if found <= disagreement else 1.0
