"""Trajectories in the formats that trainers read: OpenAI chat, tool calls, Alpaca, ShareGPT.

Knows file layouts; the conversation in its forms is rendered in `agent`. Does not choose what to
train on, but refuses what teaches nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..agent.native import TOOLS, parse_native, render_native
from ..agent.trajectory import Message, Trajectory, render_messages, render_text, unify
from ..errors import FireActError
from ..files import read_json, read_json_lines, write_file
from .checking import LEAST, find_fault


def chat_row(trajectory: Trajectory) -> dict[str, list[Message]]:
    """The OpenAI chat row of a trajectory; an imported one comes out as it came in."""
    messages = render_messages(trajectory)
    if "ending" in trajectory.meta:
        messages.append({"role": "user", "content": trajectory.meta["ending"]})
    return {"messages": messages}


def alpaca_row(trajectory: Trajectory) -> dict[str, str]:
    """The Alpaca row of a trajectory; an imported one comes out as it came in."""
    output = render_text(trajectory.steps)
    if "ending" in trajectory.meta:
        output += "\n" + trajectory.meta["ending"]
    return {"instruction": trajectory.question, "input": "", "output": output}


def tool_row(trajectory: Trajectory, text: bool = False) -> dict[str, list[dict[str, Any]]]:
    """The row of a trajectory in native tool calls, with its tools.

    text: arguments as JSON text, as OpenAI's files have them; else as objects, as TRL and chat
    templates take them.
    """
    messages = render_native(trajectory)
    for message in messages if text else ():
        for call in message.get("tool_calls", ()):
            arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
            call["function"]["arguments"] = arguments
    return {"messages": messages, "tools": list(TOOLS)}


def read_tool_calls(path: str | Path, task: str = "") -> list[Trajectory]:
    """Trajectories from JSON lines of native tool calls, OpenAI's or TRL's, ours or another's.

    Rows that are none are left out with a warning that names the first of them; raises FireActError
    when there is no other.
    """
    path, trajectories, odd = Path(path), list[Trajectory](), list[str]()
    for number, row in read_json_lines(path):
        try:
            known = {"question_id": f"{path.stem}:{number}", "task": task, "source": path.name}
            trajectories.append(parse_native(row["messages"], **known))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            odd.append(f"line {number} ({error})")
    if odd and not trajectories:
        raise FireActError(
            f"{path} holds no conversation of this agent's tool calls: {odd[0]}. Check that this "
            "is the file you meant."
        )
    if odd:
        warnings.warn(
            f"{len(odd)} of {len(odd) + len(trajectories)} rows of {path} were left out, for they "
            f"are no conversation of this agent's tool calls: {', '.join(odd[:3])}.",
            stacklevel=2,
        )
    return trajectories


def write_rows(trajectories: Iterable[Trajectory], path: str | Path, tools: bool = False) -> None:
    """Chat rows as JSON lines, in the text form or with native `tools`."""
    rows = [tool_row(t) if tools else chat_row(t) for t in trajectories]
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def export_chat(trajectories: Iterable[Trajectory], path: str | Path) -> None:
    """OpenAI fine-tuning JSON lines: {"messages": [...]}, each ending with the finish turn.

    Every trajectory is unified first. One that is unfinished, wrong or empty is a FireActError: it
    has nothing to teach. So is none at all; fewer than services start with are a warning.
    """
    write_rows(_ready(trajectories), path)


def export_tool_calls(
    trajectories: Iterable[Trajectory], path: str | Path, text: bool = False
) -> None:
    """The same conversations as JSON lines in native tool calls; see `tool_row` and export_chat."""
    rows = [tool_row(t, text) for t in _ready(trajectories)]
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def export_alpaca(trajectories: Iterable[Trajectory], path: str | Path) -> None:
    """Alpaca JSON: a list of {"instruction", "input", "output"}, each ending with the finish turn.

    Observations are part of "output", so a trainer of Alpaca files puts loss on them, as the
    authors' did; export_chat and export_sharegpt keep them apart.
    """
    rows = [alpaca_row(t) for t in _ready(trajectories)]
    write_file(path, json.dumps(rows, ensure_ascii=False, indent=4) + "\n")


def export_sharegpt(trajectories: Iterable[Trajectory], path: str | Path) -> None:
    """LLaMA-Factory's sharegpt JSON, and the file's entry in dataset_info.json beside it.

    The data set is named after the file; other entries of dataset_info.json stay.
    """
    path = Path(path)
    rows = [chat_row(t) for t in _ready(trajectories)]
    catalogue = path.with_name("dataset_info.json")
    entries = read_json(catalogue, dict) if catalogue.exists() else {}
    entries[path.stem] = {
        "file_name": path.name,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
    write_file(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    write_file(catalogue, json.dumps(entries, ensure_ascii=False, indent=2) + "\n")


def _ready(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    ready = []
    for trajectory in trajectories:
        if fault := find_fault(trajectory):
            raise FireActError(
                f"The trajectory {trajectory.id} has {fault}, so it would teach nothing or what is "
                "wrong. Leave it out of the training set; `successes` keeps what ended right."
            )
        meta = {k: v for k, v in trajectory.meta.items() if k != "ending"}
        ready.append(replace(unify(trajectory), meta=meta))
    if not ready:
        raise FireActError("There is no trajectory to export: the file would be empty.")
    if len(ready) < LEAST:
        warnings.warn(
            f"Only {len(ready)} trajectories go out: services start with {LEAST} at least.",
            stacklevel=3,
        )
    return ready
