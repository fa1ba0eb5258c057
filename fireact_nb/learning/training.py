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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import content_key, read_json, write_file
from ..models.weights import describe, quiet_libraries
from .masking import Example, encode, features
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
    FireActError when there is nothing to train on or too little memory.
    """
    quiet_libraries()
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, set_seed

    recipe, folder = recipe or Recipe(), Path(folder)
    if not trajectories:
        raise FireActError(
            "There is no trajectory to train on. Generate some with the teacher, and check that "
            "the success filter left any."
        )
    check_memory(model, recipe)
    _check_folder(folder)
    set_seed(recipe.seed)
    started = time.monotonic()
    network, tokenizer = prepare(model, recipe)
    examples = [encode(t, tokenizer, recipe.mask, recipe.max_length) for t in trajectories]
    if progress:
        print(_forecast(network, tokenizer, examples, model, recipe))
        set_seed(recipe.seed)
    cpu = network.device.type == "cpu"
    half = {} if cpu else {"bf16": _is_bf16(network), "fp16": not _is_bf16(network)}
    tokenizer.padding_side = "right"
    checkpoint = _find_checkpoint(folder, content_key(recipe, describe(model), examples))
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=recipe.batch,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        train_sampling_strategy="group_by_length",
        logging_steps=5,
        logging_first_step=True,
        save_strategy="epoch",
        save_total_limit=1,
        report_to="none",
        use_cpu=cpu,
        disable_tqdm=not progress,
        seed=recipe.seed,
        dataloader_pin_memory=not cpu,
        **half,
    )
    trainer = Trainer(
        model=network,
        args=arguments,
        train_dataset=features(examples),  # type: ignore[arg-type]
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )
    _hush(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)
    network = trainer.model
    if recipe.kind != "full":  # a path of this machine would mean nothing elsewhere
        network.peft_config["default"].base_model_name_or_path = describe(model)
        # The embeddings were not trained; peft would look for the base model on the hub to tell.
        network.save_pretrained(folder, save_embedding_layers=False)
    else:
        network.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    if recipe.kind == "full":
        tokenizer.padding_side = "left"
        tokenizer.save_pretrained(folder)
    if recipe.kind == "full":
        trained = stored = sum(p.numel() for p in network.parameters())
    else:  # peft counts packed 4-bit weights one by one
        trained, stored = network.get_nb_trainable_parameters()
    losses = tuple((e["step"], e["loss"]) for e in trainer.state.log_history if "loss" in e)
    weights = next(folder.glob("*model.safetensors"))
    done = Training(
        folder=folder,
        examples=len(examples),
        tokens=sum(len(e.input_ids) for e in examples) * recipe.epochs,
        trained_parameters=trained,
        all_parameters=stored,
        saved_bytes=weights.stat().st_size,
        seconds=time.monotonic() - started,
        losses=losses,
    )
    record = {**asdict(recipe), "base": describe(model), "examples": len(examples)}
    (folder / "recipe.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    (folder / "losses.json").write_text(json.dumps(losses), encoding="utf-8")
    _clear_checkpoints(folder)
    return done


def forecast_training(
    model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe | None = None
) -> TrainingForecast:
    """What `fine_tune` will take, before it starts: loads the model and times one step."""
    recipe = recipe or Recipe()
    network, tokenizer = prepare(model, recipe)
    examples = [encode(t, tokenizer, recipe.mask, recipe.max_length) for t in trajectories]
    return _forecast(network, tokenizer, examples, model, recipe)


def _forecast(
    network: Any, tokenizer: Any, examples: Sequence[Example], model: str | Path, recipe: Recipe
) -> TrainingForecast:
    """Times a batch of examples of middling length, after one to warm up; changes no weight."""
    import torch

    ordered = sorted(examples, key=lambda e: len(e.input_ids))
    middle = max(0, (len(ordered) - recipe.batch) // 2)
    batch = ordered[middle : middle + recipe.batch]
    width = len(batch[-1].input_ids)
    ids = torch.tensor([[*e.input_ids, *[0] * (width - len(e.input_ids))] for e in batch])
    ids = ids.to(network.device)
    mode = network.training
    network.train()  # in eval mode bitsandbytes repacks the 4-bit weights for CPU inference
    for _ in range(2):
        started = time.monotonic()
        network(input_ids=ids, labels=ids).loss.backward()
        if ids.is_cuda:
            torch.cuda.synchronize()
        step = time.monotonic() - started
        network.zero_grad(set_to_none=True)
    network.train(mode)
    tokens = sum(len(e.input_ids) for e in examples) * recipe.epochs
    needed, free = memory_needed(model, recipe), free_memory()
    return TrainingForecast(
        examples=len(examples),
        tokens=tokens,
        steps=math.ceil(len(examples) / recipe.batch) * recipe.epochs,
        needed_gib=needed / 2**30,
        free_gib=free / 2**30,
        seconds=step * tokens / sum(len(e.input_ids) for e in batch),
    )


def _check_folder(folder: Path) -> None:
    """Find out before the training, not after it, that its result cannot be kept."""
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


def _is_bf16(network: Any) -> bool:
    import torch

    return torch.cuda.get_device_capability(network.device)[0] >= 8


def _hush(trainer: Any) -> None:
    """Keep the bar, drop the dictionaries Trainer prints at every logging step."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


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
