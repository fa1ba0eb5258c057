"""What went wrong at an API: what may pass, what cannot, and what to tell the user.

Knows OpenAI's errors and the headers that ask to wait, and that no key may be shown. Knows neither
requests nor replies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from ..agent.asking import asked_wait
from ..agent.secrets import hide
from ..errors import FireActError

NO_KEY = "local"  # what a server that asks for no key is given
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_FILTERED = ("content_filter", "content_policy_violation")
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|exceed\w* .{0,40}context",
    re.IGNORECASE,
)
_SECRET = re.compile(r"\bsk-[\w*.-]{4,}|(?<=Bearer )\S+")


class NotThere(FireActError):
    """A server does not offer what was asked for, or no longer holds it (404)."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed, whether that may pass, and the seconds the server asked to wait."""

    text: str
    transient: bool = False
    wait: float = 0.0


def judge(
    error: Any, endpoint: str, model: str, timeout: float, key: str
) -> Failure | Literal["refused", "context full"]:
    """Decide what an openai.APIError means: how a reply ended, a wait or the end of the run."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return Failure(
            f"{endpoint} did not answer within {timeout:g} s. Check that the server "
            "is not overloaded, lower the concurrency, or allow a longer timeout.",
            transient=True,
        )
    if isinstance(error, openai.APIConnectionError):
        return Failure(
            f"{endpoint} cannot be reached ({_short(error.__cause__ or error)}). Check "
            "the address, that the server is running, and the network or proxy between.",
            transient=True,
        )
    status = getattr(error, "status_code", 0)
    said = _said(error)
    codes = {str(error.code), str(error.type)}  # what a stranger puts there may be a list
    if status in (400, 413, 422):
        if not codes.isdisjoint(_FILTERED):
            return "refused"
        if _TOO_LONG.search(f"{error.code} {error.type} {said}"):
            return "context full"
    said = _short(scrub(said, key))  # in this order: half a key would not be recognised
    if status == 402 or not codes.isdisjoint(_QUOTA):
        return Failure(
            f"The account behind {endpoint} has no quota left: {said}. Waiting does not "
            "help. Add credit or raise the limit on the provider's billing page, then run "
            "again; what is journalled is not paid again."
        )
    if status in (408, 409, 429) or status >= 500:
        pause = asked_wait(error.response.headers)
        asked = f" It asked to wait {pause:.0f} s." if pause else ""
        return Failure(
            f"{endpoint} keeps refusing: {said}.{asked} Run again later (what is "
            "journalled is not asked again), or lower the concurrency.",
            transient=True,
            wait=pause,
        )
    advice = {
        401: "The key was not accepted: check OPENAI_API_KEY, and that it belongs to this address.",
        403: f"The key may not use {model!r} here: check the rights of its project, and "
        "whether the provider serves your region.",
        404: f"Check that the model is really called {model!r} there, and the address (it "
        "mostly ends in /v1).",
    }.get(status, "Check the model's name and which parameters it takes; nothing was retried.")
    return Failure(f"{endpoint} refused the request: {said}. {advice}")


def scrub(text: str, key: str) -> str:
    """No key may reach a notebook's output, though servers like to echo it."""
    if key != NO_KEY:
        text = text.replace(key, "[key]")
    return _SECRET.sub("[key]", hide(text))


def _said(error: Any) -> str:
    """The server's words; `message` holds only those in OpenAI's own error format."""
    words = error.body.get("detail") if isinstance(error.body, dict) else error.body
    if not words or " - " in error.message or str(words).startswith("<"):
        return str(error.message)
    return f"{error.message} - {words}"


def _short(what: object) -> str:
    return " ".join(str(what).split())[:300].rstrip(".")
