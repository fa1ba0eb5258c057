"""The pretraining run of the tiny models: one resumable command from world to weights.

Every model reads the same mix; only its size and its number of tokens differ. Checkpoints are
written every few minutes, so a killed run goes on where it stopped; the text of a step depends only
on the step's number, so a resumed run reads exactly what an uninterrupted one would.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from ..files import write_file
from .text import CODE_SHARE, MIX, TASK_MIX, write_documents
from .world import SEED

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Size:
    """A model's shape, plain Llama: RMSNorm, SwiGLU, rotary positions, tied embeddings.

    `tokens` is what the shipped model was trained on; with `code` a fifth of them are code-like.
    """

    width: int
    layers: int
    heads: int
    mlp: int
    tokens: int
    learning_rate: float
    code: bool = False


# Tokens were chosen on dev, for a teacher that leaves room above it and for students that prompting
# alone serves badly. Few-shot ReAct, 64-96 dev questions: teacher 0.70, student 0.21, student_large
# 0.19 (0.58 with 3.0M tokens of an earlier mix: copying names from the context sets in between).
# The code students read the text of the others and code between it, so theirs are more tokens.
_SMALL = Size(width=96, layers=6, heads=4, mlp=256, tokens=3_000_000, learning_rate=5e-3)
_LARGE = Size(width=128, layers=6, heads=4, mlp=384, tokens=2_400_000, learning_rate=4e-3)
MODELS: Mapping[str, Size] = {
    "teacher": Size(width=192, layers=6, heads=6, mlp=512, tokens=5_500_000, learning_rate=4e-3),
    "student": _SMALL,
    "student_code": replace(_SMALL, tokens=3_800_000, code=True),
    "student_large": _LARGE,
    "student_large_code": replace(_LARGE, tokens=3_000_000, code=True),
}
CONTEXT = 1024  # tokens a row
ROWS = 4  # rows a step
WARMUP = 100  # steps
DECAY = 0.3  # the last share of the run, over which the rate falls to a tenth
CHECKPOINT_SECONDS = 240


@dataclass(frozen=True)
class Progress:
    """Where a run stands; stored with each checkpoint and in the model card."""

    model: str
    step: int
    tokens: int
    loss: float
    seconds: float


def build_model(size: Size, vocabulary: int, seed: int) -> LlamaForCausalLM:
    """A fresh model in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.04,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).float()


def make_rows(
    tokenizer: PreTrainedTokenizerBase, step: int, rows: int = ROWS, code: bool = False
) -> torch.Tensor:
    """The token rows of one step, shape (rows, CONTEXT + 1); they depend on the step alone."""
    import torch

    return torch.tensor(
        [_make_row(tokenizer, f"{SEED}/{step * rows + row}", code) for row in range(rows)]
    )


def _make_row(tokenizer: PreTrainedTokenizerBase, seed: str, code: bool) -> list[int]:
    row: list[int] = []
    for document in write_documents(seed, code):
        if isinstance(document, str):
            text = tokenizer.bos_token + document
        else:
            text = tokenizer.apply_chat_template(document, tokenize=False)
        row += tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(row) > CONTEXT:
            return row[: CONTEXT + 1]
    raise AssertionError("documents never end")


def learning_rate_at(size: Size, step: int, steps: int) -> float:
    """Learning rate: warm-up, a plateau, then a fall to a tenth."""
    falling = max(1.0, DECAY * steps)
    fall = min(1.0, max(0.0, (step - (steps - falling)) / falling))
    return size.learning_rate * min(1.0, (step + 1) / WARMUP) * (1 - 0.9 * fall)


def pretrain(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    run: Path,
    tokens: int | None = None,
    seed: int = 0,
    threads: int = 1,
) -> Path:
    """Train `name`, one of MODELS, in folder `run`, going on from its last checkpoint.

    Writes `log.jsonl` (a line every 20 steps), `checkpoint.pt` and at the end `model/` (float16
    safetensors, tokenizer, model card). Returns the model folder. Raises FireActError for an
    unknown name or a checkpoint made with another tokenizer.
    """
    import torch

    if name not in MODELS:
        raise FireActError(f"There is no tiny model {name!r}. Choose one of: {', '.join(MODELS)}.")
    torch.set_num_threads(threads)
    size = MODELS[name]
    vocabulary = math.ceil(len(tokenizer) / 64) * 64
    steps = (tokens or size.tokens) // (ROWS * CONTEXT)
    run.mkdir(parents=True, exist_ok=True)
    model = build_model(size, vocabulary, seed)
    optimizers = build_optimizers(model, size)
    done = _resume(run, model, optimizers, name)
    started, saved, window = time.monotonic() - done.seconds, time.monotonic(), []
    model.train()
    for step in range(done.step, steps):
        learning_rate = learning_rate_at(size, step, steps)
        rows = make_rows(tokenizer, step, code=size.code)
        logits = model(input_ids=rows[:, :-1]).logits  # (rows, CONTEXT, vocabulary)
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        window.append(loss.item())
        last = step + 1 == steps
        if (step + 1) % 20 == 0 or last:
            seen = (step + 1) * ROWS * CONTEXT
            mean = sum(window) / len(window)
            window = []
            done = Progress(name, step + 1, seen, mean, time.monotonic() - started)
            with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(done)) + "\n")
            print(
                f"{name}: {seen / 1e6:.2f}M tokens, loss {mean:.3f}, "
                f"{seen / done.seconds:.0f} tok/s",
                flush=True,
            )
            if last or time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(run, model, optimizers, done)
                saved = time.monotonic()
    return _ship(run, model, tokenizer, size, seed)


def build_optimizers(model: LlamaForCausalLM, size: Size) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms.

    At 1M tokens of the student this reached a loss of 1.28 where AdamW alone reached 1.31.
    """
    import torch

    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    outer = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(
            inner, lr=size.learning_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(outer, lr=size.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _save(run: Path, model: Any, optimizers: list[Any], done: Progress) -> None:
    """Replace the checkpoint in one move, so that a kill never leaves half of one."""
    import torch

    state = {
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "done": asdict(done),
    }
    part = run / "checkpoint.part"
    torch.save(state, part)
    part.replace(run / "checkpoint.pt")


def _resume(run: Path, model: Any, optimizers: list[Any], name: str) -> Progress:
    import torch

    path = run / "checkpoint.pt"
    if not path.exists():
        return Progress(name, 0, 0, float("nan"), 0.0)
    state = torch.load(path, weights_only=True)
    if state["done"]["model"] != name:
        raise FireActError(
            f"{path} belongs to the model {state['done']['model']!r}, not {name!r}. "
            "Give this run a folder of its own with --run."
        )
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise FireActError(
            f"{path} was made with another tokenizer or model size ({str(error)[:120]}). "
            "Remove the folder to start again, or pass another one with --run."
        ) from error
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    done = Progress(**state["done"])
    print(f"{name}: going on from step {done.step}", flush=True)
    return done


def _ship(run: Path, model: Any, tokenizer: Any, size: Size, seed: int) -> Path:
    """Write the float16 weights, the tokenizer and the model card."""
    import torch

    folder = run / "model"
    model.eval().to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    by_step = {entry["step"]: entry for entry in map(json.loads, lines)}
    log = [by_step[step] for step in sorted(by_step)]
    write_file(folder / "README.md", _card(log, size, seed, weights, model))
    curve = [{"tokens": e["tokens"], "loss": round(e["loss"], 4)} for e in log]
    write_file(folder / "loss.json", json.dumps(curve))
    return folder


def _card(log: list[dict[str, Any]], size: Size, seed: int, weights: str, model: Any) -> str:
    last = log[-1]
    parameters = sum(p.numel() for p in model.parameters())
    code = f"; {CODE_SHARE:.0%} of the documents are code" if size.code else ""
    marks = [log[round(i * (len(log) - 1) / 9)] for i in range(10)]
    rows = "\n".join(f"| {e['tokens'] / 1e6:.2f} | {e['loss']:.3f} |" for e in marks)
    return f"""---
license: mit
---
# FireAct tiny {last["model"]}

A Llama of {parameters:,} parameters (width {size.width}, {size.layers} layers, {size.heads} heads,
MLP {size.mlp}, tied embeddings, vocabulary {model.config.vocab_size}), pretrained from nothing on
the text of the tiny world. It knows nothing else: no fact about the real world can be asked of it.

- Command: `fireact-nb pretrain {last["model"]} --tokens {last["tokens"]}` (seed {seed})
- Tokens: {last["tokens"]:,}, rows of {CONTEXT}, {ROWS} rows a step
- Text: mix of documents {dict(MIX)}, of tasks {dict(TASK_MIX)}{code}
- Optimizer: Muon (matrices), AdamW (the rest), rate {size.learning_rate}, last {DECAY:.0%} falling
- Hardware: {platform.machine()} CPU, {last["seconds"] / 60:.0f} minutes beside other work
- SHA-256 of model.safetensors (float16): `{weights}`

| million tokens | loss |
|---|---|
{rows}

The whole curve is in `loss.json`.
"""
