"""What a fine-tuning takes of a machine's memory: computed before it, measured on a step.

Knows recipes and the sizes of models; trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..models.presets import PRESETS
from ..models.sizes import Size, free_memory, size_of, size_of_preset
from ..models.weights import choose_device
from .masking import encode, features, make_collator
from .recipe import BIG, Recipe, prepare


def measure_memory(
    model: str | Path, trajectories: Sequence[Trajectory], recipe: Recipe | None = None
) -> dict[str, int]:
    """Bytes that one real training step on all `trajectories` as one batch takes, by part.

    Weights with the scales and tables of quantised ones; gradients; AdamW's two moments;
    activations: what the forward pass keeps for the backward pass, each storage once, weights
    apart. On a GPU also "peak", the most its allocator held. Nothing is saved.
    """
    import torch

    recipe = recipe or Recipe()
    network, tokenizer = prepare(model, recipe)
    network.train()
    examples = [
        encode(t, tokenizer, recipe.mask, recipe.max_length, recipe.tools) for t in trajectories
    ]
    batch = make_collator(tokenizer)(features(examples)).to(network.device)  # (rows, tokens)
    parameters = list(network.parameters())
    kept = {t.untyped_storage().data_ptr() for t in (*parameters, *network.buffers())}
    activations: dict[int, int] = {}  # bytes by address: many tensors are views of one storage

    def weigh(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            activations[storage.data_ptr()] = storage.nbytes()
        return tensor

    trained = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate)
    gpu = network.device.type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        loss = network(**batch).loss
    loss.backward()
    optimizer.step()
    moments = [m for state in optimizer.state.values() for m in state.values()]
    sizes = {
        "weights": sum(t.nbytes for t in (*parameters, *_quantisation_tables(parameters))),
        "gradients": sum(p.grad.nbytes for p in trained if p.grad is not None),
        "moments": sum(m.nbytes for m in moments if m.ndim),  # the step counters are no moments
        "activations": sum(activations.values()),
    }
    return sizes | ({"peak": torch.cuda.max_memory_allocated()} if gpu else {})


def _quantisation_tables(parameters: Sequence[Any]) -> list[Any]:
    """What bitsandbytes keeps beside 4-bit weights: their scales, and its tables of levels."""
    states = [p.quant_state for p in parameters if getattr(p, "quant_state", None) is not None]
    tables = []
    for state in states:
        tables += [state.absmax, state.code]
        if state.nested:
            tables += [state.offset, state.state2.absmax, state.state2.code]
    return tables


def memory_parts(
    model: str | Path | Size, recipe: Recipe, rows: int = 1, length: int | None = None
) -> dict[str, float]:
    """Bytes at the worst moment of a training step of `rows` conversations, by part.

    From the config alone: no weights are loaded or fetched. length: tokens of the longest
    conversation (default: all that the recipe allows).
    """
    size = model if isinstance(model, Size) else size_of(model)
    on_cpu = choose_device()[0] == "cpu"
    each = 4 if on_cpu else 2  # bytes of a number that is computed with
    targets = [
        shape
        for name, shape in size.matrices.items()
        if not recipe.targets or name.rpartition(".")[2] in recipe.targets
    ]
    adapter = 0 if recipe.kind == "full" else sum(recipe.rank * (i + o) for i, o in targets)
    trained = adapter or size.weights
    weights = {
        "full": 4 * size.weights,
        "lora": each * size.weights + 4 * adapter,
        # Half a byte, and a scale of a byte for each block of 64; two tables of levels a matrix.
        # What is not rounded is cast to float32 by peft.
        "qlora": (1 / 2 + 1 / 64 + 4 / 64 / 256) * size.rounded
        + 4 * (16 + 256) * len(size.matrices)
        + 4 * (size.kept + adapter),
    }[recipe.kind]
    # What each layer keeps for the backward pass, in numbers a token: the inputs of two norms and
    # what they give, queries and what attention gives, keys and values, four of the inner layer.
    layer = 4.0 * size.hidden + 2 * size.attention + 2 * size.repeated + 4 * size.inner
    layer += 2 * size.hidden * (recipe.kind == "full")  # normed, for the norms' own gradients
    if recipe.dropout and recipe.kind != "full":  # what was dropped, and a byte of mask each
        layer += sum(i for i, _ in targets) / size.layers * (1 + 1 / each)
    # With checkpointing only each layer's input stays, and one layer is computed again.
    kept = size.layers * layer * each if on_cpu else size.layers * size.hidden * 4 + layer * each
    # Logits and their logarithms in float32, of a GPU also as they were computed.
    head = size.vocabulary * (8 if on_cpu else 10)
    tokens = rows * (length or recipe.max_length)
    return {
        "weights": weights,
        "gradients": 4.0 * trained,
        "moments": 8.0 * trained,
        "activations": float(tokens * kept),
        "logits": float(tokens * head),
        # A matrix that is rounded is unrolled to be multiplied.
        "unrolled": float(each * size.widest) if recipe.kind == "qlora" else 0.0,
    }


def memory_needed(
    model: str | Path | Size, recipe: Recipe, rows: int = 1, length: int | None = None
) -> float:
    """Bytes at the peak of a training step of `rows` conversations; see `memory_parts`."""
    parts = memory_parts(model, recipe, rows, length)
    passing = parts["activations"] + parts["logits"] + parts["unrolled"]
    # Gradients grow as activations go, but stay where several passes make a step.
    apart = rows < recipe.batch_size
    worst = passing + parts["gradients"] if apart else max(passing, parts["gradients"])
    return parts["weights"] + parts["moments"] + worst


_SPARE = 0.9  # of the free memory that is planned with


def check_memory(model: str | Path, recipe: Recipe) -> None:
    """Refuse a run that cannot fit, before anything of it is fetched or loaded."""
    needed, free = memory_needed(model, recipe), free_memory()
    if needed > free:
        raise FireActError(
            f"Training {Path(model).name} by {recipe.kind} needs about {needed / 2**30:.1f} GiB "
            f"for one conversation of {recipe.max_length} tokens and {free / 2**30:.1f} GiB are "
            f"free. {advise(recipe, free)}"
        )


def fit_rows(model: str | Path, recipe: Recipe, longest: int) -> int:
    """How many conversations are computed at once beside the loaded weights.

    A divisor of the recipe's batch. longest: tokens. Raises FireActError when not even one fits.
    """
    free = free_memory()
    loaded = memory_parts(model, recipe)["weights"]
    for rows in fewer_rows(recipe.batch_size, recipe.batch_size):
        if memory_needed(model, recipe, rows, longest) - loaded < _SPARE * free:
            return rows
    raise FireActError(
        f"{Path(model).name} is loaded, but {free / 2**30:.1f} GiB are too little to train it on a "
        f"conversation of {longest} tokens. {advise(recipe, free + loaded)}"
    )


def fewer_rows(most: int, batch: int) -> list[int]:
    """The divisors of a batch up to `most`, the largest first."""
    return [rows for rows in range(min(most, batch), 0, -1) if batch % rows == 0]


def advise(recipe: Recipe, free: float) -> str:
    """What to do about too little memory, with a smaller model by name if one fits."""
    ways = ["kind='qlora'"] if recipe.kind != "qlora" else []
    ways.append(f"a max_length below {recipe.max_length}")
    names = [p.model for p in PRESETS.values() if not p.gated and not p.paper]
    needs = {name: memory_needed(size_of_preset(name), recipe) for name in names}
    fitting = [name for name in names if needs[name] < _SPARE * free]
    if fitting:
        best = max(fitting, key=lambda name: needs[name])
        ways.append(f"the model {best} ({needs[best] / 2**30:.1f} GiB)")
    return f"Use {', '.join(ways[:-1])}{' or ' if ways[1:] else ''}{ways[-1]}."


def check_rate(model: str | Path, recipe: Recipe) -> None:
    """Refuse the tiny students' learning rate for a real model, which it would ruin."""
    if recipe.learning_rate > 1e-3 and size_of(model).weights > BIG:
        raise FireActError(
            f"A learning rate of {recipe.learning_rate:g} is for the tiny students and would ruin "
            f"{Path(model).name}. Use recipe_for(model), or a rate of about 2e-4."
        )
