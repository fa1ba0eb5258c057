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
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from .chat import Reply, Request
from .config import FireActError
from .local import LocalChat

if TYPE_CHECKING:
    from fastapi import FastAPI

_MISSING = 'Serving a model needs fastapi and uvicorn: pip install "fireact-nb[serve]"'
_GRACE = 10  # seconds that requests under way get when the server stops
_ROLES = ("system", "user", "assistant")
_FINISH = {"stop": "stop", "length": "length", "refused": "content_filter"}
# What would change the answer and is not supported, with the values that ask for nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    **{"n": (1,), "stream": (False,), "tools": ([],), "functions": ([],)},
    **{"tool_choice": ("none", "auto"), "function_call": ("none", "auto")},
    **{"response_format": ({"type": "text"},), "modalities": (["text"],), "audio": ()},
    **{"logprobs": (False,), "top_logprobs": (0,), "logit_bias": ({},), "top_p": (1,)},
    **{"presence_penalty": (0,), "frequency_penalty": (0,)},
}


class _Refused(Exception):
    def __init__(self, status: int, text: str, param: str | None = None, code: str | None = None):
        super().__init__(text)
        self.status, self.param, self.code = status, param, code


class _Worker(threading.Thread):
    """The one thread that uses the model: takes what is waiting and answers it as one batch."""

    def __init__(self, chat: LocalChat) -> None:
        super().__init__(name="serve", daemon=True)
        self.chat = chat
        self.waiting: queue.SimpleQueue[tuple[Request, Future[Reply]] | None] = queue.SimpleQueue()

    def submit(self, request: Request) -> Future[Reply]:
        future: Future[Reply] = Future()
        self.waiting.put((request, future))
        return future

    def run(self) -> None:
        while (job := self.waiting.get()) is not None:
            jobs = [job]
            while len(jobs) < self.chat.batch and not self.waiting.empty():
                if (job := self.waiting.get()) is None:
                    self.waiting.put(None)  # for the loop above, after this batch
                    break
                jobs.append(job)
            self._answer([job for job in jobs if job[1].set_running_or_notify_cancel()])

    def _answer(self, jobs: list[tuple[Request, Future[Reply]]]) -> None:
        kept = []
        for request, future in jobs:
            try:  # a chat template may refuse messages, and must not fail their neighbours
                self.chat.encode(request)
                kept.append((request, future))
            except Exception as error:
                text = f"The chat template does not take these messages: {error}"
                future.set_exception(_Refused(400, text, "messages"))
        try:
            replies = self.chat.reply([request for request, _ in kept]) if kept else []
            for (_, future), reply in zip(kept, replies, strict=True):
                future.set_result(reply)
        except Exception as error:
            logging.getLogger(__name__).exception("A batch of %d requests failed", len(kept))
            for _, future in kept:
                if not future.done():
                    future.set_exception(_Refused(500, f"The model failed: {error!r}"))


def make_app(chat: LocalChat, model_name: str) -> FastAPI:
    """POST /v1/chat/completions, GET /v1/models and GET /health for one model.

    Requests that wait together are answered as one batch. While the app runs, the model is its
    own: do not call `chat` beside it. Raises FireActError when fastapi is not installed.
    """
    try:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from fastapi.responses import JSONResponse
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise FireActError(_MISSING) from error

    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.worker = worker = _Worker(chat)
        worker.start()
        yield
        worker.waiting.put(None)
        await asyncio.to_thread(worker.join)

    app = FastAPI(title=f"fireact-nb: {model_name}", lifespan=lifespan)

    @app.exception_handler(_Refused)
    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    async def refuse(_, error):
        text, param, code = str(error), None, None
        if isinstance(error, _Refused):
            status, param, code = error.status, error.param, error.code
        elif isinstance(error, HTTPException):
            status, text = error.status_code, str(error.detail)
        else:
            status, text = 400, "The body must be a JSON object, sent as application/json"
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = {"message": text, "type": kind, "param": param, "code": code}
        return JSONResponse({"error": body}, status)

    @app.post("/v1/chat/completions")
    async def complete(body: dict[str, Any]) -> dict[str, Any]:
        request = _read(body, model_name)
        reply = await asyncio.wrap_future(app.state.worker.submit(request))
        if reply.finish == "context full":
            text = (
                f"This model's maximum context length is {chat.context} tokens. The messages take "
                f"{reply.prompt_tokens}, which leaves no room for an answer."
            )
            raise _Refused(400, text, "messages", "context_length_exceeded")
        message = {"role": "assistant", "content": reply.text, "refusal": None}
        finish = _FINISH[reply.finish]
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model_name,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": {
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            },
        }

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        card = {"id": model_name, "object": "model", "created": started, "owned_by": "fireact-nb"}
        return {"object": "list", "data": [{**card, "max_model_len": chat.context}]}

    @app.get("/health")
    async def health() -> dict[str, str]:
        if not app.state.worker.is_alive():
            raise _Refused(503, "The thread that uses the model has died: start the server again")
        return {"status": "ok", "model": model_name}

    return app


def _read(body: dict[str, Any], model_name: str) -> Request:
    """The request in an API call. Defaults: OpenAI's temperature 1, ours of 256 tokens."""
    def refuse(param: str, text: str) -> _Refused:
        return _Refused(400, f"{param} {text}", param)

    ...
