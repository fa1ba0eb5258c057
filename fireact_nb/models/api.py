"""Models behind an OpenAI-compatible API.

Knows tokens, prices and when to try again; what an error means stands in `failures`. Knows nothing
of agents, tools or questions, and keeps nothing: the caller journals each reply.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakSet

from ..agent.asking import estimate_tokens
from ..agent.chat import Exhausted, Reply, Request, Stop
from ..agent.secrets import Hidden, hide_in_logs, hide_in_reply, open_address, remember
from ..errors import FireActError
from .failures import NO_KEY, Failure, judge, scrub

if TYPE_CHECKING:
    import openai
    from tenacity import RetryCallState

OPENAI = "https://api.openai.com/v1"
LONGEST_WAIT = 60.0  # seconds before a request is tried again, whatever the server asks for
_MOST_STOPS = 4  # an API takes no more; the rest are cut here
_LABEL = re.compile(r"\w+:")
_MOST_TOKENS = 10_000_000  # beyond any context window: a usage that says more was not counted


class OpenAIChat:
    """A model behind an OpenAI-compatible API (OpenAI, vLLM, llama.cpp, Ollama, ...).

    `base_url` defaults to OPENAI_BASE_URL or OpenAI, `api_key` to OPENAI_API_KEY (a server on this
    machine needs none); `prices` are USD per million prompt and completion tokens. Raises
    FireActError, never with the key in its text, when there is no key, when a request can never
    succeed; Exhausted, one of them, when it still fails after `retries` more attempts.
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
    ) -> None:
        self.name, self.batch_size = model, concurrency
        # Apart from what may raise: IPython's verbose tracebacks print the values on that line.
        address = Hidden(base_url or os.getenv("OPENAI_BASE_URL") or OPENAI)
        self.endpoint, self._login = open_address(address)
        self.timeout, self.retries, self.prices = timeout, retries, prices
        self._key = _find_key(api_key, self.endpoint)
        self._client, self._sockets = self._connect()
        self._told = False  # that tokens are estimated

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]:
        """Answer the requests one after another; for many at once, call from many threads."""
        stop = stop or Stop()
        stop.closers.add(self._hang_up)
        replies = []
        for place, request in enumerate(requests):
            reply = self._answer(request, stop)
            replies.append(replace(reply, text=hide_in_reply(reply.text)))
            if done:
                done(place, replies[-1])
        return replies

    def _connect(self) -> tuple[openai.OpenAI, WeakSet[socket.socket]]:
        """A client and the sockets it opens: only through them can reads that hang be ended."""
        import openai

        sockets: WeakSet[socket.socket] = WeakSet()

        def note(event: str, info: dict[str, Any]) -> None:
            if event.endswith(("connect_tcp.complete", "start_tls.complete")):
                sockets.add(info["return_value"].get_extra_info("socket"))

        def watch(request: Any) -> None:
            request.extensions["trace"] = note

        client = openai.OpenAI(
            api_key=self._key,
            base_url=self.endpoint,
            max_retries=0,  # the one retry layer is ours
            timeout=openai.Timeout(self.timeout, connect=min(self.timeout, 10.0)),
            http_client=openai.DefaultHttpxClient(
                event_hooks={"request": [watch]}, auth=self._login
            ),
        )
        hide_in_logs()
        return client, sockets

    def _hang_up(self) -> None:
        """End all calls under way, from another thread; later ones get new connections."""
        client, sockets = self._client, self._sockets
        self._client, self._sockets = self._connect()
        for connection in list(sockets):
            # Closing a socket does not wake a thread that reads from it, at least not on Linux.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        client.close()

    def _answer(self, request: Request, stop: Stop) -> Reply:
        """One reply, tried for again where that can help; `stop` ends the waits between."""
        import tenacity

        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise CancelledError

        if stop.is_set():
            raise CancelledError
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda o: isinstance(o, Failure) and o.transient),
            stop=tenacity.stop_after_attempt(self.retries + 1),
            wait=_delay,
            sleep=pause,
            retry_error_callback=_give_up,
        )
        outcome = tries(self._attempt, request)
        if isinstance(outcome, Failure):
            kind = Exhausted if outcome.transient else FireActError
            raise kind(scrub(outcome.text, self._key))
        return outcome

    def _attempt(self, request: Request) -> Reply | Failure:
        import openai

        started = time.monotonic()
        try:
            # The public way below `chat.completions.create`, which spends four fifths of its time
            # on the types of every message; an answer's shape is a stranger's, so it stays JSON.
            body = self._client.post("/chat/completions", body=self._wire(request), cast_to=object)
            if isinstance(body, str):  # JSON under another name
                body = json.loads(body)
            reply = self._read(body, request, time.monotonic() - started)
        except openai.APIError as error:
            meant = judge(error, self.endpoint, self.name, self.timeout, self._key)
            if isinstance(meant, Failure):
                return meant
            return Reply("", 0, 0, meant, time.monotonic() - started)
        except Exception:  # there is no end of what bytes from outside can hold
            reply = None
        return reply or Failure(
            f"{self.endpoint} answered, but not with a chat completion. Check that the address is "
            "that of an OpenAI-compatible API (it mostly ends in /v1) and that the server is well.",
            transient=True,
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

    def _read(self, body: Any, request: Request, seconds: float) -> Reply | None:
        """The reply in a chat completion's JSON, or None where there is none to be read."""
        choice = body["choices"][0]
        message = choice["message"]
        said, refusal = _text(message.get("content")), _text(message.get("refusal"))
        if said is None or refusal is None:
            return None
        text = _whole(said or refusal)
        finish_reason: Literal["stop", "length", "refused"] = "stop"
        if refusal or choice.get("finish_reason") == "content_filter":
            finish_reason = "refused"
        else:
            if choice.get("finish_reason") == "length":
                finish_reason = "length"
            text = _after_prefix(text, request.prefix)
            ends = [text.index(end) for end in request.stop if end in text]
            if ends:
                text, finish_reason = text[: min(ends)], "stop"
            text = request.prefix + text
        tokens_in, tokens_out = self._count(body.get("usage"), request, said or refusal)
        price_in, price_out = self.prices or (0.0, 0.0)
        usd = (tokens_in * price_in + tokens_out * price_out) / 1e6
        return Reply(text, tokens_in, tokens_out, finish_reason, seconds, usd)

    def _count(self, usage: Any, request: Request, said: str) -> tuple[int, int]:
        """Prompt and completion tokens; estimated where the server's numbers cannot be right."""
        usage = usage if isinstance(usage, dict) else {}
        tokens_in = _number(usage.get("prompt_tokens"))
        tokens_out = _number(usage.get("completion_tokens"))
        if tokens_in and (tokens_out or not said):
            return tokens_in, tokens_out
        if not self._told:
            self._told = True
            warnings.warn(
                f"{self.endpoint} does not say, or says wrongly, how many tokens a call took. They "
                "are estimated from the texts, and what is spent is rather over- than understated.",
                stacklevel=2,
            )
        prompt = sum(estimate_tokens(message["content"]) for message in request.messages)
        return tokens_in or prompt, tokens_out or estimate_tokens(said)


def _text(content: Any) -> str | None:
    """The text of a message's field, which may come in parts; None if it is something else."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return content or "" if isinstance(content, str | None) else None


def _number(count: Any) -> int:
    """A number of tokens; 0 for what is none."""
    sound = isinstance(count, int | float) and 0 < count <= _MOST_TOKENS  # NaN fails, too
    return int(count) if sound else 0


def _find_key(api_key: str | None, endpoint: str) -> str:
    key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not key:
        if is_loopback(endpoint):
            return NO_KEY
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
    remember(key)
    return Hidden(key)


def is_loopback(url: str) -> bool:
    host = ""
    with suppress(ValueError):  # no URL; or a name, not a number
        host = urlsplit(url).hostname or ""
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _delay(state: RetryCallState) -> float:
    """Exponential with full jitter, from 1 s; never less than the server asked, within the cap."""
    import tenacity

    jittered = tenacity.wait_random_exponential(max=LONGEST_WAIT)(state)
    asked = _failure(state).wait
    if asked:
        # Those told to wait as long must not come back all at once.
        jittered = max(jittered, asked + random.uniform(0, 1))
    return min(LONGEST_WAIT, jittered)


def _give_up(state: RetryCallState) -> Failure:
    times = f"{state.attempt_number} attempt" + "s" * (state.attempt_number > 1)
    return Failure(f"{_failure(state).text} Gave up after {times}.", transient=True)


def _failure(state: RetryCallState) -> Failure:
    assert state.outcome is not None  # tenacity asks for waits and ends after attempts alone
    return state.outcome.result()


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
