"""What a training set must be before it is handed to somebody else's trainer.

Knows trajectories and chat rows, and the rules that services publish; writes no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..agent.asking import estimate_tokens
from ..agent.trajectory import ONE_TURN, Trajectory, unify
from ..errors import FireActError

LEAST = 10  # rows; with fewer, OpenAI's and Together's services start nothing
LONGEST = 65_536  # tokens of a row; what is beyond is cut off by the services without a word


@dataclass(frozen=True)
class Chosen:
    """Trajectories fit to be taught, in the unified form, and how many were not, by the reason."""

    fit: tuple[Trajectory, ...]
    left_out: Mapping[str, int]


def choose(trajectories: Iterable[Trajectory]) -> Chosen:
    """Tell what teaches from what does not: unfinished, wrong and empty ones are left out."""
    fit, left_out = [], Counter[str]()
    for trajectory in trajectories:
        if reason := find_fault(trajectory):
            left_out[reason] += 1
        else:
            meta = {k: v for k, v in trajectory.meta.items() if k != "ending"}
            fit.append(replace(unify(trajectory), meta=meta))
    return Chosen(tuple(fit), dict(left_out))


def find_fault(trajectory: Trajectory) -> str:
    """Why a trajectory has nothing to teach; "" if it has."""
    if trajectory.state != "finished" or trajectory.answer is None:
        return f"no answer ({trajectory.state})"
    if trajectory.correct is False:
        return "a wrong answer"
    if not trajectory.question.strip() or not trajectory.steps:
        return "no question or no turn"
    if any(not step.text.strip() for step in trajectory.steps):
        return "an empty turn"
    if trajectory.method in ONE_TURN and not trajectory.answer.strip():
        return "an empty answer"
    return ""


def check_rows(rows: Sequence[Mapping[str, Any]], least: int = LEAST) -> None:
    """Raise FireActError, naming rows and rules, unless services take these chat rows.

    The rules of OpenAI's fine-tuning files, which Together and others took over: at least `least`
    rows; roles system or user first, then the user (or a tool) and the assistant by turns, the
    assistant last; words in every turn; a weight of 0 or 1 on assistants alone, not 0 on all.
    """
    if len(rows) < least:
        raise FireActError(
            f"There are {len(rows)} rows, and the service starts with {least} at least. Let the "
            "teacher play more questions, or keep more of what it played."
        )
    faults = [
        f"row {number}: {fault}"
        for number, row in enumerate(rows, 1)
        for fault in [_find_row_fault(row)]
        if fault
    ]
    if faults:
        raise FireActError(
            f"{len(faults)} of {len(rows)} rows would be refused or cut by the service: "
            f"{'; '.join(faults[:3])}{'; ...' * (len(faults) > 3)}. Mend these rows or leave them "
            "out."
        )


def _find_row_fault(row: Mapping[str, Any]) -> str:
    messages = row.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        return "no list of messages"
    roles = [message.get("role") for message in messages]
    talk = roles[1:] if roles[:1] == ["system"] else roles
    if not talk or talk[0] != "user" or talk[-1] != "assistant":
        return f"it opens with {talk[:1]} and ends with {talk[-1:]}, not with user and assistant"
    for before, after in zip(talk, talk[1:], strict=False):
        if (before == "assistant") == (after == "assistant") or after not in _ROLES:
            return f"{after!r} follows {before!r}"
    for place, message in enumerate(messages):
        content, weight = message.get("content"), message.get("weight")
        if not isinstance(content, str | None) or not (content or message.get("tool_calls")):
            return f"message {place} says nothing"
        if weight is not None and (weight not in (0, 1) or message["role"] != "assistant"):
            return f"message {place} has the weight {weight!r}"
    spoken = [m for m in messages if m["role"] == "assistant"]
    if all(m.get("weight") == 0 for m in spoken):
        return "every assistant turn has the weight 0, so nothing is learnt"
    length = sum(estimate_tokens(str(m.get("content") or m.get("tool_calls"))) for m in messages)
    return f"about {length:,} tokens, over {LONGEST:,}" if length > LONGEST else ""


_ROLES = ("user", "assistant", "tool")
