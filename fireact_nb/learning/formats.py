"""Trajectories in the formats that trainers read: OpenAI chat, Alpaca, ShareGPT.

Knows file layouts; the conversation and its plain text are rendered in `agent.trajectory`. Does not
choose what to train on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..agent.trajectory import Message, Trajectory, render_messages, render_text, unify
from ..errors import FireActError
from ..files import read_json, write_file


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


def export_chat(trajectories: Iterable[Trajectory], path: str | Path) -> None:
    """OpenAI fine-tuning JSON lines: {"messages": [...]}, each ending with the finish turn.

    Every trajectory is unified first. An unfinished one is a FireActError: it has nothing to teach
    as its last turn.
    """
    rows = [chat_row(t) for t in _ready(trajectories)]
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


def _ready(trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
    for trajectory in trajectories:
        if trajectory.state != "finished" or trajectory.answer is None:
            raise FireActError(
                f"The trajectory {trajectory.id} has no answer (state: {trajectory.state}), so it "
                "cannot end with the finish turn. Leave unfinished trajectories out of the "
                "training set."
            )
        meta = {k: v for k, v in trajectory.meta.items() if k != "ending"}
        yield replace(unify(trajectory), meta=meta)
