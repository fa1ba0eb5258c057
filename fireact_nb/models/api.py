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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

from ..agent.asking import estimate_tokens
from ..agent.chat import Exhausted, Reply, Request, Stop
from ..agent.secrets import Hidden, hide_in_logs, hide_in_reply, open_address, remember
from ..errors import FireActError
from .dialect import OPENAI, Said, dialect_of, read
from .failures import NO_KEY, Failure, NotThere, judge, scrub
from .prices import Price, find_price

if TYPE_CHECKING:
    import openai
    from tenacity import RetryCallState

PATIENCE = 60.0  # seconds for an answer, at least
SLOWEST = 20  # tokens a second that an answer may take: one that is given up is paid all the same
LONGEST_WAIT = 60.0  # seconds before a request is tried again, whatever the server asks for


class OpenAIChat:
    """A model behind an OpenAI-compatible API (OpenAI, vLLM, llama.cpp, Ollama, ...).

    `base_url` defaults to OPENAI_BASE_URL or OpenAI, `api_key` to OPENAI_API_KEY (a server on this
    machine needs none); `prices` are USD per million prompt and completion tokens, by default those
    of the dated table, None where nobody knows. A field that the model refuses is left out from
    then on. `timeout` is in seconds, by default a minute and more where `max_tokens` is large;
    `reasoning_effort` ("none" to "max") is part of the model's name. Raises
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
        timeout: float | None = None,
        retries: int = 6,
        prices: tuple[float, float] | None = None,
        reasoning_effort: str | None = None,
    ) -> None:
        self.model, self.effort, self.batch_size = model, reasoning_effort, concurrency
        self.name = f"{model}, {reasoning_effort} effort" if reasoning_effort else model
        # Apart from what may raise: IPython's verbose tracebacks print the values on that line.
        address = Hidden(base_url or os.getenv("OPENAI_BASE_URL") or OPENAI)
        self.endpoint, self._login = open_address(address)
        self.timeout, self.retries = timeout, retries
        self.price = find_price(model, self.endpoint) if prices is None else Price(*prices)
        self.prices = self.price and (self.price.prompt, self.price.completion)
        self.may_cost = any(self.prices) if self.prices else not is_loopback(self.endpoint)
        self.dialect = dialect_of(self.endpoint, model)
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
            replies.append(self._answer(request, stop))
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
            timeout=openai.Timeout(self.timeout or PATIENCE, connect=10.0),
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
        return self._insist(lambda: self._attempt(request), stop, self.retries)

    def call(
        self,
        work: Callable[[openai.OpenAI], Any],
        stop: Stop | None = None,
        retries: int | None = None,
    ) -> Any:
        """What `work` gets from the client, tried again where that can help.

        Raises as `reply` does, and NotThere for what the server does not have.
        """

        def attempt() -> Any:
            import openai

            try:
                return work(self._client)
            except openai.NotFoundError as error:
                return NotThere(
                    f"{self.endpoint} does not offer this, or holds it no longer: "
                    f"{scrub(error.message, self._key)[:300]}"
                )
            except openai.APIError as error:
                seconds = self.timeout or PATIENCE
                meant = judge(error, self.endpoint, self.model, seconds, self._key)
            except ValueError:
                meant = None
            if isinstance(meant, Failure):
                return meant
            return Failure(f"{self.endpoint} refused, or answered with no JSON.")

        found = self._insist(attempt, stop or Stop(), self.retries if retries is None else retries)
        if isinstance(found, NotThere):  # raised here, without the library's error and its request
            raise found
        return found

    def _insist(self, attempt: Callable[[], Any], stop: Stop, retries: int) -> Any:
        """An attempt's outcome, tried for again where that can help; `stop` ends the waits."""
        import tenacity

        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise CancelledError

        if stop.is_set():
            raise CancelledError
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda o: isinstance(o, Failure) and o.transient),
            stop=tenacity.stop_after_attempt(retries + 1),
            wait=_delay,
            sleep=pause,
            retry_error_callback=_give_up,
        )
        outcome = tries(attempt)
        if isinstance(outcome, Failure):
            kind = Exhausted if outcome.transient else FireActError
            raise kind(scrub(outcome.text, self._key))
        return outcome

    def _attempt(self, request: Request) -> Reply | Failure:
        import openai

        started = time.monotonic()
        seconds = self.timeout or max(PATIENCE, request.max_tokens / SLOWEST)
        while True:
            body = self.dialect.body(request, self.effort)
            try:
                answer = self._post(body, seconds)
            except openai.APIError as error:
                if self.dialect.learn(error, body):
                    continue  # without the field, of which there are but a few
                meant = judge(error, self.endpoint, self.model, seconds, self._key)
            except Exception:  # there is no end of what bytes from outside can hold
                meant = None
            else:
                return self.read(answer, request, time.monotonic() - started) or self._no_chat()
            if isinstance(meant, Failure):
                return meant
            if meant is None:
                return self._no_chat()
            return Reply("", 0, 0, meant, time.monotonic() - started)

    def _post(self, body: dict[str, Any], seconds: float) -> Any:
        import openai

        # The public way below `chat.completions.create`, which spends four fifths of its time
        # on the types of every message; an answer's shape is a stranger's, so it stays JSON.
        timeout = openai.Timeout(seconds, connect=min(seconds, 10.0))
        answer = self._client.post(
            "/chat/completions", body=body, cast_to=object, options={"timeout": timeout}
        )
        return json.loads(answer) if isinstance(answer, str) else answer  # JSON by another name

    def _no_chat(self) -> Failure:
        return Failure(
            f"{self.endpoint} answered, but not with a chat completion. Check that the address is "
            "that of an OpenAI-compatible API (it mostly ends in /v1) and that the server is well.",
            transient=True,
        )

    def read(self, body: Any, request: Request, seconds: float, share: float = 1.0) -> Reply | None:
        """The reply in a chat completion's JSON, at this share of the price; None if there is none.

        No error of its own: what a server sends may be anything.
        """
        try:
            said = read(body, request)
        except Exception:
            said = None
        if said is None:
            return None
        if said.unfinished and said.finish_reason == "stop" and request.stop:
            self.dialect.drop("stop")  # it cut the thinking, which may name what ends a turn
        tokens_in, tokens_out = self._count(said, request)
        price_in, price_out = self.prices or (0.0, 0.0)
        usd = (tokens_in * price_in + tokens_out * price_out) / 1e6 * share
        reasoning = said.reasoning_tokens or estimate_tokens(said.thinking)
        return Reply(
            hide_in_reply(said.text),
            tokens_in,
            tokens_out,
            said.finish_reason,
            seconds,
            usd,
            min(reasoning, tokens_out),
            hide_in_reply(said.thinking),
        )

    def _count(self, said: Said, request: Request) -> tuple[int, int]:
        """Prompt and completion tokens; estimated where the server's numbers cannot be right."""
        if said.prompt_tokens and (said.completion_tokens or not said.written):
            return said.prompt_tokens, said.completion_tokens
        if not self._told:
            self._told = True
            warnings.warn(
                f"{self.endpoint} does not say, or says wrongly, how many tokens a call took. They "
                "are estimated from the texts, and what is spent is rather over- than understated.",
                stacklevel=2,
            )
        prompt = sum(estimate_tokens(message["content"]) for message in request.messages)
        out = said.completion_tokens or estimate_tokens(said.written)
        return said.prompt_tokens or prompt, out


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
