"""The one way to talk to a language model: messages in, text out.

Knows requests and replies; knows no model that answers, neither agents nor tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .trajectory import Message


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

    `seconds` is the time of the attempt that was answered; tokens are 0 if the server names none.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length", "context full", "refused"]
    seconds: float
    usd: float = 0.0


class Chat(Protocol):
    """A language model. `name` holds model and revision, `endpoint` its base url or "local".

    `batch` is how many requests it likes to be handed at once. `reply` answers in order and calls
    `done(place, reply)` as soon as each reply is there, in the thread that got it.
    """

    name: str
    endpoint: str
    batch: int

    def reply(
        self, requests: Sequence[Request], done: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]: ...
