"""Fine-tuning a student on trajectories: LoRA, QLoRA or full, with the loss on the agent's words.

Knows trajectories, tokens and weights. Does not know where trajectories came from or how the result
will be evaluated. Uses transformers' Trainer, peft and bitsandbytes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import content_key, read_json, write_file
from ..models.weights import choose_device, describe, quiet_libraries
from .masking import Example, encode, features, make_collator
from .memory import check_memory, free_memory, memory_needed
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
    checkpoint when called again with the same folder; a finished one is trained anew. Raises
    FireActError when there is nothing to train on, too little memory or no room to save.
    """
    recipe, folder = recipe or Recipe(), Path(folder)
    started = time.monotonic()
    _check(model, trajectories, folder, recipe)
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
    if folder.exists() and Path(model).resolve() == folder.resolve():
        raise FireActError(
            f"{folder} holds the model to be trained, which must stay as it is for its result to "
            "mean anything. Choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FireActError(
            f"The folder {folder} cannot be made ({error.strerror}), so the adapter could not be "
            "saved. Choose a folder that you may write to."
        ) from error
    if free < 500 * 2**20 or not os.access(folder, os.W_OK):
        raise FireActError(
            f"The adapter and its checkpoints could not be saved in {folder}: it is read-only or "
            f"its disk has only {free / 2**20:.0f} MiB free (500 are needed). Free some space or "
            "choose another folder."
        )


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
    from transformers import PrinterCallback, Trainer, TrainingArguments

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
        logging_steps=5,
        logging_first_step=True,
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
    trainer = Trainer(
        model=job.network,
        args=arguments,
        train_dataset=features(job.examples),
        data_collator=make_collator(job.tokenizer),
    )
    # Without its bar, Trainer prints a dictionary at every logging step.
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_find_checkpoint(job.folder, run))
    return trainer


def _save(job: _Job, trainer: Any, started: float) -> Training:
    """Write what was learnt and how, then drop the checkpoints."""
    network, recipe, folder = trainer.model, job.recipe, job.folder
    made = folder / "checkpoints" / "result"
    if recipe.kind == "full":
        network.save_pretrained(made)
        job.tokenizer.padding_side = "left"  # as it came, and as answering needs it
        job.tokenizer.save_pretrained(made)
        trained = stored = sum(p.numel() for p in network.parameters())
    else:
        # A path of this machine would mean nothing elsewhere.
        network.peft_config["default"].base_model_name_or_path = job.base
        # The embeddings were not trained; peft would look for the base model on the hub to tell.
        network.save_pretrained(made, save_embedding_layers=False)
        # Not the sum of numel(): 4-bit weights are packed by two.
        trained, stored = network.get_nb_trainable_parameters()
    saved_bytes = sum(weights.stat().st_size for weights in made.glob("*.safetensors"))
    losses = tuple((e["step"], e["loss"]) for e in trainer.state.log_history if "loss" in e)
    record = {**recipe.to_dict(), "base": job.base, "examples": len(job.examples)}
    _put_in_place(made, folder, {"recipe.json": record, "losses.json": losses})
    _clear_checkpoints(folder)
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


def _put_in_place(made: Path, folder: Path, records: dict[str, Any]) -> None:
    """Bring the result into its folder, each file whole, in an order that shows where it broke off.

    Without its config no adapter and no model loads. So an earlier result's config goes first and
    the new one comes last: a folder with a config holds the weights and the recipe that belong to
    it. (By the recipe `load_model` knows whether to merge an adapter into the rounded base.)
    """
    files = {str(f.relative_to(made)): f for f in sorted(made.rglob("*")) if f.is_file()}
    files.pop("README.md", None)  # peft's empty model card
    config = "adapter_config.json" if "adapter_config.json" in files else "config.json"
    for name in {"adapter_config.json", config}:
        (folder / name).unlink(missing_ok=True)
    for name, record in records.items():
        write_file(folder / name, json.dumps(record, indent=1 if name == "recipe.json" else None))
    for name in sorted(files, key=lambda name: name == config):
        write_file(folder / name, files[name].read_bytes())


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


def _find_checkpoint(folder: Path, run: str) -> str | None:
    """The newest checkpoint of this very run that was written to its end.

    Checkpoints of another recipe, model or data in the same folder are dropped.
    """
    mark = folder / "checkpoints" / "run.txt"
    if not mark.exists() or mark.read_text(encoding="utf-8") != run:
        _clear_checkpoints(folder)
        write_file(mark, run)
    newest = None
    for path in sorted(mark.parent.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])):
        with suppress(FireActError):  # a kill may leave the last one torn
            read_json(path / "trainer_state.json", dict)
            newest = str(path)
    return newest


def _clear_checkpoints(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
