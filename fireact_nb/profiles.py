"""The profile a notebook runs under: which models and prompts belong to it.

Loads none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import FireActError


@dataclass(frozen=True)
class Profile:
    """The models, prompts and sizes a notebook runs with; printed at the top of each run.

    `teacher` and `student` name shipped models; `prompts` names a set in `prompts/`.
    """

    name: str
    teacher: str
    student: str
    prompts: str


PROFILES = {"tiny": Profile("tiny", teacher="teacher", student="student", prompts="tiny")}


def load_profile(name: str) -> Profile:
    """The profile of that name. Raises FireActError for any other."""
    if name not in PROFILES:
        raise FireActError(
            f"There is no profile {name!r}. Set the notebook's parameter `profile` to one of: "
            f"{', '.join(PROFILES)}."
        )
    return PROFILES[name]
