"""Where others train: data, settings and the command for their programs and services.

Knows what LLaMA-Factory, TRL, Axolotl, OpenAI and Together read. Starts and uploads nothing.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import write_file
from ..models.native import check_tools
from ..models.weights import load_tokenizer
from . import llama_factory
from .checking import LEAST, check_rows, choose
from .formats import chat_row, export_sharegpt, tool_row, write_rows
from .marking import mark_template, read_shape
from .masking import TooLong, encode
from .recipe import Recipe, recipe_for

_CHECKED = 20  # rows on which a template is compared with ours
_OPENAI_ENDS = (
    "OpenAI's fine-tuning ends: gpt-3.5-turbo was shut down on 2026-10-23; organisations that "
    "never tuned cannot start since 2026-05-07, and nobody can from 2027-01-06 on; tuned gpt-4o "
    "and gpt-4.1 models end on 2027-01-14 (as read in November 2026). The file is still what "
    "Together and others take."
)


@dataclass(frozen=True)
class Export:
    """What lies ready for another trainer, how to start it there, and what was left out and why."""

    folder: Path
    files: tuple[str, ...]
    rows: int
    command: str
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.rows} trajectories -> {self.folder}: {', '.join(self.files)}"]
        if self.left_out:
            reasons = ", ".join(f"{count} with {why}" for why, count in self.left_out.items())
            lines.append(f"left out: {reasons}")
        return "\n".join([*lines, *self.notes, "Then:", self.command])


@dataclass(frozen=True)
class _Order:
    """What is to be taught to which model, and how."""

    trajectories: Sequence[Trajectory]
    model: str
    tokenizer: Any
    folder: Path
    recipe: Recipe
    tools: bool


def export(
    target: str,
    trajectories: Sequence[Trajectory],
    model: str | Path,
    folder: str | Path,
    recipe: Recipe | None = None,
    tools: bool = False,
) -> Export:
    """Write what `target` needs to teach `model` the trajectories: data, settings, the command.

    target: one of TARGETS. tools: native tool calls instead of the text form. Failed, wrong, empty
    and too long trajectories are left out and counted. Raises FireActError when too few are left,
    when a service would refuse the rows, or when no template of the target's fits the model.
    """
    if target not in TARGETS:
        raise FireActError(f"There is no target {target!r}. Choose one of: {', '.join(TARGETS)}.")
    recipe = recipe or recipe_for(model)
    chosen = choose(trajectories)
    left_out = Counter(chosen.left_out)
    fit, tokenizer = list(chosen.fit), None
    if target in _ON_THIS_MODEL:
        tokenizer = load_tokenizer(model)
        if tools and target != "llamafactory":
            check_tools(tokenizer)
        fit = [t for t in fit if _fits(t, tokenizer, recipe, tools)]
        left_out[f"over {recipe.max_length} tokens"] = len(chosen.fit) - len(fit)
    if len(fit) < LEAST:
        raise FireActError(
            f"Only {len(fit)} trajectories can be taught, and {LEAST} are the least "
            f"({_tell(left_out) or 'nothing was left out'}). Let the teacher play more questions."
        )
    order = _Order(fit, _where(model), tokenizer, Path(folder), recipe, tools)
    files, command, notes = TARGETS[target](order)
    return Export(order.folder, files, len(fit), command, +left_out, notes)


def _tell(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} with {why}" for why, count in left_out.items() if count)


def _fits(trajectory: Trajectory, tokenizer: Any, recipe: Recipe, tools: bool) -> bool:
    try:
        encode(trajectory, tokenizer, max_length=recipe.max_length, tools=tools)
    except TooLong:
        return False
    return True


def _where(model: str | Path) -> str:
    """A hub name as it is, a folder from anywhere."""
    path = Path(model)
    return path.resolve().as_posix() if path.is_dir() else str(model)


Written = tuple[tuple[str, ...], str, tuple[str, ...]]  # files, command, notes


def _for_llama_factory(order: _Order) -> Written:
    if order.tools:
        raise FireActError(
            "LLaMA-Factory writes tool calls in its own words, not in the model's template. Export "
            "the text form, or choose trl, axolotl or openai for native tool calls."
        )
    recipe, folder = order.recipe, order.folder
    export_sharegpt(order.trajectories, folder / "fireact.json")
    checked = [
        encode(t, order.tokenizer, max_length=recipe.max_length)
        for t in order.trajectories[:_CHECKED]
    ]
    expected = {
        "pieces": asdict(read_shape(order.tokenizer)),
        "input_ids": [example.input_ids for example in checked],
    }
    write_file(folder / "expected.json", json.dumps(expected) + "\n")
    program = Path(llama_factory.__file__).read_text(encoding="utf-8")
    write_file(folder / "train.py", program)
    settings: dict[str, Any] = {
        "model_name_or_path": order.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full" if recipe.kind == "full" else "lora",
        "dataset_dir": ".",
        "dataset": "fireact",
        "cutoff_len": recipe.max_length,
        "output_dir": "adapter",
        **_adapter(recipe, "lora_rank", "lora_alpha", "lora_dropout"),
        **({"lora_target": ",".join(recipe.targets) or "all"} if recipe.kind != "full" else {}),
        **({"quantization_bit": 4} if recipe.kind == "qlora" else {}),
        **_trainer(recipe),
    }
    write_file(folder / "train.yaml", _yaml(settings))
    note = (
        "train.py runs LLaMA-Factory on train.yaml, with the template whose tokens are ours: it "
        "compares them on the first rows, and trains nothing where they differ."
    )
    files = ("fireact.json", "dataset_info.json", "train.yaml", "expected.json", "train.py")
    return files, f"cd {_quoted(folder)}\npython train.py", (note,)


def _for_trl(order: _Order) -> Written:
    recipe, folder = order.recipe, order.folder
    files, notes = ["fireact.jsonl", "sft.yaml"], []
    write_rows(order.trajectories, folder / "fireact.jsonl", order.tools)
    template: dict[str, Any] = {}
    if not order.tools:
        try:
            marked = mark_template(
                order.tokenizer, order.trajectories[:_CHECKED], recipe.max_length
            )
            write_file(folder / "chat_template.jinja", marked)
            template = {"chat_template_path": "chat_template.jinja"}
            files.append("chat_template.jinja")
            notes.append(
                "chat_template.jinja marks the agent's words; on your rows it was compared."
            )
        except FireActError as error:
            notes.append(f"{error} TRL has templates of its own for the main families.")
    settings = {
        "model_name_or_path": order.model,
        "datasets": [{"path": "json", "data_files": "fireact.jsonl", "split": "train"}],
        "assistant_only_loss": True,
        **template,
        "max_length": recipe.max_length,
        "output_dir": "adapter",
        "use_peft": recipe.kind != "full",
        **_adapter(recipe, "lora_r", "lora_alpha", "lora_dropout"),
        **({"lora_target_modules": _targets(recipe)} if recipe.kind != "full" else {}),
        **({"load_in_4bit": True} if recipe.kind == "qlora" else {}),
        **_trainer(recipe),
        "bf16": False,  # TRL's default is True, which older GPUs and CPUs only emulate
    }
    write_file(folder / "sft.yaml", _yaml(settings))
    return tuple(files), f"cd {_quoted(folder)}\ntrl sft --config sft.yaml", tuple(notes)


def _for_axolotl(order: _Order) -> Written:
    recipe, folder = order.recipe, order.folder
    write_rows(order.trajectories, folder / "fireact.jsonl", order.tools)
    data = {
        "path": "fireact.jsonl",
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    settings = {
        "base_model": order.model,
        "chat_template": "tokenizer_default",
        "datasets": [data | ({"field_tools": "tools"} if order.tools else {})],
        "sequence_len": recipe.max_length,
        "excess_length_strategy": "drop",
        **({"adapter": recipe.kind} if recipe.kind != "full" else {}),
        **({"load_in_4bit": True} if recipe.kind == "qlora" else {}),
        **_adapter(recipe, "lora_r", "lora_alpha", "lora_dropout"),
        **_axolotl_targets(recipe),
        "micro_batch_size": 1,
        "gradient_accumulation_steps": recipe.batch_size,
        "num_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler": "linear",
        "optimizer": "adamw_torch",
        "seed": recipe.seed,
        "output_dir": "adapter",
    }
    write_file(folder / "axolotl.yaml", _yaml(settings))
    return (
        ("fireact.jsonl", "axolotl.yaml"),
        f"cd {_quoted(folder)}\naxolotl train axolotl.yaml",
        (),
    )


def _axolotl_targets(recipe: Recipe) -> dict[str, Any]:
    if recipe.kind == "full":
        return {}
    if recipe.targets:
        return {"lora_target_modules": list(recipe.targets)}
    return {"lora_target_linear": True}


def _for_openai(order: _Order) -> Written:
    _write_checked(order)
    command = (
        f"cd {_quoted(order.folder)}\n"
        'curl https://api.openai.com/v1/files -H "Authorization: Bearer $OPENAI_API_KEY" '
        "-F purpose=fine-tune -F file=@fireact.jsonl"
    )
    return ("fireact.jsonl",), command, (_OPENAI_ENDS,)


def _for_together(order: _Order) -> Written:
    _write_checked(order)
    recipe = order.recipe
    options = f"--n-epochs {recipe.epochs} --learning-rate {recipe.learning_rate:g}"
    if recipe.kind == "full":
        options += " --no-lora"
    else:
        options += f" --lora --lora-r {recipe.rank} --lora-alpha {recipe.alpha}"
    command = (
        f"cd {_quoted(order.folder)}\ntogether fine-tuning create fireact.jsonl "
        f"--model {shlex.quote(order.model)} --train-on-inputs false {options}"
    )
    return ("fireact.jsonl",), command, ()


def _write_checked(order: _Order) -> None:
    rows = [tool_row(t, text=True) if order.tools else chat_row(t) for t in order.trajectories]
    check_rows(rows)
    write_file(
        order.folder / "fireact.jsonl",
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    )


def _adapter(recipe: Recipe, rank: str, alpha: str, dropout: str) -> dict[str, Any]:
    if recipe.kind == "full":
        return {}
    return {rank: recipe.rank, alpha: recipe.alpha, dropout: recipe.dropout}


def _targets(recipe: Recipe) -> str | list[str]:
    return list(recipe.targets) or "all-linear"


def _trainer(recipe: Recipe) -> dict[str, Any]:
    """What LLaMA-Factory and TRL hand on to transformers' Trainer."""
    return {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": recipe.batch_size,
        "num_train_epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "linear",
        "seed": recipe.seed,
        "logging_steps": 10,
        "report_to": "none",
    }


def _yaml(settings: Mapping[str, Any]) -> str:
    """One setting a line; JSON's values are YAML's."""
    lines = [f"{name}: {_value(value)}\n" for name, value in settings.items()]
    return "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, float):  # 1e-05 would be a word to YAML
        return f"{value:.10f}".rstrip("0").rstrip(".") if value < 1 else str(value)
    return json.dumps(value, ensure_ascii=False)


def _quoted(folder: Path) -> str:
    return shlex.quote(folder.as_posix())


TARGETS: Mapping[str, Callable[[_Order], Written]] = {
    "llamafactory": _for_llama_factory,
    "trl": _for_trl,
    "openai": _for_openai,
    "together": _for_together,
    "axolotl": _for_axolotl,
}
_ON_THIS_MODEL = ("llamafactory", "trl", "axolotl")  # those whose model's template is at hand
