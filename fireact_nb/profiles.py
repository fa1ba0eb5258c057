"""The profile a notebook runs under: which world is played, and who teaches whom there.

Knows names alone; `lab.open_lab` opens what they stand for. A reader changes parts of a profile by
a small TOML file, whose path takes the place of the profile's name::

    base = "colab"                           # the profile that the rest is taken from
    student = "Qwen/Qwen2.5-0.5B-Instruct"   # any part of Profile
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import FireActError
from .files import read_text


@dataclass(frozen=True)
class Profile:
    """World and models of a run; printed at its top.

    `teacher` and `student` are names of shipped models, folders, or names of the hub. With
    `base_url` the teacher is a model at that OpenAI-compatible address; where it costs, `max_usd`
    is the most that a run may spend there, and 0 forbids it. `search` names what searches the
    world, "" its own paragraphs.
    """

    name: str
    world: str
    teacher: str
    student: str
    base_url: str = ""
    max_usd: float = 0.0
    search: str = ""


# The revision is a commit: the one place to set another.
_QWEN = "Qwen/Qwen3-4B-Instruct-2507@cdbee75f17c01a7cc42f958dc650907174af0554"
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("tiny", world="tiny", teacher="teacher", student="student"),
        # Without a teacher's address the student plays the teacher's live part, prompted, and what
        # is trained on are the authors' GPT-4 trajectories.
        Profile("colab", world="real", teacher=_QWEN, student=_QWEN),
        Profile(
            "paper",
            world="real",
            teacher="meta-llama/Llama-2-7b-chat-hf",
            student="meta-llama/Llama-2-7b-chat-hf",
            search="serpapi",
        ),
    )
}


def load_profile(name: str) -> Profile:
    """The profile of that name, or the one that a TOML file of that path describes.

    Raises FireActError for any other name, and for a file with a part that no profile has.
    """
    if name.endswith(".toml"):
        return _read_profile(Path(name))
    if name not in PROFILES:
        raise FireActError(
            f"There is no profile {name!r}. Set the notebook's parameter `profile` to one of: "
            f"{', '.join(PROFILES)}; or to the path of a TOML file that changes parts of one."
        )
    return PROFILES[name]


def _read_profile(path: Path) -> Profile:
    try:
        parts = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FireActError(
            f"{path} is not whole TOML ({error}). A line reads: student = "
            '"Qwen/Qwen2.5-0.5B-Instruct"'
        ) from error
    base = load_profile(_text(parts.pop("base", "colab"), "base", path))
    known = {f.name: f.type for f in fields(Profile)} | {"name": "str"}
    for part, value in parts.items():
        if part not in known:
            raise FireActError(
                f"{path} has a part {part!r} that no profile has. The parts are: base, "
                f"{', '.join(known)}."
            )
        parts[part] = _amount(value, part, path) if part == "max_usd" else _text(value, part, path)
    if "student" in parts and "teacher" not in parts and base.teacher == base.student:
        parts["teacher"] = parts["student"]  # who plays both parts goes on to do so
    return replace(base, **{"name": path.stem, **parts})


def _text(value: Any, part: str, path: Path) -> str:
    if not isinstance(value, str):
        raise FireActError(f"{path}: {part} should be a text in quotes, not {value!r}.")
    return value


def _amount(value: Any, part: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise FireActError(
            f"{path}: {part} should be a number of dollars from 0 on, not {value!r}."
        )
    return float(value)
