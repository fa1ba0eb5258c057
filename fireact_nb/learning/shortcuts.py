"""The same training step for less: fewer products, no padding in sight, logits where they count.

Knows networks and batches; knows nothing of trajectories. Sums are taken in another order than in
the plain step, so that losses and weights differ from its in their last digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def fold_lora(network: Any) -> int:
    """Let each small LoRA layer go through W + s B A at once; returns how many do so now.

    peft goes through W, then through A, then B, and adds: five passes over the tokens, each of
    which costs as much as its memory, and the same again backwards. One product is fewer steps, but
    its gradient is that of all of W: that pays on a CPU up to a width of some 32 ranks. Only there,
    and only in float32 without dropout; every other layer stays as it is.
    """
    from peft.tuners.lora import LoraLayer

    folded = 0
    for layer in network.modules():
        if isinstance(layer, LoraLayer) and _pays(layer):
            vars(layer)["forward"] = _folded(layer)
            folded += 1
    return folded


def _pays(layer: Any) -> bool:
    import torch

    base, first = layer.get_base_layer(), layer.lora_A["default"].weight
    plain = isinstance(base, torch.nn.Linear) and first.dtype == torch.float32
    quiet = isinstance(layer.lora_dropout["default"], torch.nn.Identity)
    small = plain and min(base.in_features, base.out_features) <= 32 * layer.r["default"]
    return small and quiet and first.device.type == "cpu"


def _folded(layer: Any) -> Any:
    """A forward pass for the layer: (..., in) to (..., out)."""
    import torch

    base, bias = layer.get_base_layer().weight, layer.get_base_layer().bias
    first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    state = getattr(base, "quant_state", None)

    def forward(x: torch.Tensor) -> torch.Tensor:
        if state is None:
            weight = base
        else:
            from bitsandbytes.functional import dequantize_4bit

            weight = dequantize_4bit(base.data, state)
        both = torch.addmm(weight, second, first, alpha=layer.scaling["default"])
        return torch.nn.functional.linear(x, both, bias)

    return forward


@contextmanager
def only_labelled(network: Any, labels: torch.Tensor) -> Iterator[None]:
    """Inside, the network answers with (1, labelled, vocabulary) logits instead of every token's.

    Those of the tokens whose successor has a label, in reading order. By what goes into the output
    layer, so that whatever a model does to its logits (scaling, capping) is done as ever. A model
    without such a layer answers as ever, too.
    labels: (rows, tokens), -100 where there is none.
    """
    import torch

    wanted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100) != -100

    def choose(_: Any, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (states[0][wanted][None],)

    head = network.get_output_embeddings()
    hook = head.register_forward_pre_hook(choose) if head is not None else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()


def labelled_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """The mean cross-entropy of what a network answered inside `only_labelled`.

    num_items_in_batch: labels in all the parts that a batch was cut into (default: in this one).
    """
    import torch

    targets = labels[:, 1:][labels[:, 1:] != -100]  # (labelled,)
    total = torch.nn.functional.cross_entropy(outputs.logits[0].float(), targets, reduction="sum")
    return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)
