"""One question, its episode and its row of the outcomes table, and rows like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.analysis.outcomes import Outcome, outcome_of

QUESTION = Question("q1", "Who?", "The Cat", "hotpotqa", "dev", "bridge")
TRAJECTORY = Trajectory(
    "q1",
    "Who?",
    (Step("Thought: t\nAction: search[a]", "b"), Step("Thought: u\nAction: finish[black cat]")),
    answer="black cat",
    source="tiny",
    seed=3,
    prompt_tokens=70,
    completion_tokens=9,
    usd=0.5,
    seconds=1.5,
)
OUTCOME = outcome_of(TRAJECTORY, QUESTION, "student", "tiny-1", "react", "normal", "measured")


def mark(question_id, correct, **change):
    return replace(OUTCOME, question_id=question_id, correct=correct, **change)


def drawn(
    chances: Mapping[str, Sequence[float]], samples: int = 1, seeds: int = 1, draw: int = 0,
    **change: object,
) -> dict[str, list[Outcome]]:  # fmt: skip
    """A pool of agents with known chances, one a question: every try is drawn by itself."""
    import numpy as np

    rng = np.random.default_rng(draw)
    return {
        name: [
            mark(f"q{q:03}", bool(rng.random() < p), agent=name, seed=seed, sample=sample, **change)
            for q, p in enumerate(of_agent)
            for seed in range(seeds)
            for sample in range(samples)
        ]
        for name, of_agent in chances.items()
    }
