"""Trajectory generation against a server with waiting times: ours beside rivals, as ratios.

    python benchmarks/generation.py [QUESTIONS [CONCURRENCY [CONTENDER]]]

A loopback server (a process of its own) answers after a log-normal time, median 0.5 s, sigma 0.6,
fixed by the request's content, so every contender waits for the same answers; episodes take as many
rounds as the authors' released runs. Contenders: `generate` with a journal and without; the
reference's loop, which waits for a whole round of at most `CONCURRENCY` calls before the next; the
openai client in a loop on threads; http.client on threads. Order A B … B A; seconds are wall, CPU
is this process's. `bound` is the sum of all waits over the concurrency (or the longest episode).
Prints JSON. CONTENDER, a name or how it begins, leaves out the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEDIAN, SIGMA = 0.5, 0.6
# Episodes of the released runs on HotpotQA (FireAct's trajs_hotpotqa_dev_500_*), by their rounds.
ROUNDS = {1: 149, 2: 241, 3: 343, 4: 92, 5: 38, 6: 70, 7: 6, 8: 7, 9: 6, 10: 7, 11: 3}
SNIPPET = "An encyclopedia says about it what a snippet has room for, two sentences or three. " * 3
EXAMPLES = [
    {"role": role, "content": f"{role} " * 120} for role in ("system", "user", "assistant", "user")
]
TURN = "Thought: I have to look at this more closely, and I know where.\nAction: "


def draw(*what: object) -> float:
    """A number in (0, 1) fixed by what it is drawn for."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def rounds_of(question: str) -> int:
    place = draw("rounds", question) * sum(ROUNDS.values())
    for rounds, count in ROUNDS.items():
        place -= count
        if place < 0:
            return rounds
    return max(ROUNDS)


def latency(question: str, number: int) -> float:
    return MEDIAN * math.exp(SIGMA * statistics.NormalDist().inv_cdf(draw(question, number)))


# The server


async def serve() -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            messages = json.loads(await reader.readexactly(length))["messages"]
            question = messages[len(EXAMPLES)]["content"]
            number = (len(messages) - len(EXAMPLES) + 1) // 2
            await asyncio.sleep(latency(question, number))
            done = number >= rounds_of(question)
            body = json.dumps(completion(TURN + ("finish[it]" if done else f"search[{number}]")))
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "double",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520},
    }  # fmt: skip


@contextmanager
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


# The contenders: questions in, number of calls out


class Snippets:
    name = "snippets"

    def search(self, query: str, salt: str = "") -> str:
        return SNIPPET


def ours(url: str, questions: list[str], concurrency: int, journalled: bool) -> int:
    from fireact_nb.agent import Journal, Prompt, Question, generate
    from fireact_nb.models import OpenAIChat

    asked = [Question(str(n), text, "it", "hotpotqa", "dev") for n, text in enumerate(questions)]
    chat = OpenAIChat("double", url, concurrency=concurrency)
    prompt = Prompt("react", "bench", tuple(EXAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "j") if journalled else None
        played = generate(asked, prompt, chat, Snippets(), journal=journal, progress=False)
        if journal:
            journal.close()
    return sum(t.rounds for t in played)


def playing(question: str) -> tuple[list[dict[str, str]], Callable[[str], bool]]:
    """A bare episode: its messages, and what takes a reply and says whether it was the last."""
    messages = [*EXAMPLES, {"role": "user", "content": question}]

    def take(text: str) -> bool:
        if "finish[" in text:
            return True
        messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": "Observation: " + SNIPPET})
        return False

    return messages, take


def openai_client(url: str, concurrency: int) -> Callable[[list[dict[str, str]]], str]:
    import openai

    client = openai.OpenAI(base_url=url, api_key="local")

    def call(messages: list[dict[str, str]]) -> str:
        answer = client.chat.completions.create(
            model="double", messages=messages, max_tokens=96, temperature=0.0,  # type: ignore
            stop=["\nObservation"],
        )  # fmt: skip
        return answer.choices[0].message.content or ""

    return call


def raw_client(url: str, concurrency: int) -> Callable[[list[dict[str, str]]], str]:
    own = threading.local()
    host = url.split("/")[2]

    def call(messages: list[dict[str, str]]) -> str:
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(host)
        body = {
            "model": "double",
            "messages": messages,
            "max_tokens": 96,
            "stop": ["\nObservation"],
        }
        own.connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = json.loads(own.connection.getresponse().read())
        return answer["choices"][0]["message"]["content"]

    return call


def free_loop(client: Callable, url: str, questions: list[str], concurrency: int) -> int:
    """Each thread plays one episode after the other."""
    call = client(url, concurrency)

    def episode(question: str) -> int:
        messages, take = playing(question)
        calls = 1
        while not take(call(messages)):
            calls += 1
        return calls

    with ThreadPoolExecutor(concurrency) as pool:
        return sum(pool.map(episode, questions))


def round_by_round(client: Callable, url: str, questions: list[str], concurrency: int) -> int:
    """The reference's loop: chunks of calls, each waited for, then the next round of all."""
    call = client(url, concurrency)
    alive, calls = [playing(question) for question in questions], 0
    with ThreadPoolExecutor(concurrency) as pool:
        while alive:
            texts: list[str] = []
            for start in range(0, len(alive), concurrency):
                chunk = alive[start : start + concurrency]
                texts += pool.map(call, [messages for messages, _ in chunk])
            calls += len(alive)
            alive = [game for game, text in zip(alive, texts, strict=True) if not game[1](text)]
    return calls


CONTENDERS: dict[str, Callable[[str, list[str], int], int]] = {
    "ours, journal": lambda url, q, c: ours(url, q, c, True),
    "ours, no journal": lambda url, q, c: ours(url, q, c, False),
    "reference's rounds, openai": lambda url, q, c: round_by_round(openai_client, url, q, c),
    "bare openai loop": lambda url, q, c: free_loop(openai_client, url, q, c),
    "raw http loop": lambda url, q, c: free_loop(raw_client, url, q, c),
}


def bound(questions: list[str], concurrency: int) -> float:
    episodes = [sum(latency(q, n + 1) for n in range(rounds_of(q))) for q in questions]
    return max(sum(episodes) / concurrency, *episodes)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    concurrency = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    chosen = sys.argv[3] if len(sys.argv) > 3 else ""
    names = [name for name in CONTENDERS if name.startswith(chosen)]
    questions = [f"Which of the things has number {n}?" for n in range(count)]
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    calls = sum(map(rounds_of, questions))
    with server() as url:
        for name in names:
            CONTENDERS[name](url, questions[:4], 4)  # imports and first connections
        for name in [*names, *reversed(names)]:
            started, before = time.monotonic(), time.process_time()
            assert CONTENDERS[name](url, questions, concurrency) == calls
            wall[name].append(time.monotonic() - started)
            cpu[name].append((time.process_time() - before) / calls * 1000)
    fastest = bound(questions, concurrency)
    mine = statistics.median(wall[names[0]])
    result = {
        "questions": count, "calls": calls, "concurrency": concurrency, "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "bound_seconds": round(fastest, 2),
        "contenders": {
            name: {
                "seconds": round(statistics.median(wall[name]), 2),
                "of_bound": round(fastest / statistics.median(wall[name]), 3),
                "cpu_ms_per_call": round(statistics.median(cpu[name]), 2),
                "seconds_by_the_first": round(statistics.median(wall[name]) / mine, 2),
            }
            for name in names
        },
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["--serve"] else main()
