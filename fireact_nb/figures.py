"""Figures: scores with their intervals, differences and loss curves, each with an alt text.

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
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .config import FireActError
from .evaluation import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches; shown at 100 px an inch, drawn finer for sharp screens
CARD, INK, SOFT, GRID = "#fbfaf7", "#1f2328", "#4d5661", "#d5d4cf"
EM = "exact match (EM), share of questions"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
# How a row's provenance begins, and how its dot looks; "(hash, command)" may follow.
PROVENANCES: dict[str, dict[str, Any]] = {
    "measured in this run": {"marker": "o", "color": COLOURS[0]},
    "shipped": {"marker": "s", "color": COLOURS[1], "markerfacecolor": CARD},
    "paper, as reported": {"marker": "D", "color": COLOURS[3], "fillstyle": "left"},
}


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn figure and what it says in words, for those who cannot see it."""

    png: bytes
    alt: str
    width: int

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        data = base64.b64encode(self.png).decode("ascii")
        style = "max-width:100%;height:auto"
        html = f'<img alt="{escape(self.alt)}" width="{self.width}" style="{style}" '
        return {"text/html": f'{html}src="data:image/png;base64,{data}">', "text/plain": self.alt}


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
    figure.savefig(drawn, format="png", dpi=144, transparent=False)
    # Flat colours: 64 of them look the same and take a quarter of the room in the notebook.
    Image.open(drawn).convert("RGB").quantize(64).save(png, format="PNG", optimize=True)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one that came from pyplot would be shown a second time
    return Picture(png.getvalue(), alt, round(figure.get_figwidth() * 100))


def plot_scores(rows: Sequence[tuple[Any, ...]], title: str, xlabel: str = EM) -> Figure:
    """A dot with its 95% interval for each row, the first on top; its shape shows the provenance.

    A row is (label, Interval, provenance) or (label, Interval, provenance, n). Where no interval is
    known, as in the paper, low = value = high.
    """
    most = max(fill(row[0], 34).count("\n") for row in _some(rows, "rows"))
    figure, axes = _card(title, 0.9 + (0.53 + 0.17 * most) * len(rows))
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5), yticks=[])
    edge = {"xycoords": axes.get_yaxis_transform()}  # x in shares of the axes, y in rows
    small = {"va": "top", "color": SOFT, "size": 8}
    told = []
    for place, (label, interval, provenance, *n) in enumerate(rows):
        origin = _origin(label, provenance)
        count = f", n = {n[0]:,}" if any(n) else ""
        _dot(axes, interval, place, PROVENANCES[origin])
        _say(axes, fill(label, 34), (0, place), (-8, -3), ha="right", va="bottom", **edge)
        _say(axes, origin + count, (0, place), (-8, -4), ha="right", **small, **edge)
        _say(axes, _words(interval), (1, place), (8, 0), va="center", **edge)
        told.append(f"{label} {_words(interval)}, {provenance}{count}")
    if min(_ends(row[1])[0] for row in rows) >= 0:
        axes.set_xlim(left=0)
    figure.set_label(f"{title}. {xlabel}, with 95% intervals: {'; '.join(told)}.")
    return figure


def plot_difference(interval: Interval, title: str, xlabel: str) -> Figure:
    """A paired difference with its 95% interval, against the line of no difference."""
    figure, axes = _card(title, 1.9)
    low, high = _ends(interval)
    reach = 1.3 * max(-low, high) or 1.0  # zero in the middle
    axes.set(xlabel=xlabel, ylim=(-1, 1), xlim=(-reach, reach), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=1, linestyle=DASHES[1])
    _dot(axes, interval, 0, {"marker": "o", "color": COLOURS[0]})
    words = _words(interval, "+")
    _say(axes, words, (interval.value, 0), (0, 12), ha="center")
    _say(axes, "no difference", (0, -1), (6, 6), color=SOFT, size=8)
    zero = "includes" if low <= 0 <= high else "excludes"
    figure.set_label(f"{title}. {xlabel}: {words}; the 95% interval {zero} zero.")
    return figure


def plot_loss(
    curves: Mapping[str, Sequence[tuple[float, float]]], title: str, xlabel: str
) -> Figure:
    """Loss over steps, epochs or tokens, a line for each label."""
    from matplotlib.ticker import EngFormatter

    figure, axes = _card(title, 3.6)
    told = []
    for number, (label, points) in enumerate(_some(curves, "curves").items()):
        xs, ys = zip(*_some(points, f"points in the curve {label!r}"), strict=True)
        look = {"color": COLOURS[number % 5], "linestyle": DASHES[number % 4]}
        axes.plot(xs, ys, linewidth=1.8, marker="o" if len(xs) == 1 else "", label=label, **look)
        told.append(f"{label} from {ys[0]:.2f} at {xs[0]:,.9g} to {ys[-1]:.2f} at {xs[-1]:,.9g}")
        if max(xs) >= 10_000:
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 2M, not 2 and a 1e6 far away
    axes.set(xlabel=xlabel, ylabel="loss (nats per token)")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.legend(labelcolor=INK, facecolor=CARD, edgecolor=GRID, handlelength=3.2)
    figure.set_label(f"{title}. Loss in nats per token over {xlabel}: {'; '.join(told)}.")
    return figure


def _card(title: str, height: float) -> tuple[Figure, Axes]:
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
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _say(axes: Axes, text: str, at: Any, offset: Any, color: str = INK, **look: Any) -> None:
    """A word at a place, moved by points; its own background keeps lines from crossing it."""
    box = {"facecolor": CARD, "edgecolor": "none", "pad": 1.5}
    look |= {"textcoords": "offset points", "parse_math": False}  # a $ is a dollar
    axes.annotate(text, at, offset, color=color, bbox=box, **look)


def _dot(axes: Axes, interval: Interval, place: float, look: Mapping[str, Any]) -> None:
    low, high = _ends(interval)
    reach = [[interval.value - low], [high - interval.value]] if low < high else None
    bar = {"linewidth": 2, "capsize": 5, "capthick": 2, "clip_on": False, "zorder": 3}
    axes.errorbar([interval.value], [place], xerr=reach, markersize=7, **bar, **look)


def _ends(interval: Interval) -> tuple[float, float]:
    """The whiskers' ends; the value twice where no interval is known (the paper gives none)."""
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return (interval.low, interval.high) if known else (interval.value, interval.value)


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


def _some(things: Any, what: str) -> Any:
    if not things:
        raise FireActError(f"There is nothing to draw: no {what}. Check what was handed over.")
    return things
