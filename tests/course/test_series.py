"""The committed notebooks: true to their sources, clean, readable, run from a fresh kernel."""

from __future__ import annotations

import json
import random
import re
import shutil
import statistics
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest

from fireact_nb.course import series
from fireact_nb.errors import FireActError

SOURCES = series.sources()
IDS = [s.stem for s in SOURCES]
SHUFFLED = random.Random(4).sample(SOURCES, len(SOURCES))


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
    texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    # Solutions are no text to read.
    words = sum(len(re.sub(r"```.*?```", "", t, flags=re.DOTALL).split()) for t in texts)
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
def test_what_is_committed_is_small(source: Path) -> None:
    assert (series.NOTEBOOKS / f"{source.stem}.ipynb").stat().st_size < 250_000


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_every_notebook_opens_the_same_way(source: Path) -> None:
    first, *rest = (c.source for c in series.read_source(source).cells)
    objectives = re.findall(r"^\d\. ", first, re.MULTILINE)
    assert 3 <= len(objectives) <= 5 and "**The promise:**" in first
    times = re.search(r"\| Time \|(.*)", first)[1]
    assert "measured" in times and ("T4" in times or "GPU" in times), "whose time is it?"
    assert "no key" in first and "no money" in first
    bootstrap = series.read_source(SOURCES[0]).cells[1].source
    assert bootstrap in rest[0]  # how long it may be: test_first_cell
    parameters = series.read_source(source).cells[2]
    assert "parameters" in parameters.metadata.tags
    for name in ("profile = ", "seed = ", "quick = False"):
        assert name in parameters.source, name


DRAWINGS = sorted((series.NOTEBOOKS / "figures").glob("*.svg"))


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda p: p.stem)
def test_a_drawing_stands_alone_in_light_and_dark(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    svg = "{http://www.w3.org/2000/svg}"
    assert len(root.findtext(f"{svg}title")) > 10 and len(root.findtext(f"{svg}desc")) > 60
    style = root.findtext(f"{svg}style")
    assert "prefers-color-scheme:dark" in style and not re.search(r"url\((?!#)|@import", style)
    used = {name for e in root.iter() for name in e.get("class", "").split()}
    assert used - set(re.findall(r"\.([a-z]+)", style)) == set()
    assert not root.findall(f".//{svg}image") and path.stat().st_size < 8_000


def test_drawings_travel_inside_the_notebooks_with_their_words() -> None:
    """So that they show on GitHub, on Colab, in any copy and in the book."""
    shown = {}
    for source in SOURCES:
        text = "".join(c.source for c in series.read_source(source).cells)
        assert "](figures/" not in text
        told = source.read_text(encoding="utf-8")
        shown[source.stem[:2]] = re.findall(r"!\[([^\]]+)\]\(figures/", told)
        carried = re.findall(r"\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", text)
        assert [ElementTree.fromstring(b64decode(c)).tag[-3:] for c in carried] == ["svg"] * len(
            shown[source.stem[:2]]
        )
    assert all(len(alt) > 80 for alts in shown.values() for alt in alts)
    assert len(shown["00"]) >= 2 and sum(map(len, shown.values())) >= 8


def test_texts_are_renewed_and_outputs_stay(tmp_path: Path, monkeypatch: Any) -> None:
    stem = SOURCES[0].stem
    old = committed(SOURCES[0])
    shutil.copytree(series.NOTEBOOKS / "figures", tmp_path / "figures")
    script = SOURCES[0].read_text(encoding="utf-8").replace("The promise", "A promise")
    (tmp_path / f"{stem}.py").write_text(script, encoding="utf-8")
    shutil.copy(series.NOTEBOOKS / f"{stem}.ipynb", tmp_path)
    monkeypatch.setattr(series, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(series, "SOURCES", tmp_path)
    assert series.retell(["00"]) == [tmp_path / f"{stem}.ipynb"]
    new = committed(SOURCES[0])
    assert "A promise" in new.cells[0].source
    assert code_cells(new) == code_cells(old) and new.cells[1:] == old.cells[1:]
    (tmp_path / f"{stem}.py").write_text(script.replace("seed = 0", "seed = 1"), encoding="utf-8")
    with pytest.raises(FireActError, match="fireact-nb build 00"):
        series.retell(["00"])


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One learner's results, as notebooks opened in any order leave and find them."""
    return tmp_path_factory.mktemp("learner")


@pytest.mark.slow
@pytest.mark.parametrize("source", SHUFFLED, ids=lambda s: s.stem)
def test_notebooks_run_from_fresh_kernels_in_any_order(
    source: Path, tmp_path: Path, shared_runs: Path
) -> None:
    run = series.execute(source, {"quick": True}, tmp_path, runs=shared_runs)
    notebook = nbformat.read(run.notebook, as_version=4)
    executed = [c for c in code_cells(notebook) if c.source.strip()]
    assert all(c.execution_count for c in executed)
    assert not [o for c in executed for o in c.outputs if o.output_type == "error"]
    exercises = [c for c in executed if "exercise" in c.metadata.get("tags", [])]
    assert all("waiting." in shown(c) for c in exercises), "an untouched stub waits"
    page = run.page.read_text(encoding="utf-8")
    assert "<h1" in page
    # The page needs no network: no script, style or picture from elsewhere.
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://", page)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES[1:], ids=IDS[1:])
def test_notebook_runs_alone_with_every_exercise_solved(source: Path, tmp_path: Path) -> None:
    run = series.execute(source, {"quick": True}, tmp_path, runs=tmp_path / "runs", solved=True)
    cells = code_cells(nbformat.read(run.notebook, as_version=4))
    exercises = [c for c in cells if "exercise" in c.metadata.get("tags", [])]
    assert len(exercises) >= 3
    assert [shown(c) for c in exercises if "solved." not in shown(c)] == []


def shown(cell: Any) -> str:
    return "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def test_a_page_draws_formulas_and_leaves_code_and_dollars_alone() -> None:
    text = "It is $\\frac{a}{b}$, `$x$` and \\$5 or \\$6.\n\n$$\na \\le b\n$$"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    page = series.to_html(notebook)
    assert page.count("<math") == 2 and page.count('display="block"') == 1
    assert "<mfrac>" in page and "<code>$x$</code> and $5 or $6." in page
    assert notebook.cells[0].source == text


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
