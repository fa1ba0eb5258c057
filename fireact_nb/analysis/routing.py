"""Routers judged without leak: fitted on train, chosen on dev, tested once.

Knows pools, cases and routers. A table of a single split is judged by nested cross-validation:
within four fifths of the questions a router is fitted and chosen, on the last fifth it is tested.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FireActError
from .costs import Cost, tokens
from .evidence import Case, Evidence, see
from .pools import Pool, interval, oracle_grid, questions_of, rates
from .routers import Nearest, Router, Signals, Words
from .statistics import LEVEL, Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .pools import Grid, Rates
    from .routers import Places

LEAST_GAP = 0.05  # a share of a smaller gap would be mostly noise
FOLDS = 5
SAMPLES = 10_000
_SPLITS = ("train", "dev", "test")

Families = Mapping[str, Sequence[Router]]  # dev picks one of each


@dataclass(frozen=True)
class NoShare:
    """Why no share of the gap is told."""

    gap: float

    def __str__(self) -> str:
        return f"no share: the gap to the oracle is {100 * self.gap:.1f} points, under 5"


@dataclass(frozen=True)
class Routed:
    """A router on the tested questions.

    `chosen` maps question to agent, `picked` is the router that dev preferred in each fold (one, if
    there are splits). `cost` counts all agents that ran for the choice. `entropy` is that of the
    choices, in bits: 0 where always the same agent is asked. `gain` is the score minus that of the
    best fixed agent, `gap` the oracle's minus the same, `closed` the one as a share of the other.
    Intervals are over questions and, if there are several, seeds.
    """

    name: str
    how: str
    picked: tuple[Router, ...]
    chosen: Mapping[str, str]
    score: Interval
    cost: float
    entropy: float
    gain: Interval
    gap: Interval
    closed: Interval | NoShare


@dataclass(frozen=True)
class _Fold:
    """Places of questions: where candidates are fitted and compared, and what is tested."""

    rounds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    fitted: NDArray[np.int64]  # what the preferred one is fitted on
    seen: NDArray[np.int64]  # what the best fixed agent is chosen on
    tested: NDArray[np.int64]


def families(signals: Sequence[str] = (), pays: tuple[str, ...] = ()) -> dict[str, list[Router]]:
    """The routers that learn, with the settings among which dev decides.

    `signals` are names that the cases have; `pays` is the agent whose samples most of them cost.
    """
    found: dict[str, list[Router]] = {
        "nearest questions": [Nearest(k) for k in (5, 15, 45)],
        "the question's words": [Words(c) for c in (0.1, 1.0, 10.0)],
    }
    if own := tuple(name for name in signals if name != "popularity"):
        found["the student's own signals"] = [Signals(own, c, pays) for c in (0.1, 1.0, 10.0)]
    if "popularity" in signals:
        found["popularity"] = [Signals(("popularity",), c) for c in (0.1, 1.0, 10.0)]
    return found


def route(
    pool: Pool, evidence: Evidence, routers: Families, cost: Cost = tokens, seed: int = 0
) -> list[Routed]:
    """Each family's preferred router, tested once; `seed` draws folds where there are no splits.

    The pool holds the rows of all splits, or of one. Raises FireActError where the evidence follows
    from the tested marks, where a text of test stands in train or dev as well, and for a table with
    some splits but not all three.
    """
    import numpy as np

    questions = questions_of(pool)
    split_of = {o.question_id: o.split for rows in pool.values() for o in rows}
    splits = {split_of[q] for q in questions}
    whole = splits == set(_SPLITS)
    cases_by_id = see(evidence, pool, "test" if whole else None)
    cases = [cases_by_id[q] for q in questions]
    if whole:
        folds, how = _split(questions, split_of, cases), "fitted on train, chosen on dev"
    elif len(splits) == 1:
        folds, how = _folds(cases, seed), "nested cross-validation"
    else:
        raise FireActError(
            f"The rows are of {', '.join(sorted(map(repr, splits)))}: routers need train, dev and "
            "test, or one split to be divided by cross-validation. Add what is missing, or keep "
            "one."
        )
    shares = rates(pool)
    tested = np.concatenate([fold.tested for fold in folds])
    fixed = np.concatenate([_fixed(shares, fold) for fold in folds])
    costs = rates(pool, cost)
    found = []
    for name, candidates in routers.items():
        preferred = [_prefer(candidates, cases, shares, fold, list(pool)) for fold in folds]
        places = np.concatenate([chosen for _, chosen in preferred])
        judged = _judge(shares, tested, places, fixed)
        agents = list(pool)
        found.append(
            Routed(
                name,
                how,
                tuple(router for router, _ in preferred),
                {questions[q]: agents[a] for q, a in zip(tested, places, strict=True)},
                cost=_paid(costs, folds, preferred, agents),
                entropy=entropy(places.tolist()),
                **judged,
            )
        )
    return found


def entropy(choices: Sequence[object]) -> float:
    """Of a list of choices, in bits."""
    count = len(choices)
    parts = [n / count for n in Counter(choices).values()]
    return max(0.0, -sum(p * math.log2(p) for p in parts))  # not -0.0


def _split(
    questions: Sequence[str], split_of: Mapping[str, str], cases: Sequence[Case]
) -> list[_Fold]:
    import numpy as np

    at = {s: np.array([n for n, q in enumerate(questions) if split_of[q] == s]) for s in _SPLITS}
    known = {cases[n].text for s in ("train", "dev") for n in at[s]}
    twice = [questions[n] for n in at["test"] if cases[n].text in known]
    if twice:
        raise FireActError(
            f"{len(twice)} questions of test stand word for word in train or dev (first: "
            f"{twice[0]}), so a router would know their marks. Take them out of one side."
        )
    return [_Fold(((at["train"], at["dev"]),), at["train"], at["dev"], at["test"])]


def _folds(cases: Sequence[Case], seed: int) -> list[_Fold]:
    """Nested folds; questions of one text stay together."""
    import numpy as np

    texts = sorted({case.text for case in cases})
    if len(texts) < FOLDS * FOLDS:
        raise FireActError(
            f"{len(texts)} different questions are too few to be divided twice. Give "
            f"{FOLDS * FOLDS} or more."
        )
    order = np.random.default_rng(seed).permutation(len(texts))
    fold_of = {texts[place]: n for n, place in enumerate(order)}
    number = np.array([fold_of[case.text] for case in cases])
    folds = []
    for outer in range(FOLDS):
        rest = np.flatnonzero(number % FOLDS != outer)
        inner = number[rest] // FOLDS % (FOLDS - 1)  # four parts of what is not tested
        rounds = tuple((rest[inner != n], rest[inner == n]) for n in range(FOLDS - 1))
        folds.append(_Fold(rounds, rest, rest, np.flatnonzero(number % FOLDS == outer)))
    return folds


def _fixed(shares: Rates, fold: _Fold) -> Places:
    """The best fixed agent of a fold, for each of its tested questions."""
    import numpy as np

    best = shares[:, :, fold.seen].mean(axis=(1, 2)).argmax()
    return np.full(len(fold.tested), best)


def _prefer(
    candidates: Sequence[Router],
    cases: Sequence[Case],
    shares: Rates,
    fold: _Fold,
    agents: Sequence[str],
) -> tuple[Router, Places]:
    """The candidate that chooses best on what it was not fitted on, and its choices on test."""
    means = shares.mean(axis=1).T  # (questions, agents)

    def choose(router: Router, fitted: Places, asked: Places) -> Places:
        rule = router.fit([cases[n] for n in fitted], means[fitted], agents)
        return rule([cases[n] for n in asked])

    def score(router: Router) -> float:
        return sum(
            means[asked, choose(router, fitted, asked)].sum() for fitted, asked in fold.rounds
        )

    best = max(candidates, key=score) if len(candidates) > 1 else candidates[0]
    return best, choose(best, fold.fitted, fold.tested)


def _judge(shares: Rates, tested: Places, chosen: Places, fixed: Places) -> dict:
    """What `Routed` says of the choices' marks."""
    seen = shares[:, :, tested]  # (agents, seeds, tested)
    at = range(len(tested))
    mine, same, best = seen[chosen, :, at].T, seen[fixed, :, at].T, oracle_grid(seen)
    gap = interval(best - same)
    closed = share_closed(mine - same, best - same)
    return {"score": interval(mine), "gain": interval(mine - same), "gap": gap, "closed": closed}


def share_closed(gain: Grid, gap: Grid, seed: int = 0) -> Interval | NoShare:
    """The mean gain as a share of the mean gap, both (seeds, questions); percentile bootstrap.

    Questions and seeds are drawn again for both at once. Where the gap is under five points there
    is no share.
    """
    import numpy as np

    if gap.mean() < LEAST_GAP:
        return NoShare(float(gap.mean()))
    count, n = gap.shape
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(SAMPLES // 1000):
        times = rng.multinomial(n, [1 / n] * n, size=1000)  # how often each question is drawn
        seeds = rng.multinomial(count, [1 / count] * count, size=1000)
        top, bottom = (((times @ grid.T) * seeds).sum(axis=1) for grid in (gain, gap))
        # A gap drawn as nothing makes the share as large as can be, on the side of its gain.
        shares.append(top / np.where(bottom > 0, bottom, 1e-12))
    low, high = np.quantile(np.concatenate(shares), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(gain.mean() / gap.mean()), float(low), float(high))


def _paid(
    costs: Rates,
    folds: Sequence[_Fold],
    preferred: Sequence[tuple[Router, Places]],
    agents: Sequence[str],
) -> float:
    """The mean cost of a tested question: who was chosen, and who ran for the choice."""
    by_agent = costs.mean(axis=1)  # (agents, questions)
    total = 0.0
    for fold, (router, chosen) in zip(folds, preferred, strict=True):
        always = [agents.index(name) for name in router.pays if name in agents]
        for question, place in zip(fold.tested, chosen, strict=True):
            total += sum(by_agent[a, question] for a in {*always, int(place)})
    return float(total / sum(len(fold.tested) for fold in folds))
