"""The house: who may import whom, how long a room may be, and what the notebooks may name.

Read from the code's own imports, those inside functions too.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fireact_nb

PACKAGE = Path(fireact_nb.__file__).parent
NOTEBOOKS = sorted((PACKAGE.parent / "notebooks" / "src").glob("*.py"))
GROUND = {"errors", "files", "profiles", "artifacts", "hub"}
# Each wing imports itself, the ground, and those listed; everything else is never.
MAY_IMPORT = {
    "ground": set(),
    "agent": set(),
    "models": {"agent"},
    "analysis": {"agent", "realworld"},  # the authors' released episodes are outcomes, too
    "tinyworld": {"agent"},
    "realworld": {"agent"},
    "learning": {"agent", "models"},
    "lab": {"agent", "models", "tinyworld", "realworld"},
    "study": {"agent", "models", "analysis", "tinyworld", "realworld", "learning", "lab"},
}
BELOW_COURSE = {*MAY_IMPORT} - {"ground"}
MAY_IMPORT |= {"course": BELOW_COURSE, "cli": BELOW_COURSE | {"course"}}
WINGS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py") if p.parent.name != "cli")
LONGEST = 350  # lines of a file
# A file that is longer stands here with its reason.
LONG: dict[str, str] = {}


@cache
def rooms() -> dict[str, Path]:
    """Every module of the package by its dotted name, the package's own first word left out."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts)] = path
    return found


def wing_of(room: str) -> str:
    first = room.split(".")[0]
    return "ground" if first in GROUND or not first else "cli" if first == "__main__" else first


def imported(room: str, *, only_at_once: bool = False) -> Iterator[tuple[str, int]]:
    """The rooms that a room imports, with the line; `only_at_once`: not those inside functions."""
    path = rooms()[room]
    package = room.split(".") if path.name == "__init__.py" else room.split(".")[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if only_at_once else list(ast.walk(tree))
    for node in nodes:
        if not isinstance(node, ast.ImportFrom):
            assert not (
                isinstance(node, ast.Import)
                and any(name.name.startswith("fireact_nb") for name in node.names)
            ), f"{path}, line {node.lineno}: inside the package imports are relative"
            continue
        if node.level == 0:
            assert not (node.module or "").startswith("fireact_nb"), f"{path}, line {node.lineno}"
            continue
        base = [p for p in package[: len(package) - node.level + 1] if p]
        base += (node.module or "").split(".") if node.module else []
        for name in node.names:
            whole = ".".join([*base, name.name])
            yield (whole if whole in rooms() else ".".join(base)), node.lineno


@pytest.mark.parametrize("room", rooms())
def test_nobody_imports_upwards(room: str) -> None:
    own = wing_of(room)
    for other, line in imported(room):
        wing = wing_of(other)
        assert wing in {own, "ground", *MAY_IMPORT[own]}, (
            f"{rooms()[room]}, line {line}: {own} may not import {wing}. Move what both need to "
            f"where both may look, or hand it in."
        )


def test_no_import_goes_in_a_circle() -> None:
    graph = {
        room: {other for other, _ in imported(room, only_at_once=True)} - {room} for room in rooms()
    }
    # A wing's face names its rooms, and a room inside never asks for its own face.
    faces = {room for room, path in rooms().items() if path.name == "__init__.py"}
    for room, others in graph.items():
        wing = room.rpartition(".")[0]
        assert room in faces or wing not in others, f"{room} imports its own wing's face"
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_every_wing_stands_in_the_table() -> None:
    assert {wing_of(room) for room in rooms()} == MAY_IMPORT.keys()


def test_the_top_folder_is_a_map() -> None:
    top = [p for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"]
    top = [p.name for p in top if not p.name.startswith("__")]
    assert len(top) <= 15, sorted(top)


@pytest.mark.parametrize("room", rooms())
def test_a_room_is_short_or_says_why_not(room: str) -> None:
    path = rooms()[room]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    name = path.relative_to(PACKAGE).as_posix()
    if lines <= LONGEST:
        assert name not in LONG, f"{name} is short again: take it out of LONG"
    else:
        assert LONG.get(name), f"{name} has {lines} lines: split it by concern, or say why not"


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_what_it_is_for(room: str) -> None:
    doc = ast.get_docstring(ast.parse(rooms()[room].read_text(encoding="utf-8")))
    assert doc and doc.splitlines()[0].rstrip()[-1] in ".?:", rooms()[room]


def test_no_function_is_longer_than_a_screen() -> None:
    long = []
    for room, path in rooms().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long.append(f"{room}.{node.name}: {lines} lines")
    assert not long, long


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_hands_on_its_public_names(wing: str) -> None:
    face = importlib.import_module(f"fireact_nb.{wing}")
    assert face.__all__ == sorted(face.__all__) and len(face.__all__) <= 20
    assert all(hasattr(face, name) and not name.startswith("_") for name in face.__all__)


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_names_no_world(source: Path) -> None:
    """The same cells run under any profile: worlds and models come from the lab."""
    text = source.read_text(encoding="utf-8")
    assert "lab = open_lab(profile)" in text
    for word in ("tinyworld", "realworld", "TinyWorld", "shipped(", "provenance(", ".passages"):
        assert word not in text, f"{source.name} has {word}: ask the lab, or the study"


def test_threads_are_made_in_three_rooms_alone() -> None:
    """The driver of episodes owns threads and the stop; the server has one that uses its model.

    A remote search that hangs is left behind in one of its own.
    """
    made = {
        room
        for room, path in rooms().items()
        if re.search(r"\b(Thread|ThreadPoolExecutor)\(", path.read_text(encoding="utf-8"))
    }
    assert made == {"agent.asking", "agent.rollouts", "models.server"}
