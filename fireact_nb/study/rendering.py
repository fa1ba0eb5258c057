"""The study's tables in words: Markdown for files, HTML for notebooks.

Knows how a table is laid out; computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..analysis.markup import render, visible
from ..analysis.statistics import Interval
from ..analysis.viewer import Shown
from . import paper
from .results import Claim, Line, Table


def render_tables(tables: Iterable[Table], origin: str = "measured in this run") -> str:
    """All tables as Markdown, in percent, intervals in brackets; `origin` is ours."""
    opening = (
        "## The paper's experiments in the tiny world\n"
        f"Ours: {origin}. The paper's: as reported, from another world with other models; compare "
        "directions, not numbers.\n\nIntervals are 95%, by bootstrap over questions; agents with "
        "several seeds are averaged by question. Seconds were taken while other work shared the "
        "cores: see `benchmarks/` for ratios."
    )
    return "\n\n".join([opening, *map(render_table, tables)]) + "\n"


_LINES = ("", "ours, EM [95%]", "seeds", "n", paper.PROVENANCE, "")
_CLAIMS = ("difference, paired", "ours, points [95%]", "paper", "does it agree?")


def render_table(table: Table) -> str:
    """One table as Markdown: ours measured or shipped, the paper's as reported."""
    out = [f"### {table.title}", f"Ours beside {table.source}.", ""]
    out += _markdown(_LINES, [_line_cells(line) for line in table.lines])
    if table.claims:
        out += ["", *_markdown(_CLAIMS, [_claim_cells(claim) for claim in table.claims])]
    return "\n".join(out)


def show_table(table: Table, origin: str) -> Shown:
    """One table to look at in a notebook; `origin` says where our numbers come from."""
    note = f"Ours: {origin}. Beside it: {table.source}."
    theirs = [line.paper for line in table.lines] + [claim.paper for claim in table.claims]
    if any(value is not None for value in theirs):
        note += (
            " The paper's numbers are as reported, from another world with other models: compare "
            "directions, not numbers."
        )
    lines = [_line_cells(line) for line in table.lines]
    tables = [_without_gaps("Exact match (EM) in percent", (*_LINES[:-1], "also"), lines)]
    if table.claims:
        cells = [(*_claim_cells(c)[:-1], f"{_MARKS[c.verdict]} {c.verdict}") for c in table.claims]
        tables.append(_without_gaps("Differences in points, question by question", _CLAIMS, cells))
        note += " Not resolved: our interval includes zero."
    html = render("tables.html", title=table.title, note=note, tables=tables)
    return Shown(html, visible(f"{render_table(table)}\n\n{note}"))


_Grid = tuple[str, list[str], list[list[str]]]  # caption, heads, rows
_MARKS = {
    "agrees": "\N{CHECK MARK}",
    "disagrees": "\N{BALLOT X}",
    "not resolved": "\N{WHITE CIRCLE}",
    "up": "\N{BLACK UP-POINTING TRIANGLE}",
    "down": "\N{BLACK DOWN-POINTING TRIANGLE}",
}


def _line_cells(line: Line) -> tuple[str, ...]:
    seeds = ", ".join(f"{100 * s:.1f}" for s in line.seeds) if len(line.seeds) > 1 else ""
    theirs = "" if line.paper is None else f"{line.paper:.1f}"
    return line.label, _percent(line.ours), seeds, str(line.n), theirs, line.extra


def _claim_cells(claim: Claim) -> tuple[str, ...]:
    theirs = {0: "", 1: "up", -1: "down"}[claim.sign]
    theirs = theirs if claim.paper is None else f"{claim.paper:+.1f}"
    return claim.text, _percent(claim.ours, "+"), theirs, claim.verdict


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return [lines[0].replace("  ", " "), "|" + "---|" * len(heads), *lines[1:]]


def _without_gaps(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> _Grid:
    """A table without the columns that are empty in every row."""
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    return caption, [heads[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _percent(interval: Interval, sign: str = "") -> str:
    form = f"{sign}.1f"
    low, value, high = (100 * x for x in (interval.low, interval.value, interval.high))
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
