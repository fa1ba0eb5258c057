"""A training before its first step: what is trained on what, and how long it will take.

Knows trajectories, tokens and one timed step; trains nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..models.sizes import free_memory
from ..models.weights import load_tokenizer, quiet_libraries
from .masking import Example, TooLong, encode
from .memory import fit_rows, memory_needed
from .recipe import Recipe, prepare, recipe_for


@dataclass(frozen=True)
class Job:
    """What is trained, on what and how. `rows` of a step's batch are computed at once.

    left_out: trajectories that were too long.
    """

    model: str | Path
    network: Any
    tokenizer: Any
    examples: list[Example]
    left_out: int
    recipe: Recipe
    rows: int


@dataclass(frozen=True)
class TrainingForecast:
    """What a fine-tuning run will take. Memory in GiB; seconds from one timed step."""

    examples: int
    tokens: int
    steps: int
    needed_gib: float
    free_gib: float
    seconds: float
    left_out: int = 0

    def __str__(self) -> str:
        long = f"; {self.left_out} longer ones are left out" if self.left_out else ""
        return (
            f"{self.examples} trajectories, {self.tokens:,} tokens in {self.steps} steps: about "
            f"{self.seconds / 60:.1f} minutes (one step timed), "
            f"{self.needed_gib:.1f} of {self.free_gib:.1f} GiB{long}"
        )


def plan(model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe) -> Job:
    """The trajectories as tokens, then the network with its adapter.

    First what takes seconds: a template that cannot be trained on is told before weights come.
    """
    quiet_libraries()
    examples, left_out = encode_all(trajectories, load_tokenizer(model), recipe)
    network, tokenizer = load(model, recipe)
    rows = fit_rows(model, recipe, max(len(e.input_ids) for e in examples))
    return Job(model, network, tokenizer, examples, left_out, recipe, rows)


def load(model: str | Path, recipe: Recipe) -> tuple[Any, Any]:
    """The network with its adapter, the same each time."""
    throw_dice(recipe)  # an adapter's first matrices are drawn
    return prepare(model, recipe)


def throw_dice(recipe: Recipe) -> None:
    """Whatever is drawn from now on is drawn as at the start."""
    from transformers import set_seed

    set_seed(recipe.seed)


def encode_all(
    trajectories: Sequence[Trajectory], tokenizer: Any, recipe: Recipe
) -> tuple[list[Example], int]:
    """All as tokens, and how many were too long."""
    examples: list[Example] = []
    for trajectory in trajectories:
        try:
            examples.append(
                encode(trajectory, tokenizer, recipe.mask, recipe.max_length, recipe.tools)
            )
        except TooLong as error:
            last = error
    left_out = len(trajectories) - len(examples)
    if not examples:
        raise FireActError(
            f"All {left_out} trajectories are longer than max_length={recipe.max_length} tokens, "
            f"so nothing is left to train on. {last}"
        ) from last
    return examples, left_out


def forecast_training(
    model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe | None = None
) -> TrainingForecast:
    """What `fine_tune` will take, before it starts: loads the model and times one step."""
    recipe = recipe or recipe_for(model)
    return forecast(plan(model, trajectories, recipe))


def forecast(job: Job) -> TrainingForecast:
    """From one timed step on a batch of examples of middling length."""
    examples, recipe = job.examples, job.recipe
    ordered = sorted(examples, key=lambda e: len(e.input_ids))
    middle = max(0, (len(ordered) - job.rows) // 2)
    batch = ordered[middle : middle + job.rows]
    tokens = sum(len(e.input_ids) for e in examples) * recipe.epochs
    longest = len(ordered[-1].input_ids)
    return TrainingForecast(
        examples=len(examples),
        tokens=tokens,
        steps=math.ceil(len(examples) / recipe.batch_size) * recipe.epochs,
        needed_gib=memory_needed(job.model, recipe, job.rows, longest) / 2**30,
        free_gib=free_memory() / 2**30,
        seconds=time_step(job.network, batch) * tokens / sum(len(e.input_ids) for e in batch),
        left_out=job.left_out,
    )


def time_step(network: Any, batch: Sequence[Example]) -> float:
    """Seconds of one training step, after one to warm up; changes no weight."""
    import torch

    width = max(len(e.input_ids) for e in batch)
    # (rows, width). What the padding is does not matter to the clock.
    ids = torch.tensor([[*e.input_ids, *[0] * (width - len(e.input_ids))] for e in batch])
    ids = ids.to(network.device)
    mode = network.training
    network.train()  # in eval mode bitsandbytes repacks the 4-bit weights for CPU inference
    step = 0.0
    for _ in range(2):
        started = time.monotonic()
        network(input_ids=ids, labels=ids).loss.backward()
        if ids.is_cuda:
            torch.cuda.synchronize()  # a GPU's work is only queued by the lines above
        step = time.monotonic() - started
        network.zero_grad(set_to_none=True)
    network.train(mode)
    return step
