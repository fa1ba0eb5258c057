"""The learner's copies: laid out once, never written over, and read without executing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fireact_nb.course import check, copies, series
from fireact_nb.errors import FireActError

STEM = series.sources()[1].stem


def fates(done: list[copies.Copy]) -> dict[str, str]:
    return {copy.path.stem: copy.fate for copy in done}


def edit(path: Path, change: Any) -> bytes:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)
    return path.read_bytes()


def answer(number: str, value: Any) -> Any:
    """An edit: the exercise's cell as Jupyter saves it once it was run."""

    def change(notebook: Any) -> None:
        [cell] = [c for c in notebook.cells if f'\ncheck("{number}"' in f"\n{c.source}"
                  and c.cell_type == "code"]  # fmt: skip
        shown = {"text/plain": repr(check(number, value))}
        cell.outputs = [nbformat.v4.new_output("execute_result", shown, execution_count=1)]

    return change


def test_copies_have_no_outputs_and_the_series_stays_clean(tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in series.NOTEBOOKS.glob("*.ipynb")}
    done = copies.lay_out(tmp_path)
    assert set(fates(done).values()) == {"new"} and len(done) == len(series.sources())
    for copy in done:
        notebook = nbformat.read(copy.path, as_version=4)
        nbformat.validate(notebook)
        assert not any(c.get("outputs") for c in notebook.cells)
        assert [c.source for c in notebook.cells] == [
            c.source for c in nbformat.read(series.NOTEBOOKS / copy.path.name, as_version=4).cells
        ]
    assert before == {p: p.read_bytes() for p in series.NOTEBOOKS.glob("*.ipynb")}


def test_what_a_learner_touched_is_never_written_over(tmp_path: Path) -> None:
    copies.lay_out(tmp_path)
    path = tmp_path / f"{STEM}.ipynb"

    def type_something(notebook: Any) -> None:
        notebook.cells[2].source += "\nmine = 1"

    mine = edit(path, type_something)
    ran = edit(tmp_path / f"{series.sources()[2].stem}.ipynb", answer("02.1", ...))
    again = fates(copies.lay_out(tmp_path))
    assert again.pop(STEM) == again.pop(series.sources()[2].stem) == "kept"
    assert set(again.values()) == {"unchanged"}
    assert path.read_bytes() == mine
    assert (tmp_path / f"{series.sources()[2].stem}.ipynb").read_bytes() == ran


def test_a_new_edition_renews_untouched_copies_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.lay_out(tmp_path)
    mine = edit(tmp_path / f"{STEM}.ipynb", lambda n: n.cells.pop())

    def newer(source: Path) -> Any:
        notebook = series.read_source(source)
        notebook.cells[0].source += "\nA newer edition."
        return notebook

    monkeypatch.setattr(copies, "read_source", newer)
    again = fates(copies.lay_out(tmp_path))
    assert again.pop(STEM) == "kept, of an earlier edition"
    assert set(again.values()) == {"renewed"}
    assert (tmp_path / f"{STEM}.ipynb").read_bytes() == mine
    first = nbformat.read(tmp_path / f"{series.sources()[0].stem}.ipynb", as_version=4)
    assert first.cells[0].source.endswith("A newer edition.")


def test_progress_is_what_the_saved_checks_said(tmp_path: Path) -> None:
    assert {c.state for cards in copies.progress(tmp_path).values() for c in cards} == {"not run"}
    copies.lay_out(tmp_path)
    path = tmp_path / f"{STEM}.ipynb"
    edit(path, answer("01.2", lambda m, t: sum(t) / sum(m) if any(m) else float("inf")))
    edit(path, answer("01.1", lambda turn: ("search", "Paper Lalor]")))
    edit(path, answer("01.3", ...))
    cards = copies.progress(tmp_path)[STEM]
    assert [(c.number, c.state) for c in cards] == [
        ("01.1", "not yet"), ("01.2", "solved"), ("01.3", "waiting"),
    ]  # fmt: skip
    assert cards[0].title == "Read an action"


def test_a_solved_card_counts_wherever_it_stands(tmp_path: Path) -> None:
    """A learner may have answered in a cell of their own and left the stub."""
    copies.lay_out(tmp_path)

    def add_a_cell(notebook: Any) -> None:
        shown = {"text/plain": "\N{CHECK MARK} Exercise 01.1, solved. Well."}
        output = nbformat.v4.new_output("execute_result", shown, execution_count=1)
        notebook.cells.insert(0, nbformat.v4.new_code_cell('check("01.1", f)', outputs=[output]))

    edit(tmp_path / f"{STEM}.ipynb", add_a_cell)
    edit(tmp_path / f"{STEM}.ipynb", lambda n: answer("01.2", ...)(n))
    assert copies.progress(tmp_path)[STEM][0].state == "solved"


def test_a_damaged_copy_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / f"{STEM}.ipynb"
    path.write_text('{"cells": [', encoding="utf-8")
    for read in (copies.lay_out, copies.progress):
        with pytest.raises(FireActError, match=rf"{STEM}.*move it away"):
            read(tmp_path)
    assert path.read_text(encoding="utf-8") == '{"cells": ['


def test_the_package_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "fireact_nb", "--version"], capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"fireact-nb ")
