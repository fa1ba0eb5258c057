"""The real questions and the authors' released files."""

from .loaders import load_bamboogle, load_hotpotqa, load_mmlu, load_strategyqa
from .released import read_alpaca, read_chat, read_released_trajectories

__all__ = [
    "load_bamboogle", "load_hotpotqa", "load_mmlu", "load_strategyqa", "read_alpaca", "read_chat",
    "read_released_trajectories",
]  # fmt: skip
