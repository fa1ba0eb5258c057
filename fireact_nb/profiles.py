"""The profile a notebook runs under: which world is played, and who teaches whom there.

Knows names alone; `lab.open_lab` opens what they stand for.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import FireActError


@dataclass(frozen=True)
class Profile:
    """World and models of a run; printed at its top.

    `teacher` and `student` are names of shipped models, or folders.
    """

    name: str
    world: str
    teacher: str
    student: str


PROFILES = {"tiny": Profile("tiny", world="tiny", teacher="teacher", student="student")}


def load_profile(name: str) -> Profile:
    """The profile of that name. Raises FireActError for any other."""
    if name not in PROFILES:
        raise FireActError(
            f"There is no profile {name!r}. Set the notebook's parameter `profile` to one of: "
            f"{', '.join(PROFILES)}."
        )
    return PROFILES[name]
