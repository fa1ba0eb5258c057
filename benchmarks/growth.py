"""How the work of generation grows with the questions: CPU and its slope.

    python benchmarks/growth.py [MOST]

A chat that answers at once takes 10 … MOST (10,000) questions by the threaded driver and by the
batched one, without a journal and with one, which is then read again; two passes, sizes up and
down. A slope is that of log CPU over log questions from a tenth of MOST to MOST: 1 is linear.
Prints JSON; seconds are this process's CPU, the smaller of two.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireact_nb.agent import Journal, Prompt, Question, Reply, Request, generate

PROMPT = Prompt("react", "bench")


class Sure:
    """Searches once, then knows; at once."""

    name, batch_size = "sure", 64

    def __init__(self, local: bool) -> None:
        self.endpoint = "local" if local else "http://sure.invalid/v1"

    def reply(self, requests: Sequence[Request], done: Any = None, stop: Any = None) -> list[Reply]:
        replies = []
        for place, request in enumerate(requests):
            action = "finish[it]" if len(request.messages) > 1 else "search[thing]"
            replies.append(Reply(f"Thought: I see.\nAction: {action}", 100, 10, "stop", 0.1))
            if done:
                done(place, replies[-1])
        return replies


class Snippets:
    name = "snippets"

    def search(self, query: str, salt: str = "") -> str:
        return "A snippet."


def cpu(count: int, local: bool, journalled: bool) -> float:
    asked = [
        Question(str(n), f"Which is thing {n}?", "it", "hotpotqa", "dev") for n in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        journal = Journal(Path(folder) / "j") if journalled else None
        generate(asked, PROMPT, Sure(local), Snippets(), journal=journal, progress=False)
        if journal is not None:
            journal.close()
            with Journal(Path(folder) / "j") as journal:  # what is done is read again
                generate(asked, PROMPT, Sure(local), Snippets(), journal=journal, progress=False)
        return time.process_time() - before


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sizes = [most // 10**power for power in (3, 2, 1, 0)]
    result: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    for local in (False, True):
        for journalled in (False, True):
            cpu(10, local, journalled)  # imports
            passes = [cpu(size, local, journalled) for size in [*sizes, *reversed(sizes)]]
            seconds = [min(pair) for pair in zip(passes[:4], reversed(passes[4:]), strict=True)]
            name = f"{'batched' if local else 'threaded'}{', journal' if journalled else ''}"
            result[name] = {
                "cpu_seconds": dict(zip(sizes, (round(s, 4) for s in seconds), strict=True)),
                "slope": round(math.log10(seconds[-1] / seconds[-2]), 3),
            }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
