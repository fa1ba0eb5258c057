"""A request as an OpenAI-compatible server takes it, and its answer as it is to be used.

Knows the fields of a chat completion, which of them a model refused, and how thinking is told from
an answer. Knows no connection, no price and no retry.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, Literal

from ..agent.chat import Request

OPENAI = "https://api.openai.com/v1"
_MOST_STOPS = 4  # an API takes no more; the rest are cut here
_MOST_TOKENS = 10_000_000  # beyond any context window: a usage that says more was not counted
_LABEL = re.compile(r"\w+:")
_OPENED = re.compile(r"\s*<(think|thinking|reasoning)>(.*?)(?:</\1>|\Z)", re.DOTALL)
_CLOSED = re.compile(r"(.*?)</(?:think|thinking|reasoning)>", re.DOTALL)
_OPENING = re.compile(r"<(?:think|thinking|reasoning)>")
_WITHIN = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_LIMITS = ("max_completion_tokens", "max_tokens")
# What a model may refuse, and what is done without it.
_WITHOUT = {
    "temperature": "It decodes at a temperature of its own, so that equal questions may get "
    "different answers",
    "stop": "Replies are cut here instead, and what follows the cut is paid for",
    "seed": "Another run may draw other samples",
    "max_tokens": "The cap is sent as max_completion_tokens, which counts reasoning, too",
    "max_completion_tokens": "The cap is sent as max_tokens",
    "reasoning_effort": "It reasons as long as it sees fit",
    "system": "Its words stand before the first question instead",
}
# A chat template without that role, as a server tells of it.
_NO_SYSTEM = re.compile(r"system role|role \W?system|roles must alternate", re.IGNORECASE)
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|(?:does|do) not support|unknown|unrecogni[sz]ed|not permitted"
    r"|unexpected|not allowed|extra_forbidden",
    re.IGNORECASE,
)


class Dialect:
    """Which request fields and roles a model takes, learnt from its refusals: no name tells.

    One for each endpoint and model in a process, shared by all that ask it; from any thread.
    """

    def __init__(self, endpoint: str, model: str) -> None:
        self.endpoint, self.model = endpoint, model
        self.refused: set[str] = set()
        self._turn = Lock()

    def body(self, request: Request, effort: str | None = None) -> dict[str, Any]:
        """The JSON of a chat completion's request."""
        wire: dict[str, Any] = {"model": self.model, "messages": self._messages(request)}
        wire["temperature"] = request.temperature
        # OpenAI's newer models refuse max_tokens; other servers may not know its successor.
        limits = _LIMITS if self.endpoint == OPENAI else _LIMITS[::-1]
        limit = next((name for name in limits if name not in self.refused), None)
        if limit:
            wire[limit] = request.max_tokens
        if request.stop:
            wire["stop"] = list(request.stop[:_MOST_STOPS])
        if request.temperature > 0:
            wire["seed"] = request.seed * 10_000 + request.sample
        if effort:
            wire["reasoning_effort"] = effort
        return {name: value for name, value in wire.items() if name not in self.refused}

    def _messages(self, request: Request) -> list[dict[str, str]]:
        messages = [
            {field: whole(text) for field, text in message.items()} for message in request.messages
        ]
        if "system" in self.refused and messages[0]["role"] == "system" and len(messages) > 1:
            told = messages.pop(0)["content"]
            messages[0]["content"] = f"{told}\n\n{messages[0]['content']}"
        if request.prefix:
            # Few servers continue an assistant message, so the model is asked to begin with it.
            cue = f"Begin your reply with exactly: {request.prefix}"
            last = next((m for m in reversed(messages) if m["role"] == "user"), None)
            if last is None:
                messages.append({"role": "user", "content": cue})
            else:
                last["content"] += "\n" + cue
        return messages

    def learn(self, error: Any, sent: Mapping[str, Any]) -> bool:
        """Whether an openai.APIError refuses a field that can be left out; said the first time."""
        if getattr(error, "status_code", 0) not in (400, 422):
            return False
        field = _refused_field(error, sent)
        if field is None:
            return False
        self.drop(field)
        return True

    def drop(self, field: str) -> None:
        """Send this field no more."""
        with self._turn:
            if field in self.refused:  # another thread met it at the same time
                return
            self.refused.add(field)
        instead = _WITHOUT[field]
        if field in _LIMITS and self.refused.issuperset(_LIMITS):
            instead = "Nothing caps the length of its replies now"
        warnings.warn(
            f"{self.model!r} at {self.endpoint} takes no {field!r}, so it is sent no more. "
            f"{instead}.",
            stacklevel=2,
        )


@cache
def dialect_of(endpoint: str, model: str) -> Dialect:
    """What this process knows of the model there."""
    return Dialect(endpoint, model)


def _refused_field(error: Any, sent: Mapping[str, Any]) -> str | None:
    said = f"{error.message} {error.body}"
    code = str(getattr(error, "code", ""))
    if sent["messages"][0]["role"] == "system" and _NO_SYSTEM.search(said):
        return "system"
    if not _UNSUPPORTED.search(f"{code} {said}"):
        return None
    fields = [name for name in _WITHOUT if name in sent]
    if code == "unsupported_value" and "reasoning_effort" in fields:
        fields.remove("reasoning_effort")  # chosen by a person, who is told what there is
    if str(getattr(error, "param", "")) in fields:
        return str(error.param)
    # Others quote the name, put it behind a colon, or into pydantic's place of the error.
    places = {
        found.start(): name
        for name in fields
        if (found := re.search(rf"(?:['\"`]|: ){name}(?:['\"`]|\.?$|\.? )", said))
    }
    return places[min(places)] if places else None


@dataclass(frozen=True)
class Said:
    """What a chat completion says, its tokens as the server counts them (0: it does not).

    `written` is all the model wrote to us, `unfinished` a thinking that breaks off.
    """

    text: str
    finish_reason: Literal["stop", "length", "refused", "out of tokens"]
    thinking: str
    written: str
    unfinished: bool
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


def read(body: Any, request: Request) -> Said | None:
    """What stands in a chat completion's JSON, None where there is nothing to be read."""
    choice = body["choices"][0]
    message = choice["message"]
    content, refusal = _text(message.get("content")), _text(message.get("refusal"))
    if content is None or refusal is None:
        return None
    beside = _text(message.get("reasoning_content")) or _text(message.get("reasoning")) or ""
    thinking, text, unfinished = split_thinking(whole(content or refusal))
    thinking = "\n".join(filter(None, (whole(beside).strip(), thinking)))
    finish_reason: Literal["stop", "length", "refused", "out of tokens"] = "stop"
    if refusal or choice.get("finish_reason") == "content_filter":
        finish_reason = "refused"
    elif choice.get("finish_reason") == "length" and not text.strip():
        text, finish_reason = "", "out of tokens"
    else:
        if choice.get("finish_reason") == "length":
            finish_reason = "length"
        text = _after_prefix(text, request.prefix)
        ends = [text.index(end) for end in request.stop if end in text]
        if ends:
            text, finish_reason = text[: min(ends)], "stop"
        text = request.prefix + text
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return Said(
        text,
        finish_reason,
        thinking,
        f"{beside}{content or refusal}",
        unfinished,
        _number(usage.get("prompt_tokens")),
        _number(usage.get("completion_tokens")),
        _number(reasoning),
    )


def split_thinking(text: str) -> tuple[str, str, bool]:
    """A reply's thinking and what it says after it, and whether the thinking breaks off.

    A template may have opened the block in the prompt: then only its end is there.
    """
    if opened := _OPENED.match(text):
        broken = not opened[0].endswith(f"</{opened[1]}>")
        return opened[2].strip(), _without(text[opened.end() :]), broken
    closed = _CLOSED.match(text)
    if closed and not _OPENING.search(closed[1]):
        return closed[1].strip(), _without(text[closed.end() :]), False
    return "", _WITHIN.sub("", text), False


def _without(said: str) -> str:
    return _WITHIN.sub("", said).lstrip()


def _text(content: Any) -> str | None:
    """The text of a message's field, which may come in parts; None if it is something else."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return content or "" if isinstance(content, str | None) else None


def _number(count: Any) -> int:
    """A number of tokens; 0 for what is none."""
    sound = isinstance(count, int | float) and 0 < count <= _MOST_TOKENS  # NaN fails, too
    return int(count) if sound else 0


def _after_prefix(text: str, prefix: str) -> str:
    """What follows the prefix in a reply that may have repeated all of it, its label or nothing."""
    if not prefix:
        return text
    text, cue, label = text.lstrip(), prefix.strip(), _LABEL.match(prefix.lstrip())
    if text.startswith(cue):
        text = text[len(cue) :]
    elif label and text.startswith(label.group()):
        # "Thought: " + cue must not be followed by a second "Thought:".
        text = " " + text[label.end() :].lstrip()
    else:
        text = " " + text
    return text.lstrip(" ") if prefix[-1].isspace() else text


def whole(text: str) -> str:
    """Half a surrogate pair, as a cut reply can hold, can neither be sent nor be written."""
    return text.encode("utf-8", "replace").decode("utf-8")
