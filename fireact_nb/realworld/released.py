"""The authors' released files: trajectories they trained on, and episodes of their agents.

Knows file layouts; the conversation and its plain text are parsed in `agent.trajectory`.

An imported row often closes with the environment's "Observation: Episode finished, reward = True".
It is no part of the unified form, which ends with the finish turn, but it is kept word for word
in `meta["ending"]`, so `chat_row` and `alpaca_row` give back every imported row unchanged.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..agent.trajectory import OBSERVATION, Message, Trajectory, parse_messages, parse_text
from ..errors import FireActError
from ..files import read_json, read_json_lines

# The wrapper of Stanford Alpaca around a question, as in the released Llama trajectories.
ALPACA_PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{question}\n\n### Response:\n"
)
_BEFORE, _BETWEEN = ALPACA_PROMPT.split("{question}")
_ENDING = re.compile(r"Observation: Episode finished, reward = (True|False|1|0)\s*")
_CUE = re.compile(r"haven't solved the task within \d+ steps")


def read_chat(path: str | Path, task: str = "") -> list[Trajectory]:
    """Trajectories from OpenAI chat JSON lines in the unified form, ours or the authors'.

    `correct` and the method are read off a released row's ending and turns: one round and
    "reward = 1" is cot, the reflection cue reflexion, anything else react. Ids are made of the
    file's name and the row number.
    """
    return [
        _imported(
            _messages(row, where),
            where,
            question_id=f"{Path(path).stem}:{number}",
            task=task,
            source=Path(path).name,
        )
        for number, row in read_json_lines(path)
        for where in [f"{path}, line {number}"]
    ]


def read_alpaca(path: str | Path, task: str = "") -> list[Trajectory]:
    """Trajectories from an Alpaca JSON list of {"instruction", "output"}; see read_chat."""
    trajectories = []
    for number, row in enumerate(read_json(path), 1):
        where = f"{path}, entry {number}"
        question, output = _field(row, "instruction", str, where), _field(row, "output", str, where)
        if row.get("input"):
            raise FireActError(
                f"{where} has an 'input' beside its instruction, which a trajectory has no place "
                "for. Move it into 'instruction'."
            )
        trajectories.append(
            _imported(
                (question, output),
                where,
                question_id=f"{Path(path).stem}:{number}",
                task=task,
                source=Path(path).name,
            )
        )
    return trajectories


def read_released_trajectories(path: str | Path) -> list[Trajectory]:
    """Episodes of the authors' fine-tuned agents on HotpotQA's dev set, method "fireact".

    Reads both released shapes of 'traj': a list of messages, and one text in the Alpaca wrapper.
    `question_id` joins with `load_hotpotqa`. The file may hold fewer episodes than were asked, so
    compare with `accuracy(trajectories, questions=500)`.
    """
    trajectories = []
    for key, row in read_json(path, dict).items():
        where = f"{path}, entry {key!r}"
        gold, f1 = _field(row, "gt", str, where), _field(row, "f1", (int, float), where)
        rounds = row.get("traj")
        if isinstance(rounds, str):
            if not rounds.startswith(_BEFORE) or _BETWEEN not in rounds:
                raise FireActError(
                    f"{where} has a 'traj' without the Alpaca wrapper (### Instruction: and "
                    "### Response:). Download the file again."
                )
            question, _, output = rounds.removeprefix(_BEFORE).partition(_BETWEEN)
            content: Any = (question, output)
        else:
            content = _messages({"messages": rounds}, where)
        trajectory = _imported(
            content,
            where,
            question_id=f"hotpotqa:dev:{key}",
            task="hotpotqa",
            source=Path(path).name,
            gold=gold,
        )
        # Our own name for what the fine-tuned agent does: it chooses a method by itself.
        meta = {**trajectory.meta, "f1": f1}
        trajectories.append(replace(trajectory, method="fireact", meta=meta))
    return trajectories


def _imported(content: list[Message] | tuple[str, str], where: str, **known: Any) -> Trajectory:
    """The trajectory behind a conversation, or behind a question and its plain-text rounds."""
    body, ending = _split_ending(content)
    try:
        trajectory = _parse(body, known)
        reward = _ENDING.fullmatch(ending or "")
        if reward and trajectory.steps and trajectory.steps[-1].turn.action == "search":
            # After a search it is what the tool said, whatever it reads like: no verdict.
            *steps, last = trajectory.steps
            heard, newline, rest = ending.partition("\n")
            last = replace(last, observation=heard.removeprefix(OBSERVATION))
            trajectory = replace(trajectory, steps=(*steps, last))
            ending, reward = rest if newline else None, None
    except ValueError as error:
        raise FireActError(
            f"{where} is not in the unified form ({error}). Remove the row or mend it."
        ) from error
    correct = reward[1] in ("True", "1") if reward else None
    method = "react"
    if trajectory.rounds == 1 and reward and reward[1] == "1":
        method = "cot"
    elif any(_CUE.search(step.text) for step in trajectory.steps):
        method = "reflexion"
    state = trajectory.state
    if trajectory.steps and trajectory.steps[-1].turn.action is None:
        # The authors' harness wrote "finish[]" itself when an episode broke down.
        state = "failed" if "finish[]" in trajectory.steps[-1].text else "malformed"
    meta = {} if ending is None else {"ending": ending}
    return replace(trajectory, correct=correct, method=method, state=state, meta=meta)


def _parse(content: list[Message] | tuple[str, str], known: dict[str, Any]) -> Trajectory:
    if isinstance(content, tuple):
        return parse_text(*content, **known)
    return parse_messages(content, **known)


def _split_ending(
    content: list[Message] | tuple[str, str],
) -> tuple[list[Message] | tuple[str, str], str | None]:
    """The content without what follows the last turn, and that: None if there is nothing."""
    if isinstance(content, list):
        if content[-1]["role"] == "user" and _ENDING.fullmatch(content[-1]["content"]):
            return content[:-1], content[-1]["content"]
        return content, None
    question, output = content
    lines = output.rstrip("\n").split("\n")
    if _ENDING.fullmatch(lines[-1]):
        lines.pop()
    body = "\n".join(lines)
    return (question, body), output[len(body) + 1 :] if body != output else None


def _messages(row: Any, where: str) -> list[Message]:
    messages = _field(row, "messages", list, where)
    for message in messages:
        _field(message, "role", str, where)
        _field(message, "content", str, where)
    if not messages:
        raise FireActError(f"{where} has no messages. Remove the row or mend it.")
    return messages


def _field(row: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get(name), kind):
        raise FireActError(
            f"{where} lacks a proper {name!r}. Check that the file is in the format this reader is "
            "for, or download it again."
        )
    return row[name]
