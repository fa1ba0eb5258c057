"""What a fine-tuning takes of a machine's memory: computed before it, measured on a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..agent.trajectory import Trajectory
from ..errors import FireActError
from .masking import encode, features, make_collator
from .recipe import Recipe, prepare


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
    examples = [encode(t, tokenizer, recipe.mask, recipe.max_length) for t in trajectories]
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


def memory_needed(model: str | Path, recipe: Recipe) -> float:
    """Bytes for weights, gradients and AdamW's two moments, and a fifth for activations.

    Counts the weights at the recipe's precision; only of local folders (0 for others).
    """
    weights = Path(model) / "model.safetensors"
    if not weights.exists():
        return 0.0
    parameters = weights.stat().st_size / 2  # shipped in float16
    # 4-bit weights, their scales and the embeddings are about 0.6; an adapter with its gradient and
    # moments 0.3. In full training weight, gradient and two moments take 4 each.
    bytes_each = {"qlora": 0.6 + 0.3, "lora": 4 + 0.3, "full": 16}[recipe.kind]
    return parameters * bytes_each * 1.2


def free_memory() -> int:
    """Free bytes where the training would run: of the GPU if there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


def check_memory(model: str | Path, recipe: Recipe) -> None:
    """Refuse a run that cannot fit, before it starts."""
    needed, free = memory_needed(model, recipe), free_memory()
    if needed > free:
        raise FireActError(
            f"Training {Path(model).name} by {recipe.kind} needs about {needed / 2**30:.1f} GiB "
            f"and {free / 2**30:.1f} GiB are free. Use kind='qlora' or a smaller model."
        )
