"""A local model behind an OpenAI-compatible address, for any agent that speaks that protocol.

Knows HTTP, how much one caller may take, and how to gather what is waiting into one batch; what may
be asked stands in `wire`. Knows nothing of weights.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..agent.chat import Reply, Request
from ..errors import FireActError
from .api import is_loopback
from .local import LocalChat
from .wire import Answer, Asked, Refused, error_body, event, make_reader, no_model

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as Call
    from starlette.responses import JSONResponse, Response

# What one caller may take, so that no other waits for it.
_BYTES_A_TOKEN = 32  # of a body: even text in \u escapes needs fewer
_SLOWEST_BODY = 10.0  # seconds
_MOST_WAITING = 1024  # calls

T = TypeVar("T")


@dataclass
class _Job:
    """A request in the queue; `heard`, if there is one, gets its text so far, again and again."""

    request: Request
    heard: Callable[[str], None] | None = None
    future: Future[Reply] = field(default_factory=Future)


def make_app(chat: LocalChat, model_name: str) -> Starlette:
    """POST /v1/chat/completions, GET /v1/models, /v1/models/{id} and /health for one model.

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

    desk, read = _Desk(chat), make_reader(model_name)

    async def complete(call: Call) -> Response:
        asked = read(await _read_body(call, 100_000 + _BYTES_A_TOKEN * chat.context))
        if asked.stream:
            return await _stream(call, desk, asked, Answer(model_name))
        reply = await _unless_gone(call, await desk.take(_Job(asked.request)))
        return JSONResponse(Answer(model_name).whole(_fitting(chat, reply)))

    async def models(_: Call) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [card]})

    async def model(call: Call) -> JSONResponse:
        if (asked := call.path_params["name"]) != model_name:
            raise no_model(asked, model_name)
        return JSONResponse(card)

    async def health(_: Call) -> JSONResponse:
        return JSONResponse({"status": "ok", "model": model_name})

    card = {"id": model_name, "object": "model", "created": int(time.time()), "owned_by": "local"}
    routes = [
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),  # a hub name has a slash
        Route("/health", health),
    ]
    refusals = (Refused, HTTPException, ValidationError, Exception)
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
        raise Refused(415, "Send the body as application/json.", None, None)
    data = bytearray()
    try:
        async with asyncio.timeout(_SLOWEST_BODY):
            async for chunk in call.stream():
                data += chunk
                if len(data) > most:  # what is still to come is thrown away
                    text = f"The body is over {most:,} bytes: beyond the maximum context length"
                    raise Refused(413, text, "messages", "context_length_exceeded")
        body = json.loads(data)
    except TimeoutError as error:
        text = f"The body was not here after {_SLOWEST_BODY:g} s."
        raise Refused(408, text, None, None) from error
    except ClientDisconnect as error:
        raise Refused(400, "The body broke off.", None, None) from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}", None, None) from error
    if not isinstance(body, dict):
        raise Refused(400, "The body is not a JSON object.", None, None)
    return body


async def _unless_gone(
    call: Call, awaited: asyncio.Future[T] | Future[T], job: Future[Reply] | None = None
) -> T:
    """What is awaited; who hangs up before it comes gets none, and leaves the queue."""
    answer = asyncio.wrap_future(awaited) if isinstance(awaited, Future) else awaited
    gone = asyncio.ensure_future(call.receive())  # after the body only the end can come
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            if job:
                job.cancel()
            raise Refused(499, "The caller has gone.", None, None)
        return answer.result()
    finally:
        gone.cancel()
        answer.cancel()


async def _stream(call: Call, desk: _Desk, asked: Asked, answer: Answer) -> Response:
    """The answer as server-sent events; what can be refused is refused before the first."""
    from starlette.responses import StreamingResponse

    loop = asyncio.get_running_loop()
    texts: asyncio.Queue[str | None] = asyncio.Queue()  # each the whole text so far, None the end

    def hear(text: str | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens
            loop.call_soon_threadsafe(texts.put_nowait, text)

    future = await desk.take(_Job(asked.request, hear))
    future.add_done_callback(lambda _: hear(None))
    first = await _unless_gone(call, asyncio.ensure_future(texts.get()), future)
    if first is None:
        _fitting(desk.chat, future.result())

    async def tell() -> AsyncIterator[str]:
        text, sent = first, ""
        yield answer.piece("", first=True)
        try:
            while text is not None:
                if text.startswith(sent) and text != sent:
                    yield answer.piece(text[len(sent) :])
                    sent = text
                text = await texts.get()
            reply = future.result()
        except Refused as refusal:
            yield event(error_body(*refusal.args))
            return
        finally:
            future.cancel()
        if reply.text[len(sent) :]:
            yield answer.piece(reply.text[len(sent) :])
        for line in answer.end(reply, asked.usage):
            yield line

    return StreamingResponse(tell(), media_type="text/event-stream")


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
    if isinstance(error, Refused):
        return _error(*error.args)
    return _error(500, f"The server failed: {type(error).__name__}")


def _error(status: int, *about: Any) -> JSONResponse:
    from starlette.responses import JSONResponse

    return JSONResponse(error_body(status, *about), status)


def _fitting(chat: LocalChat, reply: Reply) -> Reply:
    """The reply, if the messages left room for one."""
    if reply.finish_reason == "context full":
        raise _too_long(chat, reply.prompt_tokens)
    return reply


def _too_long(chat: LocalChat, count: int) -> Refused:
    text = f"The maximum context length is {chat.context} tokens; the messages take {count}"
    return Refused(400, text, "messages", "context_length_exceeded")


class _Desk:
    """Where calls wait, and the one thread that takes them to the model, as many as fit a batch."""

    def __init__(self, chat: LocalChat) -> None:
        self.chat = chat
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()

    @asynccontextmanager
    async def open(self, _: Starlette) -> AsyncIterator[None]:
        worker = threading.Thread(target=self._work, name="serve", daemon=True)
        worker.start()
        yield
        self.jobs.put(None)
        await asyncio.to_thread(worker.join)

    async def take(self, job: _Job) -> Future[Reply]:
        """Queue what the model can answer; anything else is refused at once, not in turn."""
        try:
            prompt = await asyncio.to_thread(self.chat.encode, job.request)
        except Exception as error:  # a chat template raises what it likes
            text = f"The chat template does not take these messages: {error}"
            raise Refused(400, text, "messages", None) from error
        if len(prompt) > self.chat.context:
            raise _too_long(self.chat, len(prompt))
        if self.jobs.qsize() >= _MOST_WAITING:
            raise Refused(429, f"{_MOST_WAITING} calls are waiting. Try again later.", None, None)
        self.jobs.put(job)
        return job.future

    def _work(self) -> None:
        """Answer jobs until there is a None among them."""
        running = True
        while running:
            taken = [self.jobs.get()]
            while len(taken) < self.chat.batch_size and not self.jobs.empty():
                taken.append(self.jobs.get())
            running = None not in taken
            # Those who have gone meanwhile are left out.
            batch = [j for j in taken if j and j.future.set_running_or_notify_cancel()]
            if batch:
                self._answer(batch)

    def _answer(self, batch: list[_Job]) -> None:
        """Each gets its reply as soon as it is there; who makes a batch fail fails alone."""
        left = dict(enumerate(batch))
        heard = {place: job.heard for place, job in left.items() if job.heard}

        def done(place: int, reply: Reply) -> None:
            left.pop(place).future.set_result(reply)

        try:
            self.chat.reply([job.request for job in batch], done, heard=heard)
        except Exception as error:
            if len(batch) == 1:
                logging.getLogger(__name__).exception("a request failed")
                refusal = Refused(500, f"The model failed: {error!r}", None, None)
                batch[0].future.set_exception(refusal)
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
