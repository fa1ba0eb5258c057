"""The study's tables in words: Markdown for files, HTML for notebooks.

Knows how a table is laid out; computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..analysis.statistics import Interval
from ..analysis.viewer import Shown, styled
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
    if any(row.paper is not None for row in (*table.lines, *table.claims)):
        note += (
            " The paper's numbers are as reported, from another world with other models: compare "
            "directions, not numbers."
        )
    lines = [_line_cells(line) for line in table.lines]
    parts = [_html("Exact match (EM) in percent", (*_LINES[:-1], "also"), lines)]
    if table.claims:
        cells = [(*_claim_cells(c)[:-1], f"{_MARKS[c.verdict]} {c.verdict}") for c in table.claims]
        parts.append(_html("Differences in points, question by question", _CLAIMS, cells))
        note += " Not resolved: our interval includes zero."
    title = escape(table.title)
    body = "\n".join([f"<h4>{title}</h4>", f"<div>{escape(note)}</div>", *parts])
    html = f'<section class="traj-show" aria-label="{title}">\n{body}\n</section>'
    return Shown(styled(html, _STYLE), f"{render_table(table)}\n\n{note}")


_MARKS = {
    "agrees": "\N{CHECK MARK}",
    "disagrees": "\N{BALLOT X}",
    "not resolved": "\N{WHITE CIRCLE}",
    "up": "\N{BLACK UP-POINTING TRIANGLE}",
    "down": "\N{BLACK DOWN-POINTING TRIANGLE}",
}
_STYLE = """
.traj-table{overflow-x:auto;margin:.75em 0 0}
.traj-table table{table-layout:auto;border-collapse:collapse;margin:0;color:inherit;font-size:1em}
.traj-table caption{caption-side:top;padding:0;text-align:left;color:inherit;font-weight:600}
.traj-table tbody>tr:nth-child(n){background:none}
.traj-table.traj-table tr>*{padding:.25em .9em .25em 0;border:0;text-align:left;
border-bottom:1px solid var(--traj-line);vertical-align:top;color:inherit;font-weight:400;
white-space:nowrap}
.traj-table thead th{color:var(--traj-soft)}
.traj-table tbody th{min-width:9em;white-space:normal}
.traj-table .traj-more{min-width:18em;white-space:normal}
""".rstrip()


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


def _html(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table without the columns that are empty in every row."""
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    top = "".join(f'<th scope="col">{escape(heads[at])}</th>' for at in kept)
    body = []
    for row in rows:
        cells = [f'<th scope="row">{escape(row[0])}</th>']
        for at in kept[1:]:
            long = ' class="traj-more"' if heads[at] == "also" else ""
            cells.append(f"<td{long}>{escape(row[at])}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    # A narrow page scrolls it sideways, with the arrow keys, too.
    return (
        f'<div class="traj-table" role="region" aria-label="{escape(caption)}" tabindex="0">'
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n"
        "<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table></div>"
    )


def _percent(interval: Interval, sign: str = "") -> str:
    form = f"{sign}.1f"
    low, value, high = (100 * x for x in (interval.low, interval.value, interval.high))
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"
