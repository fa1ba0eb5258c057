"""Training mixes: which trajectories of which methods and tasks, in the one form, without leaks.

Knows trajectories and held-out questions; knows neither models nor training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..agent.sources import Source
from ..agent.tasks import Question, normalize_answer
from ..agent.trajectory import Trajectory, unify
from ..errors import FireActError


@dataclass(frozen=True)
class Mix:
    """A training mix as it is planned: so many trajectories of each source, in this order."""

    parts: tuple[tuple[Source, int], ...]

    def __add__(self, other: Mix) -> Mix:
        return Mix((*self.parts, *other.parts))

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source for source, _ in self.parts)

    @property
    def counts(self) -> dict[str, int]:
        """By the sources' names, as `mix` and `share_out` take them."""
        return {source.name: count for source, count in self.parts}

    @property
    def sizes(self) -> str:
        """The counts as the agents' names show them: "500+187"."""
        return "+".join(str(count) for _, count in self.parts)

    def of_size(self, total: int) -> Mix:
        """The same shares in `total` trajectories."""
        counts = share_out(self.counts, total)
        return Mix(tuple((source, counts[source.name]) for source in self.sources))


def mix(
    groups: Mapping[str, Sequence[Trajectory]],
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
    held_out: Iterable[Question] = (),
) -> list[Trajectory]:
    """Draw `counts[group]` trajectories of each group, unified and shuffled by `seed`.

    A group is a method, a task, or both ("strategyqa cot"). Without counts, all of them; for shares
    instead of counts see `share_out`. A question is used once for each distinct way it was solved,
    whatever the group. The paper's multi-method mix is 500 ReAct, 187 CoT and 47 Reflexion. Raises
    FireActError when a group has too few, or when a held-out question is among them.
    """
    if unknown := sorted(set(counts or ()) - set(groups)):
        raise FireActError(
            f"The mix asks for {', '.join(unknown)}, and there are only: {', '.join(groups)}."
        )
    chosen: list[Trajectory] = []
    for name, trajectories in groups.items():
        pool = _distinct((unify(t) for t in trajectories), but=chosen)
        wanted = len(pool) if counts is None else counts.get(name, 0)
        if wanted > len(pool):
            raise FireActError(
                f"The mix asks for {wanted} {name} trajectories and there are {len(pool)} distinct "
                "ones. Generate more with the teacher, or ask for fewer."
            )
        # By its own name alone, so that a group gives the same trajectories to every mix.
        rng = random.Random(f"mix/{seed}/{name}")
        chosen += rng.sample(pool, wanted)
    check_leaks(chosen, held_out)
    random.Random(f"mix/{seed}").shuffle(chosen)
    return chosen


def check_leaks(trajectories: Iterable[Trajectory], held_out: Iterable[Question]) -> None:
    """Raise FireActError if a trajectory answers a held-out question, by id or by its words."""
    questions = list(held_out)
    ids = {q.id for q in questions}
    words = {normalize_answer(q.question) for q in questions}
    leaks = [
        t.question_id or t.question[:60]
        for t in trajectories
        if t.question_id in ids or normalize_answer(t.question) in words
    ]
    if leaks:
        raise FireActError(
            f"{len(leaks)} training trajectories answer held-out questions (first: {leaks[0]}). "
            "Training on them would make the evaluation worthless; generate from the train split."
        )


def share_out(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Counts in the given shares (any positive weights) that add up to `total`: largest remainder.

    Raises FireActError when a share is negative or all are zero.
    """
    whole = sum(shares.values())
    if whole <= 0 or min(shares.values()) < 0:
        raise FireActError(
            f"The shares {dict(shares)} do not divide anything: they must not be negative, and "
            "not all zero. Give each group a weight, such as react=0.7, cot=0.3."
        )
    exact = {name: total * share / whole for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _distinct(
    trajectories: Iterable[Trajectory], but: Iterable[Trajectory] = ()
) -> list[Trajectory]:
    """One of each question and way to solve it, without those of `but`."""
    taken = {_way(t) for t in but}
    seen: dict[tuple, Trajectory] = {}
    for t in trajectories:
        seen.setdefault(_way(t), t)
    return [t for way, t in seen.items() if way not in taken]


def _way(trajectory: Trajectory) -> tuple:
    return trajectory.question, tuple(step.text for step in trajectory.steps)
