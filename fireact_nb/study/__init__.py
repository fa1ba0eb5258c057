"""The paper's grid in the tiny world: run, and told beside the paper."""

from .grid import MAIN, MIXES, NOISE, STUDENTS, live, prompted, tuned
from .rendering import show_table
from .results import Outcomes, load_student, open_dev, open_live, open_study, study_lab
from .runner import Study

__all__ = [
    "MAIN", "MIXES", "NOISE", "Outcomes", "STUDENTS", "Study", "live", "load_student", "open_dev",
    "open_live", "open_study", "prompted", "show_table", "study_lab", "tuned",
]  # fmt: skip
