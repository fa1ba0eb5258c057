"""A figure's card, its words and marks, and the picture that a notebook shows.

Knows how things look; which numbers stand where is the business of `figures`. A figure is an opaque
light card, so its dark text is legible on dark and light pages. The colours are Okabe and Ito's,
which colour-blind readers tell apart, and never stand alone: shape, line style or words say it too.
No pyplot: a figure shows where `with_alt` puts it, once, and nothing is left open.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from .markup import render, visible
from .statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.legend import Legend

WIDTH = 7.2  # inches; shown at 100 px an inch, drawn finer for sharp screens
CARD, INK, SOFT, GRID = "#fbfaf7", "#1f2328", "#4d5661", "#d5d4cf"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xx", "\\\\", "+++", "oo")
SMALL: dict[str, Any] = {"color": SOFT, "size": 8}
PAPER = "paper, as reported"
# How a row's provenance begins, and how its dot looks; "(hash, command)" may follow.
PROVENANCES: dict[str, dict[str, Any]] = {
    "measured in this run": {"marker": "o", "color": COLOURS[0]},
    "your own run": {"marker": "o", "color": COLOURS[0]},
    "shipped": {"marker": "s", "color": COLOURS[1], "markerfacecolor": CARD},
    PAPER: {"marker": "D", "color": COLOURS[3], "fillstyle": "left", "linestyle": ""},
}


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn figure and what it says in words, for those who cannot see it."""

    png: bytes
    alt: str
    width: int

    def __repr__(self) -> str:
        return visible(self.alt)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        data = base64.b64encode(self.png).decode("ascii")
        html = render("picture.html", alt=self.alt, width=self.width, png=data)
        return {"text/html": html, "text/plain": visible(self.alt)}


def with_alt(figure: Figure, alt: str = "") -> Picture:
    """Draw the figure, to be shown with its alt text: `alt`, or what its data says in words."""
    from PIL import Image

    alt = alt or str(figure.get_label())
    if not alt:
        raise FireActError(
            "This figure has no alt text, so not everyone can read it. Call with_alt(figure, alt) "
            "with a sentence that says what the figure shows."
        )
    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120, transparent=False)
    # Flat colours: 32 of them look the same and take a quarter of the room in the notebook.
    Image.open(drawn).convert("RGB").quantize(32).save(png, format="PNG", optimize=True)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one that came from pyplot would be shown a second time
    return Picture(png.getvalue(), alt, round(figure.get_figwidth() * 100))


def new_figure(title: str, height: float) -> tuple[Figure, Axes]:
    """An empty figure. Every colour is set here: a dark style sheet elsewhere changes nothing."""
    from matplotlib.figure import Figure

    title = fill(title, 70)
    height += 0.2 * title.count("\n")
    figure = Figure((WIDTH, height), facecolor=CARD, layout=_layout())
    look: dict[str, Any] = {"fontsize": 11.5, "fontweight": "bold", "color": INK}
    figure.suptitle(title, x=0.12 / WIDTH, ha="left", parse_math=False, **look)
    axes = figure.add_subplot(facecolor=CARD)
    axes.tick_params(color=SOFT, labelcolor=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _layout(top: float = 1) -> ConstrainedLayoutEngine:
    """Finds the room that all words need, below `top` (a share of the figure's height)."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, rect=(0, 0, 1, top))


def finish(
    figure: Figure,
    tall: float,
    alt: str,
    source: str | None = None,
    looks: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """The figure with its source and the meaning of its looks, and its axes `tall` inches high."""
    legend = _legend(figure, looks) if looks else None
    # matplotlib gives the axes what the words leave over. Here the words come last: they are laid
    # out first, and the figure grows until the axes have their height.
    if source is not None and origin_of_source(source):
        words: dict[str, Any] = {"x": 0.12 / WIDTH, "ha": "left", "parse_math": False}
        figure.supxlabel(fill(source, 118), **words, **SMALL)
        alt += f" Source: {source}."
    figure.set_label(alt)
    figure.draw_without_rendering()
    tall += figure.get_figheight() - figure.axes[0].get_window_extent().height / figure.dpi
    if legend:  # between the title and the rest
        title = 0.16 + 0.19 * (1 + figure.get_suptitle().count("\n"))
        room = legend.get_window_extent().height / figure.dpi
        tall += room
        figure.set_layout_engine(_layout(top=1 - room / tall))
        legend.set_bbox_to_anchor((0.12 / WIDTH, 1 - title / tall), figure.transFigure)
    figure.set_figheight(tall)
    return figure


def _legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> Legend:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [Patch(**x) if "hatch" in x else Line2D([], [], **x) for x in looks.values()]
    words = [fill(name, 80) for name in looks]
    columns = max(1, 92 // (max(map(len, words)) + 9))
    look: dict[str, Any] = {"labelcolor": INK, "handlelength": 3.2, "frameon": False}
    look |= {"borderpad": 0, "borderaxespad": 0}
    legend = figure.legend(marks, words, loc="upper left", ncols=columns, **look)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def row_figure(
    rows: Sequence[Any], title: str, xlabel: str, each: float
) -> tuple[Figure, Axes, list[float]]:
    """A figure with a row for each label, the first on top, and their middles in inches."""
    heights = [each + 0.17 * fill(row[0], 34).count("\n") for row in require_some(rows, "rows")]
    figure, axes = new_figure(title, 2.5 + sum(heights))
    axes.set(xlabel=fill(xlabel, 60), ylim=(sum(heights), 0), yticks=[])
    return figure, axes, [sum(heights[:at]) + tall / 2 for at, tall in enumerate(heights)]


def line_figure(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(title, 5)
    axes.set(xlabel=fill(xlabel, 80), ylabel=fill(ylabel, 38))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    return figure, axes


def line_look(number: int) -> dict[str, Any]:
    # 5 colours and 4 dashes have no common divisor: 20 lines pass before two look the same
    return {"color": COLOURS[number % 5], "linestyle": DASHES[number % 4], "linewidth": 1.8}


def label_left(axes: Axes, place: float, label: str, below: str = "") -> None:
    """A row's label left of the axes, and small under it where its number comes from."""
    # x in shares of the axes, y in inches: a label keeps its distance, however wide the words get
    edge: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "ha": "right"}
    label = fill(label, 34)
    if not below:
        annotate(axes, label, (0, place), (-8, 0), va="center", **edge)
        return
    drop = -3 - 6 * label.count("\n")
    annotate(axes, label, (0, place), (-8, drop), va="bottom", **edge)
    annotate(axes, below, (0, place), (-8, drop - 1), va="top", **SMALL, **edge)


def label_right(axes: Axes, place: float, words: str, **look: Any) -> None:
    edge: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "va": "center"}
    annotate(axes, words, (1, place), (8, 0), **look, **edge)


def annotate(axes: Axes, text: str, at: Any, offset: Any, color: str = INK, **look: Any) -> None:
    """A word at a place, moved by points; its own background keeps lines from crossing it."""
    box = {"facecolor": CARD, "edgecolor": "none", "pad": 1.5}
    look |= {"textcoords": "offset points", "parse_math": False}  # a $ is a dollar
    axes.annotate(text, at, offset, color=color, bbox=box, **look)


def dots(
    axes: Axes,
    points: Sequence[tuple[float, Interval]],
    look: Mapping[str, Any],
    upright: bool = False,
) -> None:
    """Dots at (place, value) with whiskers: the values along the x axis, or upright."""
    places, values = [place for place, _ in points], [x.value for _, x in points]
    ends = [whisker_ends(x) for _, x in points]
    known = [low < high for low, high in ends]
    reach = [
        [v - low if k else math.nan for v, (low, _), k in zip(values, ends, known, strict=True)],
        [high - v if k else math.nan for v, (_, high), k in zip(values, ends, known, strict=True)],
    ]
    xs, ys = (places, values) if upright else (values, places)
    options: dict[str, Any] = {"linewidth": 2, "capthick": 2, "markersize": 7, "capsize": 5}
    options |= {**look, "yerr" if upright else "xerr": reach}
    # Not clipped: a dot at 0 or 1 stands on the edge of the axes, and would be cut in half.
    axes.errorbar(xs, ys, clip_on=False, zorder=3, **options)


def use_plain_numbers(axes: Axes, most: float) -> None:
    """Large numbers on the x axis as they are read: 2M, not 2 and a 1e6 far away."""
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    if most >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    elif most >= 1_000 or axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.9g}"))


def is_known(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def whisker_ends(interval: Interval) -> tuple[float, float]:
    """The whiskers' ends; the value twice where no interval is known (the paper gives none)."""
    return (interval.low, interval.high) if is_known(interval) else (interval.value, interval.value)


def in_words(interval: Interval, sign: str = "") -> str:
    low, high = whisker_ends(interval)
    form = f"{sign},{'.0f' if max(abs(low), abs(high)) >= 100 else '.3f'}"
    words = f"{interval.value:{form}}" + (f" ({low:{form}} to {high:{form}})" if low < high else "")
    return words.replace("-", "\N{MINUS SIGN}")


def origin_of_row(name: str, provenance: str) -> str:
    """The provenance with which a row's own begins. Raises FireActError where there is none."""
    for origin in PROVENANCES:
        if provenance.startswith(origin):
            return origin
    raise FireActError(
        f"The row {name!r} has the provenance {provenance!r}, but a number must say where it comes "
        f"from. Let it begin with one of: {'; '.join(PROVENANCES)}."
    )


def origin_of_source(source: str) -> str:
    """The provenance that a source names first. Raises FireActError where it names none."""
    found = [origin for origin in PROVENANCES if origin in source]
    if not found:
        raise FireActError(
            f"The source {source!r} does not say where the numbers come from. Let it name one of: "
            f"{'; '.join(PROVENANCES)}."
        )
    return min(found, key=source.find)


def require_some(things: Any, what: str) -> Any:
    """The things, if there are any. Raises FireActError for an empty collection."""
    if not things:
        raise FireActError(f"There is nothing to draw: no {what}. Check what was handed over.")
    return things
