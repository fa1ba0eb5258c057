"""Errors meant for people."""

from __future__ import annotations


class FireActError(Exception):
    """An error whose text is one paragraph for the user: what was wrong, where, what to do next."""
