"""Trajectories in, an adapter out. Does not know how the result is measured."""

from .formats import export_alpaca, export_chat, export_sharegpt, export_tool_calls
from .masking import encode
from .memory import measure_memory
from .mixing import check_leaks, mix, share_out
from .planning import forecast_training
from .recipe import Recipe, prepare, recipe_for
from .training import fine_tune

__all__ = [
    "Recipe", "check_leaks", "encode", "export_alpaca", "export_chat", "export_sharegpt",
    "export_tool_calls", "fine_tune", "forecast_training", "measure_memory", "mix", "prepare",
    "recipe_for", "share_out",
]  # fmt: skip
