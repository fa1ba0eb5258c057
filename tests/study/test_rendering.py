"""Tables in words and to look at: the same cells, heads for each, and no text is trusted."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from doubles import study_rows

from fireact_nb.analysis.statistics import Interval
from fireact_nb.study.rendering import render_table, render_tables, show_table
from fireact_nb.study.results import Claim, Line, Table
from fireact_nb.study.tables import study_tables

UP, DOWN = Interval(0.05, 0.01, 0.09), Interval(-0.05, -0.09, -0.01)


@pytest.fixture(scope="module")
def study() -> list[Table]:
    return study_tables(study_rows(questions=4))


def labels(table: Table) -> list[str]:
    return [line.label for line in table.lines]


# -- in words -----------------------------------------------------------------------------------


def cells(row: str) -> list[str]:
    assert row.startswith("|") and row.endswith("|"), row
    return [cell.strip() for cell in row[1:-1].split("|")]


def blocks(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text, as cells."""
    found: list[list[list[str]]] = [[]]
    for line in text.split("\n"):
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [block for block in found if block]


def test_all_of_it_renders_as_markdown_tables(study):
    text = render_tables(study, "shipped (1a2b3c4d)")
    assert "Ours: shipped (1a2b3c4d). The paper's: as reported" in text
    assert text.endswith("|\n") and not text.endswith("\n\n")
    titles = [line.removeprefix("### ") for line in text.split("\n") if line.startswith("### ")]
    assert titles == [t.title for t in study]
    drawn = blocks(text)
    assert len(drawn) == 2 * len(study)
    for table, lines, differences in zip(study, drawn[::2], drawn[1::2], strict=True):
        for block, rows, width in ((lines, table.lines, 6), (differences, table.claims, 4)):
            assert len(block) == len(rows) + 2
            assert {len(row) for row in block} == {width}
            assert set(block[1]) == {"---"}
        assert [row[0] for row in lines[2:]] == labels(table)
        assert [row[3] for row in differences[2:]] == [c.verdict for c in table.claims]
        assert f"Ours beside {table.source}." in text
    assert not re.search(r"\bnan\b|\binf\b|None\b", text)


def test_a_line_and_a_claim_in_words():
    line = Line("a", Interval(0.4, 0.312, 0.5), 40, (0.375, 0.425), 26.2, "some words")
    plain = Line("b", Interval(0.25, 0.125, 0.375), 40, (0.25,))
    table = Table("T", "the paper", (line, plain), (
        Claim("b minus a", -3, DOWN),
        Claim("c minus a", None, UP),
        Claim("d minus a", None, UP, -1),
        Claim("e minus a", None, UP, 1),
    ))  # fmt: skip
    lines, differences = blocks(render_table(table))
    assert lines[2:] == [
        ["a", "40.0 [31.2, 50.0]", "37.5, 42.5", "40", "26.2", "some words"],
        ["b", "25.0 [12.5, 37.5]", "", "40", "", ""],
    ]
    assert differences[2:] == [
        ["b minus a", "-5.0 [-9.0, -1.0]", "-3.0", "agrees"],
        ["c minus a", "+5.0 [+1.0, +9.0]", "", "up"],
        ["d minus a", "+5.0 [+1.0, +9.0]", "down", "disagrees"],
        ["e minus a", "+5.0 [+1.0, +9.0]", "up", "agrees"],
    ]
    assert len(blocks(render_table(Table("T", "the paper", (plain,))))) == 1


# -- to look at ---------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tables of a page as captions and rows of (tag, scope, text); every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.captions: list[str] = []
        self.tables: list[list[list[tuple[str, str | None, str]]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append((tag, dict(attrs).get("scope"), ""))
        elif tag == "caption":
            self.captions.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        where = self.open[-1] if self.open else ""
        if where in ("th", "td"):
            tag, scope, text = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (tag, scope, text + data)
        elif where == "caption":
            self.captions[-1] += data
        elif where != "style":
            self.text += data


WHOLE = Table(
    "T",
    "paper, Table 9",
    (
        Line("a", Interval(0.4, 0.312, 0.5), 40, (0.375, 0.425), 26.2, "some words"),
        Line("b", Interval(0.25, 0.125, 0.375), 40, (0.25,)),
    ),
    (
        Claim("b minus a", -3, DOWN),
        Claim("c minus a", None, UP, -1),
        Claim("d minus a", None, UP),
        Claim("e minus a", None, DOWN),
        Claim("f minus a", 1, Interval(0.05, -0.001, 0.1)),
    ),
)


def test_a_table_to_look_at_holds_the_same_cells_as_its_markdown(study):
    for table in (*study, WHOLE):
        shown = show_table(table, "measured in this run")
        lines, differences = Page(shown.html).tables
        drawn = blocks(shown.text)
        for seen, said in zip((lines, differences), drawn, strict=True):
            assert len(seen) == len(said) - 1  # without the rule under the head
            for row, cells_said in zip(seen[1:], said[2:], strict=True):
                words = [re.sub("^[✓✗○▲▼] ", "", text) for _, _, text in row]
                assert [w for w in words if w] == [c for c in cells_said if c]
        assert show_table(table, "measured in this run") == shown


def test_a_table_to_look_at_has_heads_for_each_row_and_column():
    page = Page(show_table(WHOLE, "shipped (1a2b)").html)
    assert page.tags == {"style", "section", "h4", "div", "table", "caption", "thead", "tbody",
                         "tr", "th", "td"}  # fmt: skip
    assert len(page.captions) == len(page.tables) == 2 and all(page.captions)
    for head, *rows in page.tables:
        assert {(tag, scope) for tag, scope, _ in head} == {("th", "col")}
        for row in rows:
            assert [(tag, scope) for tag, scope, _ in row] == [
                ("th", "row"),
                *[("td", None)] * (len(head) - 1),
            ]
    assert [text for _, _, text in page.tables[0][0]] == [
        "", "ours, EM [95%]", "seeds", "n", "paper, as reported", "also"
    ]  # fmt: skip


def test_a_verdict_to_look_at_has_a_word_and_a_mark_of_its_own():
    last = [row[-1][2] for row in Page(show_table(WHOLE, "shipped").html).tables[1][1:]]
    assert last == ["✓ agrees", "✗ disagrees", "▲ up", "▼ down", "○ not resolved"]


def test_a_table_says_where_both_sides_come_from():
    shown = show_table(WHOLE, "shipped (1a2b)")
    note = (
        "Ours: shipped (1a2b). Beside it: paper, Table 9. The paper's numbers are as reported, "
        "from another world with other models: compare directions, not numbers."
    )
    assert note in Page(shown.html).text and note in shown.text
    assert shown.text.startswith(render_table(WHOLE))


def test_empty_columns_are_left_out():
    bare = Table("T", "no table", (WHOLE.lines[1],), (Claim("d minus a", None, UP),))
    page = Page(show_table(bare, "measured in this run").html)
    assert [[text for _, _, text in table[0]] for table in page.tables] == [
        ["", "ours, EM [95%]", "n"],
        ["difference, paired", "ours, points [95%]", "does it agree?"],
    ]
    assert "as reported" not in page.text
    assert len(Page(show_table(replace(bare, claims=()), "shipped").html).tables) == 1


def test_a_table_to_look_at_trusts_no_text():
    bad = '<script>alert("x")</script>'
    line, claim = (replace(x[0], **{y: bad}) for x, y in (
        (WHOLE.lines, "label"), (WHOLE.claims, "text")
    ))  # fmt: skip
    table = Table(bad, bad, (replace(line, extra=bad),), (claim,))
    html = show_table(table, bad).html
    assert "<script" not in html and 'aria-label="&lt;script&gt;' in html
    page = Page(html)
    assert [table[1][0][2] for table in page.tables] == [bad, bad]
    steering = replace(table, title="\x1b[2J\u202e")
    for text in (show_table(steering, "x").html, show_table(steering, "x").text):
        assert not set(text) & {"\x1b", "\u202e"}
