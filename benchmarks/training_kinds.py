"""Seconds of LoRA, QLoRA and full fine-tuning on the same trajectories, as ratios to LoRA.

    python benchmarks/training_kinds.py [MODEL]

One thread, one after the other in one process, the order turned round in the second pass.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from fireact_nb.agent.rollouts import successes
from fireact_nb.agent.trajectory import read_trajectories
from fireact_nb.artifacts import shipped
from fireact_nb.learning.recipe import Recipe
from fireact_nb.learning.training import fine_tune

KINDS = ("lora", "qlora", "full")


def main() -> None:
    torch.set_num_threads(1)
    model = sys.argv[1] if len(sys.argv) > 1 else "student_large"
    played = successes(read_trajectories(shipped("teacher_hotpotqa_react")))[:96]
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    size: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for order in (KINDS, KINDS[::-1]):
            for kind in order:
                recipe = Recipe(kind=kind, rank=8, alpha=16, epochs=2)  # type: ignore[arg-type]
                done = fine_tune(shipped(model), played, Path(folder) / kind, recipe, False)
                seconds[kind].append(done.seconds)
                size[kind] = done.saved_bytes
    best = {kind: min(times) for kind, times in seconds.items()}
    for kind in KINDS:
        print(
            f"{kind:>6}: {best[kind]:6.1f} s, {best[kind] / best['lora']:.2f} of LoRA's, "
            f"{size[kind] / 1e6:.2f} MB saved"
        )


if __name__ == "__main__":
    main()
