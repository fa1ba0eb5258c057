"""Repairs of libraries: right within their bounds, absent outside, and looked at again in time."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from fireact_nb.models import quirks
from fireact_nb.models.quirks import repair_nf4
from fireact_nb.models.slots import can_keep

REPAIRS = [quirks.NF4_ON_CPU, quirks.CUSTOM_CACHE]


@pytest.mark.parametrize("repair", REPAIRS, ids=lambda repair: repair.library)
def test_the_installed_release_is_one_the_repair_was_tried_with(repair):
    assert repair.fits(), (
        f"The installed {repair.library} is outside {repair.releases}: check whether the repair in "
        "models/quirks.py is still needed. If the tests below pass without it, remove it; if they "
        "pass with it alone, widen its bounds."
    )


@pytest.mark.parametrize(
    ("repair", "inside", "outside"),
    [
        (quirks.NF4_ON_CPU, "0.48.0 0.50.2 0.50.9", "0.47.1 0.51.0 0.51.0.dev1 1.0"),
        (quirks.CUSTOM_CACHE, "5.0.0 5.23.0 5.99.1.dev0", "4.57.1 6.0.0 6.0.0.dev0"),
    ],
)
def test_bounds(repair, inside, outside):
    assert all(map(repair.fits, inside.split()))
    assert not any(map(repair.fits, outside.split()))


def test_outside_its_bounds_a_library_is_left_as_it_is(monkeypatch):
    from bitsandbytes.cextension import lib

    model, _ = tiny_model()
    assert can_keep(model)
    monkeypatch.setattr("fireact_nb.models.quirks.version", lambda library: "99.0")
    assert not can_keep(model)
    before = dict(vars(lib))
    repair_nf4()
    assert vars(lib) == before


@pytest.mark.parametrize("rows, columns", [(96, 96), (256, 96), (96, 256), (7, 160), (5, 30)])
def test_every_block_of_nf4_gets_its_own_scale(rows: int, columns: int):
    """Also where rows are no whole blocks, which bitsandbytes 0.50.2 gets wrong on AVX-512 CPUs."""
    from bitsandbytes.functional import dequantize_4bit, get_4bit_type, quantize_4bit

    for _ in range(2):  # mended twice is mended once
        repair_nf4()
    torch.manual_seed(0)
    weight = torch.randn(rows, columns) * torch.logspace(-2, 2, rows)[:, None]
    packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4")
    numbers = torch.stack([packed >> 4, packed & 15], 1).flatten()[: weight.numel()].int()
    scales = state.absmax.repeat_interleave(64)[: weight.numel()]
    wanted = (get_4bit_type("nf4", device="cpu")[numbers] * scales).reshape(weight.shape)
    torch.testing.assert_close(dequantize_4bit(packed, state), wanted)
