"""Models behind an OpenAI-compatible API.

Knows tokens, prices, and which troubles of a server pass and which do not. Knows nothing of agents,
tools or questions, and keeps nothing: the caller journals each reply.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from ..agent.chat import Reply, Request
from ..errors import FireActError

OPENAI = "https://api.openai.com/v1"
LONGEST_WAIT = 60.0  # seconds before a request is tried again, whatever the server asks for
_NO_KEY = "local"  # what a server that asks for no key is given
_MOST_STOPS = 4  # an API takes no more; the rest are cut here
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_FILTERED = ("content_filter", "content_policy_violation")
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|exceed\w* .{0,40}context",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\w+:")
_SECRET = re.compile(r"\bsk-[\w*.-]{4,}|(?<=Bearer )\S+")


class OpenAIChat:
    """A model behind an OpenAI-compatible API (OpenAI, vLLM, llama.cpp, Ollama, ...).

    `base_url` defaults to OPENAI_BASE_URL or OpenAI, `api_key` to OPENAI_API_KEY (a server on this
    machine needs none); `prices` are USD per million prompt and completion tokens. Raises
    FireActError, never with the key in its text, when there is no key, when a request can never
    succeed, or when it still fails after `retries` more attempts.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 6,
        prices: tuple[float, float] | None = None,
        sleep: Callable[[float, threading.Event], object] = lambda delay, stop: stop.wait(delay),
    ) -> None:
        self.name, self.batch = model, concurrency
        self.endpoint = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")
        self.timeout, self.retries, self.prices = timeout, retries, prices
        self._sleep = sleep
        self._key = _find_key(api_key, self.endpoint)
        import openai

        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=self.endpoint,
            max_retries=0,  # the one retry layer is ours
            timeout=openai.Timeout(timeout, connect=min(timeout, 10.0)),
        )

    def reply(
        self, requests: Sequence[Request], done: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answer all requests, `batch` at a time, in order.

        When one fails for good, no further request is sent, those under way are let finish (they
        are paid for, and `done` sees them), and the first error is raised.
        """
        replies: dict[int, Reply] = {}
        errors: list[BaseException] = []
        stop = threading.Event()

        def ask(place: int) -> None:
            try:
                replies[place] = reply = self.reply_one(requests[place], stop)
                if done:
                    done(place, reply)
            except CancelledError:
                pass  # another request has failed, and its error will be raised
            except BaseException as error:
                errors.append(error)
                stop.set()

        with ThreadPoolExecutor(self.batch, thread_name_prefix="chat") as pool:
            try:
                asked = [pool.submit(ask, place) for place in range(len(requests))]
                # Windows cannot interrupt a wait that has no time limit.
                while wait(asked, timeout=0.5).not_done:
                    pass
            finally:
                stop.set()  # an interrupt from the keyboard lands here
        if errors:
            raise errors[0]
        return [replies[place] for place in range(len(requests))]

    def reply_one(self, request: Request, stop: threading.Event | None = None) -> Reply:
        """Answer one request, trying again where that can help.

        Setting `stop` from another thread ends the attempts: CancelledError.
        """
        stop = stop or threading.Event()
        attempt = 0
        while not stop.is_set():
            outcome = self._attempt(request)
            if isinstance(outcome, Reply):
                return outcome
            attempt += 1
            if not outcome.passing:
                raise FireActError(self._scrub(outcome.text))
            if attempt > self.retries:
                times = f"{attempt} attempts" if attempt > 1 else "1 attempt"
                raise FireActError(self._scrub(f"{outcome.text} Gave up after {times}."))
            self._sleep(_delay(attempt, outcome.wait), stop)
        raise CancelledError("stopped, because another request failed")

    def _attempt(self, request: Request) -> Reply | _Trouble:
        import openai

        started = time.monotonic()
        try:
            completion = self._client.chat.completions.create(**self._wire(request))
        except openai.APIError as error:
            return self._judge(error, time.monotonic() - started)
        except (json.JSONDecodeError, UnicodeDecodeError):
            completion = None
        return self._read(completion, request, time.monotonic() - started) or _Trouble(
            f"{self.endpoint} answered, but not with a chat completion. Check that the address is "
            "that of an OpenAI-compatible API (it mostly ends in /v1) and that the server is well.",
            passing=True,
        )

    def _wire(self, request: Request) -> dict[str, Any]:
        messages = [
            {field: _whole(text) for field, text in message.items()} for message in request.messages
        ]
        if request.prefix:
            # Few servers continue an assistant message, so the model is asked to begin with it.
            cue = f"Begin your reply with exactly: {request.prefix}"
            last = next((m for m in reversed(messages) if m["role"] == "user"), None)
            if last is None:
                messages.append({"role": "user", "content": cue})
            else:
                last["content"] += "\n" + cue
        # OpenAI's newer models refuse max_tokens; other servers may not know its successor.
        limit = "max_completion_tokens" if self.endpoint == OPENAI else "max_tokens"
        wire: dict[str, Any] = {
            "model": self.name,
            "messages": messages,
            "temperature": request.temperature,
            limit: request.max_tokens,
        }
        if request.stop:
            wire["stop"] = list(request.stop[:_MOST_STOPS])
        if request.temperature > 0:
            wire["seed"] = request.seed * 10_000 + request.sample
        return wire

    def _read(self, completion: Any, request: Request, seconds: float) -> Reply | None:
        """The reply in a completion, or None where there is none to be read."""
        choices = getattr(completion, "choices", None)
        message = getattr(choices[0], "message", None) if choices else None
        if message is None or not isinstance(message.content, str | None):
            return None
        refusal = getattr(message, "refusal", None)
        text = _whole(message.content or refusal or "")
        finish: Literal["stop", "length", "refused"] = "stop"
        if refusal or choices[0].finish_reason == "content_filter":
            finish = "refused"
        else:
            if choices[0].finish_reason == "length":
                finish = "length"
            text = _after_prefix(text, request.prefix)
            ends = [text.index(end) for end in request.stop if end in text]
            if ends:
                text, finish = text[: min(ends)], "stop"
            text = request.prefix + text
        usage = getattr(completion, "usage", None)
        tokens_in = getattr(usage, "prompt_tokens", None) or 0
        tokens_out = getattr(usage, "completion_tokens", None) or 0
        price_in, price_out = self.prices or (0.0, 0.0)
        usd = (tokens_in * price_in + tokens_out * price_out) / 1e6
        return Reply(text, tokens_in, tokens_out, finish, seconds, usd)

    def _judge(self, error: Any, seconds: float) -> Reply | _Trouble:
        """Decide, alone in this package, what an API error means: a reply, a wait or the end."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return _Trouble(
                f"{self.endpoint} did not answer within {self.timeout:g} s. Check that the server "
                "is not overloaded, lower the concurrency, or allow a longer timeout.",
                passing=True,
            )
        if isinstance(error, openai.APIConnectionError):
            return _Trouble(
                f"{self.endpoint} cannot be reached ({_short(error.__cause__ or error)}). Check "
                "the address, that the server is running, and the network or proxy between.",
                passing=True,
            )
        status = getattr(error, "status_code", 0)
        said = _said(error)
        codes = {error.code, error.type}
        if status in (400, 413, 422):
            if not codes.isdisjoint(_FILTERED):
                return Reply("", 0, 0, "refused", seconds)
            if _TOO_LONG.search(f"{error.code} {error.type} {said}"):
                return Reply("", 0, 0, "context full", seconds)
        said = _short(self._scrub(said))  # in this order: half a key would not be recognised
        if status == 402 or not codes.isdisjoint(_QUOTA):
            return _Trouble(
                f"The account behind {self.endpoint} has no quota left: {said}. Waiting does not "
                "help. Add credit or raise the limit on the provider's billing page, then run "
                "again; what is journalled is not paid again."
            )
        if status in (408, 409, 429) or status >= 500:
            asked_wait = _asked_wait(error.response.headers)
            asked = f" It asked to wait {asked_wait:.0f} s." if asked_wait else ""
            return _Trouble(
                f"{self.endpoint} keeps refusing: {said}.{asked} Run again later (what is "
                "journalled is not asked again), or lower the concurrency.",
                passing=True,
                wait=asked_wait,
            )
        advice = {
            401: "The key was not accepted: check OPENAI_API_KEY, and that it belongs to this "
            "address.",
            403: f"The key may not use {self.name!r} here: check the rights of its project, and "
            "whether the provider serves your region.",
            404: f"Check that the model is really called {self.name!r} there, and the address (it "
            "mostly ends in /v1).",
        }.get(status, "Check the model's name and which parameters it takes; nothing was retried.")
        return _Trouble(f"{self.endpoint} refused the request: {said}. {advice}")

    def _scrub(self, text: str) -> str:
        """No key may reach a notebook's output, though servers like to echo it."""
        if self._key != _NO_KEY:
            text = text.replace(self._key, "[key]")
        return _SECRET.sub("[key]", text)


@dataclass(frozen=True)
class _Trouble:
    """Why an attempt failed, whether that may pass, and how long the server asked to wait."""

    text: str
    passing: bool = False
    wait: float = 0.0


def _find_key(api_key: str | None, endpoint: str) -> str:
    key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not key:
        if is_loopback(endpoint):
            return _NO_KEY
        raise FireActError(
            f"There is no key for {endpoint}: the environment variable OPENAI_API_KEY is not set. "
            "Set it before starting Jupyter, or in a cell with os.environ and getpass; or use a "
            "model that runs here and needs none, as profile 'tiny' does."
        )
    if not re.fullmatch(r"[!-~]+", key):
        # Such a key would be shown by the HTTP library's own error.
        raise FireActError(
            f"The key for {endpoint} (OPENAI_API_KEY) holds a space, a line break or a character "
            "outside ASCII, as no key does. Copy it again from the provider's page."
        )
    return key


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _delay(attempt: int, asked: float) -> float:
    """Exponential with full jitter, from 1 s; never less than the server asked, within the cap."""
    jittered = random.uniform(0, min(LONGEST_WAIT, 2.0 ** (attempt - 1)))
    if asked:
        # Those told to wait as long must not come back all at once.
        jittered = max(jittered, asked + random.uniform(0, 1))
    return min(LONGEST_WAIT, jittered)


def _asked_wait(headers: Any) -> float:
    """Seconds in Retry-After, as a number or a date; 0 without one that can be read."""
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(header, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (TypeError, ValueError, OverflowError):
                continue
        if 0 < seconds < float("inf"):
            return seconds
    return 0.0


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


def _whole(text: str) -> str:
    """Half a surrogate pair, as a cut reply can hold, can neither be sent nor be written."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _said(error: Any) -> str:
    """The server's words; `message` holds only those in OpenAI's own error format."""
    words = error.body.get("detail") if isinstance(error.body, dict) else error.body
    if not words or " - " in error.message or str(words).startswith("<"):
        return str(error.message)
    return f"{error.message} - {words}"


def _short(what: object) -> str:
    return " ".join(str(what).split())[:300].rstrip(".")
