"""What answers: models behind an API, and models on this machine."""

from .adapters import load_model
from .api import OpenAIChat
from .local import LocalChat
from .weights import describe, load_base

__all__ = ["LocalChat", "OpenAIChat", "describe", "load_base", "load_model"]
