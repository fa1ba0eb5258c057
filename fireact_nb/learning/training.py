"""Fine-tuning a student on trajectories: LoRA, QLoRA or full, with the loss on the agent's words.

Knows trajectories, tokens and weights. Does not know where trajectories came from or how the result
will be evaluated. Uses transformers' Trainer, peft and bitsandbytes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import content_key, write_file
from ..models.weights import choose_device, describe, quiet_libraries
from .masking import Example, encode, features, make_collator
from .memory import check_memory, free_memory, memory_needed
from .placing import (
    alone_in,
    check_folder,
    clear_checkpoints,
    find_checkpoint,
    put_in_place,
    room_in,
)  # fmt: skip
from .recipe import Recipe, prepare


@dataclass(frozen=True)
class Training:
    """What a fine-tuning run did. `losses` holds (step, mean training loss) pairs."""

    folder: Path
    examples: int
    tokens: int
    trained_parameters: int
    all_parameters: int
    saved_bytes: int
    seconds: float
    losses: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class _Job:
    """What is trained, on what and how; `base` names the model by the hash of its weights."""

    network: Any
    tokenizer: Any
    examples: list[Example]
    base: str
    recipe: Recipe
    folder: Path


@dataclass(frozen=True)
class TrainingForecast:
    """What a fine-tuning run will take. Memory in GiB; seconds from one timed step."""

    examples: int
    tokens: int
    steps: int
    needed_gib: float
    free_gib: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.examples} trajectories, {self.tokens:,} tokens in {self.steps} steps: about "
            f"{self.seconds / 60:.1f} minutes (one step timed), "
            f"{self.needed_gib:.1f} of {self.free_gib:.1f} GiB"
        )


def fine_tune(
    model: str | Path,
    trajectories: Sequence[Trajectory],
    folder: str | Path,
    recipe: Recipe | None = None,
    progress: bool = True,
) -> Training:
    """Fine-tune `model` on trajectories and save the adapter (or the full model) in `folder`.

    With `progress` it opens with its forecast. A run that was killed goes on from its last complete
    checkpoint when called again with the same folder, to the very weights and losses of a run that
    was left alone; a finished one is trained anew. Raises FireActError when there is nothing to
    train on, too little memory, no room to save, or another training in the same folder.
    """
    recipe, folder = recipe or Recipe(), Path(folder)
    started = time.monotonic()
    _check(model, trajectories, folder, recipe)
    with alone_in(folder):
        job = _prepare(model, trajectories, folder, recipe, progress)
        trainer = _train(job, progress)
        return _save(job, trainer, started)


def _check(
    model: str | Path, trajectories: Sequence[Trajectory], folder: Path, recipe: Recipe
) -> None:
    """Find out before the training, not after it, that it cannot work or not be kept."""
    if not trajectories:
        raise FireActError(
            "There is no trajectory to train on. Generate some with the teacher, and check that "
            "the success filter left any."
        )
    check_memory(model, recipe)
    check_folder(folder, model)


def _prepare(
    model: str | Path,
    trajectories: Sequence[Trajectory],
    folder: Path,
    recipe: Recipe,
    progress: bool,
) -> _Job:
    """The network with its adapter, and the trajectories as tokens; with `progress` a forecast."""
    quiet_libraries()
    from transformers import set_seed

    set_seed(recipe.seed)  # an adapter's first matrices are drawn
    network, tokenizer = prepare(model, recipe)
    examples = _encode_all(trajectories, tokenizer, recipe)
    if progress:
        print(_forecast(network, examples, model, recipe))
        set_seed(recipe.seed)  # its dropout has thrown the dice: the training must not differ by it
    return _Job(network, tokenizer, examples, describe(model), recipe, folder)


def _encode_all(
    trajectories: Sequence[Trajectory], tokenizer: Any, recipe: Recipe
) -> list[Example]:
    return [encode(t, tokenizer, recipe.mask, recipe.max_length) for t in trajectories]


def _train(job: _Job, progress: bool) -> Any:
    """The Trainer after its last step, begun anew or at the last checkpoint of this very run."""
    import torch
    from transformers import TrainingArguments

    recipe = job.recipe
    run = content_key(recipe.to_dict(), job.base, job.examples)
    device, dtype = choose_device()
    arguments = TrainingArguments(
        output_dir=str(job.folder / "checkpoints"),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,  # below 1 it is a share of all steps
        weight_decay=0.0,
        # Rows of one length together: padding costs as much as words do.
        train_sampling_strategy="group_by_length",
        logging_steps=1,  # a mean over several would be lost with a kill between them
        save_strategy="epoch",
        save_total_limit=1,
        report_to="none",  # else every tracker that is installed would be written to
        use_cpu=device == "cpu",
        disable_tqdm=not progress,
        seed=recipe.seed,
        dataloader_pin_memory=device != "cpu",
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
    )
    trainer = _trainer()(
        model=job.network,
        args=arguments,
        train_dataset=features(job.examples),
        data_collator=make_collator(job.tokenizer),
    )
    trainer.train(resume_from_checkpoint=find_checkpoint(job.folder, run))
    return trainer


def _trainer() -> type[Any]:
    """transformers' Trainer, quiet, that keeps the loss of every step and finds room first."""
    from transformers import Trainer

    class OurTrainer(Trainer):
        def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
            # Into the state alone, not under the bar at every step.
            self.state.log_history.append({**logs, "step": self.state.global_step})
            self.control.should_log = False

        def _save_checkpoint(self, *args: Any, **options: Any) -> None:
            with room_in(Path(str(self.args.output_dir))):
                super()._save_checkpoint(*args, **options)

    return OurTrainer


def _save(job: _Job, trainer: Any, started: float) -> Training:
    """Write what was learnt and how, then drop the checkpoints."""
    network, recipe, folder = trainer.model, job.recipe, job.folder
    losses = _thin([(e["step"], e["loss"]) for e in trainer.state.log_history if "loss" in e])
    record = {**recipe.to_dict(), "base": job.base, "examples": len(job.examples)}
    made = folder / "checkpoints" / "result"
    with room_in(made.parent):
        if recipe.kind == "full":
            network.save_pretrained(made)
            job.tokenizer.padding_side = "left"  # as it came, and as answering needs it
            job.tokenizer.save_pretrained(made)
            trained = stored = sum(p.numel() for p in network.parameters())
        else:
            # A path of this machine would mean nothing elsewhere.
            network.peft_config["default"].base_model_name_or_path = job.base
            # The embeddings were not trained; peft would look for the base model on the hub to
            # tell.
            network.save_pretrained(made, save_embedding_layers=False)
            # Not the sum of numel(): 4-bit weights are packed by two.
            trained, stored = network.get_nb_trainable_parameters()
        write_file(made / "recipe.json", json.dumps(record, indent=1))
        write_file(made / "losses.json", json.dumps(losses))
    saved_bytes = sum(weights.stat().st_size for weights in made.glob("*.safetensors"))
    put_in_place(made, folder)
    clear_checkpoints(folder)
    return Training(
        folder=folder,
        examples=len(job.examples),
        tokens=sum(len(e.input_ids) for e in job.examples) * recipe.epochs,
        trained_parameters=trained,
        all_parameters=stored,
        saved_bytes=saved_bytes,
        seconds=time.monotonic() - started,
        losses=losses,
    )


def _thin(losses: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Of every step's loss the first one, then at each fifth step the mean since the last told."""
    told = list(losses[:1])
    for end in range(5, losses[-1][0] + 1, 5):
        since = [loss for step, loss in losses if told[-1][0] < step <= end]
        told.append((end, sum(since) / len(since)))
    return tuple(told)


def forecast_training(
    model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe | None = None
) -> TrainingForecast:
    """What `fine_tune` will take, before it starts: loads the model and times one step."""
    recipe = recipe or Recipe()
    network, tokenizer = prepare(model, recipe)
    return _forecast(network, _encode_all(trajectories, tokenizer, recipe), model, recipe)


def _forecast(
    network: Any, examples: Sequence[Example], model: str | Path, recipe: Recipe
) -> TrainingForecast:
    """From one timed step on a batch of examples of middling length."""
    ordered = sorted(examples, key=lambda e: len(e.input_ids))
    middle = max(0, (len(ordered) - recipe.batch_size) // 2)
    batch = ordered[middle : middle + recipe.batch_size]
    tokens = sum(len(e.input_ids) for e in examples) * recipe.epochs
    return TrainingForecast(
        examples=len(examples),
        tokens=tokens,
        steps=math.ceil(len(examples) / recipe.batch_size) * recipe.epochs,
        needed_gib=memory_needed(model, recipe) / 2**30,
        free_gib=free_memory() / 2**30,
        seconds=_time_step(network, batch) * tokens / sum(len(e.input_ids) for e in batch),
    )


def _time_step(network: Any, batch: Sequence[Example]) -> float:
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
