"""A pool of agents as an array: who was right, by agent, seed and question.

A pool maps the name of an agent (or of a method) to its outcomes on the same questions, of one seed
or several, one sample or more. Samples of one seed and question are averaged; an agent of one seed
stands beside every seed of the others. Knows outcomes tables alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from ..errors import FireActError
from .outcomes import Outcome
from .seeds import crossed_bootstrap, right
from .statistics import Interval, paired_bootstrap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Grid = NDArray[np.float64]  # (seeds, questions)
    Rates = NDArray[np.float64]  # (agents, seeds, questions)

Pool = Mapping[str, Sequence[Outcome]]
Cells = dict[tuple[int, str], list[float]]


def rates(pool: Pool, value: Callable[[Outcome], float] = right) -> Rates:
    """The mean value by agent, seed and question, in the pool's order and the questions' by name.

    Raises FireActError where the pool is empty, or its agents' questions or seeds do not pair.
    """
    import numpy as np

    cells = {name: cells_of(name, outcomes, value) for name, outcomes in pool.items()}
    if not cells or not all(cells.values()):
        raise FireActError("There is nobody to choose from: the pool is empty. Check its outcomes.")
    seeds = {name: sorted({seed for seed, _ in found}) for name, found in cells.items()}
    most = max(seeds.values(), key=len)
    first = {question for _, question in next(iter(cells.values()))}
    for name, found in cells.items():
        own = {question for _, question in found}
        if own != first:
            raise FireActError(
                f"{name} has {len(own)} questions and another agent {len(first)}, not the same "
                "ones. Every agent of the pool must have played the same questions."
            )
        if len(found) != len(own) * len(seeds[name]):
            raise FireActError(
                f"{name} has {len(seeds[name])} seeds, and some lack questions that others have. "
                "Finish the missing episodes, or leave that seed out."
            )
        if seeds[name] != most and len(seeds[name]) > 1:
            raise FireActError(
                f"{name} has the seeds {seeds[name]} and another agent {most}. Give the seeds that "
                "all agents have, or one seed of each."
            )
    order = sorted(first)
    return np.array(
        [
            [
                [fmean(found[s, q]) for q in order]
                for s in (most if len(mine) > 1 else mine * len(most))
            ]
            for found, mine in zip(cells.values(), seeds.values(), strict=True)
        ]
    )


def questions_of(pool: Pool) -> list[str]:
    """The pool's questions in the order of `rates`."""
    return sorted({o.question_id for o in next(iter(pool.values()))})


def oracle_grid(shares: Rates) -> Grid:
    """The oracle by seed and question, (agents, seeds, questions) -> (seeds, questions)."""
    return 1 - (1 - shares).prod(axis=0)


def interval(grid: Grid) -> Interval:
    """The mean of (seeds, questions), drawn again over questions and, if several, over seeds."""
    if len(grid) == 1:
        return paired_bootstrap([0.0] * grid.shape[1], list(grid[0]))
    return crossed_bootstrap(grid)


def cells_of(name: str, outcomes: Iterable[Outcome], value: Callable[[Outcome], float]) -> Cells:
    """The values of an agent's samples by seed and question; refuses what is there twice."""
    found: Cells = defaultdict(list)
    seen = set()
    for o in outcomes:
        found[o.seed, o.question_id].append(float(value(o)))
        seen.add((o.seed, o.sample, o.question_id))
    rows = sum(map(len, found.values()))
    if len(seen) != rows:
        raise FireActError(
            f"{name} has {rows} outcomes for {len(seen)} questions, seeds and samples: something "
            "is there twice. Give one task and one condition, and each agent under its own name."
        )
    return found


def count_samples(pool: Pool) -> int:
    """How many samples every agent has of every question, 0 where they differ."""
    counts = {
        len(marks)
        for name, outcomes in pool.items()
        for marks in cells_of(name, outcomes, right).values()
    }
    return counts.pop() if len(counts) == 1 else 0


def nodes(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where to evaluate a polynomial of this degree, and with which weights, to integrate it
    exactly from 0 to 1 (Gauss-Legendre)."""
    import numpy as np

    places, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    return (places + 1) / 2, weights / 2
