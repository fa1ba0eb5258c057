"""Which agent to ask: random, best fixed and oracle choice over a pool, and the pass@k control.

A pool maps the name of an agent (or of a method) to its outcomes on the same questions. Knows
outcomes tables alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import comb
from statistics import fmean

from ..errors import FireActError
from .outcomes import Outcome
from .statistics import Interval, accuracy, paired_bootstrap

Pool = Mapping[str, Sequence[Outcome]]


def random_choice(pool: Pool) -> Interval:
    """Expected accuracy of asking one agent of the pool at random for every question."""
    marks = _marks(pool)
    return _mean([fmean(row) for row in zip(*marks.values(), strict=True)])


def best_fixed(pool: Pool) -> tuple[str, Interval]:
    """The agent that is right most often, asked for every question.

    Chosen and measured on the same outcomes this is a little optimistic; choose on dev to be fair.
    """
    marks = _marks(pool)
    best = max(marks, key=lambda name: fmean(marks[name]))
    return best, accuracy(pool[best])


def oracle_choice(pool: Pool) -> Interval:
    """Share of questions that at least one agent of the pool answers right."""
    marks = _marks(pool)
    return _mean([max(row) for row in zip(*marks.values(), strict=True)])


def pass_at_k(outcomes: Iterable[Outcome], k: int) -> Interval:
    """Chance that at least one of k samples of one agent is right, without bias from n > k.

    1 - C(n - c, k) / C(n, k) for c right of n samples (Chen et al. 2021, arXiv 2107.03374). This is
    the control beside an oracle over k methods: how much of it is only more tries.
    """
    return _mean(list(_pass_rates(outcomes, k).values()))


def oracle_beyond_samples(pool: Pool, samples: Iterable[Outcome]) -> Interval:
    """Oracle over the pool's k agents minus pass@k of one agent's samples, paired by question.

    Above zero: the agents complement each other by more than repeated tries do.
    """
    marks = _marks(pool)
    rates = _pass_rates(samples, len(pool))
    questions = sorted(_questions(next(iter(pool.values()))))
    if sorted(rates) != questions:
        raise FireActError(
            f"The samples hold {len(rates)} questions and the pool {len(questions)}, not the same "
            "ones. Sample the questions that the pool played."
        )
    oracle = [float(max(row)) for row in zip(*marks.values(), strict=True)]
    return paired_bootstrap([rates[q] for q in questions], oracle)


def _pass_rates(outcomes: Iterable[Outcome], k: int) -> dict[str, float]:
    tries: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        tries[outcome.question_id].append(outcome.correct)
    if k < 1:
        raise FireActError(f"pass@{k} means nothing: k is how many tries are looked at, 1 or more.")
    few = [question for question, marks in tries.items() if len(marks) < k]
    if few or not tries:
        raise FireActError(
            f"pass@{k} needs at least {k} samples of every question; {len(few)} have fewer "
            f"(first: {few[:1]}). Sample the agent more often, or choose a smaller k."
        )
    return {
        question: 1 - comb(len(marks) - sum(marks), k) / comb(len(marks), k)
        for question, marks in tries.items()
    }


def _questions(outcomes: Sequence[Outcome]) -> dict[str, bool]:
    """Right or wrong by question; one row each."""
    marks = {o.question_id: o.correct for o in outcomes}
    if len(marks) != len(outcomes):
        raise FireActError(
            f"{len(outcomes)} outcomes for {len(marks)} questions: an agent of a pool answers each "
            "question once. Give one seed, sample and condition of it."
        )
    return marks


def _marks(pool: Pool) -> dict[str, list[bool]]:
    """Right or wrong for each agent, questions in one order."""
    by_agent = {name: _questions(outcomes) for name, outcomes in pool.items()}
    if not by_agent or not all(by_agent.values()):
        raise FireActError("There is nobody to choose from: the pool is empty. Check its outcomes.")
    first = sorted(next(iter(by_agent.values())))
    for name, marks in by_agent.items():
        if sorted(marks) != first:
            raise FireActError(
                f"{name} has {len(marks)} questions and another agent {len(first)}, not the same "
                "ones. Every agent of the pool must have played the same questions."
            )
    return {name: [marks[question] for question in first] for name, marks in by_agent.items()}


def _mean(values: Sequence[float]) -> Interval:
    return paired_bootstrap([0.0] * len(values), list(values))
