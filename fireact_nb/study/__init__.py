"""The paper's grid in the tiny world: run, and told beside the paper."""

from .grid import (
    FULL_RATE,
    LIVE,
    LIVE_COUNT,
    MAIN,
    MIXES,
    MULTI_TASK_COT,
    NOISE,
    REFLEXION_SEARCH,
    SEEDS,
    STUDENTS,
    TEACHER_PLAYS,
    live,
    prompted,
    tuned,
)
from .rendering import show_table
from .results import Outcomes, open_study
from .runner import Study

__all__ = [
    "FULL_RATE", "LIVE", "LIVE_COUNT", "MAIN", "MIXES", "MULTI_TASK_COT", "NOISE", "Outcomes",
    "REFLEXION_SEARCH", "SEEDS", "STUDENTS", "Study", "TEACHER_PLAYS", "live", "open_study",
    "prompted", "show_table", "tuned",
]  # fmt: skip
