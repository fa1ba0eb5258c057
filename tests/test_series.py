"""The committed notebooks: true to their sources, clean, readable, run from a fresh kernel."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fireact_nb import series
from fireact_nb.config import FireActError

SOURCES = series.sources()
IDS = [s.stem for s in SOURCES]


def committed(source: Path) -> Any:
    return nbformat.read(series.NOTEBOOKS / f"{source.stem}.ipynb", as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [c for c in notebook.cells if c.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert SOURCES


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_notebook_matches_its_source(source: Path) -> None:
    written = series.read_source(source)
    notebook = committed(source)
    assert [(c.cell_type, c.source, c.id) for c in notebook.cells] == [
        (c.cell_type, c.source, c.id) for c in written.cells
    ]
    assert notebook.metadata == written.metadata


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_committed_outputs_are_clean(source: Path) -> None:
    notebook = committed(source)
    outputs = [o for c in code_cells(notebook) for o in c.outputs]
    assert outputs, "no outputs: renew the notebooks by 'fireact-nb build'"
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"], "a warning is shown to readers"
    assert "widgets" not in notebook.metadata
    text = json.dumps(notebook)
    assert not re.search(r"/(?:work|root|tmp|home|Users)/\w", text), "an absolute path"
    assert not re.search(r"sk-[A-Za-z0-9]{20,}", text), "something that looks like a key"


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_notebook_reads_like_a_lesson(source: Path) -> None:
    notebook = series.read_source(source)
    lines = [len(c.source.splitlines()) for c in code_cells(notebook)]
    words = sum(len(c.source.split()) for c in notebook.cells if c.cell_type == "markdown")
    assert statistics.median(lines) <= 8
    assert statistics.quantiles(lines, n=10)[-1] <= 25
    assert words / len(lines) >= 40
    assert "can\n" in notebook.cells[0].source and "| Time |" in notebook.cells[0].source


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_every_figure_has_words(source: Path) -> None:
    for cell in code_cells(committed(source)):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}) or "<img" in str(output.get("data", {})):
                assert re.search(r'alt="[^"]{20,}"', output.data["text/html"]), cell.source


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_notebook_runs_from_a_fresh_kernel(source: Path, tmp_path: Path) -> None:
    run = series.execute(source, {"quick": True}, tmp_path)
    notebook = nbformat.read(run.notebook, as_version=4)
    executed = [c for c in code_cells(notebook) if c.source.strip()]
    assert all(c.execution_count for c in executed)
    assert not [o for c in executed for o in c.outputs if o.output_type == "error"]
    page = run.page.read_text(encoding="utf-8")
    assert "<h1" in page
    # The page needs no network: no script, style or picture from elsewhere.
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://", page)


def test_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="no parameter lerning_rate.*seed=0"):
        series.execute(SOURCES[0], {"lerning_rate": 1}, tmp_path)


def test_wrong_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(FireActError, match="no profile 'huge'"):
        series.execute(SOURCES[0], {"profile": "huge", "quick": True}, tmp_path)
    assert (tmp_path / f"{SOURCES[0].stem}.ipynb").exists()


def test_unknown_notebook_is_refused() -> None:
    with pytest.raises(FireActError, match="No notebook starts with 77"):
        series.run_series(["77"])
