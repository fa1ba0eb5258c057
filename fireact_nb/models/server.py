"""A local model behind an OpenAI-compatible address, for any agent that speaks that protocol.

Knows HTTP, the shape of chat completions, what one caller may ask for, and how to gather what is
waiting into one batch. Knows nothing of weights, and not all of OpenAI's protocol: what it cannot
do it refuses by name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import random
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..agent.chat import Reply, Request
from ..errors import FireActError
from .api import is_loopback
from .local import LocalChat

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as Call
    from starlette.responses import JSONResponse

# What would change the answer and is not supported, unless its value asks for nothing.
_REFUSED = """stream tools functions tool_choice function_call response_format modalities audio
    logprobs top_logprobs logit_bias presence_penalty frequency_penalty n top_p"""
_NOTHING: tuple[Any, ...] = (None, False, 0, [], {}, "none", "auto", ["text"], {"type": "text"})

# What one caller may take, so that no other waits for it.
_BYTES_A_TOKEN = 32  # of a body: even text in \u escapes needs fewer
_SLOWEST_BODY = 10.0  # seconds
_LONGEST_STOP = 64  # characters: each is compared with every word of the vocabulary
_MOST_WAITING = 1024  # calls

Job = tuple[Request, "Future[Reply]"]


class _Refused(Exception):
    """args: HTTP status, text, and OpenAI's param and code."""


def make_app(chat: LocalChat, model_name: str) -> Starlette:
    """POST /v1/chat/completions, GET /v1/models and GET /health for one model.

    Requests that wait together are answered as one batch. While the app runs, the model is its
    own: do not call `chat` beside it. Raises FireActError when starlette or uvicorn is missing.
    """
    try:
        import uvicorn  # noqa: F401
        from pydantic import ValidationError
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError as error:
        text = 'Serving a model needs starlette and uvicorn: pip install "fireact-nb[serve]"'
        raise FireActError(text) from error

    desk, read = _Desk(chat), _make_reader(model_name)

    async def complete(call: Call) -> JSONResponse:
        body = await _read_body(call, 100_000 + _BYTES_A_TOKEN * chat.context)
        reply = await _unless_gone(call, await desk.take(read(body)))
        if reply.finish_reason == "context full":
            raise _too_long(chat, reply.prompt_tokens)
        return JSONResponse(_completion(reply, model_name))

    async def models(_: Call) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card]})

    async def health(_: Call) -> JSONResponse:
        return JSONResponse({"status": "ok", "model": model_name})

    card = {"id": model_name, "object": "model", "created": int(time.time()), "owned_by": "local"}
    routes = [
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ]
    refusals = (_Refused, HTTPException, ValidationError, Exception)
    app = Starlette(
        routes=routes, exception_handlers=dict.fromkeys(refusals, _refuse), lifespan=desk.open
    )
    app.state.jobs = desk.jobs
    return app


async def _read_body(call: Call, most: int) -> dict[str, Any]:
    """The JSON object that was sent, of at most so many bytes and not too slowly."""
    from starlette.requests import ClientDisconnect

    if "json" not in call.headers.get("content-type", ""):
        # A page in a browser may send anything else to this machine without asking.
        raise _Refused(415, "Send the body as application/json.", None, None)
    data = bytearray()
    try:
        async with asyncio.timeout(_SLOWEST_BODY):
            async for chunk in call.stream():
                data += chunk
                if len(data) > most:  # what is still to come is thrown away
                    text = f"The body is over {most:,} bytes: beyond the maximum context length"
                    raise _Refused(413, text, "messages", "context_length_exceeded")
        body = json.loads(data)
    except TimeoutError as error:
        text = f"The body was not here after {_SLOWEST_BODY:g} s."
        raise _Refused(408, text, None, None) from error
    except ClientDisconnect as error:
        raise _Refused(400, "The body broke off.", None, None) from error
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"The body is not JSON: {error}", None, None) from error
    if not isinstance(body, dict):
        raise _Refused(400, "The body is not a JSON object.", None, None)
    return body


async def _unless_gone(call: Call, future: Future[Reply]) -> Reply:
    """The reply; who hangs up before it comes gets none, and leaves the queue."""
    answer = asyncio.wrap_future(future)
    gone = asyncio.ensure_future(call.receive())  # after the body only the end can come
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise _Refused(499, "The caller has gone.", None, None)
        return answer.result()
    finally:
        gone.cancel()
        answer.cancel()


async def _refuse(_: Call, error: Exception) -> JSONResponse:
    """Every refusal, the framework's own too, in the shape of OpenAI's errors."""
    from pydantic import ValidationError
    from starlette.exceptions import HTTPException

    if isinstance(error, HTTPException):
        return _error(error.status_code, error.detail)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return _error(400, f"{place}: {first['msg']}", place)
    if isinstance(error, _Refused):
        return _error(*error.args)
    return _error(500, f"The server failed: {type(error).__name__}")


def _error(
    status: int, text: str, param: str | None = None, code: str | None = None
) -> JSONResponse:
    from starlette.responses import JSONResponse

    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"message": text, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": body}, status)


def _too_long(chat: LocalChat, count: int) -> _Refused:
    text = f"The maximum context length is {chat.context} tokens; the messages take {count}"
    return _Refused(400, text, "messages", "context_length_exceeded")


def _make_reader(model_name: str) -> Callable[[dict[str, Any]], Request]:
    """What reads the JSON of a call; it raises _Refused or pydantic's ValidationError."""
    from pydantic import BaseModel, Field

    Stop = Annotated[str, Field(max_length=_LONGEST_STOP)]

    class Message(BaseModel):
        role: Literal["system", "user", "assistant"]
        content: str

    class Asked(BaseModel):  # the defaults are OpenAI's, but there max_tokens has none
        model: str
        messages: list[Message] = Field(min_length=1)
        max_tokens: int = Field(256, ge=1)
        max_completion_tokens: int | None = Field(None, ge=1)
        temperature: float = Field(1.0, ge=0, le=2)
        stop: Stop | Annotated[list[Stop], Field(max_length=4)] = ""
        seed: int = Field(default_factory=lambda: random.getrandbits(62))

    def read(body: dict[str, Any]) -> Request:
        call = Asked.model_validate({k: v for k, v in body.items() if v is not None})
        if call.model != model_name:
            text = f"The model {call.model!r:.80} does not exist here; {model_name!r} is served."
            raise _Refused(404, text, "model", "model_not_found")
        for name in _REFUSED.split():
            if body.get(name) not in ((None, 1) if name in ("n", "top_p") else _NOTHING):
                text = f"{name} is not supported by this server, at least not this value of it."
                raise _Refused(400, text, name, "unsupported_value")
        messages = tuple(message.model_dump() for message in call.messages)
        limit = call.max_completion_tokens or call.max_tokens
        stop = tuple(filter(None, [call.stop] if isinstance(call.stop, str) else call.stop))
        return Request(messages, limit, call.temperature, stop, call.seed)

    return read


def _completion(reply: Reply, model_name: str) -> dict[str, Any]:
    """A reply as OpenAI's chat completion."""
    message = {"role": "assistant", "content": reply.text}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model_name,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        },
    }


class _Desk:
    """Where calls wait, and the one thread that takes them to the model, as many as fit a batch."""

    def __init__(self, chat: LocalChat) -> None:
        self.chat = chat
        self.jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

    @asynccontextmanager
    async def open(self, _: Starlette) -> AsyncIterator[None]:
        worker = threading.Thread(target=self._work, name="serve", daemon=True)
        worker.start()
        yield
        self.jobs.put(None)
        await asyncio.to_thread(worker.join)

    async def take(self, request: Request) -> Future[Reply]:
        """Queue a request that the model can take; any other is refused at once, not in turn."""
        try:
            prompt = await asyncio.to_thread(self.chat.encode, request)
        except Exception as error:  # a chat template raises what it likes
            text = f"The chat template does not take these messages: {error}"
            raise _Refused(400, text, "messages", None) from error
        if len(prompt) > self.chat.context:
            raise _too_long(self.chat, len(prompt))
        if self.jobs.qsize() >= _MOST_WAITING:
            raise _Refused(429, f"{_MOST_WAITING} calls are waiting. Try again later.", None, None)
        future: Future[Reply] = Future()
        self.jobs.put((request, future))
        return future

    def _work(self) -> None:
        """Answer jobs, a (request, future) each, until there is a None among them."""
        running = True
        while running:
            taken = [self.jobs.get()]
            while len(taken) < self.chat.batch_size and not self.jobs.empty():
                taken.append(self.jobs.get())
            running = None not in taken
            # Those who have gone meanwhile are left out.
            batch = [j for j in taken if j is not None and j[1].set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)

    def _answer(self, batch: list[Job]) -> None:
        """Each gets its reply as soon as it is there; who makes a batch fail fails alone."""
        left = dict(enumerate(batch))

        def done(place: int, reply: Reply) -> None:
            left.pop(place)[1].set_result(reply)

        try:
            self.chat.reply([request for request, _ in batch], done)
        except Exception as error:
            if len(batch) == 1:
                logging.getLogger(__name__).exception("a request failed")
                refusal = _Refused(500, f"The model failed: {error!r}", None, None)
                batch[0][1].set_exception(refusal)
                return
            rest = list(left.values())
            middle = (len(rest) + 1) // 2
            for part in filter(None, (rest[:middle], rest[middle:])):
                self._answer(part)


def _only_loopback(app: Any) -> Any:
    """The app for calls to this machine by one of its own names.

    A page from elsewhere whose name was made to mean 127.0.0.1 gets nothing.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if not is_loopback(f"//{host}"):
                text = f"The Host {host!r:.80} is not a name of this machine, as localhost is."
                await _error(403, text, "Host")(scope, receive, send)
                return
        await app(scope, receive, send)

    return guarded


@contextmanager
def start_server(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run the app in a thread, by default at a free port; gives the base url for OpenAI clients.

    On a loopback host, calls under another name than this machine's own are refused.
    """
    import uvicorn

    guarded = _only_loopback(app) if is_loopback(f"//{host}") else app
    # No log_config: the caller's logging stays as it is. Calls under way get ten seconds to end.
    config = uvicorn.Config(
        guarded, log_config=None, log_level="warning", timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    try:
        listener = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        text = f"Cannot listen at {host}:{port} ({error}). Is it taken? Choose another port."
        raise FireActError(text) from error
    with listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://{host}:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


def serve(chat: LocalChat, name: str, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until interrupted; no key is asked, so another host opens the model to the network."""
    with start_server(make_app(chat, name), host, port) as url, suppress(KeyboardInterrupt):
        print(f"{name} answers at {url} (Ctrl-C stops it)")
        while True:
            time.sleep(1)
