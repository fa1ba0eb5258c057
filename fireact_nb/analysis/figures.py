"""Figures: scores, differences, curves, bars and losses, with intervals and an alt text.

Knows how numbers become a picture and a sentence; does not know how they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from . import pictures as draw
from .pictures import COLOURS, Picture, new_figure, with_alt
from .statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "Picture", "new_figure", "plot_bars", "plot_curve", "plot_differences",
           "plot_loss", "plot_scores", "with_alt"]  # fmt: skip

EM = "exact match (EM), share of questions"


def plot_scores(rows: Sequence[tuple[Any, ...]], title: str, xlabel: str = EM) -> Figure:
    """A dot with its 95% interval for each row, the first on top; its shape shows the provenance.

    A row is (label, Interval, provenance) or (label, Interval, provenance, n). Where no interval is
    known, as in the paper, low = value = high.
    """
    figure, axes, places = draw.row_figure(rows, title, xlabel, 0.53)
    told = []
    for place, (label, interval, provenance, *n) in zip(places, rows, strict=True):
        origin = draw.origin_of_row(label, provenance)
        count = f", n = {n[0]:,}" if any(n) else ""
        draw.dots(axes, [(place, interval)], draw.PROVENANCES[origin])
        draw.label_left(axes, place, label, origin + count)
        draw.label_right(axes, place, draw.in_words(interval))
        told.append(f"{label} {draw.in_words(interval)}, {provenance}{count}")
    if min(draw.whisker_ends(row[1])[0] for row in rows) >= 0:
        axes.set_xlim(left=0)
    alt = f"{title}. {xlabel}, with 95% intervals: {'; '.join(told)}."
    return draw.finish(figure, axes.get_ylim()[0], alt)


def plot_differences(
    rows: Sequence[tuple[Any, ...]], title: str, xlabel: str, source: str
) -> Figure:
    """Paired differences with their 95% intervals, the first on top, against no difference.

    A row is (label, Interval) or (label, Interval, theirs): the paper's value in the same unit, or
    None. The paper's gets a mark of its own, below ours.
    """
    ours = draw.PROVENANCES[draw.origin_of_source(source)]
    paper = draw.PROVENANCES[draw.PAPER]
    looks = {"ours, with its 95% interval": ours, draw.PAPER: paper}
    beside = any(theirs is not None for row in rows for theirs in row[2:])
    figure, axes, places = draw.row_figure(rows, title, xlabel, 0.5 if beside else 0.36)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=draw.INK, linewidth=1, linestyle=draw.DASHES[1])
    told = []
    for place, (label, interval, *theirs) in zip(places, rows, strict=True):
        low, high = draw.whisker_ends(interval)
        zero = "includes" if low <= 0 <= high else "excludes"
        draw.dots(axes, [(place, interval)], ours)
        draw.label_left(axes, place, label)
        draw.label_right(axes, place, draw.in_words(interval, "+"))
        told.append(f"{label} {draw.in_words(interval, '+')}")
        told[-1] += f", an interval that {zero} zero" if draw.is_known(interval) else ""
        for value in theirs:
            if value is not None:
                point = Interval(value, value, value)
                draw.dots(axes, [(place + 0.17, point)], paper)
                words = draw.in_words(point, "+")
                draw.label_right(axes, place + 0.17, f"paper {words}", **draw.SMALL)
                told[-1] += f"; {draw.PAPER} {words}"
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, -0.04 * right), max(right, -0.04 * left))
    edge: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "ha": "center"}
    draw.annotate(axes, "no difference", (0, 1), (0, 2), **draw.SMALL, **edge)
    alt = f"{title}. {xlabel}, with 95% intervals: {'. '.join(told)}."
    return draw.finish(figure, axes.get_ylim()[0], alt, source, looks if beside else {})


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
    figure, axes = draw.line_figure(title, xlabel, ylabel)
    told, every, looks = [], [], {}
    for number, (label, points) in enumerate(draw.require_some(curves, "curves").items()):
        points = sorted(
            draw.require_some(points, f"points in the curve {label!r}"), key=lambda p: p[0]
        )
        looks[label] = draw.line_look(number) | {"marker": draw.MARKERS[number % 7]}
        draw.dots(axes, points, looks[label] | {"elinewidth": 1.3, "capthick": 1.3}, upright=True)
        told.append(f"{label} " + ", ".join(f"{draw.in_words(i)} at {x:,.9g}" for x, i in points))
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
    draw.use_plain_numbers(axes, xs[-1])
    if min(draw.whisker_ends(interval)[0] for _, interval in every) >= 0:
        axes.set_ylim(bottom=0)
    alt = f"{title}. {ylabel} over {xlabel}, with 95% intervals: {'. '.join(told)}."
    return draw.finish(figure, 2.6, alt, source, looks)


def plot_bars(
    rows: Sequence[tuple[str, float | Mapping[str, float]]],
    title: str,
    xlabel: str,
    source: str,
    form: str = "{:,.0f}",
) -> Figure:
    """A bar from zero for each row, the first on top: one number, or its parts end to end."""
    figure, axes, places = draw.row_figure(rows, title, xlabel, 0.4)
    split = [(label, x if isinstance(x, Mapping) else {"": x}) for label, x in rows]
    names = dict.fromkeys(name for _, parts in split for name in parts)
    looks: dict[str, dict[str, Any]] = {
        name: {
            "facecolor": COLOURS[number % 5],
            "hatch": draw.HATCHES[number % 7],
            "edgecolor": draw.CARD,
        }
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
        draw.label_left(axes, place, label)
        draw.annotate(axes, form.format(total), (total, place), (5, 0), va="center")
        each = ", ".join(f"{name} {form.format(value)}" for name, value in parts.items() if name)
        told.append(f"{label} {form.format(total)}" + (f" ({each})" if each else ""))
        most = max(most, total)
    axes.set_xlim(0, 1.02 * most or 1)
    draw.use_plain_numbers(axes, most)
    looks.pop("", None)
    alt = f"{title}. {xlabel}: {'; '.join(told)}."
    return draw.finish(figure, axes.get_ylim()[0], alt, source, looks)


def plot_loss(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
    xlabel: str,
    source: str = "measured in this run",
) -> Figure:
    """Loss over steps, epochs or tokens, a line for each label."""
    figure, axes = draw.line_figure(title, xlabel, "loss (nats per token)")
    told, looks = [], {}
    for number, (label, points) in enumerate(draw.require_some(curves, "curves").items()):
        xs, ys = zip(*draw.require_some(points, f"points in the curve {label!r}"), strict=True)
        looks[label] = draw.line_look(number)
        axes.plot(xs, ys, marker="o" if len(xs) == 1 else "", label=label, **looks[label])
        told.append(f"{label} from {ys[0]:.2f} at {xs[0]:,.9g} to {ys[-1]:.2f} at {xs[-1]:,.9g}")
    draw.use_plain_numbers(axes, max(x for points in curves.values() for x, _ in points))
    alt = f"{title}. Loss in nats per token over {xlabel}: {'; '.join(told)}."
    return draw.finish(figure, 2.6, alt, source, looks)
