"""Fine-tuning on CPU: `fine_tune` against a plain loop and, where it is installed, TRL.

    python benchmarks/training.py [EXAMPLES]

LoRA on the shipped student and 150 of its teacher's trajectories, 30 more held out. One process,
one thread, ABBA order. Each run loads, trains one epoch and saves, on the same examples with the
same mask, adapter, AdamW, rate and number of updates. Prints JSON: CPU and wall seconds,
non-padding tokens a CPU second, held-out loss of a token of the agent, and the ratios of medians.
TRL is not among our requirements: run this with the Python of an environment that has both, or
without it. Each run is told on standard error as it ends.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from fireact_nb.agent.rollouts import successes
from fireact_nb.agent.trajectory import Trajectory, read_trajectories
from fireact_nb.artifacts import shipped
from fireact_nb.learning.masking import encode, features, make_collator
from fireact_nb.learning.recipe import Recipe, prepare
from fireact_nb.learning.training import fine_tune
from fireact_nb.models.weights import load_model, load_tokenizer

RECIPE = Recipe(kind="lora", rank=8, alpha=16, epochs=1)
STUDENT = shipped("student")


def ours(played: Sequence[Trajectory], folder: Path) -> None:
    fine_tune(STUDENT, played, folder, RECIPE, progress=False)


def plain_loop(played: Sequence[Trajectory], folder: Path) -> None:
    """What one would write by hand: batches of like length in random order, peft's own layers."""
    from transformers import get_cosine_schedule_with_warmup, set_seed

    set_seed(0)
    network, tokenizer = prepare(STUDENT, RECIPE)
    network.train()
    rows = features([encode(t, tokenizer) for t in played])
    rows.sort(key=lambda row: len(row["input_ids"]))
    size, collate = RECIPE.batch_size, make_collator(tokenizer)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    random.Random(0).shuffle(batches)
    trained = [p for p in network.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=RECIPE.learning_rate, weight_decay=0.0)
    rates = get_cosine_schedule_with_warmup(adam, max(1, len(batches) // 20), len(batches))
    for batch in batches:
        network(**collate(batch)).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        adam.step()
        rates.step()
        adam.zero_grad()
    network.save_pretrained(folder, save_embedding_layers=False)


def trl(best: bool) -> Callable[[Sequence[Trajectory], Path], None]:
    """SFTTrainer as it comes (but float32, for CPUs), or with its best settings for a CPU."""

    def train(played: Sequence[Trajectory], folder: Path) -> None:
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM
        from trl import SFTConfig, SFTTrainer

        settings: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": "none"}
        if best:
            settings |= {"gradient_checkpointing": False, "dataloader_pin_memory": False}
            settings |= {"train_sampling_strategy": "group_by_length", "save_strategy": "no"}
        config = SFTConfig(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=RECIPE.batch_size,
            num_train_epochs=RECIPE.epochs,
            learning_rate=RECIPE.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            completion_only_loss=True,
            disable_tqdm=True,
            **settings,
        )
        tokenizer = load_tokenizer(STUDENT)
        examples = [encode(t, tokenizer) for t in played]
        rows = [
            {"input_ids": e.input_ids, "completion_mask": [int(n != -100) for n in e.labels]}
            for e in examples
        ]
        lora = LoraConfig(
            r=RECIPE.rank, lora_alpha=RECIPE.alpha, target_modules="all-linear",
            task_type="CAUSAL_LM",
        )  # fmt: skip
        network = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
        trainer = SFTTrainer(
            network, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
            peft_config=lora,
        )  # fmt: skip
        trainer.train()
        trainer.model.save_pretrained(folder, save_embedding_layers=False)

    return train


def held_out_loss(folder: Path, played: Sequence[Trajectory]) -> float:
    """Mean loss of a token of the agent."""
    network, tokenizer = load_model(STUDENT, folder)
    collate, total, count = make_collator(tokenizer), 0.0, 0
    with torch.no_grad():
        for trajectory in played:
            batch = collate(features([encode(trajectory, tokenizer)]))
            labels = int((batch["labels"][:, 1:] != -100).sum())
            total, count = total + network(**batch).loss.item() * labels, count + labels
    return total / count


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    played = successes(read_trajectories(shipped("teacher_hotpotqa_react")))
    train, held_out = played[:count], played[150:180]
    tokenizer = load_tokenizer(STUDENT)
    tokens = sum(len(encode(t, tokenizer).input_ids) for t in train) * RECIPE.epochs
    ways = {"fine_tune": ours, "plain loop": plain_loop}
    if find_spec("trl"):
        ways |= {"TRL tuned": trl(best=True), "TRL default": trl(best=False)}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    losses = {}
    with tempfile.TemporaryDirectory() as root:
        for name, way in ways.items():  # what is loaded and compiled once is nobody's time
            with redirect_stdout(sys.stderr):  # TRL talks
                way(train[:8], Path(root) / "warm" / name)
        for turn, order in enumerate((list(ways), list(ways)[::-1])):
            for name in order:
                folder = Path(root) / str(turn) / name
                start = time.process_time(), time.monotonic()
                with redirect_stdout(sys.stderr):
                    ways[name](train, folder)
                taken = time.process_time() - start[0], time.monotonic() - start[1]
                seconds[name].append(taken)
                print(f"{name}: {taken[0]:.2f} s of CPU, {taken[1]:.2f} s", file=sys.stderr)
                if turn == 0:
                    losses[name] = held_out_loss(folder, held_out)
    cpu = {name: statistics.median(s for s, _ in runs) for name, runs in seconds.items()}
    wall = {name: statistics.median(s for _, s in runs) for name, runs in seconds.items()}
    rows = {
        name: {
            "cpu_seconds": round(cpu[name], 2),
            "wall_seconds": round(wall[name], 2),
            "tokens_per_cpu_second": round(tokens / cpu[name]),
            "held_out_loss": round(losses[name], 4),
            "ours_is_faster": round(cpu[name] / cpu["fine_tune"], 2),
        }
        for name in ways
    }
    print(json.dumps({"examples": count, "tokens": tokens, "torch": torch.__version__} | rows))


if __name__ == "__main__":
    main()
