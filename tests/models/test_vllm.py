"""`OpenAIChat` against a server of vLLM's shape: base and adapter under two names, its own errors.

The fields are those of vLLM's OpenAI-compatible server; nothing of vLLM runs here.
"""

from __future__ import annotations

from typing import Any

import pytest
from servers import Answer, ChatServer

from fireact_nb.agent.chat import Request
from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat

SERVED = ("Qwen/Qwen3-4B-Instruct-2507", "fireact")
CONTEXT = 4096
ASKED = Request(
    ({"role": "user", "content": "Who wrote it?"},), max_tokens=64, stop=("\nObservation",), seed=3
)


def vllm(body: dict[str, Any], _: int) -> Answer:
    """What it answers; errors in the envelope of newer releases, `object` beside it in older."""
    if body["model"] not in SERVED:
        text = f"The model `{body['model']}` does not exist."
        return Answer(
            {"error": {"message": text, "type": "NotFoundError", "param": "model", "code": 404}},
            404,
        )
    asked = sum(len(message["content"]) for message in body["messages"])
    if asked + body["max_tokens"] > CONTEXT:
        text = (
            f"This model's maximum context length is {CONTEXT} tokens. However, you requested "
            f"{asked + body['max_tokens']} tokens ({asked} in the messages, {body['max_tokens']} "
            "in the completion). Please reduce the length of the messages or completion."
        )
        old = {"object": "error", "message": text, "type": "BadRequestError", "param": None}
        return Answer({**old, "code": 400}, 400)
    message = {
        "role": "assistant", "content": "Thought: I look.\nAction: search[it]", "refusal": None,
        "annotations": None, "audio": None, "function_call": None, "tool_calls": [],
        "reasoning": None, "reasoning_content": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": None, "finish_reason": "stop",
        "stop_reason": "\nObservation", "token_ids": None,
    }  # fmt: skip
    return Answer(
        {
            "id": "chatcmpl-6c1e", "object": "chat.completion", "created": 1763984000,
            "model": body["model"], "choices": [choice], "service_tier": None,
            "system_fingerprint": None, "prompt_logprobs": None, "prompt_token_ids": None,
            "kv_transfer_params": None,
            "usage": {"prompt_tokens": 31, "total_tokens": 43, "completion_tokens": 12,
                      "prompt_tokens_details": None},
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", SERVED)
def test_base_and_adapter_answer_under_their_names(name: str) -> None:
    with ChatServer(vllm) as server:
        (reply,) = OpenAIChat(name, server.url).reply([ASKED])
    assert reply.text == "Thought: I look.\nAction: search[it]"
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish_reason) == (31, 12, "stop")
    sent = server.seen[0].json
    assert sent["model"] == name and sent["max_tokens"] == 64 and sent["stop"] == ["\nObservation"]
    assert sent["temperature"] == 0 and "max_completion_tokens" not in sent


def test_a_full_context_ends_the_episode_and_not_the_run() -> None:
    long = Request(({"role": "user", "content": "x" * CONTEXT},), max_tokens=64)
    with ChatServer(vllm) as server:
        (reply,) = OpenAIChat("fireact", server.url).reply([long])
    assert reply.finish_reason == "context full" and len(server.seen) == 1


def test_a_name_that_is_not_served_is_told_at_once() -> None:
    with ChatServer(vllm) as server, pytest.raises(FireActError, match="`student` does not exist"):
        OpenAIChat("student", server.url).reply([ASKED])
    assert len(server.seen) == 1
