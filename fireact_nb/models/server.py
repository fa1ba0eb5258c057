"""A local model behind an OpenAI-compatible address, for any agent that speaks that protocol.

Knows HTTP, the shape of chat completions, and how to gather what is waiting into one batch.
Knows nothing of weights, and not all of OpenAI's protocol: what it cannot do it refuses by name.
"""

from __future__ import annotations

import asyncio
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
from .local import LocalChat

if TYPE_CHECKING:
    from fastapi import FastAPI

# What would change the answer and is not supported, unless its value asks for nothing.
_REFUSED = """stream tools functions tool_choice function_call response_format modalities audio
    logprobs top_logprobs logit_bias presence_penalty frequency_penalty n top_p"""
_NOTHING: tuple[Any, ...] = (None, False, 0, [], {}, "none", "auto", ["text"], {"type": "text"})

Job = tuple[Request, "Future[Reply]"]


class _Refused(Exception):
    """args: HTTP status, text, and OpenAI's param and code."""


def make_app(chat: LocalChat, model_name: str) -> FastAPI:
    """POST /v1/chat/completions, GET /v1/models and GET /health for one model.

    Requests that wait together are answered as one batch. While the app runs, the model is its
    own: do not call `chat` beside it. Raises FireActError when fastapi or uvicorn is missing.
    """
    try:
        import uvicorn  # noqa: F401
        from fastapi import FastAPI
    except ImportError as error:
        text = 'Serving a model needs fastapi and uvicorn: pip install "fireact-nb[serve]"'
        raise FireActError(text) from error

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = threading.Thread(target=_work, args=(chat, jobs), name="serve", daemon=True)
        worker.start()
        yield
        jobs.put(None)
        await asyncio.to_thread(worker.join)

    app = FastAPI(title=f"fireact-nb: {model_name}", lifespan=lifespan)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    app.state.jobs = jobs
    _explain_errors(app)
    read = _make_reader(model_name)

    @app.post("/v1/chat/completions")
    async def complete(body: dict[str, Any]) -> dict[str, Any]:
        future: Future[Reply] = Future()
        jobs.put((read(body), future))
        reply = await asyncio.wrap_future(future)
        if reply.finish_reason == "context full":
            count = reply.prompt_tokens
            text = f"The maximum context length is {chat.context} tokens; the messages take {count}"
            raise _Refused(400, text, "messages", "context_length_exceeded")
        return _completion(reply, model_name)

    card = {"id": model_name, "object": "model", "created": int(time.time()), "owned_by": "local"}
    app.get("/v1/models")(lambda: {"object": "list", "data": [card]})
    app.get("/health")(lambda: {"status": "ok", "model": model_name})
    return app


def _explain_errors(app: FastAPI) -> None:
    """Every refusal, the frameworks' own too, in the shape of OpenAI's errors."""
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from pydantic import ValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(_Refused)
    @app.exception_handler(HTTPException)
    @app.exception_handler(ValidationError)
    @app.exception_handler(RequestValidationError)
    async def refuse(_: Any, error: Any) -> JSONResponse:
        if isinstance(error, HTTPException):
            error = _Refused(error.status_code, error.detail, None, None)
        elif not isinstance(error, _Refused):
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            error = _Refused(400, f"{place}: {first['msg']}", place, None)
        status, text, param, code = error.args
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = {"message": text, "type": kind, "param": param, "code": code}
        return JSONResponse({"error": body}, status)


def _make_reader(model_name: str) -> Callable[[dict[str, Any]], Request]:
    """What reads the JSON of a call; it raises _Refused or pydantic's ValidationError."""
    from pydantic import BaseModel, Field

    class Message(BaseModel):
        role: Literal["system", "user", "assistant"]
        content: str

    class Call(BaseModel):  # the defaults are OpenAI's, but there max_tokens has none
        model: str
        messages: list[Message] = Field(min_length=1)
        max_tokens: int = Field(256, ge=1)
        max_completion_tokens: int | None = Field(None, ge=1)
        temperature: float = Field(1.0, ge=0, le=2)
        stop: str | Annotated[list[str], Field(max_length=4)] = ""
        seed: int = Field(default_factory=lambda: random.getrandbits(62))

    def read(body: dict[str, Any]) -> Request:
        call = Call.model_validate({k: v for k, v in body.items() if v is not None})
        if call.model != model_name:
            text = f"The model {call.model!r} does not exist here; {model_name!r} is served."
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


def _work(chat: LocalChat, jobs: queue.SimpleQueue[Job | None]) -> None:
    """The one thread that uses the model. A job is (request, future), or None to stop."""
    running = True
    while running:
        taken = [jobs.get()]
        while len(taken) < chat.batch_size and not jobs.empty():
            taken.append(jobs.get())
        running = None not in taken
        batch = []
        for request, future in filter(None, taken):
            try:  # what a chat template refuses must not fail its neighbours
                if future.set_running_or_notify_cancel():  # else who asked has gone
                    chat.encode(request)
                    batch.append((request, future))
            except Exception as error:
                text = f"The chat template does not take these messages: {error}"
                future.set_exception(_Refused(400, text, "messages", None))
        try:
            replies = chat.reply([request for request, _ in batch]) if batch else []
            for (_, future), reply in zip(batch, replies, strict=True):
                future.set_result(reply)
        except Exception as error:
            logging.getLogger(__name__).exception("a batch of %d requests failed", len(batch))
            for _, future in batch:
                future.set_exception(_Refused(500, f"The model failed: {error!r}", None, None))


@contextmanager
def start_server(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run the app in a thread, by default at a free port; gives the base url for OpenAI clients."""
    import uvicorn

    # No log_config: the caller's logging stays as it is. Calls under way get ten seconds to end.
    config = uvicorn.Config(app, log_config=None, log_level="warning", timeout_graceful_shutdown=10)
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
