"""A run against a billing server, killed again and again: what is recorded is not billed again."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from killing import SCRIPT, kill_and_resume
from long import TRUST
from servers import Answer, ChatServer, says


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.skipif(not TRUST, reason="the short form is in test_rollouts")
def test_a_paid_run_killed_at_a_hundred_moments(tmp_path: Path) -> None:
    billed: Counter[str] = Counter()
    turn = threading.Lock()

    def script(request: dict[str, Any], number: int) -> Answer:
        messages = request["messages"]
        with turn:
            billed[json.dumps(messages)] += 1
        question = int(messages[0]["content"].rstrip("?").split()[-1])
        done = len(messages) // 2 >= question % 6
        action = "finish[colour 1]" if done else f"search[thing {len(messages)}]"
        return says(f"Thought: I think.\nAction: {action}", delay=0.05)

    with ChatServer(script) as server:
        run = tmp_path / "run.py"
        chat = f'OpenAIChat("double", {server.url!r}, concurrency=4)'
        run.write_text(SCRIPT.replace("CHAT", chat), encoding="utf-8")
        outcome = kill_and_resume(tmp_path, run, kills=100, seed=7)
    # The undisturbed run is billed once for each call, too.
    again = sum(count - 2 for count in billed.values())
    print(f"\nserved: {outcome}; calls billed though killed before their record: {again}")
    assert outcome.lost == outcome.repeated == outcome.different == 0, outcome
    assert outcome.replayed, outcome
    # No more than were under way at a kill.
    assert again <= 100 * 4
