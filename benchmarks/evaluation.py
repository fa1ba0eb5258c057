"""Local agents playing the tiny world: our slots against what else one can do, as ratios.

    python benchmarks/evaluation.py [QUESTIONS]

The fine-tuned student answers bare questions, the teacher few-shot ones, both greedy, on one
thread. Rivals: `generate` on one prompt at a time, and on padded batches of 64. Each plays in the
order A B B A; seconds are medians, CPU time first, for the machine may be shared. One at a time
plays an eighth of the questions; rivals are compared by their seconds a turn. Prints JSON last.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median

import torch

from fireact_nb.agent.rollouts import generate
from fireact_nb.artifacts import DATA, shipped
from fireact_nb.models.local import LocalChat
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()
ADAPTER = DATA / "adapters" / "student_react_500_0"
# name: keeps keys and values, batch size, share of the questions
WAYS = {"slots": (True, 64, 1), "padded": (False, 64, 1), "alone": (False, 1, 8)}


def play(chat: LocalChat, method: str, way: str, count: int) -> tuple[float, float, list[str]]:
    """CPU and wall seconds a turn, and the turns."""
    keeps, size, share = WAYS[way]
    chat.keeps, chat.batch_size, chat._slots = keeps, size, None
    questions = WORLD.questions("dev", max(1, count // share))
    wall, cpu = time.monotonic(), time.process_time()
    played = generate(questions, WORLD.prompt(method), chat, WORLD.search(), progress=False)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    turns = [step.text for t in played for step in t.steps]
    return cpu / len(turns), wall / len(turns), turns


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    results = {}
    for name, adapter, method, most in (
        ("student", ADAPTER, "fireact", count),
        ("teacher", None, "react", min(count, 64)),
    ):
        chat = LocalChat(shipped(name), adapter)
        runs: dict[str, list[tuple[float, float, list[str]]]] = {way: [] for way in WAYS}
        for way in [*WAYS, *reversed(WAYS)]:
            runs[way].append(play(chat, method, way, most))
        ours = runs["slots"][0][2]
        found = results[name] = {"questions": most, "turns": len(ours)}
        for way, played in runs.items():
            cpu, wall = (median(run[i] for run in played) for i in (0, 1))
            found[way] = {"cpu_ms_a_turn": 1e3 * cpu, "wall_ms_a_turn": 1e3 * wall}
            found[way]["same_turns"] = all(run[2] == ours[: len(run[2])] for run in played)
            us = found["slots"]
            found[way]["ours_faster_by"] = {
                clock: found[way][f"{clock}_ms_a_turn"] / us[f"{clock}_ms_a_turn"]
                for clock in ("cpu", "wall")
            }
            print(name, way, found[way], file=sys.stderr, flush=True)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
