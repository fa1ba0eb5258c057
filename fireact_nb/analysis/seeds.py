"""Intervals over questions and seeds: would it come out so with other questions and another run?

Knows outcomes of one agent, or two, of several seeds; knows no experiment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ..errors import FireActError
from .outcomes import Outcome
from .statistics import LEVEL, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Grid = NDArray[np.float64]  # (seeds, questions)

Value = Callable[[Outcome], float]
SAMPLES = 10_000


def right(outcome: Outcome) -> float:
    """1 for a right answer: its mean is the exact match."""
    return float(outcome.correct)


def rounds(outcome: Outcome) -> float:
    """How many rounds an episode took."""
    return float(outcome.rounds)


def one_round(outcome: Outcome) -> float:
    """1 for an answer given at once."""
    return float(outcome.rounds == 1)


def mean_over_seeds(outcomes: Iterable[Outcome], value: Value = right) -> Interval:
    """The mean of an agent's outcomes, several samples of one seed and question averaged first."""
    return crossed_bootstrap(_cross(_by_cell(outcomes, value)))


def difference_over_seeds(
    before: Iterable[Outcome], after: Iterable[Outcome], value: Value = right
) -> Interval:
    """The mean after minus before, paired by question and by seed.

    A side of one seed stands beside every seed of the other: so is a prompted agent, that nobody
    trained, compared. Raises FireActError where questions or seeds don't pair.
    """
    a, b = _by_cell(before, value), _by_cell(after, value)
    if not a or not b or {q for _, q in a} != {q for _, q in b}:
        raise FireActError(
            f"The two sides do not hold the same questions: {len({q for _, q in a})} and "
            f"{len({q for _, q in b})}. Compare what both were asked, every question of it."
        )
    if _seeds(a) != _seeds(b) and 1 not in (len(_seeds(a)), len(_seeds(b))):
        raise FireActError(
            f"One side has the seeds {_seeds(a)}, the other {_seeds(b)}. Compare the seeds that "
            "both were run with, or the mean of one side with a single run."
        )
    return crossed_bootstrap(_cross(b) - _cross(a))


def spread_of_seeds(outcomes: Iterable[Outcome], value: Value = right) -> float | None:
    """The standard deviation between the seeds' means; None for a single seed."""
    cells = _by_cell(outcomes, value)
    means = [fmean(v for (s, _), v in cells.items() if s == seed) for seed in _seeds(cells)]
    return stdev(means) if len(means) > 1 else None


def crossed_bootstrap(values: Grid, samples: int = SAMPLES, seed: int = 0) -> Interval:
    """The mean of values (seeds, questions); rows and columns are drawn again, each by itself.

    The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics
    1, 386-411), percentiles. With one seed it is the bootstrap over questions. For three seeds
    it is a little wide where seeds differ less than questions make them, and too narrow
    (nine of ten) where they differ by far more: then look at the seeds themselves.
    """
    import numpy as np

    count, n = values.shape
    by_seed = values @ _drawn(n, samples, seed).T / n  # (seeds, samples)
    rng = np.random.default_rng([seed, count])
    weights = rng.multinomial(count, [1 / count] * count, size=samples) / count
    means = (weights.T * by_seed).sum(axis=0)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))


@lru_cache(maxsize=4)  # a study asks for the same some hundred times; 40 MB for 1,000 questions
def _drawn(n: int, samples: int, seed: int) -> NDArray[np.float32]:
    """How often each of n questions is drawn, (samples, n); every row adds up to n."""
    import numpy as np

    rng = np.random.default_rng(seed)
    counts = np.empty((samples, n), dtype=np.float32)
    for row in counts:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return counts


def _by_cell(outcomes: Iterable[Outcome], value: Value) -> dict[tuple[int, str], float]:
    """The mean value by seed and question."""
    found = defaultdict(list)
    for outcome in outcomes:
        found[outcome.seed, outcome.question_id].append(value(outcome))
    return {cell: fmean(values) for cell, values in found.items()}


def _seeds(cells: Iterable[tuple[int, str]]) -> list[int]:
    return sorted({seed for seed, _ in cells})


def _cross(cells: dict[tuple[int, str], float]) -> Grid:
    """Seeds by questions, both in order. Raises FireActError where a seed lacks a question."""
    import numpy as np

    seeds, questions = _seeds(cells), sorted({question for _, question in cells})
    if not cells or len(cells) < len(seeds) * len(questions):
        raise FireActError(
            f"{len(seeds)} seeds on {len(questions)} questions make {len(cells)} cells, not all "
            "that there should be. Every seed must play every question: finish the episodes."
        )
    return np.array([[cells[seed, question] for question in questions] for seed in seeds])
