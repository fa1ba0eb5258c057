"""Repairs of libraries, each with the releases it is for and a test that says when it may go.

Knows bitsandbytes' CPU kernels and transformers' caches; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

_ROOM_AHEAD = 128  # tokens a cache can grow by before it is copied


@dataclass(frozen=True)
class Repair:
    """A repair of `library`, right for `releases` and for no other: elsewhere nothing is touched.

    Widen the bounds when the repair's tests pass with a newer release; drop it when they pass
    without it.
    """

    library: str
    releases: str

    def fits(self, release: str | None = None) -> bool:
        """Whether a release (default: the installed one) is among them; previews count."""
        from packaging.specifiers import SpecifierSet

        installed = release or version(self.library)
        return SpecifierSet(self.releases).contains(installed, prereleases=True)


NF4_ON_CPU = Repair("bitsandbytes", ">=0.48,<0.51")
GROWING_CACHE = Repair("transformers", ">=5.0,<6")


def make_cache(config: Any) -> Any:
    """A dynamic cache that leaves room to grow, where `GROWING_CACHE` fits, else a plain one.

    transformers' own copies all keys and values for every token: with few-shot prompts that was 57%
    of the time of a batch on CPU.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    if not GROWING_CACHE.fits():
        return cache

    class RoomyLayer(DynamicLayer):
        rooms: tuple[Any, Any] | None = None  # keys, values: (batch, heads, reserved tokens, width)

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            """Adds states of (batch, heads, new tokens, width); returns all so far, as views."""
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            end = start + key_states.shape[-2]
            if self.rooms is None or not self._fits(end):
                shape = (*key_states.shape[:-2], end + _ROOM_AHEAD, key_states.shape[-1])
                self.rooms = (key_states.new_empty(shape), value_states.new_empty(shape))
                if start:
                    self.rooms[0][..., :start, :] = self.keys
                    self.rooms[1][..., :start, :] = self.values
            keys, values = self.rooms
            keys[..., start:end, :] = key_states
            values[..., start:end, :] = value_states
            self.keys, self.values = keys[..., :end, :], values[..., :end, :]
            return self.keys, self.values

        def _fits(self, end: int) -> bool:
            """Whether the room is long enough and what is cached so far lies in it.

            It does not after transformers repeated or reordered the rows, which copies them.
            """
            if self.rooms is None or self.rooms[0].shape[-2] < end or self.keys is None:
                return False
            here = self.keys.untyped_storage().data_ptr()
            return here == self.rooms[0].untyped_storage().data_ptr()

    cache.layers = [RoomyLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


def repair_nf4() -> None:
    """Let bitsandbytes' CPU kernel give every block of 64 weights its own scale.

    With AVX-512, bitsandbytes (seen in 0.50.2) looks scales up as if each row were whole blocks.
    The tiny student's rows of 96 weights came back with their neighbours' scales: off by a quarter
    of their size instead of a tenth, and only on such processors. Handed over as one row they come
    back right. GPUs are not concerned, nor are releases that `NF4_ON_CPU` does not fit.
    """
    if not NF4_ON_CPU.fits():
        return
    from bitsandbytes.cextension import lib

    def repaired(kernel: Any) -> Any:
        def whole(weights: Any, scales: Any, out: Any, block: Any, rows: Any, columns: Any) -> None:
            if columns.value % block.value:
                rows, columns = type(rows)(1), type(columns)(rows.value * columns.value)
            kernel(weights, scales, out, block, rows, columns)

        return whole

    for dtype in ("fp32", "fp16", "bf16"):
        name = f"cdequantize_blockwise_cpu_nf4_{dtype}"
        kernel = getattr(lib, name, None)  # older releases have none
        if kernel is not None and name not in vars(lib):  # once a process
            setattr(lib, name, repaired(kernel))
