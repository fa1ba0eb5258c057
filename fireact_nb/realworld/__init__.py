"""The real questions, what can be searched for them, and the authors' released files."""

from .engines import open_search
from .loaders import load_bamboogle, load_hotpotqa, load_mmlu, load_strategyqa
from .paragraphs import Page, Paragraphs
from .released import read_alpaca, read_chat, read_released_trajectories

__all__ = [
    "Page", "Paragraphs", "load_bamboogle", "load_hotpotqa", "load_mmlu", "load_strategyqa",
    "open_search", "read_alpaca", "read_chat", "read_released_trajectories",
]  # fmt: skip
