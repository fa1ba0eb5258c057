"""An invented world: its pages, its questions, the text that tiny models read about it."""

from .shelf import TinyWorld

__all__ = ["TinyWorld"]
