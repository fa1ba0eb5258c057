"""Figures: scores with their intervals, differences and loss curves, each with an alt text.

Knows how numbers become a picture and a sentence; does not know how they were measured. A figure is
an opaque light card, so that its dark text is legible on dark and light pages. Colours are Okabe and
Ito's (told apart by colour-blind readers) and never stand alone: shape, line style or words say it
too. No pyplot: a figure shows where `with_alt` puts it, once, and nothing is left open.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from .config import FireActError
from .evaluation import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches; shown at 100 px an inch, drawn finer for sharp screens
CARD, INK, SOFT, GRID = "#fbfaf7", "#1f2328", "#4d5661", "#d5d4cf"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
# A provenance may go on after its first word: "shipped (1f3a9c)".
PROVENANCES = {
    "measured": ("measured in this run", {"marker": "o", "color": COLOURS[0]}),
    "shipped": ("shipped", {"marker": "s", "color": COLOURS[1], "markerfacecolor": CARD}),
    "paper": ("paper, as reported", {"marker": "D", "color": COLOURS[3], "fillstyle": "left"}),
}


class Score(NamedTuple):
    """A row of `plot_scores`; a plain tuple will do. Without a known interval low = value = high."""

    label: str
    interval: Interval
    provenance: str
    n: int | None = None


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn figure and what it says in words, for those who cannot see it."""

    png: bytes
    alt: str
    width: int

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        return (
            f'<img alt="{escape(self.alt)}" width="{self.width}" '
            'style="max-width:100%;height:auto" '
            f'src="data:image/png;base64,{base64.b64encode(self.png).decode("ascii")}">'
        )

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": self.alt}


def with_alt(figure: Figure, alt: str = "") -> Picture:
    """Draw the figure, to be shown with its alt text: `alt`, or the one it was made with."""
    alt = alt or str(figure.get_label())
    if not alt:
        raise FireActError(
            "This figure has no alt text, so not everyone could read it. Call with_alt(figure, alt) "
            "with a sentence that says what the figure shows."
        )
    buffer = io.BytesIO()
    # Without the metadata the same figure gives the same bytes under the next matplotlib.
    figure.savefig(buffer, format="png", dpi=160, transparent=False, metadata={"Software": None})
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one that came from pyplot would be shown a second time
    return Picture(buffer.getvalue(), alt, round(figure.get_figwidth() * 100))


def plot_scores(
    rows: Sequence[Score | tuple[Any, ...]],
    title: str,
    xlabel: str = "exact match (EM), share of questions",
    *,
    alt: str = "",
) -> Figure:
    """A dot with its 95% interval for each row, the first on top; shape and words: provenance."""
    scores = [Score(*row) for row in rows]
    _need(scores, "rows")
    looks = [_provenance(score.provenance) for score in scores]
    says = [
        words if score.n is None else f"{words}, n = {score.n:,}"
        for score, (words, _) in zip(scores, looks, strict=True)
    ]
    figure, axes = _card(title, 1.1 + 0.52 * len(scores))
    for place, (score, (_, look)) in enumerate(zip(scores, looks, strict=True)):
        _dot(axes, score.interval, place, look)
        text = {"transform": axes.get_yaxis_transform(), "va": "center", "clip_on": False}
        axes.text(1.02, place, _words(score.interval), color=INK, **text)
        axes.annotate(
            f"{fill(score.label, 34)}\n", (0, place), (-8, -2), axes.get_yaxis_transform(),
            "offset points", ha="right", va="center", color=INK, linespacing=1.15,
        )  # fmt: skip
        axes.annotate(
            says[place], (0, place), (-8, -8), axes.get_yaxis_transform(),
            "offset points", ha="right", va="center", color=SOFT, fontsize=8,
        )  # fmt: skip
    axes.set(xlabel=xlabel, ylim=(len(scores) - 0.5, -0.5), yticks=[])
    if min(min(_ends(score.interval)) for score in scores) >= 0:
        axes.set_xlim(left=0)
    told = (f"{s.label} {_words(s.interval)}, {w}" for s, w in zip(scores, says, strict=True))
    figure.set_label(alt or f"{title}. {xlabel}, with 95% intervals: {'; '.join(told)}.")
    return figure


def plot_difference(interval: Interval, title: str, xlabel: str, *, alt: str = "") -> Figure:
    """A paired difference with its 95% interval, against the line of no difference."""
    figure, axes = _card(title, 1.9)
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    _dot(axes, interval, 0, PROVENANCES["measured"][1])
    axes.annotate(
        _words(interval, "+"), (interval.value, 0), (0, 12), textcoords="offset points",
        ha="center", color=INK,
    )  # fmt: skip
    axes.annotate(
        "no difference", (0, 0), (4, 4), axes.get_xaxis_transform(), "offset points",
        color=SOFT, fontsize=8,
    )  # fmt: skip
    reach = 1.25 * max(map(abs, _ends(interval))) or 1.0  # zero in the middle
    axes.set(xlabel=xlabel, ylim=(-1, 1), xlim=(-reach, reach), yticks=[])
    low, high = min(_ends(interval)), max(_ends(interval))
    holds = "holds zero" if low <= 0 <= high else "does not hold zero"
    figure.set_label(
        alt or f"{title}. {xlabel}: {_words(interval, '+')}; the 95% interval {holds}."
    )
    return figure


def plot_loss(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    xlabel: str,
    *,
    alt: str = "",
) -> Figure:
    """Loss over steps or tokens, a line for each label."""
    _need(curves, "curves")
    figure, axes = _card(title, 3.6)
    told = []
    for number, (label, points) in enumerate(curves.items()):
        _need(points, f"points in the curve {label!r}")
        xs, ys = zip(*points, strict=True)
        look = {"color": COLOURS[number % 5], "linestyle": DASHES[number % 4]}
        axes.plot(xs, ys, linewidth=1.8, marker="o" if len(xs) == 1 else "", label=label, **look)
        told.append(f"{label} from {ys[0]:.2f} at {xs[0]:,g} to {ys[-1]:.2f} at {xs[-1]:,g}")
    axes.set(xlabel=xlabel, ylabel="loss (nats per token)")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.legend(labelcolor=INK, facecolor=CARD, edgecolor=GRID, handlelength=3.2)
    figure.set_label(alt or f"{title}. Loss in nats per token over {xlabel}: {'; '.join(told)}.")
    return figure


# -- parts ---------------------------------------------------------------------------------------


def _card(title: str, height: float) -> tuple[Figure, Axes]:
    """An empty figure. Every colour is set here: a dark style sheet elsewhere changes nothing."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor=CARD, edgecolor=CARD, layout="constrained")
    title = fill(title, 72)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    axes = figure.add_subplot(facecolor=CARD)
    axes.tick_params(color=SOFT, labelcolor=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _dot(axes: Axes, interval: Interval, place: float, look: Mapping[str, Any]) -> None:
    low, high = _ends(interval)
    error = [[interval.value - low], [high - interval.value]] if low < high else None
    axes.errorbar(
        [interval.value],
        [place],
        xerr=error,
        markersize=8,
        linewidth=2,
        capsize=4,
        capthick=2,
        **look,
    )


def _ends(interval: Interval) -> tuple[float, float]:
    """The whiskers' ends; the value twice where no interval is known (the paper gives none)."""
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return (interval.low, interval.high) if known else (interval.value, interval.value)


def _words(interval: Interval, sign: str = "") -> str:
    low, high = _ends(interval)
    digits = ".0f" if max(abs(low), abs(high)) >= 100 else ".2f"
    value, low, high = (f"{x:{sign},{digits}}" for x in (interval.value, low, high))
    words = value if low == high else f"{value} ({low} to {high})"
    return words.replace("-", "\N{MINUS SIGN}")


def _provenance(name: str) -> tuple[str, dict[str, Any]]:
    kind = name.split()[0].rstrip(",:") if name.split() else ""
    if kind not in PROVENANCES:
        raise FireActError(
            f"A row's provenance is {name!r}, but a number must say where it comes from. Let it "
            f"begin with one of: {', '.join(PROVENANCES)}."
        )
    words, look = PROVENANCES[kind]
    return (words if name == kind else name), look


def _need(things: Iterable[Any], what: str) -> None:
    if not things:
        raise FireActError(f"There is nothing to draw: no {what}. Check what was handed over.")
