"""The one way to talk to a language model: messages in, text out.

Knows requests and replies; knows no model that answers, neither agents nor tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, Protocol

from ..errors import FireActError
from .trajectory import Message


class Exhausted(FireActError):
    """What still failed after the last try, and may go well another day.

    It ends the episode as "failed", not the run.
    """


@dataclass(frozen=True)
class Request:
    """What a model is asked: role messages and how to decode.

    `prefix` is text the reply must start with. `seed` and `sample` tell repeated requests apart.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    sample: int = 0
    prefix: str = ""

    def __post_init__(self) -> None:
        # Equal requests must be equal as JSON too, for it is the key of the journal.
        object.__setattr__(self, "messages", tuple(self.messages))
        object.__setattr__(self, "temperature", float(self.temperature))
        if isinstance(self.stop, str):
            raise ValueError(f"stop is a tuple of strings, not the string {self.stop!r}")
        object.__setattr__(self, "stop", tuple(self.stop))


@dataclass(frozen=True)
class Reply:
    """What a model answered: `text` with the request's prefix and without any stop string.

    `seconds` is the time of the attempt that was answered; tokens are estimated if the server
    names none. `thinking` is what a reasoning model wrote before its answer, where it is shown, and
    `reasoning_tokens`, part of the completion's, what that took. "out of tokens" is a reply that
    ran into its cap before its first word; "failed" is what a driver puts in place of a reply that
    could not be had.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length", "context full", "refused", "out of tokens", "failed"]
    seconds: float
    usd: float = 0.0
    reasoning_tokens: int = 0
    thinking: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What a journal holds: without the fields on reasoning where there was none."""
        fields = dict(vars(self))
        for name in ("reasoning_tokens", "thinking"):
            if not fields[name]:
                del fields[name]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Reply:
        # Journals of the first edition say "finish".
        return cls(**{"finish_reason" if k == "finish" else k: v for k, v in fields.items()})


class Stop(Event):
    """The end of a run, owned by the driver and handed down to whoever waits.

    Setting it ends every `wait` on it. A call that hangs in a socket cannot wait on an event, so a
    chat puts into `closers` what ends such calls from another thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.closers: set[Callable[[], None]] = set()


class Chat(Protocol):
    """A language model. `name` holds model and revision, `endpoint` its base url or "local".

    `reply` answers one batch in the caller's thread, in order, and calls `done(place, reply)` as
    soon as each reply is there. Once `stop` is set it begins nothing more and raises
    CancelledError; a request that fails however often it is tried raises Exhausted. `batch_size` is
    how many requests a local model likes to be handed at once; all others may be asked from as many
    threads.
    """

    name: str
    endpoint: str
    batch_size: int

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]: ...
