"""Every notebook under profile colab, against a model hub on this machine, at the smallest sizes.

The hub holds a tiny model under the default student's name, with its real chat template, and small
data sets in the real schemas; huggingface_hub, transformers, peft and bitsandbytes are as they are.
It shows that every cell works. Its scores mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import holdings
import nbformat
import pytest
from hub import HubServer
from long import TRUST

from fireact_nb.course import series

SOURCES = series.sources()
CORE = ("00", "08")  # from a fresh runtime to a fine-tuned model; all others with `make trust`


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A runtime whose libraries ask the hub of this machine; its runs folder."""
    place = tmp_path_factory.mktemp("colab")
    with HubServer(holdings.everything()) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment(place / "hub").items():
            patch.setenv(name, value)
        patch.setenv("FIREACT_RELEASE", f"{server.url}/authors/release/resolve/main")
        yield place / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_every_cell_runs_under_colab(source: Path, colab: Path, tmp_path: Path) -> None:
    if not TRUST and not source.stem.startswith(CORE):
        pytest.skip("with FIREACT_TRUST=1")
    run = series.execute(source, {"profile": "colab", "quick": True}, tmp_path, runs=colab)
    cells = [c for c in nbformat.read(run.notebook, as_version=4).cells if c.cell_type == "code"]
    assert all(c.execution_count for c in cells if c.source.strip())
    said = "".join(_text(o) for c in cells for o in c.outputs)
    assert holdings.STUDENT in said and "not run here: offline" not in said


def _text(output: Any) -> str:
    return output.get("text", "") + output.get("data", {}).get("text/plain", "")
