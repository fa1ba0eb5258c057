"""Which episodes reason alike: what a model says again when it is asked again.

Knows the words of trajectories; knows no world, so it can't tell whether what is said is true.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from .tasks import normalize_answer
from .trajectory import Trajectory, unify

SENTENCE = re.compile(r"[.!?](?:\s+|$)")


def agreeing(played: Iterable[Trajectory], samples: Iterable[Trajectory]) -> list[Trajectory]:
    """Those of `played` whose reasoning more than half of their question's samples share.

    The same answer is not enough: it must stand on the same statements (`reasoning`).
    """
    said = defaultdict(list)
    for sample in samples:
        said[sample.question_id].append(reasoning(sample))
    kept = []
    for trajectory in played:
        mine, others = reasoning(trajectory), said[trajectory.question_id]
        if mine is not None and 2 * others.count(mine) > len(others):
            kept.append(trajectory)
    return kept


def reasoning(trajectory: Trajectory) -> tuple[frozenset[str], str] | None:
    """What an episode states and what it answers, to be compared; None where it does not say.

    Statements are the sentences of its thoughts: their order, case, points, articles and spaces
    make no difference.
    """
    answer = normalize_answer(trajectory.answer or "")
    if trajectory.state != "finished" or not answer:
        return None
    thoughts = " ".join(step.turn.thought for step in unify(trajectory).steps)
    stated = frozenset(filter(None, map(normalize_answer, SENTENCE.split(thoughts))))
    return (stated, answer) if stated else None
