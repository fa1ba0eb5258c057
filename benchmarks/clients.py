"""Other people's clients against `fireact-nb serve`: does each get what the model says?

In the project's environment: fireact-nb serve student --port 8000
In an environment of its own: pip install openai litellm langchain-openai dspy inspect-ai smolagents
"pydantic-ai-slim[openai]", then: python benchmarks/clients.py http://127.0.0.1:8000/v1

Imports nothing of this project. A client that is not installed is skipped by name.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

QUESTION = "Who directed Northern Vomel?"
SETTINGS = {"temperature": 0, "max_tokens": 24}
KEY = "none"  # this machine's server asks for no key, but clients want one
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it looks for prices in the network


def plain(url: str) -> tuple[str, str]:
    """The served model's name, and its answer as JSON over HTTP gives it."""
    with urllib.request.urlopen(f"{url}/models") as answer:
        model = json.load(answer)["data"][0]["id"]
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], **SETTINGS}
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), head)
    with urllib.request.urlopen(request) as answer:
        return model, json.load(answer)["choices"][0]["message"]["content"]


def ask(model: str) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": QUESTION}], **SETTINGS}


def openai_sync(url: str, model: str) -> Iterable[str]:
    import openai

    with openai.OpenAI(api_key=KEY, base_url=url) as client:
        yield client.chat.completions.create(**ask(model)).choices[0].message.content
        stream = client.chat.completions.create(
            **ask(model), stream=True, stream_options={"include_usage": True}
        )
        yield "".join(c.choices[0].delta.content or "" for c in stream if c.choices)


def openai_async(url: str, model: str) -> Iterable[str]:
    import openai

    async def both() -> tuple[str, str]:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as client:
            whole = await client.chat.completions.create(**ask(model))
            stream = await client.chat.completions.create(**ask(model), stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            return whole.choices[0].message.content, "".join(pieces)

    return asyncio.run(both())


def litellm(url: str, model: str) -> Iterable[str]:
    import litellm

    asked = {**ask(model), "model": f"openai/{model}", "api_base": url, "api_key": KEY}
    yield litellm.completion(**asked).choices[0].message.content
    stream = litellm.completion(**asked, stream=True)
    yield "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def langchain(url: str, model: str) -> Iterable[str]:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(model=model, base_url=url, api_key=KEY, top_p=1, **SETTINGS)
    yield chat.invoke(QUESTION).content
    yield "".join(chunk.content for chunk in chat.stream(QUESTION))


def dspy(url: str, model: str) -> Iterable[str]:
    import dspy

    lm = dspy.LM(f"openai/{model}", api_base=url, api_key=KEY, cache=False, **SETTINGS)
    yield lm(QUESTION)[0]


def inspect(url: str, model: str) -> Iterable[str]:
    from inspect_ai.model import GenerateConfig, get_model

    os.environ |= {"LOCAL_BASE_URL": url, "LOCAL_API_KEY": KEY}
    chat = get_model(f"openai-api/local/{model}", config=GenerateConfig(**SETTINGS))
    yield asyncio.run(chat.generate(QUESTION)).completion


def smolagents(url: str, model: str) -> Iterable[str]:
    from smolagents import ChatMessage, OpenAIServerModel

    chat = OpenAIServerModel(model, api_base=url, api_key=KEY, **SETTINGS)
    messages = [ChatMessage("user", [{"type": "text", "text": QUESTION}])]
    yield chat.generate(messages).content
    yield "".join(delta.content or "" for delta in chat.generate_stream(messages))


def pydantic_ai(url: str, model: str) -> Iterable[str]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    chat = OpenAIChatModel(model, provider=OpenAIProvider(base_url=url, api_key=KEY))
    yield Agent(chat, model_settings=SETTINGS).run_sync(QUESTION).output


CLIENTS: dict[str, tuple[str, Callable[[str, str], Iterable[str]]]] = {
    "openai, sync and streaming": ("openai", openai_sync),
    "openai, async and streaming": ("openai", openai_async),
    "LiteLLM, whole and streaming": ("litellm", litellm),
    "LangChain, whole and streaming": ("langchain-openai", langchain),
    "DSPy": ("dspy", dspy),
    "inspect_ai": ("inspect-ai", inspect),
    "smolagents, content parts, whole and streaming": ("smolagents", smolagents),
    "Pydantic AI": ("pydantic-ai-slim", pydantic_ai),
}


def main() -> int:
    url = sys.argv[1].rstrip("/")
    model, expected = plain(url)
    print(f"{model} at {url} says {expected!r}\n")
    print("| client | version | result | seconds |\n|---|---|---|---|")
    failed = 0
    for name, (package, drive) in CLIENTS.items():
        started = time.monotonic()
        try:
            release = version(package)
        except PackageNotFoundError:
            print(f"| {name} | | not installed | |")
            continue
        try:
            said = list(drive(url, model))
            # Some clients strip white space off an answer.
            same = all(text.strip() == expected.strip() for text in said)
            result = "the model's words" if same else f"other words: {said}"
        except Exception as error:
            same, result = False, f"{type(error).__name__}: {str(error)[:200]}"
        failed += not same
        print(f"| {name} | {release} | {result} | {time.monotonic() - started:.1f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
