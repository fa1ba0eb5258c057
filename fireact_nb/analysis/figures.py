"""Figures: scores, differences, curves, bars and losses, with intervals and an alt text.

Knows how numbers become a picture and a sentence; does not know how they were measured. A figure
is an opaque light card, so its dark text is legible on dark and light pages. The colours are Okabe
and Ito's, which colour-blind readers tell apart, and never stand alone: shape, line style or words
say it too. No pyplot: a figure shows where `with_alt` puts it, once, and nothing is left open.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from .markup import render, visible
from .statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

WIDTH = 7.2  # inches; shown at 100 px an inch, drawn finer for sharp screens
CARD, INK, SOFT, GRID = "#fbfaf7", "#1f2328", "#4d5661", "#d5d4cf"
EM = "exact match (EM), share of questions"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xx", "\\\\", "+++", "oo")
SMALL = {"color": SOFT, "size": 8}
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


def plot_scores(rows: Sequence[tuple[Any, ...]], title: str, xlabel: str = EM) -> Figure:
    """A dot with its 95% interval for each row, the first on top; its shape shows the provenance.

    A row is (label, Interval, provenance) or (label, Interval, provenance, n). Where no interval is
    known, as in the paper, low = value = high.
    """
    figure, axes, places = _rows(rows, title, xlabel, 0.53)
    told = []
    for place, (label, interval, provenance, *n) in zip(places, rows, strict=True):
        origin = _origin(label, provenance)
        count = f", n = {n[0]:,}" if any(n) else ""
        _dots(axes, [(place, interval)], PROVENANCES[origin])
        _left(axes, place, label, origin + count)
        _right(axes, place, _words(interval))
        told.append(f"{label} {_words(interval)}, {provenance}{count}")
    if min(_ends(row[1])[0] for row in rows) >= 0:
        axes.set_xlim(left=0)
    alt = f"{title}. {xlabel}, with 95% intervals: {'; '.join(told)}."
    return _finished(figure, axes.get_ylim()[0], alt)


def plot_differences(
    rows: Sequence[tuple[Any, ...]], title: str, xlabel: str, source: str
) -> Figure:
    """Paired differences with their 95% intervals, the first on top, against no difference.

    A row is (label, Interval) or (label, Interval, theirs): the paper's value in the same unit, or
    None. The paper's gets a mark of its own, below ours.
    """
    looks = {"ours, with its 95% interval": PROVENANCES[_named(source)], PAPER: PROVENANCES[PAPER]}
    ours, paper = looks.values()
    beside = any(theirs is not None for row in rows for theirs in row[2:])
    figure, axes, places = _rows(rows, title, xlabel, 0.5 if beside else 0.36)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=1, linestyle=DASHES[1])
    told = []
    for place, (label, interval, *theirs) in zip(places, rows, strict=True):
        low, high = _ends(interval)
        zero = "includes" if low <= 0 <= high else "excludes"
        _dots(axes, [(place, interval)], ours)
        _left(axes, place, label)
        _right(axes, place, _words(interval, "+"))
        told.append(f"{label} {_words(interval, '+')}")
        told[-1] += f", an interval that {zero} zero" if _known(interval) else ""
        for value in theirs:
            if value is not None:
                point = Interval(value, value, value)
                _dots(axes, [(place + 0.17, point)], paper)
                _right(axes, place + 0.17, f"paper {_words(point, '+')}", **SMALL)
                told[-1] += f"; {PAPER} {_words(point, '+')}"
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, -0.04 * right), max(right, -0.04 * left))
    edge = {"xycoords": axes.get_xaxis_transform(), "ha": "center"}
    _say(axes, "no difference", (0, 1), (0, 2), **SMALL, **edge)
    alt = f"{title}. {xlabel}, with 95% intervals: {'. '.join(told)}."
    return _finished(figure, axes.get_ylim()[0], alt, source, looks if beside else {})


def plot_curve(
    curves: Mapping[str, Sequence[tuple[float, Interval]]],
    title: str,
    xlabel: str,
    ylabel: str = EM,
    *,
    source: str,
    log: bool = False,
) -> Figure:
    """Values with their 95% intervals over a number; on a `log` axis each step is a factor."""
    figure, axes = _lines(title, xlabel, ylabel)
    told, every, looks = [], [], {}
    for number, (label, points) in enumerate(_some(curves, "curves").items()):
        points = sorted(_some(points, f"points in the curve {label!r}"), key=lambda p: p[0])
        looks[label] = _look(number) | {"marker": MARKERS[number % 7]}
        _dots(axes, points, looks[label] | {"elinewidth": 1.3, "capthick": 1.3}, upright=True)
        told.append(f"{label} " + ", ".join(f"{_words(i)} at {x:,.9g}" for x, i in points))
        every += points
    xs = sorted({x for x, _ in every})
    if log and xs[0] <= 0:
        raise FireActError(f"A log axis starts above 0, and a point stands at {xs[0]:g}.")
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    # Ticks where the points are, if their labels have room.
    if log or min((b - a for a, b in pairwise(xs)), default=1) >= 0.09 * (xs[-1] - xs[0]):
        axes.set_xticks(xs)
    _plain(axes, xs[-1])
    if min(_ends(interval)[0] for _, interval in every) >= 0:
        axes.set_ylim(bottom=0)
    alt = f"{title}. {ylabel} over {xlabel}, with 95% intervals: {'. '.join(told)}."
    return _finished(figure, 2.6, alt, source, looks)


def plot_bars(
    rows: Sequence[tuple[str, float | Mapping[str, float]]],
    title: str,
    xlabel: str,
    source: str,
    form: str = "{:,.0f}",
) -> Figure:
    """A bar from zero for each row, the first on top: one number, or its parts end to end."""
    figure, axes, places = _rows(rows, title, xlabel, 0.4)
    split = [(label, x if isinstance(x, Mapping) else {"": x}) for label, x in rows]
    names = dict.fromkeys(name for _, parts in split for name in parts)
    looks = {
        name: {"facecolor": COLOURS[number % 5], "hatch": HATCHES[number % 7], "edgecolor": CARD}
        for number, name in enumerate(names)
    }
    told, most = [], 0.0
    for place, (label, parts) in zip(places, split, strict=True):
        if min(parts.values(), default=0) < 0:
            raise FireActError(f"A bar starts at zero, but {label!r} holds a negative number.")
        total = 0.0
        for name, value in parts.items():
            axes.barh(place, value, 0.26, total, **looks[name])
            total += value
        _left(axes, place, label)
        _say(axes, form.format(total), (total, place), (5, 0), va="center")
        each = ", ".join(f"{name} {form.format(value)}" for name, value in parts.items() if name)
        told.append(f"{label} {form.format(total)}" + (f" ({each})" if each else ""))
        most = max(most, total)
    axes.set_xlim(0, 1.02 * most or 1)
    _plain(axes, most)
    looks.pop("", None)
    alt = f"{title}. {xlabel}: {'; '.join(told)}."
    return _finished(figure, axes.get_ylim()[0], alt, source, looks)


def plot_loss(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    xlabel: str,
    source: str = "measured in this run",
) -> Figure:
    """Loss over steps, epochs or tokens, a line for each label."""
    figure, axes = _lines(title, xlabel, "loss (nats per token)")
    told, looks = [], {}
    for number, (label, points) in enumerate(_some(curves, "curves").items()):
        xs, ys = zip(*_some(points, f"points in the curve {label!r}"), strict=True)
        looks[label] = _look(number)
        axes.plot(xs, ys, marker="o" if len(xs) == 1 else "", label=label, **looks[label])
        told.append(f"{label} from {ys[0]:.2f} at {xs[0]:,.9g} to {ys[-1]:.2f} at {xs[-1]:,.9g}")
    _plain(axes, max(x for points in curves.values() for x, _ in points))
    alt = f"{title}. Loss in nats per token over {xlabel}: {'; '.join(told)}."
    return _finished(figure, 2.6, alt, source, looks)


def new_figure(title: str, height: float) -> tuple[Figure, Axes]:
    """An empty figure. Every colour is set here: a dark style sheet elsewhere changes nothing."""
    from matplotlib.figure import Figure

    title = fill(title, 70)
    height += 0.2 * title.count("\n")
    figure = Figure((WIDTH, height), facecolor=CARD, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    look = {"fontsize": 11.5, "fontweight": "bold", "color": INK, "parse_math": False}
    figure.suptitle(title, x=0.12 / WIDTH, ha="left", **look)
    axes = figure.add_subplot(facecolor=CARD)
    axes.tick_params(color=SOFT, labelcolor=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _finished(
    figure: Figure,
    tall: float,
    alt: str,
    source: str | None = None,
    looks: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """The figure with its source and the meaning of its looks, and its axes `tall` inches high."""
    legend = _legend(figure, looks) if looks else None
    if source is not None and _named(source):
        words = {"x": 0.12 / WIDTH, "ha": "left", "parse_math": False}
        figure.supxlabel(fill(source, 118), **words, **SMALL)
        alt += f" Source: {source}."
    figure.set_label(alt)
    figure.draw_without_rendering()  # how much room all the words take
    tall += figure.get_figheight() - figure.axes[0].get_window_extent().height / figure.dpi
    if legend:  # between the title and the rest
        title = 0.16 + 0.19 * (1 + figure.get_suptitle().count("\n"))
        room = legend.get_window_extent().height / figure.dpi
        tall += room
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - room / tall))
        legend.set_bbox_to_anchor((0.12 / WIDTH, 1 - title / tall), figure.transFigure)
    figure.set_figheight(tall)
    return figure


def _legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]]) -> Legend:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [Patch(**x) if "hatch" in x else Line2D([], [], **x) for x in looks.values()]
    words = [fill(name, 80) for name in looks]
    columns = max(1, 92 // (max(map(len, words)) + 9))
    look = {"labelcolor": INK, "handlelength": 3.2, "frameon": False}
    look |= {"borderpad": 0, "borderaxespad": 0}
    legend = figure.legend(marks, words, loc="upper left", ncols=columns, **look)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def _rows(
    rows: Sequence[Any], title: str, xlabel: str, each: float
) -> tuple[Figure, Axes, list[float]]:
    """A figure with a row for each label, the first on top, and their middles in inches."""
    heights = [each + 0.17 * fill(row[0], 34).count("\n") for row in _some(rows, "rows")]
    figure, axes = new_figure(title, 2.5 + sum(heights))
    axes.set(xlabel=fill(xlabel, 60), ylim=(sum(heights), 0), yticks=[])
    return figure, axes, [sum(heights[:at]) + tall / 2 for at, tall in enumerate(heights)]


def _lines(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(title, 5)
    axes.set(xlabel=fill(xlabel, 80), ylabel=fill(ylabel, 38))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    return figure, axes


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % 5], "linestyle": DASHES[number % 4], "linewidth": 1.8}


def _left(axes: Axes, place: float, label: str, below: str = "") -> None:
    """A row's label left of the axes, and small under it where its number comes from."""
    edge = {"xycoords": axes.get_yaxis_transform(), "ha": "right"}  # x in shares, y in inches
    label = fill(label, 34)
    if not below:
        _say(axes, label, (0, place), (-8, 0), va="center", **edge)
        return
    drop = -3 - 6 * label.count("\n")
    _say(axes, label, (0, place), (-8, drop), va="bottom", **edge)
    _say(axes, below, (0, place), (-8, drop - 1), va="top", **SMALL, **edge)


def _right(axes: Axes, place: float, words: str, **look: Any) -> None:
    edge = {"xycoords": axes.get_yaxis_transform(), "va": "center"}
    _say(axes, words, (1, place), (8, 0), **look, **edge)


def _say(axes: Axes, text: str, at: Any, offset: Any, color: str = INK, **look: Any) -> None:
    """A word at a place, moved by points; its own background keeps lines from crossing it."""
    box = {"facecolor": CARD, "edgecolor": "none", "pad": 1.5}
    look |= {"textcoords": "offset points", "parse_math": False}  # a $ is a dollar
    axes.annotate(text, at, offset, color=color, bbox=box, **look)


def _dots(
    axes: Axes,
    points: Sequence[tuple[float, Interval]],
    look: Mapping[str, Any],
    upright: bool = False,
) -> None:
    """Dots at (place, value) with whiskers: the values along the x axis, or upright."""
    places, values = [place for place, _ in points], [x.value for _, x in points]
    ends = [_ends(x) for _, x in points]
    known = [low < high for low, high in ends]
    reach = [
        [v - low if k else math.nan for v, (low, _), k in zip(values, ends, known, strict=True)],
        [high - v if k else math.nan for v, (_, high), k in zip(values, ends, known, strict=True)],
    ]
    at = (places, values) if upright else (values, places)
    bar = {"linewidth": 2, "capthick": 2, "markersize": 7, "capsize": 5}
    axes.errorbar(
        *at, **{"yerr" if upright else "xerr": reach}, clip_on=False, zorder=3, **bar | dict(look)
    )


def _plain(axes: Axes, most: float) -> None:
    """Large numbers on the x axis as they are read: 2M, not 2 and a 1e6 far away."""
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    if most >= 10_000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    elif most >= 1_000 or axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.9g}"))


def _known(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _ends(interval: Interval) -> tuple[float, float]:
    """The whiskers' ends; the value twice where no interval is known (the paper gives none)."""
    return (interval.low, interval.high) if _known(interval) else (interval.value, interval.value)


def _words(interval: Interval, sign: str = "") -> str:
    low, high = _ends(interval)
    form = f"{sign},{'.0f' if max(abs(low), abs(high)) >= 100 else '.3f'}"
    words = f"{interval.value:{form}}" + (f" ({low:{form}} to {high:{form}})" if low < high else "")
    return words.replace("-", "\N{MINUS SIGN}")


def _origin(name: str, provenance: str) -> str:
    for origin in PROVENANCES:
        if provenance.startswith(origin):
            return origin
    raise FireActError(
        f"The row {name!r} has the provenance {provenance!r}, but a number must say where it comes "
        f"from. Let it begin with one of: {'; '.join(PROVENANCES)}."
    )


def _named(source: str) -> str:
    """The provenance that a source names first."""
    found = [origin for origin in PROVENANCES if origin in source]
    if not found:
        raise FireActError(
            f"The source {source!r} does not say where the numbers come from. Let it name one of: "
            f"{'; '.join(PROVENANCES)}."
        )
    return min(found, key=source.find)


def _some(things: Any, what: str) -> Any:
    if not things:
        raise FireActError(f"There is nothing to draw: no {what}. Check what was handed over.")
    return things
