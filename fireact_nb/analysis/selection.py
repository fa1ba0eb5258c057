"""Which agent to ask: random, best fixed, implicit and oracle choice over a pool, and the controls.

Knows pools, and what a trajectory shows of its method; what a pool is stands in `pools`.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from .outcomes import Outcome
from .pools import Pool, cells_of, count_samples, interval, nodes, oracle_grid, questions_of, rates
from .seeds import right
from .statistics import Interval, accuracy

if TYPE_CHECKING:
    from .pools import Grid

_REFLECTION = re.compile(r"\blet me (?:do a )?reflect", re.IGNORECASE)


def random_choice(pool: Pool) -> Interval:
    """Expected accuracy of asking one agent of the pool at random for every question."""
    return interval(rates(pool).mean(axis=0))


def best_fixed(pool: Pool, dev: Pool | None = None) -> tuple[str, Interval]:
    """The agent that is right most often, asked for every question.

    It is chosen on `dev`, the same agents' outcomes on other questions. Without it, it is chosen
    and measured on the same outcomes, which is a little optimistic.
    """
    seen = pool if dev is None else dev
    if seen.keys() != pool.keys():
        raise FireActError(
            f"The pool's agents are {', '.join(pool)}, those on dev {', '.join(seen)}. Give the "
            "same agents on both."
        )
    by_agent = dict(zip(seen, rates(seen).mean(axis=(1, 2)), strict=True))
    best = max(by_agent, key=lambda name: by_agent[name])
    once = len({o.question_id for o in pool[best]}) == len(pool[best])
    return best, accuracy(pool[best]) if once else interval(rates({best: pool[best]})[0])


def oracle_choice(pool: Pool) -> Interval:
    """Share of questions that at least one agent of the pool answers right.

    Where agents have several samples: what that share is on average with one sample of each, an
    estimate without bias, 1 - the product of (1 - share right).
    """
    return interval(oracle_grid(rates(pool)))


def corrected_oracle(pool: Pool) -> Interval:
    """The oracle without its luck: each question's best agent, tried anew.

    An oracle picks whoever *happened* to be right; with agents that guess, that is mostly chance.
    Of real worth is max p, the best agent's chance on each question, and taking the largest of
    observed shares overestimates it (the optimizer's curse; Smith and Winkler 2006, Management
    Science 52, 311-322; for oracles over language models Fowler et al. 2026, arXiv 2606.26836,
    who correct by extrapolation). Nothing computed from finitely many samples is an unbiased
    estimate of max p, for it is no polynomial of the chances. So this leaves out one sample of each
    agent in turn, picks the agent that is right most often in the others (ties shared alike), and
    scores it by its left-out sample: without bias the score of a selector that saw n - 1 samples
    of each agent and then asks once more. From below it comes closer to max p with every sample.

    Raises FireActError unless all agents have n > 1 samples of every question.
    """
    import numpy as np

    shares, n = rates(pool), count_samples(pool)
    if n < 2:
        raise FireActError(
            "The oracle can be corrected for luck only where every agent has two samples or more "
            "of every question. Play the pool again at a temperature above 0, with more samples."
        )
    hits = np.rint(shares * n)  # (agents, seeds, questions)
    # What is left of j's n samples has hits - 1 right where the left-out one was right, else hits.
    places, weights = nodes(len(hits))
    total = np.zeros(shares.shape[1:])
    for mine in range(len(hits)):
        kept = hits[mine] - 1  # of use only where the left-out sample is right
        chance = np.ones((len(places), *total.shape))
        for other in range(len(hits)):
            if other != mine:
                p = shares[other]
                less = p * (hits[other] - 1 < kept) + (1 - p) * (hits[other] < kept)
                same = p * (hits[other] - 1 == kept) + (1 - p) * (hits[other] == kept)
                # One of t that tie is picked with 1 / (t + 1), the integral of x^t from 0 to 1.
                chance *= less + same * places[:, None, None]
        total += shares[mine] * np.tensordot(weights, chance, axes=1)
    return interval(total)


def pass_at_k(outcomes: Iterable[Outcome], k: int) -> Interval:
    """Chance that at least one of k samples of one agent is right, without bias from n > k.

    1 - C(n - c, k) / C(n, k) for c right of n samples (Chen et al. 2021, arXiv 2107.03374). This is
    the control beside an oracle over k methods: how much of it is only more tries. Raises
    FireActError where the samples have more than one temperature, or are too few.
    """
    return interval(_pass_grid(outcomes, k)[0])


def oracle_beyond_samples(pool: Pool, samples: Iterable[Outcome]) -> Interval:
    """Oracle over the pool's k agents minus pass@k of one agent's samples, paired by question.

    Above zero: the agents complement each other by more than repeated tries do. The control is
    fair where the pool played at the samples' temperature; a pool that played greedily has less
    variety to offer than its control (`same_temperature` tells).
    """
    shares = rates(pool)
    passed, asked = _pass_grid(samples, len(shares))
    questions = questions_of(pool)
    if asked != questions:
        raise FireActError(
            f"The samples hold {len(asked)} questions and the pool {len(questions)}, not the same "
            "ones. Sample the questions that the pool played."
        )
    oracle = oracle_grid(shares)
    if 1 not in (len(oracle), len(passed)) and len(oracle) != len(passed):
        raise FireActError(
            f"The pool has {len(oracle)} seeds and the samples {len(passed)}. Sample the seeds "
            "that the pool played, or one of them."
        )
    return interval(oracle - passed)


def same_temperature(pool: Pool, samples: Iterable[Outcome]) -> bool:
    """Whether the pool and its control were played at one temperature."""
    return len({o.temperature for rows in (*pool.values(), samples) for o in rows}) == 1


@dataclass(frozen=True)
class Implicit:
    """How an agent that picks its method by itself picked it, read off its own episodes.

    `chosen` maps question to method (of several episodes the last), `shares` and `scores` tell how
    often each method was picked and how often it was right then.
    """

    chosen: Mapping[str, str]
    shares: Mapping[str, float]
    scores: Mapping[str, Interval]


def implicit_method(trajectory: Trajectory) -> str:
    """The method that an episode follows: one round without search is CoT, one with a reflection
    Reflexion, any other ReAct. A search that the last round left unanswered counts as one."""
    if trajectory.rounds == 1 and not trajectory.searches:
        return "cot"
    reflected = any(_REFLECTION.search(step.turn.thought) for step in trajectory.steps)
    return "reflexion" if reflected else "react"


def implicit_choice(trajectories: Iterable[Trajectory]) -> Implicit:
    """The methods that an agent picked by itself; every trajectory must have been scored."""
    marks: dict[str, list[Trajectory]] = defaultdict(list)
    chosen = {}
    for trajectory in trajectories:
        method = implicit_method(trajectory)
        marks[method].append(trajectory)
        chosen[trajectory.question_id] = method
    if not chosen:
        raise FireActError("There are no episodes to read a method from. Check the file's path.")
    count = sum(map(len, marks.values()))
    return Implicit(
        chosen,
        {method: len(marks[method]) / count for method in sorted(marks)},
        {method: accuracy(marks[method]) for method in sorted(marks)},
    )


def _pass_grid(outcomes: Iterable[Outcome], k: int) -> tuple[Grid, list[str]]:
    """pass@k by seed and question, and the questions."""
    import numpy as np

    rows = list(outcomes)
    tries = cells_of("The agent", rows, right)
    if k < 1:
        raise FireActError(f"pass@{k} means nothing: k is how many tries are looked at, 1 or more.")
    few = [question for (_, question), marks in tries.items() if len(marks) < k]
    if few or not tries:
        raise FireActError(
            f"pass@{k} needs at least {k} samples of every question; {len(few)} have fewer "
            f"(first: {few[:1]}). Sample the agent more often, or choose a smaller k."
        )
    if len(heat := {o.temperature for o in rows}) > 1:
        raise FireActError(
            f"The samples were drawn at the temperatures {sorted(heat)}. Give those of one: a "
            "greedy answer is no further try."
        )
    questions = sorted({question for _, question in tries})
    seeds = sorted({seed for seed, _ in tries})
    if len(tries) < len(questions) * len(seeds):
        raise FireActError(
            f"{len(seeds)} seeds on {len(questions)} questions make {len(tries)} groups of "
            "samples, not all that there should be. Finish the missing episodes."
        )
    passed = [[_pass_rate(tries[s, q], k) for q in questions] for s in seeds]
    return np.array(passed), questions


def _pass_rate(marks: Sequence[float], k: int) -> float:
    n, wrong = len(marks), round(len(marks) - sum(marks))
    return 1 - math.comb(wrong, k) / math.comb(n, k)
