"""One command sets the repository's address everywhere, and nothing else in a notebook changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest

from fireact_nb.artifacts import ROOT
from fireact_nb.course import badges, series
from fireact_nb.errors import FireActError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    for room in (badges, series):
        monkeypatch.setattr(room, "ROOT", tmp_path)
        monkeypatch.setattr(room, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(series, "SOURCES", tmp_path / "notebooks" / "src")
    return tmp_path


def test_the_address_is_set_in_every_notebook_and_page(checkout: Path) -> None:
    old = series.repository()
    written = badges.set_repository("someone/her-fork")
    assert series.repository() == "https://github.com/someone/her-fork"
    stems = {path.stem for path in written if path.suffix == ".ipynb"}
    assert stems == {source.stem for source in series.sources()}
    for path in written:
        assert old not in path.read_text(encoding="utf-8")
    for source in series.sources():
        notebook = nbformat.read(checkout / "notebooks" / f"{source.stem}.ipynb", as_version=4)
        before = nbformat.read(ROOT / "notebooks" / f"{source.stem}.ipynb", as_version=4)
        link = f"someone/her-fork/blob/main/notebooks/{source.stem}.ipynb)"
        assert link in notebook.cells[0].source
        assert "git clone --depth 1 https://github.com/someone/her-fork" in notebook.cells[1].source
        assert notebook.cells[2:] == before.cells[2:]
        assert [c.get("outputs") for c in notebook.cells] == [
            c.get("outputs") for c in before.cells
        ]
    badges.set_repository("fireact-nb/fireact-nb")
    for path in written:
        same = path.read_bytes() == (ROOT / path.relative_to(checkout)).read_bytes()
        assert same, f"{path.name} does not come back"


@pytest.mark.parametrize(
    "name", ["", "someone", "a/b/c", "https://github.com/a/b", "a b/c", "-a/b"]
)
def test_what_is_no_repository_is_refused(checkout: Path, name: str) -> None:
    with pytest.raises(FireActError, match="owner/name"):
        badges.set_repository(name)


def test_a_notebook_that_differs_from_its_source_stops_it_before_anything_is_written(
    checkout: Path,
) -> None:
    source = series.sources()[-1]
    source.write_text(source.read_text(encoding="utf-8") + "\n\n# %%\nprint(1)\n", encoding="utf-8")
    with pytest.raises(FireActError, match=f"build {source.stem[:2]}"):
        badges.set_repository("someone/her-fork")
    assert series.repository() != "https://github.com/someone/her-fork"
