"""Checks of the exercises in notebook 04, QLoRA."""

from __future__ import annotations

from typing import Any

from .checks import call, call_directly, exercise, expect, reject, shorten


@exercise("04.1")
def _largest_rank(answer: Any) -> str:
    """The largest rank at which LoRA on all these matrices trains no more than a budget."""
    square = ([(96, 96)], 1920)
    got = call(answer, *square)
    if got == 0:
        reject("One matrix of 96 x 96 and a budget of 1,920 gave 0. Did you multiply the sides? A "
               "is rank x inputs, B outputs x rank: rank * (inputs + outputs) in all.")  # fmt: skip
    if got == 20:
        reject("20 counts only one of the two matrices. LoRA trains A *and* B.")
    expect(answer, square, 10)
    several = ([(96, 96), (256, 96)], 5000)
    got = call(answer, *several)
    if got == 26:
        reject("26 would be right for the first matrix alone. Add up what all matrices cost.")
    if isinstance(got, float) and got != int(got):
        reject(f"{got:.2f} is no rank. A rank is a whole number that fits: divide with //.")
    if got == 10:
        reject("With rank 10 it would train 5,440 weights, more than 5,000. Round down, not up.")
    expect(answer, several, 9)
    expect(answer, ([(4096, 4096), (4096, 4096)], 4_194_304), 256)
    expect(answer, ([(96, 96)], 100), 0, "Not even rank 1 fits into 100 weights.")
    return "The cost grows with the sides of a matrix, not with its area: that is the saving."


@exercise("04.2")
def _quantise_block(answer: Any) -> str:
    """The scale of a block and the number of the nearest level for each of its weights."""
    levels = [-1.0, -0.5, 0.0, 0.5, 1.0]
    block = [0.2, -0.4, 0.05, 0.35]
    got = call(answer, block, levels)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        reject("Return two things: the scale, and the list of level numbers.")
    scale, numbers = got
    numbers = [*numbers]
    if scale == 0.35:
        reject("The scale is 0.35, the largest weight. -0.4 is larger in *size*: use abs().")
    if any(n not in range(len(levels)) for n in numbers):
        reject("Numbers of levels are wanted, whole and counted from 0, not the levels' values.")
    if numbers == [2, 1, 2, 3]:
        reject("The numbers belong to the weights as they are. Divide them by the scale first.")
    if numbers == [3, 0, 2, 3]:
        reject("0.35 / 0.4 is 0.875: nearer to 1.0 than to 0.5. Take the nearest level, do not "
               "round down.")  # fmt: skip
    if not abs(scale - 0.4) <= 1e-6:
        reject(f"The scale of {block} is 0.4, its largest size. Yours is {shorten(scale)}.")
    if numbers != [3, 0, 2, 4]:
        reject(f"For {block} the numbers are [3, 0, 2, 4]. Yours are {shorten(numbers)}.")
    hint = "A block of zeros has the scale 0: do not divide by it."
    scale, numbers = call(answer, [0.0, 0.0], levels, hint=hint)
    if scale != 0 or [*numbers] != [2, 2]:
        reject("For a block of zeros the scale is 0.0, and every number that of the level 0.0: "
               f"(0.0, [2, 2]). Yours gave {shorten((scale, numbers))}.")  # fmt: skip
    _expect_levels(answer, [1.0, -2.0, 0.3], levels, 2.0, [3, 0, 2])
    return "That is NF4, apart from its choice of levels: 16 of them, and 64 weights in a block."


def _expect_levels(
    answer: Any, block: list[float], levels: list[float], scale: float, numbers: list[int]
) -> None:
    got = call(answer, block, levels)
    if not abs(got[0] - scale) <= 1e-6 or [*got[1]] != numbers:
        reject(f"For {block} it gave {shorten(got)}; ({scale}, {numbers}) is wanted.")


@exercise("04.3")
def _bytes_needed(answer: Any) -> str:
    """Bytes for weights, gradients and moments of full fine-tuning, LoRA and QLoRA."""
    full = call(answer, "full", 1000, 10)
    if full in (12_000, 12_120):
        reject("12 bytes a weight leave something out. AdamW keeps *two* moments, 4 bytes each: "
               "4 + 4 + 8.")  # fmt: skip
    if full in (4_000, 8_000):
        reject("A trained weight takes more than its own 4 bytes: a gradient and two moments, too.")
    if full == 16_160:
        reject("Full fine-tuning has no adapter: every weight is trained itself. Leave it out.")
    expect(answer, ("full", 1000, 10), 16_000.0)
    lora = call(answer, "lora", 1000, 10)
    if lora == 160:
        reject("The frozen weights need no gradient, but they are there: 2 bytes each.")
    if lora in (16_160, 14_160, 6_160):
        reject("Frozen weights get no gradient and no moments, and they stay in 2 bytes here.")
    if lora in (4_160, 2_040):
        reject("LoRA: 2 bytes for each frozen weight, 16 for each trained one.")
    expect(answer, ("lora", 1000, 10), 2_160.0)
    qlora = call(answer, "qlora", 1000, 10)
    if qlora in (4_160, 4_000):
        reject("4 bits are not 4 bytes. A byte has 8 bits, so a frozen weight takes half a byte.")
    if qlora in (505, 540):
        reject("Only the frozen weights are in 4 bits. The adapter is trained: 16 bytes a weight.")
    expect(answer, ("qlora", 1000, 10), 660.0)
    expect(answer, ("qlora", 7_000_000_000, 20_000_000), 3_820_000_000.0)
    return "Three lines of arithmetic, and you know before you rent a card."


@exercise("04.4")
def _merge(answer: Any) -> str:
    """One matrix that does what a frozen matrix and its adapter do together."""
    import torch

    w = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    a = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    before, alpha = w.clone(), 6.0
    got = call_directly(answer, (w, a, b, alpha),
               "B is outputs x rank, A is rank x inputs: B stands on the left, B @ A.")  # fmt: skip
    if not isinstance(got, torch.Tensor) or got.shape != w.shape:
        reject(f"A matrix of the shape of W is wanted, {tuple(w.shape)}. Yours: {shorten(got)}.")
    if not torch.equal(w, before):
        reject("Your function changed W itself. Return a new matrix: the frozen one may be needed "
               "again.")  # fmt: skip
    update, got = b @ a, got.to(w)
    if torch.allclose(got, w + update):
        reject("Nearly. The update has to be scaled by alpha / r.")
    if torch.allclose(got, w + alpha * update):
        reject("You scaled by alpha. Divide it by the rank r, too: the number of rows of A.")
    if torch.allclose(got, alpha / 2 * update) or torch.allclose(got, update):
        reject("That is the update alone. Add it to W.")
    if torch.allclose(got, w + alpha / w.shape[1] * update):
        reject("You divided alpha by 3, the number of inputs. The rank is the number of rows of A.")
    if not torch.allclose(got, w + alpha / 2 * update):
        reject(f"Not W + alpha/r B A. Wanted: {(w + alpha / 2 * update).tolist()}, yours: "
               f"{got.tolist()}.")  # fmt: skip
    tall, flat, thin = torch.ones(4, 3), torch.ones(2, 3), torch.ones(4, 2)
    got = call_directly(answer, (tall, flat, thin, 6.0))
    if not isinstance(got, torch.Tensor) or not torch.allclose(got.to(tall), tall * 7):
        reject("For a W of 4 x 3 and rank 2 it is not W + alpha/r B A. The rank is the number of "
               "rows of A, not of W.")  # fmt: skip
    return "After merging, the adapter costs nothing: one matrix, as fast as before."
