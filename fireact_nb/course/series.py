"""The notebook series: built from its percent scripts, run end to end by papermill.

Knows notebooks as documents and their parameters; knows nothing of what they teach.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import tomllib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..artifacts import ROOT, RUNS
from ..errors import FireActError
from ..files import write_file

NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "src"
_FORMULA = re.compile(
    r"(?P<plain>```.*?```|`[^`]*`|\\\$)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\s](?:[^$\n]*[^$\s])?)\$",
    re.DOTALL,
)
_DRAWING = re.compile(r"(?<=\]\()figures/([a-z_]+\.svg)(?=\))")
_SOLUTION = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)\n```", re.DOTALL)
EXECUTED = RUNS / "executed"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Run:
    """One executed notebook: where it lies and what it took."""

    notebook: Path
    page: Path
    seconds: float


def sources() -> list[Path]:
    """The percent scripts in the order of the series."""
    return sorted(SOURCES.glob("[0-9][0-9]_*.py"))


def read_source(path: Path, solved: bool = False, address: str = "") -> Any:
    """A percent script as a notebook without outputs, with settled cell ids and metadata.

    With `solved` each exercise's stub gives way to the solution that is folded in below it. A link
    to Colab stands under the title; `address` is the repository's (default: the project's).
    """
    import jupytext

    address = address or repository()
    text = path.read_text(encoding="utf-8").replace("@REPOSITORY@", address)
    text = _DRAWING.sub(_carry, text)
    notebook = jupytext.reads(text, fmt="py:percent")
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{_badge(address, path.stem)}\n{rest}"
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"{path.stem[:2]}-{place:03d}"
    if solved:
        for place, cell in enumerate(notebook.cells):
            if "exercise" in cell.metadata.get("tags", []):
                cell["source"] = _solve(cell.source, notebook.cells[place + 1 :], path)
    return notebook


def _badge(address: str, stem: str) -> str:
    """A link of words, not a picture: the pages need no network."""
    place = address.removeprefix("https://github.com/")
    return (
        "[▷ Open in Colab](https://colab.research.google.com/github/"
        f"{place}/blob/main/notebooks/{stem}.ipynb)"
    )


def _carry(found: re.Match[str]) -> str:
    """A drawing inside the notebook: a link would break in a copy, an attachment on Colab."""
    drawing = (NOTEBOOKS / found[0]).read_bytes()
    return "data:image/svg+xml;base64," + b64encode(drawing).decode("ascii")


def _solve(stub: str, below: Sequence[Any], path: Path) -> str:
    """The folded solution, which may be pasted over the stub: it ends with the stub's check."""
    check = stub.rstrip().splitlines()[-1]
    text = next((c.source for c in below if c.cell_type == "markdown"), "")
    found = _SOLUTION.search(text)
    if not check.startswith("check(") or not found or found[1].splitlines()[-1] != check:
        raise FireActError(
            f"{path.name}: the exercise that ends with {check!r} needs check(...) as its last line "
            "and below it a text cell with <summary>Solution</summary> and a python block that "
            "ends with the same line."
        )
    return found[1]


def repository() -> str:
    """The repository's address, from its one place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["urls"]["Repository"]


def parameters_of(path: Path) -> dict[str, str]:
    """The papermill parameters of a notebook and their default values, as written."""
    import papermill

    return {name: p["default"] for name, p in papermill.inspect_notebook(str(path)).items()}


def execute(
    source: Path,
    parameters: Mapping[str, Any],
    out: Path,
    *,
    runs: Path | None = None,
    solved: bool = False,
) -> Run:
    """Execute one script's notebook from a fresh kernel; notebook and HTML page land in `out`.

    `runs` is where it looks for the learner's own results and leaves its own (default: runs/);
    `solved` executes the solutions in place of the exercises' stubs. Raises FireActError for an
    unknown parameter (papermill would only log it) or when a cell fails; the failed notebook is
    kept, with the error in it.
    """
    import nbformat
    import papermill

    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{source.stem}.ipynb"
    nbformat.write(read_source(source, solved), target)
    known = parameters_of(target)
    if unknown := sorted(set(parameters) - set(known)):
        raise FireActError(
            f"{source.stem} has no parameter {', '.join(unknown)}. Its parameters are: "
            f"{', '.join(f'{k}={v}' for k, v in known.items())}."
        )
    started = time.monotonic()
    try:
        with _environment(runs, offline=parameters.get("profile", "tiny") == "tiny"):
            papermill.execute_notebook(
                str(target), str(target), parameters=dict(parameters), kernel_name="python3",
                cwd=str(ROOT), progress_bar=False,
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise FireActError(
            f"{source.stem} failed in its cell {error.cell_index}: {error.ename}: {error.evalue} "
            f"The notebook with the error is {target}."
        ) from error
    seconds = time.monotonic() - started
    page = out / f"{source.stem}.html"
    write_file(page, to_html(nbformat.read(target, as_version=4)))
    return Run(target, page, seconds)


def to_html(notebook: Any) -> str:
    """The executed notebook as one page that needs no network; formulas become MathML."""
    from nbconvert import HTMLExporter

    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell["source"] = _FORMULA.sub(_to_mathml, cell["source"])

    exporter = HTMLExporter(
        template_name="classic", mathjax_url="", require_js_url="", jquery_url=""
    )
    page = exporter.from_notebook_node(notebook)[0]
    return page.replace('<script src=""></script>', "")


def _to_mathml(found: re.Match[str]) -> str:
    """A formula between dollar signs as MathML on one line; code and \\$ are left as they are."""
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml

    if found["plain"]:
        return found[0]
    block = found["block"] is not None
    try:
        math = tex2mathml(found["block"] if block else found["inline"], as_block=block)
    except MathError:  # an unusual formula is no reason to lose the page; the book is stricter
        return f"`{found[0]}`"
    return " ".join(math.split())


def run_series(
    names: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    out: Path = EXECUTED,
    runs: Path | None = None,
) -> list[Run]:
    """Execute the notebooks whose names start with one of `names` (all without names), in order.

    `runs` is their folder for the learner's results (default: runs/).
    """
    done = []
    for source in _chosen(names):
        run = execute(source, parameters or {}, out, runs=runs)
        print(f"{source.stem}: {run.seconds:.0f} s -> {run.notebook}", flush=True)
        done.append(run)
    return done


def _chosen(names: Sequence[str]) -> list[Path]:
    chosen = [s for s in sources() if not names or any(s.stem.startswith(n) for n in names)]
    if not chosen:
        raise FireActError(
            f"No notebook starts with {' or '.join(names)}. There are: "
            f"{', '.join(s.stem for s in sources())}."
        )
    return chosen


def peak_memory_gib() -> float | None:
    """The largest resident size any finished kernel of this process had, in GiB; not on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def build(names: Sequence[str] = ()) -> list[Run]:
    """Execute the scripts and renew the notebooks beside them: clean metadata, outputs kept."""
    import nbformat

    built = []
    fresh = RUNS / "build"
    shutil.rmtree(fresh, ignore_errors=True)
    for run in run_series(names, out=fresh, runs=fresh / "runs"):
        notebook = nbformat.read(run.notebook, as_version=4)
        target = NOTEBOOKS / run.notebook.name
        write_file(target, nbformat.writes(clean(notebook, run.notebook.stem)) + "\n")
        built.append(replace(run, notebook=target))
    return built


def retell(names: Sequence[str] = ()) -> list[Path]:
    """Renew the texts of the notebooks and execute nothing: each code cell keeps its outputs.

    Raises FireActError when a code cell is not the one that was executed.
    """
    import nbformat

    told = []
    for source in _chosen(names):
        target = NOTEBOOKS / f"{source.stem}.ipynb"
        kept = [c for c in nbformat.read(target, as_version=4).cells if c.cell_type == "code"]
        notebook = read_source(source)
        cells = [c for c in notebook.cells if c.cell_type == "code"]
        if [c.source for c in cells] != [c.source for c in kept]:
            raise FireActError(
                f"{source.name} has other code than {target.name}, whose outputs would no longer "
                f"belong to it. Execute it: fireact-nb build {source.stem[:2]}"
            )
        for cell, old in zip(cells, kept, strict=True):
            cell["outputs"], cell["execution_count"] = old.outputs, old.execution_count
        write_file(target, nbformat.writes(notebook) + "\n")
        told.append(target)
    return told


def clean(notebook: Any, stem: str) -> Any:
    """Drop what a run leaves behind: injected parameters, timings, widgets, counters."""
    source = read_source(SOURCES / f"{stem}.py")
    cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell, original in zip(cells, source.cells, strict=True):
        cell["id"], cell["metadata"] = original["id"], original["metadata"]
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
    notebook.cells, notebook.metadata = cells, source.metadata
    return notebook


@contextmanager
def _environment(runs: Path | None, offline: bool = True) -> Iterator[None]:
    """The kernels started inside use `runs` as their runs folder, and stay off the network.

    Without `offline` that is left to the environment: other profiles fetch models and data.
    """
    settings = {"FIREACT_RUNS": str((runs or RUNS).absolute())} | (OFFLINE if offline else {})
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
