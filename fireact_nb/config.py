"""Errors meant for people, and the profiles a notebook can run under.

Knows where the shipped data lie and which settings belong to which profile; knows no model.
"""

from __future__ import annotations


class FireActError(Exception):
    """An error whose text is one paragraph for the user: what was wrong, where, what to do next."""
