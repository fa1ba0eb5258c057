"""The notebooks: built and run, their exercises checked, the machine looked over."""

from .exercises import check

__all__ = ["check"]
