"""Figures say in words what they show, put every dot and whisker in its place, and stay closed."""

from __future__ import annotations

import base64
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireact_nb.analysis.figures import (
    COLOURS,
    EM,
    new_figure,
    plot_bars,
    plot_curve,
    plot_differences,
    plot_loss,
    plot_scores,
    with_alt,
)
from fireact_nb.analysis.pictures import DASHES, HATCHES, MARKERS, PROVENANCES
from fireact_nb.analysis.statistics import Interval, wilson
from fireact_nb.errors import FireActError

MEASURED, OWN, SHIPPED, PAPER = PROVENANCES
SOURCE = f"{SHIPPED} (1f3a9c2e, make study)"
UNKNOWN = Interval(0.394, math.nan, math.nan)
ROWS = [
    ("prompted", wilson(72, 300), MEASURED, 300),
    ("fine-tuned", wilson(350, 600), f"{SHIPPED} (1f3a9c2e, make study)", 600),
    ("Llama-2-7B", UNKNOWN, PAPER),
]
DIFFERENCES = [
    ("CoT minus IO", Interval(0.168, 0.12, 0.215), 0.078),
    ("ReAct minus CoT", Interval(-0.013, -0.028, 0.001), None),
    ("Reflexion minus ReAct", Interval(-0.07, -0.12, -0.02)),
]
EM_CURVES = {
    "student": [(500, wilson(300, 600)), (100, wilson(180, 600))],
    "GPT-3.5": [(100, UNKNOWN)],
}
BARS = [
    ("prompted", {"prompt": 2074, "reply": 120}),
    ("fine-tuned", {"prompt": 377, "retry": 90}),
    ("one number", 460),
]
LONG = "a label so long that it does not fit on one line " * 2
CURVES = {"teacher": [(0, 7.3), (1_000_000, 1.25)], "student": [(0, 7.3), (2_000_000, 0.5)]}


def whiskers(figure, axis: int = 0) -> list[tuple[float, float] | None]:
    """The ends of each error bar, in the order drawn; None where there is none."""
    found = []
    for bar in figure.axes[0].containers:
        _, _, lines = bar
        for segment in (segment for line in lines for segment in line.get_segments()):
            found.append(tuple(segment[:, axis]) if len(segment) == 2 else None)
    return found


def dots(figure) -> list:
    return [bar[0] for bar in figure.axes[0].containers]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def legend(figure) -> list[str]:
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


TITLE, TEXT = (
    "A title that is much too long for one line of it " * 3,
    f"{MEASURED}, {LONG * 3}".strip(),
)
TEN, SPREAD = [f"{i} {LONG}" for i in range(10)], Interval(0.3, 0.2, 0.45)
FIGURES = {
    "scores": lambda: plot_scores(ROWS, "Fine-tuning doubles EM"),
    "differences": lambda: plot_differences(DIFFERENCES, "CoT helps", "difference in EM", SOURCE),
    "curve": lambda: plot_curve(EM_CURVES, "More is better", "trajectories", source=SOURCE),
    "bars": lambda: plot_bars(BARS, "Examples cost", "tokens a question", SOURCE),
    "loss": lambda: plot_loss(CURVES, "Loss falls", "tokens seen"),
}
# The same with much and long text.
LARGE = {
    "scores": lambda: plot_scores([(x, SPREAD, MEASURED, 9) for x in TEN], TITLE, LONG),
    "differences": lambda: plot_differences([(x, SPREAD, 0.1) for x in TEN], TITLE, LONG, TEXT),
    "curve": lambda: plot_curve(
        {x: [(i, SPREAD)] for i, x in enumerate(TEN, 1)}, TITLE, LONG, LONG, source=TEXT
    ),
    "bars": lambda: plot_bars([(x, dict.fromkeys(TEN, 3e6)) for x in TEN], TITLE, LONG, TEXT),
    "loss": lambda: plot_loss({x: [(0, 1.0), (1e7, 0.5)] for x in TEN}, TITLE, LONG, TEXT),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_title_labels_and_alt(name):
    figure = FIGURES[name]()
    (axes,) = figure.axes
    title = figure.get_suptitle()
    assert title and axes.get_xlabel()
    picture = with_alt(figure)
    assert picture.alt.startswith(f"{title}. ") and axes.get_xlabel() in picture.alt
    assert picture.alt.endswith(".") and ".." not in picture.alt
    ylabel = {"loss": "loss (nats per token)", "curve": EM}.get(name, "")
    assert axes.get_ylabel() == ylabel


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"scores"}))
def test_every_figure_says_where_its_numbers_come_from(name):
    """In the picture and in the alt text; rows of scores each say it themselves."""
    figure = FIGURES[name]()
    source = MEASURED if name == "loss" else SOURCE
    assert figure.get_supxlabel() == source
    assert figure.get_label().endswith(f" Source: {source}.")
    long = LARGE[name]()
    assert "\n" in long.get_supxlabel()
    said = long.get_label().rpartition(" Source: ")[2].split()
    assert said == f"{long.get_supxlabel()}.".split()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", [FIGURES, LARGE], ids=["small", "large"])
def test_no_words_overlap(kind, name):
    figure = kind[name]()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    ticks = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        labels = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
        ticks += [label for at, label in labels if low <= at <= high]  # others are not drawn
    words = [*axes.texts, *figure.texts, axes.xaxis.label, axes.yaxis.label, *ticks]
    words += [text for box in figure.legends for text in box.get_texts()]
    boxes = [(w.get_text(), w.get_window_extent()) for w in words if w.get_text()]
    for at, (one, a) in enumerate(boxes):
        for other, b in boxes[:at]:
            inside = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(inside) <= 4, (one, other)  # a box is padded by 1.5 points


@pytest.mark.parametrize("name", FIGURES)
def test_long_labels_are_wrapped_and_nothing_is_cut_off(name):
    figure = LARGE[name]()
    picture = with_alt(figure)
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
    assert figure.axes[0].get_window_extent().width > 1.2 * figure.dpi
    assert LONG.strip() in picture.alt


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_or_transparent_and_text_is_dark_on_light(name):
    from PIL import Image

    figure = FIGURES[name]()
    picture = with_alt(figure)
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
    image = Image.open(io.BytesIO(picture.png))
    assert "transparency" not in image.info
    pixels = image.convert("L")
    assert pixels.getpixel((0, 0)) > 240 and pixels.getextrema()[0] < 60
    assert image.width >= 1.2 * picture.width  # finer than shown; the repository has little room
    assert len(picture.png) < 60_000


@pytest.mark.slow
def test_a_dark_style_sheet_changes_nothing():
    import matplotlib
    import matplotlib.style

    plain = {name: with_alt(draw()).png for name, draw in FIGURES.items()}
    with matplotlib.style.context("dark_background"):
        dark = {name: with_alt(draw()).png for name, draw in FIGURES.items()}
    assert dark == plain


def test_scores_put_dots_and_whiskers_where_the_numbers_are():
    figure = plot_scores(ROWS, "A title")
    assert [dot.get_xdata()[0] for dot in dots(figure)] == [row[1].value for row in ROWS]
    first, second, third = whiskers(figure)
    assert first == pytest.approx((ROWS[0][1].low, ROWS[0][1].high))
    assert second == pytest.approx((ROWS[1][1].low, ROWS[1][1].high))
    assert third is None
    axes = figure.axes[0]
    assert axes.get_xlabel() == EM and axes.get_xlim()[0] == 0
    # The first row stands on top: y grows downwards.
    bottom, top = axes.get_ylim()
    places = [dot.get_ydata()[0] for dot in dots(figure)]
    assert bottom > places[2] > places[1] > places[0] > top


def test_scores_print_values_and_say_provenance_in_words_and_shape():
    figure = plot_scores(ROWS, "A title")
    said = texts(figure)
    assert "0.240 (0.195 to 0.291)" in said and "0.394" in said
    assert "measured in this run, n = 300" in said
    assert "shipped, n = 600" in said  # hash and command are for the alt text
    assert "paper, as reported" in said
    assert "fine-tuned 0.583 (0.543 to 0.622), shipped (1f3a9c2e, make study), n = 600" in (
        figure.get_label()
    )
    looks = {(dot.get_marker(), dot.get_fillstyle()) for dot in dots(figure)}
    assert len(looks) == len(ROWS)


def test_dollars_are_no_formula():
    word, usd = "costs $2 for ^{, not $3", Interval(2, 1, 3)
    about = {"title": word, "xlabel": word}
    source = f"{MEASURED}: {word}"
    for figure in (
        plot_scores([(word, usd, MEASURED)], **about),
        plot_differences([(word, usd, 1)], **about, source=source),
        plot_curve({word: [(1, usd)]}, **about, ylabel=word, source=source),
        plot_bars([(word, {word: 2})], **about, source=source, form="${:.2f} and ^{{ $"),
        plot_loss({word: [(1, 2)]}, **about, source=source),
    ):
        assert with_alt(figure).png


def test_an_unknown_provenance_or_nothing_to_draw_is_refused():
    with pytest.raises(
        FireActError, match="'somewhere'.*measured in this run; your own run; shipped"
    ):
        plot_scores([("agent", wilson(1, 2), "somewhere")], "A title")
    with pytest.raises(FireActError, match="no rows"):
        plot_scores([], "A title")
    with pytest.raises(FireActError, match="no curves"):
        plot_loss({}, "A title", "step")
    with pytest.raises(FireActError, match="no points in the curve 'teacher'"):
        plot_loss({"teacher": []}, "A title", "step")
    with pytest.raises(FireActError, match="no rows"):
        plot_differences([], "A title", "difference", MEASURED)
    with pytest.raises(FireActError, match="no rows"):
        plot_bars([], "A title", "tokens", MEASURED)
    with pytest.raises(FireActError, match="no points in the curve 'teacher'"):
        plot_curve({"teacher": []}, "A title", "step", source=MEASURED)


@pytest.mark.parametrize("source", ["", "somewhere"])
def test_a_source_that_says_nothing_is_refused(source):
    problem = f"'{source}' does not say where.*measured in this run; your own run; shipped"
    for plot in (
        lambda: plot_differences(DIFFERENCES, "A title", "difference", source),
        lambda: plot_curve(EM_CURVES, "A title", "step", source=source),
        lambda: plot_bars(BARS, "A title", "tokens", source),
        lambda: plot_loss(CURVES, "A title", "step", source),
    ):
        with pytest.raises(FireActError, match=problem):
            plot()


@pytest.mark.parametrize(
    ("interval", "zero"),
    [
        (Interval(0.07, 0.02, 0.12), "excludes zero"),
        (Interval(-0.07, -0.12, -0.02), "excludes zero"),
        (Interval(-0.01, -0.05, 0.03), "includes zero"),
        (Interval(0.0, 0.0, 0.0), "includes zero"),
    ],
)
def test_a_difference_shows_its_interval_against_zero(interval, zero):
    figure = plot_differences([("b minus a", interval)], "A title", "difference in EM", SOURCE)
    left, right = figure.axes[0].get_xlim()
    assert left < min(0, interval.low) <= max(0, interval.high) < right
    expected = None if interval.low == interval.high else (interval.low, interval.high)
    assert whiskers(figure) == [expected and pytest.approx(expected)]
    assert any(list(line.get_xdata()) == [0, 0] for line in figure.axes[0].lines)
    said = texts(figure)
    assert "no difference" in said and "b minus a" in said and not legend(figure)
    words = [text for text in said if re.match(r"[-−+]0\.\d{3}", text)]
    assert len(words) == 1 and "-" not in words[0]  # a minus sign is no hyphen
    assert f"b minus a {words[0]}, an interval that {zero}. Source" in figure.get_label()


def test_differences_stand_at_their_numbers_beside_the_papers():
    figure = plot_differences(DIFFERENCES, "A title", "difference in EM", SOURCE)
    first, paper, second, third = dots(figure)
    assert [dot.get_xdata()[0] for dot in (first, second, third)] == [
        row[1].value for row in DIFFERENCES
    ]
    assert paper.get_xdata()[0] == 0.078
    # Below ours, and nearer to it than to the next row.
    y = [dot.get_ydata()[0] for dot in (first, paper, second, third)]
    assert y == sorted(y) and y[1] - y[0] < y[2] - y[1]
    drawn = whiskers(figure)
    assert drawn[1] is None
    for ends, row in zip([drawn[0], *drawn[2:]], DIFFERENCES, strict=True):
        assert ends == pytest.approx((row[1].low, row[1].high))
    assert {dot.get_marker() for dot in (first, second, third)} == {"s"}  # shipped
    assert (paper.get_marker(), paper.get_fillstyle()) == ("D", "left")
    assert legend(figure) == ["ours, with its 95% interval", PAPER]
    assert "+0.168 (+0.120 to +0.215)" in texts(figure) and "paper +0.078" in texts(figure)
    assert (
        "CoT minus IO +0.168 (+0.120 to +0.215), an interval that excludes zero; paper, as "
        "reported +0.078. ReAct minus CoT −0.013 (−0.028 to +0.001), an interval that includes "
        "zero. Reflexion minus ReAct"
    ) in figure.get_label()


def test_a_difference_without_an_interval_claims_nothing_about_zero():
    figure = plot_differences([("a", UNKNOWN)], "A title", "difference", MEASURED)
    assert "a +0.394. Source" in figure.get_label() and whiskers(figure) == [None]


@pytest.mark.parametrize("log", [False, True])
def test_a_curve_goes_through_its_points_in_order_with_whiskers(log):
    figure = plot_curve(EM_CURVES, "A title", "trajectories", source=SOURCE, log=log)
    (axes,) = figure.axes
    student, paper = dots(figure)
    assert list(student.get_xdata()) == [100, 500]
    assert list(student.get_ydata()) == pytest.approx([0.3, 0.5])
    low, high = wilson(180, 600), wilson(300, 600)
    assert whiskers(figure, axis=1) == [
        pytest.approx((low.low, low.high)),
        pytest.approx((high.low, high.high)),
        None,
    ]
    assert list(paper.get_xydata()[0]) == [100, 0.394]
    assert legend(figure) == list(EM_CURVES) and axes.get_ylim()[0] == 0
    assert axes.get_xscale() == ("log" if log else "linear")
    said = f"student 0.300 ({low.low:.3f} to {low.high:.3f}) at 100, 0.500 ("
    assert said in figure.get_label() and "GPT-3.5 0.394 at 100. Source" in figure.get_label()


def test_a_log_axis_has_its_ticks_at_the_points_and_only_there():
    sizes = (100, 200, 500, 1000)
    points = [(x, wilson(x // 10, 600)) for x in sizes]
    figure = plot_curve({"a": points}, "A title", "trajectories", source=MEASURED, log=True)
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    assert list(axis.get_majorticklocs()) == list(sizes) and not len(axis.get_minorticklocs())
    assert [t.get_text() for t in axis.get_ticklabels()] == ["100", "200", "500", "1,000"]
    with pytest.raises(FireActError, match="log axis starts above 0.*stands at 0"):
        plot_curve({"a": [(0, UNKNOWN)]}, "A title", "k", source=MEASURED, log=True)


def test_curves_differ_in_colour_and_dash_and_marker():
    curves = {str(i): [(1, UNKNOWN), (2, UNKNOWN)] for i in range(len(COLOURS) * len(DASHES))}
    figure = plot_curve(curves, "A title", "k", source=MEASURED)
    lines = dots(figure)
    for one, two in zip(lines, lines[1:], strict=False):
        assert one.get_color() != two.get_color() and one.get_marker() != two.get_marker()
        assert str(one._dash_pattern) != str(two._dash_pattern)
    without_colour = {(line.get_marker(), str(line._dash_pattern)) for line in lines}
    assert len(without_colour) == len(curves)
    marks = figure.legends[0].get_lines()
    assert [m.get_marker() for m in marks] == [line.get_marker() for line in lines]


def test_bars_start_at_zero_and_their_parts_join():
    figure = plot_bars(BARS, "A title", "tokens a question", SOURCE)
    (axes,) = figure.axes
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]
    assert spans == [(0, 2074), (2074, 2194), (0, 377), (377, 467), (0, 460)]
    assert axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 2194
    at = {t.get_text(): t.xy[0] for t in axes.texts if t.xy[0]}
    assert at == {"2,194": 2194, "467": 467, "460": 460}
    assert legend(figure) == ["prompt", "reply", "retry"]
    assert (
        "tokens a question: prompted 2,194 (prompt 2,074, reply 120); fine-tuned 467 (prompt 377, "
        "retry 90); one number 460. Source"
    ) in figure.get_label()


def test_parts_differ_in_pattern_as_well_as_colour():
    parts = {str(i): 1.0 for i in range(len(HATCHES))}
    figure = plot_bars([("all", parts)], "A title", "tokens", MEASURED)
    bars = figure.axes[0].patches
    assert len({bar.get_hatch() for bar in bars}) == len(bars) == len(HATCHES)
    shown = figure.legends[0].get_patches()
    assert [(p.get_hatch(), p.get_facecolor()) for p in shown] == [
        (bar.get_hatch(), bar.get_facecolor()) for bar in bars
    ]


def test_plain_bars_have_no_legend_and_any_number_format():
    rows = [("prompted", 0.0026), ("nothing", 0)]
    figure = plot_bars(rows, "A title", "USD a question", PAPER, "{:.4f} USD")
    assert not figure.legends and {"0.0026 USD", "0.0000 USD"} <= set(texts(figure))
    assert with_alt(plot_bars([("nothing", 0)], "A title", "USD", PAPER)).png
    assert with_alt(plot_bars([("no parts", {})], "A title", "USD", PAPER)).png
    with pytest.raises(FireActError, match="starts at zero, but 'debt'"):
        plot_bars([("debt", {"a": 3, "b": -1})], "A title", "USD", PAPER)


def test_an_own_run_looks_like_one_measured_here_and_all_others_differ():
    looks = [str(sorted(look.items())) for look in PROVENANCES.values()]
    assert PROVENANCES[OWN] == PROVENANCES[MEASURED] and len(set(looks)) == len(looks) - 1
    assert len(set(MARKERS)) == len(MARKERS)


def test_a_figure_of_ones_own_needs_words_of_its_own():
    figure, axes = new_figure("A title", 3)
    axes.plot([0, 1], [0, 1])
    assert figure.axes == [axes] and figure.get_suptitle() == "A title"
    with pytest.raises(FireActError, match="no alt text"):
        with_alt(figure)
    assert with_alt(figure, "a line").alt == "a line"


def test_loss_draws_the_points_and_tells_curves_apart_without_colour():
    figure = plot_loss(CURVES, "A title", "tokens seen")
    axes = figure.axes[0]
    drawn = {line.get_label(): list(line.get_xydata().ravel()) for line in axes.lines}
    assert drawn == {label: [x for point in CURVES[label] for x in point] for label in CURVES}
    assert legend(figure) == list(CURVES)
    assert "teacher from 7.30 at 0 to 1.25 at 1,000,000" in figure.get_label()
    many = plot_loss({str(i): [(0, 1.0), (1, 0.5)] for i in range(20)}, "A title", "epoch").axes[0]
    looks = {(line.get_color(), str(line._dash_pattern)) for line in many.lines}
    assert len(looks) == 20 == len(COLOURS) * len(DASHES)
    assert many.lines[0].get_linestyle() != many.lines[1].get_linestyle()


def test_a_single_point_is_visible():
    line = plot_loss({"student": [(0, 1.0)]}, "A title", "epoch").axes[0].lines[0]
    assert line.get_marker() == "o"


class Image(HTMLParser):
    def handle_starttag(self, tag, attrs):
        assert tag == "img"
        self.attrs = dict(attrs)


def test_a_picture_carries_its_alt_text_escaped():
    alt = 'EM > 0.5 for "fine-tuned" & others<script>'
    picture = with_alt(FIGURES["scores"](), alt)
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"} and bundle["text/plain"] == alt
    assert repr(picture) == str(picture) == alt
    assert "<script" not in bundle["text/html"]
    image = Image()
    image.feed(bundle["text/html"])
    assert image.attrs["alt"] == alt and image.attrs["width"] == "720"
    kind, _, data = image.attrs["src"].partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == picture.png
    assert with_alt(FIGURES["scores"](), alt) == picture
    steering = with_alt(FIGURES["scores"](), "\x1b[2J\u202e")._repr_mimebundle_()
    assert not set("".join(steering.values())) & {"\x1b", "\u202e"}


def test_a_figure_without_alt_is_refused_and_one_from_pyplot_is_closed():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    with pytest.raises(FireActError, match="no alt text"):
        with_alt(figure)
    with_alt(figure, "an empty figure")
    for draw in FIGURES.values():
        with_alt(draw())
    assert plt.get_fignums() == []


def test_pyplot_and_matplotlib_stay_away_until_they_are_needed():
    code = (
        "import sys, fireact_nb.analysis.figures as f; assert 'matplotlib' not in sys.modules\n"
        "from fireact_nb.analysis.statistics import wilson\n"
        "f.with_alt(f.plot_scores([('a', wilson(1, 2), 'shipped')], 't'))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


shares = st.tuples(st.integers(0, 500), st.integers(1, 500)).map(
    lambda pair: wilson(min(pair), max(pair))
)
numbers = st.floats(-1e6, 1e6)
intervals = (
    st.tuples(numbers, numbers, numbers).map(sorted).map(lambda s: Interval(s[1], s[0], s[2]))
)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.one_of(shares, intervals), min_size=1, max_size=4))
def test_whiskers_are_right_and_within_the_axes_for_any_numbers(values):
    rows = [(f"agent {i}", value, MEASURED) for i, value in enumerate(values)]
    figure = plot_scores(rows, "A title", "score, points")
    left, right = figure.axes[0].get_xlim()
    for value, ends in zip(values, whiskers(figure), strict=True):
        low, high = ends or (value.value, value.value)
        assert (low, high) == pytest.approx((value.low, value.high), rel=1e-6, abs=1e-6)
        assert left <= low <= high <= right
