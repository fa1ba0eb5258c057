"""One question to a search service on the web, and what its failures mean.

Knows HTTP, JSON and when to come again; the services stand in rooms of their own. Tries nothing
again itself: who guards a run's searches does. No key or address comes into an error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..agent.asking import asked_wait
from ..agent.search import Unavailable
from ..agent.secrets import hide, hide_in_logs

if TYPE_CHECKING:
    import httpx

SECONDS = 20.0  # for an answer; less than a guarded search waits, so that its thread ends, too


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its JSON, None if it is something else, and the seconds it asks to wait."""

    status: int
    json: Any
    wait: float = 0.0


class Service:
    """A web address that answers GET with JSON. A wait that it asked for holds for all who ask."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self._free_at = 0.0  # on the monotonic clock

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx

        client = httpx.Client(timeout=SECONDS, headers={"User-Agent": user_agent()})
        hide_in_logs()  # it logs the whole address, and a key may be in it
        return client

    def get(self, question: Mapping[str, str]) -> Answer:
        """Ask once. Raises Unavailable where there is no answer, or none before a wait is over."""
        left = self._free_at - time.monotonic()
        if left > 0:
            raise Unavailable(f"{self.name} asked for a pause, which is not over.", left)
        answer = self._get(question)
        if isinstance(answer, str):
            raise Unavailable(
                f"{self.name} cannot be reached or breaks off ({answer}). Check the network."
            )
        if answer.wait:
            self._free_at = time.monotonic() + answer.wait
        return answer

    def _get(self, question: Mapping[str, str]) -> Answer | str:
        """The answer, or in a word why there is none: an error's text may hold the address."""
        try:
            reply = self._client.get(self.url, params=question)
        except Exception as error:  # no connection; a body that says it is packed and is not
            return type(error).__name__
        try:
            body = reply.json()
        except (ValueError, RecursionError):
            body = None
        return Answer(reply.status_code, body, asked_wait(reply.headers))

    def busy(self, answer: Answer) -> Unavailable:
        """The error for an answer that may be another one later."""
        said = "no JSON" if answer.json is None else words(answer.json)
        return Unavailable(f"{self.name} answered {answer.status}: {said}.", answer.wait)


def words(body: Any) -> str:
    """What a service says of an error, without keys and on one line."""
    said = body.get("error") if isinstance(body, dict) else body
    said = said.get("info", said) if isinstance(said, dict) else said
    return " ".join(hide(str(said)).split())[:300].rstrip(".")


@cache
def user_agent() -> str:
    """Who asks: the project, its version and its address, as Wikimedia's policy wants it."""
    try:
        links = metadata("fireact-nb").get_all("Project-URL") or []
    except PackageNotFoundError:
        links = []
    address = next((link.rpartition(" ")[2] for link in links), "a course on language agents")
    return f"fireact-nb/{__version__} ({address}) python-httpx"
