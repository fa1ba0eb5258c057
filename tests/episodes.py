"""A made-up study of any size: questions, agents of several strengths, outcomes, trajectories.

Agents share searches and what these find, as real ones do; words are drawn by Zipf's law.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import accumulate

from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.analysis.outcomes import Outcome, outcome_of


@dataclass(frozen=True)
class Made:
    questions: list[Question]
    outcomes: list[Outcome]
    trajectories: list[Trajectory]


def make_study(count: int, agents: int, *, words: int = 60, seed: int = 0) -> Made:
    """`words` is the length of an observation; about 1.2 kB a trajectory at 60."""
    dice = random.Random(seed)
    language = [
        "".join(dice.choice("aeioubcdfglmnprstvz") for _ in range(2 + n % 7)) for n in range(4000)
    ]
    weights = list(accumulate(1 / (n + 3) for n in range(len(language))))

    def say(length: int) -> str:
        return " ".join(dice.choices(language, cum_weights=weights, k=length))

    made = Made([], [], [])
    for number in range(count):
        task = "hotpotqa" if number % 4 else "bamboogle"
        question = Question(
            f"q{number:04}", f"What is {say(9)}?", say(2), task, "dev",
            "bridge" if dice.random() < 0.6 else "comparison", head=number % 3 == 0,
        )  # fmt: skip
        made.questions.append(question)
        found = {say(3): say(words) for _ in range(5)}
        hard = dice.random()
        for agent in range(agents):
            trajectory = _play(question, agent, found, dice.random() * 1.6 - 0.3 > hard, dice, say)
            mix = "hotpotqa react+hotpotqa cot" if agent == 2 else "hotpotqa react"
            made.trajectories.append(trajectory)
            made.outcomes.append(
                outcome_of(trajectory, question, f"agent {agent}", "none", mix, "normal", "made up")
            )
    return made


def _play(question, agent, found, right, dice, say) -> Trajectory:
    steps = [
        Step.of(say(18), "search", query, text)
        for query, text in dice.sample(sorted(found.items()), k=dice.randrange(5))
    ]
    answer = question.answer if right else say(2)
    steps.append(Step.of(say(18), "finish", answer))
    return Trajectory(
        question.id, question.question, tuple(steps), answer=answer, gold=question.answer,
        source=f"agent {agent}", prompt_tokens=300 * len(steps), completion_tokens=30 * len(steps),
    )  # fmt: skip


def again(outcomes: list[Outcome], samples: int, seed: int = 1) -> list[Outcome]:
    """Samples of the first agent at temperature 0.6, right now and then otherwise."""
    dice = random.Random(seed)
    return [
        replace(o, temperature=0.6, sample=sample, correct=o.correct ^ (dice.random() < 0.3))
        for o in outcomes
        if o.agent == "agent 0"
        for sample in range(samples)
    ]
