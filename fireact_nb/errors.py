"""Errors meant for people."""

from __future__ import annotations

import re

# What could steer the terminal that an error is printed to, but tabs and line breaks.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class FireActError(Exception):
    """An error whose text is one paragraph for the user: what was wrong, where, what to do next.

    Its words may come from a server or a file, so control characters in it show as "?".
    """

    def __init__(self, text: str) -> None:
        super().__init__(_CONTROL.sub("?", text))
