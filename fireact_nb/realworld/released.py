"""The authors' released files: trajectories they trained on, and episodes of their agents.

Knows file layouts; the conversation and its plain text are parsed in `agent.trajectory`.

An imported row often closes with the environment's "Observation: Episode finished, reward = True".
It is no part of the unified form, which ends with the finish turn, but it is kept word for word
in `meta["ending"]`, so `chat_row` and `alpaca_row` give back every imported row unchanged.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..agent.trajectory import OBSERVATION, Trajectory, parse_messages, parse_text
from ..errors import FireActError
from ..files import read_json, read_json_lines
from .rows import typed

# The wrapper of Stanford Alpaca around a question, as in the released Llama trajectories.
ALPACA_PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{question}\n\n### Response:\n"
)
_BEFORE, _BETWEEN = ALPACA_PROMPT.split("{question}")
_ENDING = re.compile(r"Observation: Episode finished, reward = (True|False|1|0)\s*")
_CUE = re.compile(r"haven't solved the task within \d+ steps")
_Row = TypeVar("_Row")
_CURE = "Check that the file is in the format this reader is for, or download it again."


@dataclass(frozen=True)
class _Message:
    role: str
    content: str


@dataclass(frozen=True)
class _Chat:
    messages: list[_Message]


@dataclass(frozen=True)
class _Alpaca:
    instruction: str
    output: str
    input: str | None = None


@dataclass(frozen=True)
class _Episode:
    gt: str
    f1: int | float  # kept as written: a 0 is not to come back as 0.0
    traj: Any  # in two shapes


def read_chat(path: str | Path, task: str = "", odd: list[str] | None = None) -> list[Trajectory]:
    """Trajectories from OpenAI chat JSON lines in the unified form, ours or the authors'.

    `correct` and the method are read off a released row's ending and turns: one round and
    "reward = 1" is cot, the reflection cue reflexion, anything else react. Ids are made of the
    file's name and the row number. A row in another form is left out and the rest is kept: `odd`
    gets a text for each, or else a warning tells. Raises FireActError where no row can be read.
    """
    told: list[str] = []
    rows = read_json_lines(path, told)

    def read(numbered: tuple[int, Any]) -> Trajectory:
        number, row = numbered
        return _from_messages(row, f"{path}, line {number}", **_origin(path, number, task))

    return _keep(rows, read, told, odd)


def read_alpaca(path: str | Path, task: str = "", odd: list[str] | None = None) -> list[Trajectory]:
    """Trajectories from an Alpaca JSON list of {"instruction", "output"}; see read_chat."""

    def read(numbered: tuple[int, Any]) -> Trajectory:
        number, entry = numbered
        where = f"{path}, entry {number}"
        row = typed(_Alpaca, entry, where, _CURE)
        if row.input:
            raise FireActError(
                f"{where} has an 'input' beside its instruction, which a trajectory has no place "
                "for. Move it into 'instruction'."
            )
        return _from_text(row.instruction, row.output, where, **_origin(path, number, task))

    return _keep(enumerate(read_json(path), 1), read, [], odd)


def _origin(path: str | Path, number: int, task: str) -> dict[str, Any]:
    return {"question_id": f"{Path(path).stem}:{number}", "task": task, "source": Path(path).name}


def read_released_trajectories(path: str | Path, odd: list[str] | None = None) -> list[Trajectory]:
    """Episodes of the authors' fine-tuned agents on HotpotQA's dev set, method "fireact".

    Reads both released shapes of 'traj': a list of messages, and one text in the Alpaca wrapper.
    `question_id` joins with `load_hotpotqa`. The file may hold fewer episodes than were asked, so
    compare with `accuracy(trajectories, questions=500)`. `odd` is as in read_chat.
    """

    def read(item: tuple[str, Any]) -> Trajectory:
        key, entry = item
        where = f"{path}, entry {key!r}"
        row = typed(_Episode, entry, where, _CURE)
        known = {"question_id": f"hotpotqa:dev:{key}", "task": "hotpotqa", "gold": row.gt,
                 "source": Path(path).name}  # fmt: skip
        if not isinstance(row.traj, str):
            trajectory = _from_messages({"messages": row.traj}, where, **known)
        elif row.traj.startswith(_BEFORE) and _BETWEEN in row.traj:
            question, _, output = row.traj.removeprefix(_BEFORE).partition(_BETWEEN)
            trajectory = _from_text(question, output, where, **known)
        else:
            raise FireActError(
                f"{where} has a 'traj' without the Alpaca wrapper (### Instruction: and "
                "### Response:). Download the file again."
            )
        # Our own name for what the fine-tuned agent does: it chooses a method by itself.
        meta = {**trajectory.meta, "f1": row.f1}
        return replace(trajectory, method="fireact", meta=meta)

    return _keep(read_json(path, dict).items(), read, [], odd)


def _keep(
    rows: Iterable[_Row], read: Callable[[_Row], Trajectory], told: list[str], odd: list[str] | None
) -> list[Trajectory]:
    """What can be read of the rows; the others are told of, in the order of the file."""
    kept = []
    for row in rows:
        try:
            kept.append(read(row))
        except FireActError as error:
            told.append(str(error))
    if told and not kept:
        raise FireActError(told[0])
    if odd is not None:
        odd += told
    elif told:
        warnings.warn(
            f"{len(told)} of {len(told) + len(kept)} rows were left out, the first because: "
            f"{told[0]}",
            stacklevel=3,
        )
    return kept


def _from_messages(row: Any, where: str, **known: Any) -> Trajectory:
    messages = [asdict(message) for message in typed(_Chat, row, where, _CURE).messages]
    if not messages:
        raise FireActError(f"{where} has no messages. Remove the row or fix it.")
    last, ending = messages[-1], None
    if last["role"] == "user" and _ENDING.fullmatch(last["content"]):
        messages, ending = messages[:-1], last["content"]
    with _unified(where):
        return _read_ending(parse_messages(messages, **known), ending)


def _from_text(question: str, output: str, where: str, **known: Any) -> Trajectory:
    """What follows the last turn, an ending or only line ends, is kept to be written back."""
    lines = output.rstrip("\n").split("\n")
    if _ENDING.fullmatch(lines[-1]):
        lines.pop()
    body = "\n".join(lines)
    ending = output[len(body) + 1 :] if body != output else None
    with _unified(where):
        return _read_ending(parse_text(question, body, **known), ending)


@contextmanager
def _unified(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise FireActError(
            f"{where} is not in the unified form ({error}). Remove the row or fix it."
        ) from error


def _read_ending(trajectory: Trajectory, ending: str | None) -> Trajectory:
    """Verdict, method and state, read off the environment's last words and the turns."""
    reward = _ENDING.fullmatch(ending or "")
    if ending and reward and trajectory.steps and trajectory.steps[-1].turn.action == "search":
        # After a search it is what the tool said, whatever it reads like: no verdict.
        *steps, last = trajectory.steps
        heard, newline, rest = ending.partition("\n")
        last = replace(last, observation=heard.removeprefix(OBSERVATION))
        trajectory = replace(trajectory, steps=(*steps, last))
        ending, reward = rest if newline else None, None
    correct = reward[1] in ("True", "1") if reward else None
    method = "react"
    if trajectory.rounds == 1 and reward and reward[1] == "1":
        method = "cot"  # in the released rows, only CoT has a number for its reward
    elif any(_CUE.search(step.text) for step in trajectory.steps):
        method = "reflexion"
    state = trajectory.state
    if trajectory.steps and trajectory.steps[-1].turn.action is None:
        # The authors' harness wrote "finish[]" itself when an episode broke down.
        state = "failed" if "finish[]" in trajectory.steps[-1].text else "malformed"
    meta = {} if ending is None else {"ending": ending}
    return replace(trajectory, correct=correct, method=method, state=state, meta=meta)
