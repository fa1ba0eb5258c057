"""Rows in, numbers and pictures out; knows neither models nor torch."""

from .outcomes import Outcome, outcomes_of, read_outcomes, write_outcomes
from .statistics import (
    Interval,
    accuracy,
    paired_bootstrap,
    paired_difference,
    summarize,
    tolerance_band,
    wilson,
)
from .viewer import show, show_side_by_side, show_tokens

__all__ = [
    "Interval", "Outcome", "accuracy", "outcomes_of", "paired_bootstrap", "paired_difference",
    "read_outcomes", "show", "show_side_by_side", "show_tokens", "summarize", "tolerance_band",
    "wilson", "write_outcomes",
]  # fmt: skip
