"""Notebook 04's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def largest_rank(shapes, budget):
    return budget // sum(outputs + inputs for outputs, inputs in shapes)


def quantise(block, levels, size=lambda block: max(map(abs, block)), scaled=True, nearest=True):
    scale = size(block)
    numbers = []
    for weight in block:
        share = weight / scale if scaled and scale else weight
        if nearest:
            numbers.append(min(range(len(levels)), key=lambda n: abs(levels[n] - share)))
        else:
            numbers.append(max(n for n in range(len(levels)) if levels[n] <= share))
    return scale, numbers


def without_care_for_zeros(block, levels):
    scale = max(map(abs, block))
    return quantise([weight / scale for weight in block], levels, lambda _: scale, scaled=False)


def with_a_scale_for_zeros(block, levels):
    return quantise(block, levels, lambda block: max(map(abs, block)) or 1.0)


def counting(
    trained: int = 16, kept: float = 2, packed: float = 0.5, full_adapter: int = 0
) -> Callable[[str, int, int], float]:
    """Bytes a trained weight, a frozen one of LoRA and of QLoRA, an adapter's in full training."""

    def needed(kind: str, weights: int, adapter: int) -> float:
        if kind == "full":
            return trained * weights + full_adapter * adapter
        return {"lora": kept, "qlora": packed}[kind] * weights + 16 * adapter

    return needed


def merging(scale: Callable[[Any, Any, float], float], weight: float = 1) -> Callable[..., Any]:
    return lambda w, a, b, alpha: weight * w + scale(w, a, alpha) * (b @ a)


def merging_in_place(w, a, b, alpha):
    w += alpha / len(a) * (b @ a)
    return w


RIGHT = {
    "04.1": largest_rank,
    "04.2": quantise,
    "04.3": counting(),
    "04.4": merging(lambda w, a, alpha: alpha / len(a)),
}
WRONG: list[tuple[str, Any, str]] = [
    ("04.1", lambda shapes, budget: budget // sum(o * i for o, i in shapes), "multiply the sides"),
    ("04.1", lambda shapes, budget: budget // sum(i for _, i in shapes), "trains A \\*and\\* B"),
    ("04.1", lambda shapes, budget: budget // sum(shapes[0]), "first matrix alone"),
    ("04.1", lambda shapes, budget: budget / sum(map(sum, shapes)), "divide with //"),
    ("04.1", lambda shapes, budget: round(budget / sum(map(sum, shapes)) + 0.49), "Round down"),
    ("04.1", lambda shapes, budget: max(1, largest_rank(shapes, budget)), "Not even rank 1"),
    ("04.2", lambda block, levels: [3, 0, 2, 4], "two things"),
    ("04.2", lambda block, levels: quantise(block, levels, max), "use abs"),
    ("04.2", lambda b, levels: (0.4, [levels[n] for n in quantise(b, levels)[1]]), "not the level"),
    ("04.2", lambda b, levels: quantise(b, levels, scaled=False), "Divide them by the scale"),
    ("04.2", lambda b, levels: quantise(b, levels, nearest=False), "do not round down"),
    ("04.2", lambda b, levels: quantise(b, levels, lambda _: 1.0), "Divide them by the scale"),
    ("04.2", without_care_for_zeros, "block of zeros has the scale 0"),
    ("04.2", with_a_scale_for_zeros, "For a block of zeros the scale is 0.0"),
    ("04.3", counting(trained=12), "two\\* moments"),
    ("04.3", counting(trained=4), "a gradient and two moments"),
    ("04.3", counting(full_adapter=16), "has no adapter"),
    ("04.3", counting(kept=0), "they are there"),
    ("04.3", counting(kept=16), "no gradient and no moments"),
    ("04.3", counting(kept=4), "2 bytes for each frozen"),
    ("04.3", counting(packed=4), "half a byte"),
    ("04.3", lambda kind, n, m: counting()(kind, n, m) if kind != "qlora" else (n + m) / 2,
     "adapter is trained"),
    ("04.4", lambda w, a, b, alpha: w + alpha / len(a) * (a @ b), "B stands on the left"),
    ("04.4", merging(lambda w, a, alpha: 1), "scaled by alpha / r"),
    ("04.4", merging(lambda w, a, alpha: alpha), "Divide it by the rank"),
    ("04.4", merging(lambda w, a, alpha: alpha / len(a), weight=0), "Add it to W"),
    ("04.4", merging(lambda w, a, alpha: alpha / w.shape[1]), "number of rows of A"),
    ("04.4", merging_in_place, "changed W itself"),
    ("04.4", lambda w, a, b, alpha: b @ a[:, :2], "of the shape of W"),
    ("04.4", merging(lambda w, a, alpha: 0), "Not W"),
]  # fmt: skip
