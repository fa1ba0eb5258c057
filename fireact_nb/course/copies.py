"""The learner's own copies of the series: laid out without outputs, and what is solved in them.

Knows notebooks as files; executes nothing, and writes over nothing that a learner has touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..artifacts import RUNS
from ..errors import FireActError
from ..files import content_key, write_file
from .series import read_source, sources

COPIES = RUNS / "lab"
State = Literal["waiting", "not yet", "solved", "not run"]
_MARK = "fireact_nb"  # in a copy's metadata: the content that was laid out
_CARD = re.compile(r"^### Exercise (\d\d\.\d) · (.+)$", re.MULTILINE)
_CHECK = re.compile(r"^check\([\"'](\d\d\.\d)[\"'],", re.MULTILINE)


Fate = Literal["new", "unchanged", "renewed", "kept", "kept, of an earlier edition"]


@dataclass(frozen=True)
class Copy:
    """One copy and what became of it: new, as it was, renewed, or kept though the series moved."""

    path: Path
    fate: Fate


@dataclass(frozen=True)
class Card:
    """An exercise and how its check ended when the learner last ran and saved it."""

    number: str
    title: str
    state: State


def lay_out(folder: Path = COPIES) -> list[Copy]:
    """A copy of each notebook without outputs; a copy that was edited or run stays as it is."""
    import nbformat

    done = []
    for source in sources():
        notebook, path = read_source(source), folder / f"{source.stem}.ipynb"
        now = _content(notebook)
        notebook.metadata[_MARK] = {"laid_out": now}
        fate: Fate = "new"
        if path.exists():
            mine = _read(path)
            laid = mine.metadata.get(_MARK, {}).get("laid_out")
            touched = _content(mine) != laid or any(c.get("outputs") for c in mine.cells)
            if laid == now:
                fate = "kept" if touched else "unchanged"
            else:
                fate = "kept, of an earlier edition" if touched else "renewed"
        if fate in ("new", "renewed"):
            write_file(path, nbformat.writes(notebook) + "\n")
        done.append(Copy(path, fate))
    return done


def progress(folder: Path = COPIES) -> dict[str, list[Card]]:
    """The cards of each notebook, by its name, as the saved outputs of their checks tell.

    Raises FireActError for a copy that cannot be read.
    """
    found = {}
    for source in sources():
        path = folder / f"{source.stem}.ipynb"
        states = dict(_states(_read(path))) if path.exists() else {}
        texts = "\n".join(c.source for c in read_source(source).cells if c.cell_type == "markdown")
        found[source.stem] = [
            Card(number, title.strip(), states.get(number, "not run"))
            for number, title in _CARD.findall(texts)
        ]
    return found


def _states(notebook: Any) -> Iterator[tuple[str, State]]:
    """What each check said; where one stands in several cells, the best of them comes last."""
    told: list[tuple[str, State]] = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or not (numbers := _CHECK.findall(cell.source)):
            continue
        shown = "".join(str(o.get("data", {}).get("text/plain", "")) for o in cell.outputs)
        for number in numbers:
            said = re.search(
                rf"Exercise {re.escape(number)}, ({'|'.join(get_args(State))})\.", shown
            )
            state: Any = said[1] if said else "not run"  # the pattern holds the states alone
            told.append((number, state))
    order: list[Any] = ["not run", "waiting", "not yet", "solved"]
    yield from sorted(told, key=lambda row: order.index(row[1]))


def _content(notebook: Any) -> str:
    return content_key([(cell.cell_type, cell.source) for cell in notebook.cells])


def _read(path: Path) -> Any:
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise FireActError(
            f"{path} cannot be read as a notebook ({type(error).__name__}). Open it in Jupyter and "
            "save it, or move it away: `fireact-nb lab` then lays out a new copy."
        ) from error
