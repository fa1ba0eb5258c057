"""Few-shot episodes on CPU with our growing cache against transformers' DynamicCache, as a ratio.

python benchmarks/generation_cache.py [QUESTIONS]
"""

from __future__ import annotations

import sys
import time

import torch
from transformers import DynamicCache

from fireact_nb.agent.prompting import load_prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.artifacts import shipped
from fireact_nb.models import local
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()


def play(count: int) -> tuple[float, list[str]]:
    chat = local.LocalChat(shipped("teacher"))
    started = time.monotonic()
    played = generate(
        WORLD.questions("dev", count), load_prompt("react"), chat, WORLD.search(), progress=False
    )
    return time.monotonic() - started, [step.text for t in played for step in t.steps]


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    ours, our_words = play(count)
    local.make_cache = lambda config: DynamicCache(config=config)
    theirs, their_words = play(count)
    same = sum(a == b for a, b in zip(our_words, their_words, strict=False))
    print(f"ours {ours:.1f} s, DynamicCache {theirs:.1f} s: {theirs / ours:.2f} times as fast;")
    print(f"{same} of {len(their_words)} turns are the same words")


if __name__ == "__main__":
    main()
