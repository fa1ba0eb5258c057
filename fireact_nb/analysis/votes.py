"""An agent that is asked several times and takes the answer given most often (self-consistency).

Knows rows of the outcomes table, and of trajectories what they say again when asked again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean

from ..agent.agreement import reasoning
from ..agent.tasks import normalize_answer
from ..agent.trajectory import Trajectory
from ..errors import FireActError
from .outcomes import Outcome


def vote(samples: Iterable[Outcome], agent: str = "CoT-SC") -> list[Outcome]:
    """One row for each seed and question: the answer that most samples gave, and what all cost.

    Wang et al. 2023, arXiv 2203.11171. Answers are compared as exact match compares them; of
    equally frequent ones the first given counts; a sample without an answer has no vote.
    """
    groups: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
    for outcome in samples:
        groups[outcome.seed, outcome.question_id].append(outcome)
    rows = []
    for group in groups.values():
        group.sort(key=lambda o: o.sample)
        ballots = [o for o in group if _said(o.answer)]
        counts = Counter(_said(o.answer) for o in ballots)
        most = counts.most_common(1)[0][0] if counts else ""
        won = next((o for o in ballots if _said(o.answer) == most), group[0])
        rows.append(
            replace(
                won,
                agent=agent,
                method_mix=f"{won.method_mix}, most of {len(group)}",
                sample=0,
                prompt_tokens=sum(o.prompt_tokens for o in group),
                completion_tokens=sum(o.completion_tokens for o in group),
                usd=sum(o.usd for o in group),
                seconds=sum(o.seconds for o in group),
            )
        )
    return rows


def agreement(samples: Iterable[Outcome]) -> dict[str, float]:
    """For each question the share of its samples that gave the most frequent *answer*."""
    groups: dict[str, list[str]] = defaultdict(list)
    for outcome in samples:
        groups[outcome.question_id].append(_said(outcome.answer))
    return {q: _largest(filter(None, said)) / len(said) for q, said in groups.items()}


def own_signals(samples: Iterable[Trajectory]) -> dict[str, dict[str, float]]:
    """What k samples of a question tell of the student's own doubt, without looking at the gold.

    "reasoning": the share of samples that give the same reasoning (`agent.agreement`); "answer":
    the same answer; "length": tokens written, mean; "first_logprob" and "mean_logprob": of what
    was written, mean over the samples, where `meta` gives them.
    """
    groups: dict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in samples:
        groups[trajectory.question_id].append(trajectory)
    found = {}
    for question, group in groups.items():
        given = {
            name: [float(t.meta[name]) for t in group if name in t.meta]
            for name in ("first_logprob", "mean_logprob")
        }
        found[question] = {
            "reasoning": _largest(filter(None, map(reasoning, group))) / len(group),
            "answer": _largest(filter(None, (_said(t.answer) for t in group))) / len(group),
            "length": fmean(t.completion_tokens for t in group),
        } | {name: fmean(values) for name, values in given.items() if values}
    return found


def ended(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """For each question 1 if the agent came to an answer, 0 if it broke off, mean over its rows."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for o in outcomes:
        groups[o.question_id].append(o.state == "finished" and bool(_said(o.answer)))
    if not groups:
        raise FireActError("There are no outcomes to look at. Check the agent's name.")
    return {question: fmean(marks) for question, marks in groups.items()}


def _said(answer: str | None) -> str:
    return normalize_answer(answer or "")


def _largest(values: Iterable[object]) -> int:
    return max(Counter(values).values(), default=0)
