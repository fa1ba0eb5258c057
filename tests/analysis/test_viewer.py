"""The viewer: everything is shown, nothing is trusted, and the text stands where HTML cannot."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb.agent.trajectory import Step, Trajectory, clean_observation, cut_turn
from fireact_nb.analysis.viewer import WIDTH, show, show_side_by_side, show_tokens
from fireact_nb.artifacts import ROOT

TAGS = {"style", "section", "div", "h4", "ol", "li", "p", "dl", "dt", "dd"}
SCRIPT = "<script>alert('x')</script>"


def trajectory(*steps: Step, **fields) -> Trajectory:
    known = {"answer": "Tessaly", "gold": "Tessaly", "correct": True, "prompt_tokens": 1432}
    return Trajectory("q1", "Where was Orla Venn born?", steps, **{**known, **fields})


SEARCH = Step.of("I look her up.", "search", "Orla Venn", "None")
FINISH = Step.of("I know it now.", "finish", "Tessaly")
MALFORMED = Step("I think\n  it was Lookup(Orla Venn)", "Not understood: write an action.")


class Page(HTMLParser):
    """Tags, attributes and the (label, text) pairs of a page; every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data

    @property
    def parts(self) -> list[tuple[str, str]]:
        return list(zip(self.texts["dt"], self.texts["dd"], strict=True))


def test_everything_is_shown_in_both_forms():
    shown = show(trajectory(SEARCH, FINISH), title="Two rounds")
    expected = [
        ("Question", "Where was Orla Venn born?"),
        ("Thought", "I look her up."),
        ("Action", "search[Orla Venn]"),
        ("Observation", "None"),
        ("Thought", "I know it now."),
        ("Action", "finish[Tessaly]"),
        ("Observation", "(none: the episode ended here)"),
        ("Answer", "Tessaly"),
        ("Gold answer", "Tessaly"),
        ("Verdict", "✓ right"),
        ("State", "finished"),
        ("Rounds", "2"),
        ("Prompt tokens", "1,432"),
    ]
    assert Page(shown.html).parts == expected
    lines = [line.strip() for line in repr(shown).splitlines()]
    assert [line for line in lines if line.startswith("Round ")] == ["Round 1", "Round 2"]
    for label, text in expected:
        assert any(re.fullmatch(rf"{label}\s+{re.escape(text)}", line) for line in lines), label


@pytest.mark.parametrize(
    ("fields", "label", "words"),
    [
        ({"correct": False}, "Verdict", "✗ wrong"),
        ({"correct": None}, "Verdict", "(not scored)"),
        ({"gold": None}, "Gold answer", "(unknown)"),
        ({"answer": None, "state": "out of rounds"}, "Answer", "(none given)"),
        ({"answer": None, "state": "out of rounds"}, "State", "out of rounds"),
        ({"prompt_tokens": 0}, "Prompt tokens", "(not recorded)"),
    ],
)
def test_what_is_missing_is_said_in_words(fields, label, words):
    shown = show(trajectory(SEARCH, FINISH, **fields))
    assert dict(Page(shown.html).parts)[label] == words
    assert re.search(rf"^{label} +{re.escape(words)}$", shown.text, re.MULTILINE)


def test_a_malformed_turn_is_shown_as_written():
    shown = show(trajectory(MALFORMED, FINISH))
    parts = Page(shown.html).parts
    assert ("As written", MALFORMED.text) in parts
    assert ("Note", "no line starts with 'Action:'") in parts
    assert "As written   I think\n                 it was Lookup(Orla Venn)" in shown.text


@pytest.mark.parametrize(
    "text",
    [
        "Thought: a\nAction: lookup[x]\nAction: search[y]",
        "Thought: a\nAction: search[y]\nThought: a word behind it",
    ],
)
def test_a_turn_that_says_more_than_its_fields_is_shown_whole(text):
    parts = Page(show(trajectory(Step(text, "None"), FINISH)).html).parts
    assert ("As written", text) in parts
    assert ("Note", "taken as search[y]") in parts


def test_a_one_turn_reply_is_no_malformed_turn():
    reply = Step("Thought: She is from there.\nAnswer: Tessaly")
    parts = Page(show(trajectory(reply, method="cot")).html).parts
    assert ("Reply", reply.text) in parts
    assert "Note" not in dict(parts)


def test_no_rounds_and_no_title_still_show():
    shown = show(trajectory(answer=None, correct=False, state="context full"))
    page = Page(shown.html)
    assert "h4" not in page.texts and "li" not in page.texts
    assert "context full" in shown.text


def test_hostile_text_is_inert():
    hostile = f'{SCRIPT}"><img src=x onerror=alert(1)></dd></section>\x1b[2J\u202egpj\ud800'
    step = Step(f"Thought: {hostile}\nAction: search[{hostile}]", hostile)
    odd = replace(
        trajectory(step, FINISH),
        question=hostile,
        answer=hostile,
        gold=hostile,
        question_id=hostile,
    )
    for shown in (show(odd, title=hostile), show_side_by_side(odd, odd, titles=(hostile, hostile))):
        page = Page(shown.html)
        assert {tag for tag, _ in page.tags} <= TAGS
        assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
        assert page.texts["dd"].count(hostile.translate({0x1B: "�", 0x202E: "�", 0xD800: "�"})) >= 4
        for text in (shown.html, shown.text):
            assert not set(text) & {"\x1b", "\u202e", "\ud800"}
            text.encode("utf-8")
        assert "<script" not in shown.html


def test_the_page_is_accessible_and_themed():
    page = Page(show(trajectory(SEARCH, FINISH), title="A title").html)
    sections = [attrs for tag, attrs in page.tags if tag == "section"]
    assert [s["aria-label"] for s in sections] == ["A title: Where was Orla Venn born?"]
    assert page.texts["h4"] == ["A title"]
    assert page.texts["p"] == ["Round 1", "Round 2"]
    assert not any("id" in attrs for _, attrs in page.tags)


@pytest.mark.parametrize("card", [show(trajectory(FINISH)), show_tokens([("a", True)])])
def test_the_style_is_themed_and_touches_nothing_else(card):
    (style,) = Page(card.html).texts["style"]
    assert "prefers-color-scheme: dark" in style and "var(--jp-content-font-color1," in style
    assert "url(" not in style and "@import" not in style
    # Every rule is scoped to our own classes, so the rest of the page keeps its looks.
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    rules = rules.replace("@media (prefers-color-scheme: dark) {", "")
    for selector in re.findall(r"(?:^|\})\s*([^{}]+)\{", rules):
        assert all(part.strip().startswith(".traj-") for part in selector.split(",")), selector


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_own_colours_have_enough_contrast_in_light_and_dark():
    style = Page(show(trajectory(FINISH)).html).texts["style"][0]
    names = ("ink", "soft", "card", "tint")
    values = {name: re.findall(rf"--traj-{name}: var\([^,]+, (#\w+)\)", style) for name in names}
    for theme in (0, 1):
        ink, soft, card, tint = (values[name][theme] for name in names)
        assert _contrast(ink, card) >= 7 and _contrast(ink, tint) >= 7
        assert _contrast(soft, card) >= 4.5


def test_side_by_side_stands_in_two_columns():
    right = trajectory(MALFORMED, answer=None, correct=False, state="malformed")
    shown = show_side_by_side(trajectory(SEARCH, FINISH), right, titles=("Left", "Right"))
    page = Page(shown.html)
    assert page.texts["h4"] == ["Left", "Right"]
    assert page.texts["style"][0] and len(page.texts["style"]) == 1
    lines = shown.text.splitlines()
    assert {line.find("|") for line in lines if "|" in line} == {lines[0].index("|")}
    assert all("|" in line for line in lines)
    assert re.match(r"Left +\| Right$", lines[0])
    assert "✓ right" in shown.text and "✗ wrong" in shown.text


def test_a_notebook_gets_both_forms_and_the_same_ones_each_time():
    one, two = (show(trajectory(SEARCH, FINISH)) for _ in range(2))
    assert one == two
    assert one._repr_mimebundle_() == {"text/html": one.html, "text/plain": one.text}
    assert one._repr_html_() == one.html and repr(one) == str(one) == one.text


@pytest.mark.parametrize("room", ["analysis", "study"])
def test_html_stands_in_templates_alone(room):
    for path in (ROOT / "fireact_nb" / room).rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"</\w+>|\bescape\(", text), path


# -- tokens -------------------------------------------------------------------------------------

# As a tokenizer cuts: words with their space, a line end of its own, a mark of the chat template.
PAIRS = [
    *[("<|user|>", False), ("Where", False), (" born", False), ("?", False), ("<|end|>", False)],
    *[("Th", True), ("ought:", True), (" I", True), (" look", True), (".\n", True)],
    *[
        ("Action", True),
        (":", True),
        (" x", True),
        ("<|end|>", True),
        ("\n", False),
        ("Obs", False),
    ],
]


class Boxes(HTMLParser):
    """The boxes of a page of tokens as (text, learnt, name of the stretch), and all their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.boxes: list[tuple[str, bool, str]] = []
        self.text, self.stretch, self.open = "", "", []
        self.feed(html[html.index('<div class="traj-tokens">') :])
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "wbr":
            return
        self.open.append(tag)
        if ("role", "group") in attrs:
            self.stretch = dict(attrs)["aria-label"]
        elif tag in ("u", "span"):
            self.boxes.append(("", tag == "u", self.stretch))

    def handle_endtag(self, tag):
        if tag != "section":
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text += data
        if len(self.open) == 3:
            text, *rest = self.boxes[-1]
            self.boxes[-1] = (text + data, *rest)


def test_tokens_stand_in_boxes_in_reading_order():
    shown = show_tokens(PAIRS, "A title")
    boxes = Boxes(shown.html)
    assert [(text.replace("↵", ""), learnt) for text, learnt, _ in boxes.boxes] == [
        (text.rstrip("\n"), learnt) for text, learnt in PAIRS
    ]
    assert boxes.text.replace("↵", "") == "".join(text for text, _ in PAIRS)
    # Not by colour alone: each box is underlined or not, each stretch has a name, a legend says it.
    assert all(name == ("learnt" if learnt else "read only") for _, learnt, name in boxes.boxes)
    assert (
        "<u>underlined</u>: learnt (carries loss), 9 of 16 tokens; plain: read only" in shown.html
    )
    assert "<h4>A title</h4>" in shown.html and 'aria-label="A title"' in shown.html


def test_line_ends_show_and_break_the_line_behind_their_box():
    boxes = Boxes(show_tokens([("a\n", True), ("\n", True), ("b\nc", False)]).html)
    assert [text for text, *_ in boxes.boxes] == ["a↵", "↵", "b↵\nc"]
    assert boxes.text == "a↵\n↵\nb↵\nc"


def test_plain_text_marks_what_is_learnt():
    assert show_tokens(PAIRS, "A title").text.split("\n") == [
        "A title",
        "[[in brackets]]: learnt (carries loss), 9 of 16 tokens; the rest: read only",
        "",
        "<|user|>Where born?<|end|>[[Thought: I look.",
        "Action: x<|end|>]]",
        "Obs",
    ]


def test_a_page_of_tokens_is_small():
    pairs = [(f"<{i}>" if i % 9 else f" &{i}\n", i % 40 > 15) for i in range(250)]
    assert len(show_tokens(pairs, "250 tokens").html.encode()) < 15_000
    assert show_tokens(pairs, "250 tokens") == show_tokens(iter(pairs), "250 tokens")


def test_the_tint_of_learnt_tokens_leaves_them_legible():
    style = Page(show_tokens([]).html).texts["style"][0]
    (tint,) = re.findall(r"background: rgba\((\d+), (\d+), (\d+), ([.\d]+)\)", style)
    *colour, share = map(float, tint)
    inks, cards = (
        re.findall(rf"--traj-{name}: var\([^,]+, (#\w+)\)", style) for name in ("ink", "card")
    )
    for ink, card in zip(inks, cards, strict=True):
        base = [int(card[at : at + 2], 16) for at in (1, 3, 5)]
        mixed = [round(share * c + (1 - share) * b) for c, b in zip(colour, base, strict=True)]
        assert _contrast(ink, "#" + "".join(f"{value:02x}" for value in mixed)) >= 7


words = st.text(max_size=300)


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans()), max_size=8), st.text(max_size=99))
def test_any_tokens_are_escaped(pairs, title):
    pairs = [*pairs, (SCRIPT, True), ("\x1b[2J\u202e</span>", False)]
    shown = show_tokens(pairs, title)
    found = Boxes(shown.html).boxes
    assert len(found) == len(pairs) and [learnt for _, learnt, _ in found] == [x for _, x in pairs]
    assert found[-2][0] == SCRIPT and found[-1][0] == "�[2J�</span>"
    assert "<script" not in shown.html and all(
        len(line) <= WIDTH for line in shown.text.split("\n")
    )
    assert not set(shown.html + shown.text) & {"\x1b", "\u202e"}


@given(st.lists(st.tuples(words, words), max_size=4), words, words)
def test_any_text_is_escaped_and_wrapped(turns, question, title):
    steps = [Step(cut_turn(text), clean_observation(told)) for text, told in turns]
    odd = replace(trajectory(*steps), question=question, answer=question, gold=title)
    for shown in (show(odd, title=title), show_side_by_side(odd, odd, titles=(title, title))):
        page = Page(shown.html)
        assert {tag for tag, _ in page.tags} <= TAGS
        assert all(len(line) <= WIDTH for line in shown.text.split("\n"))
        assert all(c.isprintable() or c in "\n\t" or ord(c) > 0x9F for c in shown.text)
