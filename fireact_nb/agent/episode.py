"""The agent loop: one question, one method, one tool, until an answer or the last round.

One piece of logic for every method and every model. `play` is a generator: it yields what it wants
to ask a model and is sent the reply, so whoever drives it decides how calls are made: one by one,
many at once against an API, or in batches on a local model. It knows neither gold answers (they are
only scored at the end) nor where replies come from.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

from .chat import Exhausted, Reply, Request
from .observations import (
    MAX_OBSERVATION,
    clean_observation,
    find_observation,
    level,
    without_controls,
)
from .prompting import Prompt
from .reading import Turn, parse_turn
from .search import Search
from .tasks import Question, score
from .trajectory import OBSERVATION, Message, Step, Trajectory

MAX_ROUNDS = 11  # paper, section 4
_ANSWER = re.compile(r"^[ \t]*Answer[ \t]*:[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """How an episode is decoded and when it stops. `max_tokens` is per turn.

    Of an observation longer than `max_observation` characters the end is cut off, visibly.
    """

    temperature: float = 0.0
    max_tokens: int = 96
    max_rounds: int = MAX_ROUNDS
    seed: int = 0
    sample: int = 0
    max_observation: int = MAX_OBSERVATION

    def to_dict(self) -> dict[str, Any]:
        """What a journal's key is made of: as before `max_observation` was, where it is default."""
        fields = asdict(self)
        if self.max_observation == MAX_OBSERVATION:
            del fields["max_observation"]
        return fields


Episode = Generator[Request, Reply, Trajectory]


def play(
    question: Question, prompt: Prompt, search: Search, settings: Settings, source: str = ""
) -> Episode:
    """Play one episode; the generator's return value is the trajectory.

    Always ends in a named state: finished, out of rounds, malformed (two unreadable turns in a
    row), context full, refused, out of tokens (a reply's cap was spent before its first word), or
    failed (the model or the tool could not be reached).
    """
    messages = prompt.ask(question.question)
    steps, replies = list[Step](), list[Reply]()
    state, answer, unread = "out of rounds", None, 0
    for number in range(1, 2 if prompt.one_turn else settings.max_rounds + 1):
        reply = yield _request(messages, prompt.cues.get(number), settings)
        replies.append(reply)
        if reply.finish_reason in ("context full", "refused", "out of tokens", "failed"):
            state = reply.finish_reason
            break
        said = without_controls(reply.text)
        if prompt.one_turn:
            steps.append(Step(_visible(said)))
            answer = read_answer(said)
            state = "malformed" if answer is None else "finished"
            break
        text = said[: (turn := parse_turn(said)).end].strip()
        if turn.action == "finish":
            steps.append(Step(text))
            state, answer = "finished", turn.argument
            break
        unread = unread + 1 if turn.action is None else 0
        if unread == 2:
            steps.append(Step(text))
            state = "malformed"
            break
        occasion = f"{question.id}/{settings.seed}/{settings.sample}/{number}"
        observation = _observe(turn, search, occasion, settings.max_observation)
        steps.append(Step(text, observation))
        if observation is None:
            state = "failed"
            break
        messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": OBSERVATION + observation})
    return Trajectory(
        question_id=question.id,
        question=question.question,
        steps=tuple(steps),
        method=prompt.method,
        task=question.task,
        answer=answer,
        gold=question.answer,
        correct=score(question.task, answer, question.answer, question.options),
        state=state,
        source=source,
        seed=settings.seed,
        sample=settings.sample,
        temperature=settings.temperature,
        **_cost(replies),
    )


def _cost(replies: list[Reply]) -> dict[str, Any]:
    """What all replies of an episode took, as fields of its trajectory."""
    names = ("prompt_tokens", "completion_tokens", "usd", "seconds")
    cost = {name: sum(getattr(reply, name) for reply in replies) for name in names}
    reasoning = sum(reply.reasoning_tokens for reply in replies)
    return {**cost, "meta": {"reasoning_tokens": reasoning} if reasoning else {}}


def _request(messages: list[Message], cue: str | None, settings: Settings) -> Request:
    return Request(
        messages=tuple(messages),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        stop=("\nObservation",),
        seed=settings.seed,
        sample=settings.sample,
        prefix=f"Thought: {cue}" if cue else "",
    )


def _observe(turn: Turn, search: Search, salt: str, limit: int) -> str | None:
    """What the tool answers, None if it could not be reached; what is wrong with an odd turn."""
    if turn.action == "search":
        try:
            return clean_observation(search.search(turn.argument, salt), limit)
        except Exhausted:
            return None
    return f"Not understood: {turn.problem}. Write Action: search[...] or finish[...]."


def read_answer(text: str) -> str | None:
    """The answer of an IO or CoT reply: what follows the last "Answer:"; None if there is none."""
    found = _ANSWER.findall(level(_visible(text)))
    return found[-1].strip() or None if found else None


def _visible(text: str) -> str:
    """A one-turn reply up to an invented Observation."""
    return text[: find_observation(level(text))].strip()
