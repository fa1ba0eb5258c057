"""Sampling that is greedy decoding over noise, so that a drawn reply can be drawn again.

Knows scores and their noise; knows neither weights nor batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..agent.chat import Request

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampled(Request):
    """A request that draws only from the likeliest words that together have `top_p`."""

    top_p: float = 1.0


class Gumbel:
    """Sampling as greedy decoding over Gumbel noise, drawn per request and step.

    argmax(logits + T * Gumbel) samples softmax(logits / T); noise seeded by the request makes a
    reply independent of what shares its batch, so an interrupted run can be repeated exactly.
    """

    def __init__(self, request: Request) -> None:
        import torch

        self.temperature = request.temperature
        self.top_p = getattr(request, "top_p", 1.0)
        key = f"{request.seed}/{request.sample}/{request.prefix}/{request.messages}"
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
        # On the CPU even for a GPU, whose generators draw other numbers from the same seed.
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, size: int) -> torch.Tensor:
        """Noise for one step, (size,)."""
        import torch

        # -log of an exponential draw is a Gumbel draw.
        return -self.temperature * torch.empty(size).exponential_(generator=self.generator).log()


def add_noise(scores: torch.Tensor, noises: Mapping[int, Gumbel]) -> torch.Tensor:
    """Scores (rows, vocabulary) with the noise of the rows that have any, in place."""
    import torch

    if noises:
        for row, noise in noises.items():
            if noise.top_p < 1:
                _keep_likeliest(scores[row], noise)
        drawn = [noise.draw(scores.shape[-1]) for noise in noises.values()]
        scores[list(noises)] += torch.stack(drawn).to(scores.device)
    return scores


def _keep_likeliest(scores: torch.Tensor, noise: Gumbel) -> None:
    """Rule out, in place, all but the fewest words (vocabulary,) that together have `top_p`."""
    shares, words = (scores / noise.temperature).softmax(-1).sort(descending=True)
    before = shares.cumsum(-1) - shares
    before[0] = 0.0
    scores[words[(before >= noise.top_p) & (before > 0)]] = -float("inf")
