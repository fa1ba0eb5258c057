"""Repairs of libraries, each with the releases it is for and a test that says when it may go.

Knows bitsandbytes' CPU kernels and peft's wants; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..errors import FireActError


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
# No repair, but as bound to releases: `slots` writes a cache of its own.
CUSTOM_CACHE = Repair("transformers", ">=5.0,<6")


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


@contextmanager
def beside_torchao() -> Iterator[None]:
    """peft's refusal to work beside an old torchao as an error that names it, and no folder.

    peft from 0.19 on wants torchao 0.16 or none; Colab ships 0.10. A message in peft's words is
    waited for, not a version looked up, so that the day it is content again needs no change here.
    """
    try:
        yield
    except ImportError as error:
        if "torchao" not in str(error):
            raise
        raise FireActError(
            f"peft {version('peft')} does not work beside the torchao {version('torchao')} that is "
            'installed here. In a cell or shell run `pip install --no-deps -U "torchao>=0.16"` or '
            "`pip uninstall -y torchao` (nothing here needs it), restart the kernel and run it "
            "again. Model and adapter are fine."
        ) from error
