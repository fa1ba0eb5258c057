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

from fireact_nb.config import FireActError
from fireact_nb.evaluation import Interval, wilson
from fireact_nb.figures import (
    COLOURS,
    DASHES,
    EM,
    PROVENANCES,
    plot_difference,
    plot_loss,
    plot_scores,
    with_alt,
)

MEASURED, SHIPPED, PAPER = PROVENANCES
ROWS = [
    ("prompted", wilson(72, 300), MEASURED, 300),
    ("fine-tuned", wilson(350, 600), f"{SHIPPED} (1f3a9c2e, make study)", 600),
    ("Llama-2-7B", Interval(0.394, math.nan, math.nan), PAPER),
]
CURVES = {"teacher": [(0, 7.3), (1_000_000, 1.25)], "student": [(0, 7.3), (2_000_000, 0.5)]}


def whiskers(figure) -> list[tuple[float, float] | None]:
    """The x ends of each error bar, in the order drawn; None where there is none."""
    found = []
    for bar in figure.axes[0].containers:
        _, _, lines = bar
        ends = [segment[:, 0] for line in lines for segment in line.get_segments()]
        found.append(tuple(ends[0]) if ends else None)
    return found


def dots(figure) -> list:
    return [bar[0] for bar in figure.axes[0].containers]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def figures():
    return {
        "scores": plot_scores(ROWS, "Fine-tuning doubles EM"),
        "difference": plot_difference(Interval(0.07, 0.02, 0.12), "CoT helps", "difference in EM"),
        "loss": plot_loss(CURVES, "Loss falls", "tokens seen"),
    }


@pytest.mark.parametrize("name", figures())
def test_every_figure_has_title_labels_and_alt(name):
    figure = figures()[name]
    (axes,) = figure.axes
    title = figure.get_suptitle()
    assert title and axes.get_xlabel()
    picture = with_alt(figure)
    assert picture.alt.startswith(f"{title}. ") and axes.get_xlabel() in picture.alt
    assert axes.get_ylabel() == ("loss (nats per token)" if name == "loss" else "")


@pytest.mark.parametrize("name", figures())
def test_nothing_is_cut_off_or_transparent_and_text_is_dark_on_light(name):
    from PIL import Image

    figure = figures()[name]
    picture = with_alt(figure)
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= figure.get_figwidth() and box.y1 <= figure.get_figheight()
    image = Image.open(io.BytesIO(picture.png))
    assert "transparency" not in image.info
    pixels = image.convert("L")
    assert pixels.getpixel((0, 0)) > 240 and pixels.getextrema()[0] < 60
    assert image.width >= 1.4 * picture.width  # sharp where a screen has two dots a pixel
    assert len(picture.png) < 60_000


def test_a_dark_style_sheet_changes_nothing():
    import matplotlib
    import matplotlib.style

    plain = {name: with_alt(figure).png for name, figure in figures().items()}
    with matplotlib.style.context("dark_background"):
        dark = {name: with_alt(figure).png for name, figure in figures().items()}
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
    assert bottom > top and [dot.get_ydata()[0] for dot in dots(figure)] == [0, 1, 2]


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


def test_long_labels_and_titles_wrap_without_touching():
    rows = [
        ("a label so long that it does not fit on one line " * 2, wilson(1, 9), MEASURED, 9)
    ] * 3
    figure = plot_scores(rows, "A title that is much too long for a single line of it " * 3)
    with_alt(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    left = [box for box in boxes if box.x1 < figure.axes[0].get_window_extent().x0]
    assert len(left) == 6
    tops = sorted((box.y0, box.y1) for box in left)
    assert all(one[1] <= two[0] + 4 for one, two in zip(tops, tops[1:], strict=False))


def test_dollars_are_no_formula():
    rows = [("costs $2 for ^{, not $3", Interval(2, 1, 3), MEASURED)]
    assert with_alt(plot_scores(rows, "From $2 to _{ $3", "USD")).png


def test_an_unknown_provenance_or_nothing_to_draw_is_refused():
    with pytest.raises(FireActError, match="'somewhere'.*measured in this run; shipped"):
        plot_scores([("agent", wilson(1, 2), "somewhere")], "A title")
    with pytest.raises(FireActError, match="no rows"):
        plot_scores([], "A title")
    with pytest.raises(FireActError, match="no curves"):
        plot_loss({}, "A title", "step")
    with pytest.raises(FireActError, match="no points in the curve 'teacher'"):
        plot_loss({"teacher": []}, "A title", "step")


@pytest.mark.parametrize(
    ("interval", "zero"),
    [
        (Interval(0.07, 0.02, 0.12), "excludes zero"),
        (Interval(-0.07, -0.12, -0.02), "excludes zero"),
        (Interval(-0.01, -0.05, 0.03), "includes zero"),
        (Interval(0.0, 0.0, 0.0), "includes zero"),
    ],
)
def test_difference_shows_the_interval_against_zero(interval, zero):
    figure = plot_difference(interval, "A title", "difference in EM, share of questions")
    left, right = figure.axes[0].get_xlim()
    assert left == -right and left < interval.low <= interval.high < right
    expected = None if interval.low == interval.high else (interval.low, interval.high)
    assert whiskers(figure) == [expected and pytest.approx(expected)]
    assert any(list(line.get_xdata()) == [0, 0] for line in figure.axes[0].lines)
    assert "no difference" in texts(figure)
    alt = figure.get_label()
    assert zero in alt and "-" not in re.findall(r"[-−+]?0\.\d+", alt)[0]


def test_loss_draws_the_points_and_tells_curves_apart_without_colour():
    figure = plot_loss(CURVES, "A title", "tokens seen")
    axes = figure.axes[0]
    drawn = {line.get_label(): list(line.get_xydata().ravel()) for line in axes.lines}
    assert drawn == {label: [x for point in CURVES[label] for x in point] for label in CURVES}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(CURVES)
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
    picture = with_alt(figures()["scores"], alt)
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"} and bundle["text/plain"] == alt
    assert repr(picture) == str(picture) == alt
    assert "<script" not in bundle["text/html"]
    image = Image()
    image.feed(bundle["text/html"])
    assert image.attrs["alt"] == alt and image.attrs["width"] == "720"
    kind, _, data = image.attrs["src"].partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == picture.png
    assert with_alt(figures()["scores"], alt) == picture


def test_a_figure_without_alt_is_refused_and_one_from_pyplot_is_closed():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    with pytest.raises(FireActError, match="no alt text"):
        with_alt(figure)
    with_alt(figure, "an empty figure")
    for drawn in figures().values():
        with_alt(drawn)
    assert plt.get_fignums() == []


def test_pyplot_and_matplotlib_stay_away_until_they_are_needed():
    code = (
        "import sys, fireact_nb.figures as f; assert 'matplotlib' not in sys.modules\n"
        "from fireact_nb.evaluation import wilson\n"
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
