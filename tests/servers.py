"""A chat server on this machine that behaves, well or badly, as a test says.

It speaks real HTTP, so what a test proves holds for sockets, headers and time-outs too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import Loopback


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is sent as JSON, or as it stands if it is bytes.

    `drop` cuts the connection: "before" any answer, or "within" the body.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: str = ""


def says(
    text: str | None,
    finish_reason: str = "stop",
    *,
    refusal: str | None = None,
    tokens: tuple[int, int] | None = (10, 5),
    delay: float = 0.0,
) -> Answer:
    """A chat completion; `tokens` None leaves the usage out."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "double",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if tokens:
        body["usage"] = {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }
    return Answer(body, delay=delay)


def fails(
    status: int,
    message: str = "no",
    code: str | None = None,
    kind: str | None = None,
    **headers: str,
) -> Answer:
    """An error in OpenAI's format; headers as `retry_after="3"`."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Answer(body, status, {name.replace("_", "-"): v for name, v in headers.items()})


QUOTA = fails(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota")
TOO_LONG = fails(400, "This model's maximum context length is 8192", "context_length_exceeded")
FILTERED = says("It was", "content_filter")
NO_CHOICES = Answer({"id": "x", "object": "chat.completion", "created": 0, "choices": []})
BROKEN_JSON = Answer(b'{"id": "x", "choices": [{"mess')
DROPPED = Answer(drop="before")
CUT_SHORT = Answer(says("never seen whole").body, drop="within")

# Answers in the order of the requests (the last one for all further requests), or a function of
# a request's JSON and its number, from 0.
Script = Sequence[Answer] | Callable[[dict[str, Any], int], Answer]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names are in lower case."""

    path: str
    headers: dict[str, str]
    json: dict[str, Any]


class ChatServer(Loopback):
    """An OpenAI-compatible server at `url` while the `with` block runs; `seen` holds its requests.

    `most_at_once` is the largest number of requests that were under way at the same time.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.most_at_once = 0
        self._at_once = 0
        self._turn = threading.Lock()
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def answer(self, seen: Seen) -> Answer:
        """What the script says to this request, once its delay has passed."""
        with self._turn:
            number = len(self.seen)
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if callable(self.script):
                answer = self.script(seen.json, number)
            else:
                answer = self.script[min(number, len(self.script) - 1)]
            self.closing.wait(answer.delay)
            return answer
        finally:
            with self._turn:
                self._at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # without it every call takes 45 ms

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.double.answer(Seen(self.path, headers, json.loads(body)))
        if not self.path.endswith("/chat/completions"):
            answer = fails(404, f"no such path: {self.path}")
        if answer.drop == "before":
            self.close_connection = True
            return
        content = answer.body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode("utf-8")
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer.drop == "within":
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
