"""OpenAI's chat completions on the wire: what callers may send, and what they get back.

Knows JSON and the events of a stream. Knows neither HTTP nor the model that answers.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ..agent.chat import Reply, Request
from .sampling import Sampled

# What would change the answer and is not supported, unless its value asks for nothing.
_REFUSED = """tools functions tool_choice function_call response_format modalities audio
    logprobs top_logprobs logit_bias presence_penalty frequency_penalty n"""
_NOTHING: tuple[Any, ...] = (None, False, 0, [], {}, "none", "auto", ["text"], {"type": "text"})
_LONGEST_STOP = 64  # characters: each is compared with every word of the vocabulary


class Refused(Exception):
    """args: HTTP status, text, and OpenAI's param and code."""


@dataclass(frozen=True)
class Asked:
    """A call that was read: the request, and whether its answer comes in pieces, with its usage."""

    request: Request
    stream: bool
    usage: bool


def make_reader(model_name: str) -> Callable[[dict[str, Any]], Asked]:
    """What reads the JSON of a call; it raises Refused or pydantic's ValidationError."""
    from pydantic import BaseModel, Field

    Stop = Annotated[str, Field(max_length=_LONGEST_STOP)]

    class Part(BaseModel):
        type: Literal["text"]
        text: str

    class Message(BaseModel):
        role: Literal["system", "developer", "user", "assistant"]
        content: str | Annotated[list[Part], Field(min_length=1)]

        def plain(self) -> dict[str, str]:
            """As templates know it: one text, and system for its newer name."""
            content = self.content
            text = content if isinstance(content, str) else "".join(part.text for part in content)
            return {"role": "system" if self.role == "developer" else self.role, "content": text}

    class Options(BaseModel):
        include_usage: bool = False

    class Call(BaseModel):  # the defaults are OpenAI's, but there max_tokens has none
        model: str
        messages: list[Message] = Field(min_length=1)
        max_tokens: int = Field(256, ge=1)
        max_completion_tokens: int | None = Field(None, ge=1)
        temperature: float = Field(1.0, ge=0, le=2)
        top_p: float = Field(1.0, ge=0, le=1)
        stop: Stop | Annotated[list[Stop], Field(max_length=4)] = ""
        seed: int = Field(default_factory=lambda: random.getrandbits(62))
        stream: bool = False
        stream_options: Options = Options()

    def read(body: dict[str, Any]) -> Asked:
        call = Call.model_validate({k: v for k, v in body.items() if v is not None})
        if call.model != model_name:
            raise no_model(call.model, model_name)
        for name in _REFUSED.split():
            if body.get(name) not in ((None, 1) if name == "n" else _NOTHING):
                text = f"{name} is not supported by this server, at least not this value of it."
                raise Refused(400, text, name, "unsupported_value")
        messages = tuple(message.plain() for message in call.messages)
        limit = call.max_completion_tokens or call.max_tokens
        stop = tuple(filter(None, [call.stop] if isinstance(call.stop, str) else call.stop))
        request = Sampled(messages, limit, call.temperature, stop, call.seed, top_p=call.top_p)
        return Asked(request, call.stream, call.stream_options.include_usage)

    return read


def no_model(asked: str, served: str) -> Refused:
    text = f"The model {asked!r:.80} does not exist here; {served!r} is served."
    return Refused(404, text, "model", "model_not_found")


@dataclass(frozen=True)
class Answer:
    """The frame of one answer, whole or in pieces: its id, its model, when it began."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, reply: Reply) -> dict[str, Any]:
        """A reply as OpenAI's chat completion."""
        message = {"role": "assistant", "content": reply.text}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        return {**self._frame("chat.completion", [choice]), "usage": _usage(reply)}

    def piece(self, text: str, first: bool = False) -> str:
        """So much more text, as an event of a stream."""
        role = {"role": "assistant"} if first else {}
        return self._event({**role, "content": text}, None)

    def end(self, reply: Reply, usage: bool) -> Iterator[str]:
        """The events that close a stream."""
        yield self._event({}, reply.finish_reason)
        if usage:
            yield event({**self._frame("chat.completion.chunk", []), "usage": _usage(reply)})
        yield "data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], finish_reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event(self._frame("chat.completion.chunk", [choice]))

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        frame = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**frame, "choices": choices}


def event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def error_body(
    status: int, text: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": text, "type": kind, "param": param, "code": code}}


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
