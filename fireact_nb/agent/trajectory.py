"""Trajectories: what an agent wrote and what its tool answered, and their renderings.

Knows the unified ReAct form of FireAct (paper section 3); how a turn is read stands in `reading`.
Does not know who wrote it, how an answer is scored, or how search works.

The unified form is a conversation::

    user       the question
    assistant  Thought: ...\nAction: search[...]
    user       Observation: ...
    assistant  Thought: ...\nAction: finish[...]

Everything else (plain text, Alpaca, ShareGPT) renders this conversation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import read_json_lines, write_file
from .observations import clean_observation as clean_observation
from .observations import find_observation, level
from .reading import Turn, parse_turn, strip_thought
from .reading import cut_turn as cut_turn

STATES: tuple[str, ...] = (
    "finished",
    "out of rounds",
    "malformed",
    "context full",
    "refused",
    "out of tokens",
    "failed",
)
ONE_TURN = ("io", "cot")  # methods whose first turn is the answer: no tool, no second round
Message = dict[str, str]

OBSERVATION = "Observation: "
_ANSWER_LINE = re.compile(r"^[ \t]*Answer[ \t]*:", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One round: the assistant's turn as written and the tool's answer (None if there was none)."""

    text: str
    observation: str | None = None

    def __post_init__(self) -> None:
        flat = level(self.text)
        if find_observation(flat, inline=False) < len(flat):
            raise ValueError(
                "a line of the step's text starts with 'Observation'; pass it through cut_turn"
            )
        if self.observation is not None and "\n" in self.observation:
            raise ValueError("an observation is one line; pass it through clean_observation")

    @classmethod
    def of(cls, thought: str, action: str, argument: str, observation: str | None = None) -> Step:
        """A step in canonical form."""
        return cls(f"Thought: {thought}\nAction: {action}[{argument}]", observation)

    @property
    def turn(self) -> Turn:
        return parse_turn(self.text)


@dataclass(frozen=True)
class Trajectory:
    """One episode in the unified form. `answer` is None unless an answer was given.

    `source` says who wrote it (model name and revision, or the file it was imported from).
    `seed` and `sample` tell repeated episodes of one question apart.
    """

    question_id: str
    question: str
    steps: tuple[Step, ...]
    method: str = "react"
    task: str = ""
    answer: str | None = None
    gold: str | None = None
    correct: bool | None = None
    state: str = "finished"
    source: str = ""
    seed: int = 0
    sample: int = 0
    temperature: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} is not one of {', '.join(STATES)}")
        if any(step.observation is None for step in self.steps[:-1]):
            raise ValueError("only the last step may lack an observation: turns alternate")

    @property
    def id(self) -> str:
        """Question, method, author, seed and sample: unique within a study."""
        return f"{self.question_id}/{self.method}/{self.source}/{self.seed}.{self.sample}"

    @property
    def rounds(self) -> int:
        return len(self.steps)

    @property
    def searches(self) -> int:
        return sum(step.turn.action == "search" for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Every field as JSON knows it; `from_dict` gives back an equal trajectory."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Trajectory:
        return cls(**{**fields, "steps": tuple(Step(**step) for step in fields["steps"])})


def render_messages(trajectory: Trajectory) -> list[Message]:
    """The unified conversation: question, turns and observations as role messages."""
    messages = [{"role": "user", "content": trajectory.question}]
    for step in trajectory.steps:
        messages.append({"role": "assistant", "content": step.text})
        if step.observation is not None:
            messages.append({"role": "user", "content": OBSERVATION + step.observation})
    return messages


def parse_messages(messages: Sequence[Message], **known: Any) -> Trajectory:
    """The trajectory behind a unified conversation; `known` fills the fields a conversation lacks.

    Raises ValueError, naming the message, when roles do not alternate as the unified form asks.
    """
    if not messages or messages[0]["role"] != "user":
        raise ValueError("a unified conversation opens with the question as a user message")
    steps: list[Step] = []
    for place, message in enumerate(messages[1:], 1):
        role, content = message["role"], message["content"]
        if role == "assistant" and (not steps or steps[-1].observation is not None):
            steps.append(Step(content))
        elif (
            role == "user"
            and content.startswith(OBSERVATION)
            and steps
            and steps[-1].observation is None
        ):
            steps[-1] = replace(steps[-1], observation=content.removeprefix(OBSERVATION))
        else:
            raise ValueError(
                f"message {place} ({role}: {content[:40]!r}) breaks the unified form: after the "
                "question, assistant turns and 'Observation: ...' user turns alternate"
            )
    return _with_answer(messages[0]["content"], steps, known)


def render_text(steps: Iterable[Step]) -> str:
    """The steps as plain text, one round after another (the Alpaca 'output')."""
    lines = []
    for step in steps:
        lines.append(step.text)
        if step.observation is not None:
            lines.append(OBSERVATION + step.observation)
    return "\n".join(lines)


def parse_text(question: str, text: str, **known: Any) -> Trajectory:
    """The trajectory behind a question and its plain-text rounds.

    Raises ValueError when two Observation lines follow each other. No text means no steps, so a
    lone empty turn is the one thing that plain text cannot tell.
    """
    steps: list[Step] = []
    turn: list[str] = []
    for line in text.split("\n") if text else ():
        if line.startswith(OBSERVATION) and turn:
            steps.append(Step("\n".join(turn), line.removeprefix(OBSERVATION)))
            turn = []
        else:
            turn.append(line)
    if turn:
        steps.append(Step("\n".join(turn)))
    return _with_answer(question, steps, known)


def _with_answer(question: str, steps: Sequence[Step], known: dict[str, Any]) -> Trajectory:
    last = steps[-1].turn if steps else None
    if last and last.action == "finish":
        known = {"answer": last.argument, **known}
    else:
        known = {"state": "out of rounds", **known}
    return Trajectory(
        question_id=known.pop("question_id", ""), question=question, steps=tuple(steps), **known
    )


def unify(trajectory: Trajectory) -> Trajectory:
    """Bring a trajectory of any method to the one ReAct form (paper section 3).

    CoT's reasoning becomes the Thought of a single round whose action is finish[answer]; an IO
    answer becomes a round with an empty-handed Thought. ReAct and Reflexion (whose reflection cue
    is part of the Thought) already have the form, and so has what was unified before. A bracket
    without its partner in the answer becomes round, or the action would end early. Raises
    ValueError for an IO or CoT trajectory that was not finished: there is no answer to finish with.
    """
    unified = trajectory.rounds == 1 and trajectory.steps[0].turn.action == "finish"
    if trajectory.method not in ONE_TURN or unified:
        return trajectory
    answer = " ".join((trajectory.answer or "").split())
    if not answer or not trajectory.steps:
        raise ValueError(f"{trajectory.id}: no answer was given, so there is no finish to write")
    reasoning = ""
    if trajectory.method == "cot":
        reasoning = _ANSWER_LINE.split(strip_thought(trajectory.steps[0].text))[0]
    reasoning = " ".join(reasoning.split()) or "I know the answer."
    step = Step.of(reasoning, "finish", answer)
    if step.turn.argument != answer:
        answer = answer.replace("[", "(").replace("]", ")")
        step = Step.of(reasoning, "finish", answer)
    return replace(trajectory, steps=(step,), answer=answer)


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory]) -> None:
    """Write trajectories as JSON lines, whole, with every field."""
    rows = (json.dumps(t.to_dict(), ensure_ascii=False) for t in trajectories)
    write_file(path, "".join(row + "\n" for row in rows))


def read_trajectories(path: str | Path) -> list[Trajectory]:
    """Trajectories from the JSON lines that `write_trajectories` makes."""
    trajectories = []
    for number, row in read_json_lines(path):
        try:
            trajectories.append(Trajectory.from_dict(row))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise FireActError(
                f"{path}, line {number} is not a trajectory ({error}). Remove the line, or read "
                "the file with the reader for its format (read_chat, read_alpaca)."
            ) from error
    return trajectories
