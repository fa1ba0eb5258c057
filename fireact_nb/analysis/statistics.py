"""Shares, differences and their intervals, read off the outcomes table.

Every question asked stays in the denominator.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pstdev, stdev
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from .outcomes import Outcome

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Share of successes with Wilson's score interval, sound for small n and shares near 0 or 1.

    E. B. Wilson 1927, JASA 22, 209-212. Raises FireActError where there is no share to speak of.
    """
    if not 0 <= successes <= n or n == 0:
        raise FireActError(
            f"{successes} successes out of {n} make no share. Check that the agent has outcomes "
            "and that no question is counted twice."
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    # The shares p that the data do not reject: |p - share| = z sqrt(p (1 - p) / n), solved for p.
    # The plain interval puts the observed share under that root, and has no width at 0 and 1.
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # min and max: rounding must not push the value itself out of its interval
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def accuracy(
    outcomes: Iterable[Outcome] | Iterable[Trajectory], questions: int | None = None
) -> Interval:
    """Share of right answers, of outcomes or of scored trajectories.

    `questions` is how many were asked when the table leaves some out, as the released GPT-3.5 file
    does (465 of 500): those count as wrong. The interval takes rows as independent; for repeated
    samples of the same questions it is too narrow.
    """
    marks = [_mark(outcome) for outcome in outcomes]
    n = len(marks) if questions is None else questions
    if n < len(marks):
        raise FireActError(
            f"There are {len(marks)} outcomes for {n} questions. Give the number of questions "
            "asked, and one seed and sample of one agent."
        )
    return wilson(sum(marks), n)


def _mark(outcome: Outcome | Trajectory) -> bool:
    if outcome.correct is None:
        raise FireActError(
            f"The trajectory {outcome.id} was never scored, so it is neither right nor wrong. Make "
            "an outcome of it with outcome_of and its question."
        )
    return outcome.correct


@dataclass(frozen=True)
class Band:
    """Where a repeated run should land: the mean of runs with several seeds, and a tolerance.

    Low and high lie three standard deviations of a new run from that mean (two questions at the
    least), so about 24 of 25 runs fall inside.
    """

    value: float
    low: float
    high: float
    runs: int
    questions: int

    def compare(self, got: float) -> str:
        """What to say of a run that scored `got`."""
        inside = self.low <= got <= self.high
        verdict = "inside" if inside else "OUTSIDE: another model, other data or other settings?"
        return (
            f"expected {self.low:.2f} to {self.high:.2f} (shipped: mean {self.value:.2f} of "
            f"{self.runs} seeds on the same {self.questions} questions), you got {got:.2f}: "
            f"{verdict}"
        )


def tolerance_band(outcomes: Iterable[Outcome], asked: Iterable[Outcome]) -> Band:
    """The band that `outcomes`, one agent's with several seeds, give for the questions in `asked`.

    Raises FireActError when the shipped outcomes lack a question or hold fewer than three seeds.
    """
    wanted = {o.question_id for o in asked}
    by_seed: dict[int, dict[str, bool]] = defaultdict(dict)
    for o in outcomes:
        if o.question_id in wanted:
            by_seed[o.seed][o.question_id] = o.correct
    if len(by_seed) < 3 or any(len(marks) < len(wanted) for marks in by_seed.values()):
        raise FireActError(
            f"A tolerance band needs three seeds or more on all {len(wanted)} questions; there are "
            f"{len(by_seed)} seeds on {min(map(len, by_seed.values()), default=0)}. Ask the first "
            "questions of the split, no more than were shipped."
        )
    scores = [fmean(marks.values()) for marks in by_seed.values()]
    # The mean of n runs is uncertain itself: a new one is sd sqrt(1 + 1/n) away from it.
    mean, reach = fmean(scores), 3 * stdev(scores) * math.sqrt(1 + 1 / len(scores))
    reach = max(reach, 2 / len(wanted))  # seeds that agree by chance promise nothing
    return Band(mean, max(0.0, mean - reach), min(1.0, mean + reach), len(scores), len(wanted))


def paired_bootstrap(
    a: Sequence[bool | float], b: Sequence[bool | float], samples: int = 10_000, seed: int = 0
) -> Interval:
    """mean(b) - mean(a) over the same questions in the same order, percentile bootstrap.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. Resamples questions,
    so what makes a question hard for both cancels out. Raises FireActError where they do not pair.
    """
    import numpy as np

    if len(a) != len(b) or not len(a):
        raise FireActError(
            f"A paired test needs the same questions on both sides, but got {len(a)} and {len(b)} "
            "values. Join them by question first, as paired_difference does."
        )
    difference = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    rng = np.random.default_rng(seed)
    n = len(difference)
    block = max(1, 2_000_000 // n)  # samples at a time: memory stays small for many questions
    means = np.concatenate(
        [  # (block, n) drawn questions -> (block,) means
            difference[rng.integers(n, size=(min(block, samples - done), n))].mean(axis=1)
            for done in range(0, samples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def paired_difference(
    outcomes_a: Iterable[Outcome],
    outcomes_b: Iterable[Outcome],
    samples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Accuracy of b minus accuracy of a, joined by question; several rows of one are averaged.

    Raises FireActError when the questions differ: one left out would flatter one side.
    """
    a, b = _by_question(outcomes_a), _by_question(outcomes_b)
    if a.keys() != b.keys():
        only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
        raise FireActError(
            f"The two sides do not hold the same questions: {len(only_a)} only in the first "
            f"{only_a[:3]}, {len(only_b)} only in the second {only_b[:3]}. Every question stays in "
            "the denominator: finish the missing episodes, or compare on the split both have."
        )
    return paired_bootstrap(list(a.values()), [b[key] for key in a], samples, seed)


def _by_question(outcomes: Iterable[Outcome]) -> dict[str, float]:
    marks: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        marks[outcome.question_id].append(outcome.correct)
    return {question_id: fmean(values) for question_id, values in marks.items()}


def summarize(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """A row for every agent, task and condition, in the order they first appear.

    Keys: agent, task, condition, n, questions, em (Interval), f1, rounds, rounds_sd,
    prompt_tokens, usd, seconds (means per row), states (how often each).
    """
    groups: dict[tuple[str, str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.agent, outcome.task, outcome.condition].append(outcome)
    return [
        {
            "agent": agent,
            "task": task,
            "condition": condition,
            "n": len(group),
            "questions": len({o.question_id for o in group}),
            "em": accuracy(group),
            "f1": fmean(o.f1 for o in group),
            "rounds": fmean(o.rounds for o in group),
            "rounds_sd": pstdev(o.rounds for o in group),
            "prompt_tokens": fmean(o.prompt_tokens for o in group),
            "usd": fmean(o.usd for o in group),
            "seconds": fmean(o.seconds for o in group),
            "states": dict(Counter(o.state for o in group)),
        }
        for (agent, task, condition), group in groups.items()
    ]
