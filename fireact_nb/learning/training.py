"""Fine-tuning a student on trajectories: LoRA, QLoRA or full, with the loss on the agent's words.

Knows trajectories, tokens and weights. Does not know where trajectories came from or how the result
will be evaluated. Uses transformers' Trainer, peft and bitsandbytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import content_key, write_file
from ..models.adapters import name_base
from ..models.sizes import free_memory, is_out_of_memory, release_memory
from ..models.weights import choose_device, describe
from .masking import features, make_collator
from .memory import advise, check_memory, check_rate, fewer_rows
from .placing import (
    alone_in,
    check_folder,
    clear_checkpoints,
    find_checkpoint,
    put_in_place,
    room_in,
)  # fmt: skip
from .planning import Job, forecast, load, plan, throw_dice
from .recipe import Recipe, recipe_for


@dataclass(frozen=True)
class Training:
    """What a fine-tuning run did. `losses` holds (step, mean training loss) pairs.

    left_out: trajectories longer than the recipe's max_length. rows: how many were computed at
    once.
    """

    folder: Path
    examples: int
    tokens: int
    trained_parameters: int
    all_parameters: int
    saved_bytes: int
    seconds: float
    losses: tuple[tuple[int, float], ...]
    left_out: int = 0
    rows: int = 0


def fine_tune(
    model: str | Path,
    trajectories: Sequence[Trajectory],
    folder: str | Path,
    recipe: Recipe | None = None,
    progress: bool = True,
) -> Training:
    """Fine-tune `model` on trajectories and save the adapter (or the full model) in `folder`.

    Without a recipe by that of `recipe_for`. With `progress` it opens with its forecast. A run that
    was killed goes on from its last complete checkpoint when called again with the same folder, to
    the very weights and losses of a run that was left alone; a finished one is trained anew.
    Trajectories longer than the recipe's max_length are left out, and counted. Raises FireActError
    when there is nothing to train on, a template that hides whose words are whose, too little
    memory, no room to save, or another training in the same folder.
    """
    recipe, folder = recipe or recipe_for(model), Path(folder)
    started = time.monotonic()
    _check(model, trajectories, folder, recipe)
    with alone_in(folder):
        job, trainer = _train_within_memory(
            _begin(model, trajectories, recipe, progress), folder, progress
        )
        return _save(job, trainer, folder, started)


def _check(
    model: str | Path, trajectories: Sequence[Trajectory], folder: Path, recipe: Recipe
) -> None:
    """Find out before the training, not after it, that it cannot work or not be kept."""
    if not trajectories:
        raise FireActError(
            "There is no trajectory to train on. Generate some with the teacher, and check that "
            "the success filter left any."
        )
    check_rate(model, recipe)
    check_memory(model, recipe)
    check_folder(folder, model)


def _begin(
    model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe, progress: bool
) -> Job:
    job = plan(model, trajectories, recipe)
    if progress:
        try:
            print(forecast(job))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            print("No forecast: the memory ran out in the step that was to be timed.")
        throw_dice(recipe)  # its dropout has thrown them: the training must not differ by it
    return job


def _train_within_memory(job: Job, folder: Path, progress: bool) -> tuple[Job, Any]:
    """The training, begun again with half of the rows at once where memory runs out.

    A step still sees the recipe's batch, so that what is learnt is the same but for rounding.
    """
    while True:
        try:
            return job, _train(job, folder, progress)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if job.rows == 1:
                what = f"a training of {Path(job.model).name} by {job.recipe.kind}"
                raise FireActError(
                    f"The memory ran out in {what} with one conversation at once. "
                    f"{advise(job.recipe, free_memory())}"
                ) from error
        # Outside of the handler, whose traceback holds on to every tensor of the failed step.
        rows = fewer_rows(job.rows // 2, job.recipe.batch_size)[0]
        print(f"Memory ran out with {job.rows} conversations at once; going on with {rows}.")
        job = replace(job, network=None)
        release_memory()
        job = replace(job, network=load(job.model, job.recipe)[0], rows=rows)


def _train(job: Job, folder: Path, progress: bool) -> Any:
    """The Trainer after its last step, begun anew or at the last checkpoint of this very run."""
    import torch
    from transformers import TrainingArguments

    recipe = job.recipe
    run = content_key(recipe.to_dict(), describe(job.model), job.examples)
    device, dtype = choose_device()
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=job.rows,
        gradient_accumulation_steps=recipe.batch_size // job.rows,
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
    trainer.train(resume_from_checkpoint=find_checkpoint(folder, run))
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


def _save(job: Job, trainer: Any, folder: Path, started: float) -> Training:
    """Write what was learnt and how, then drop the checkpoints."""
    network, recipe = trainer.model, job.recipe
    losses = _thin([(e["step"], e["loss"]) for e in trainer.state.log_history if "loss" in e])
    record = {**recipe.to_dict(), "base": describe(job.model), "examples": len(job.examples)}
    made = folder / "checkpoints" / "result"
    with room_in(made.parent):
        if recipe.kind == "full":
            network.save_pretrained(made)
            job.tokenizer.padding_side = "left"  # as it came, and as answering needs it
            job.tokenizer.save_pretrained(made)
            trained = stored = sum(p.numel() for p in network.parameters())
        else:
            config = network.peft_config["default"]
            config.base_model_name_or_path, config.revision = name_base(job.model)
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
        left_out=job.left_out,
        rows=job.rows,
    )


def _thin(losses: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Of every step's loss the first one, then at each fifth step the mean since the last told."""
    told = list(losses[:1])
    for end in range(5, losses[-1][0] + 1, 5):
        since = [loss for step, loss in losses if told[-1][0] < step <= end]
        told.append((end, sum(since) / len(since)))
    return tuple(told)
