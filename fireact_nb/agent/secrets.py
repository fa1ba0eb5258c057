"""Keys and passwords: taken out of addresses, and hidden in every text that somebody may see.

Knows how servers and libraries write a key. Knows no API.
"""

from __future__ import annotations

import base64
import logging
import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from ..errors import FireActError

_SHORTEST = 8  # characters; what is shorter is a word put where a key must stand, such as "none"
_SURELY = 16  # characters from which on a word in a model's reply cannot be there by chance
_GAPS = " \t\r\n\"'`,;+|"  # what stands between the pieces where a key was cut over lines
_LIBRARIES = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")
_known: set[str] = set()


class Hidden(str):
    """A key that is not shown by `repr`, as tracebacks and debuggers show the values they meet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


def remember(*secrets: str) -> None:
    """Hide these from now on, in this process, whoever shows a text."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def hide(text: str, least: int = _SHORTEST) -> str:
    """The text with [key] for every known secret of at least so many characters."""
    for secret in sorted(_known, key=len, reverse=True):
        if len(secret) >= least:
            text = _pattern(secret).sub("[key]", text)
    return text


def hide_in_reply(text: str) -> str:
    """The same for what a model said, where a short key may be but a word."""
    return hide(text, _SURELY)


@lru_cache(maxsize=64)
def _pattern(secret: str) -> re.Pattern[str]:
    """The secret plain, percent-encoded, escaped for JSON or HTML, in pieces, in either case."""
    own = "".join(c for c in _GAPS if c in secret)
    others = "".join(c for c in _GAPS if c not in secret)
    between = rf"(?:[{re.escape(others)}]|\\+[nrt]){{0,8}}+"  # never given back: no long search
    if own:
        between += rf"(?:[{re.escape(own)}]{between})?"
    return re.compile(between.join(map(_ways, secret)), re.IGNORECASE)


def _ways(letter: str) -> str:
    percent = "".join(f"%(?:25)?{byte:02x}" for byte in letter.encode("utf-8", "replace"))
    code = ord(letter)
    return rf"(?:{re.escape(letter)}|{percent}|\\+u{code:04x}|&\#{code};|&\#x{code:x};)"


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if (hidden := hide(said)) != said:
            record.msg, record.args = hidden, ()
        return True


_FILTER = _Filter()


def hide_in_logs() -> None:
    """No known secret in what the HTTP libraries log, though they log headers and addresses.

    A filter sees the records of its own logger alone, so all that exist get it.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_FILTER)


def open_address(url: str) -> tuple[str, tuple[str, str] | None]:
    """A server's address without user and password, and these two, which are remembered.

    Raises FireActError for what is no http address, or has a query, in which keys would hide.
    """
    url = Hidden(url.strip().rstrip("/"))
    if not _is_sound(url):
        shown = re.split(r"[?#]", re.sub(r".*@", "", url, flags=re.DOTALL))[0]
        raise FireActError(
            f"The base URL {shown!r} is no address of a server. Give one like "
            "http://localhost:8000/v1 or https://api.openai.com/v1, without ? and #; a key belongs "
            "into OPENAI_API_KEY."
        )
    parts = urlsplit(str(url))
    if "@" not in parts.netloc:
        return str(url), None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode("ascii").rstrip("=")
    remember(password, pair)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host).geturl(), (user, Hidden(password))


def _is_sound(url: str) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(sound) and not re.search(r"[\s?#\x00-\x1f]", url)
