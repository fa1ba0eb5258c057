"""Trajectories and tokens to look at: readable HTML in a notebook, plain text everywhere else.

Knows how an episode is laid out; does not know how it was played or scored. All text in it comes
from models, searches and files, so none of it is trusted: everything is escaped, there is no
script, and what could steer a terminal or turn the reading direction shows as a replacement mark.
Nothing is told by colour alone, and the same trajectory always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import groupby, zip_longest
from textwrap import shorten, wrap

from ..agent.trajectory import ONE_TURN, Step, Trajectory

WIDTH = 88  # columns of the plain text
_GUTTER = " | "
_LABEL = 15  # columns; the longest label is "Prompt tokens"
Part = tuple[str, str]  # a label and the text under it

# Control characters but tab and line end, lone surrogates, and marks that turn text around.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_ACTION_LABEL = re.compile(r"^\s*Action\b", re.MULTILINE)

# JupyterLab's own colours where they exist, so that its theme decides; else the reader's setting.
# Text and background are always set together: a page of any colour leaves the card legible.
_CSS = """
.traj-show{--traj-ink:var(--jp-content-font-color1,#1f2328);--traj-soft:var(--jp-content-font-color2,#59636e);
--traj-card:var(--jp-layout-color1,#ffffff);--traj-tint:var(--jp-layout-color2,#f1f3f5);
--traj-line:var(--jp-border-color1,#b6bec7)}
@media (prefers-color-scheme:dark){.traj-show{--traj-ink:var(--jp-content-font-color1,#e8eaed);
--traj-soft:var(--jp-content-font-color2,#b3bac2);--traj-card:var(--jp-layout-color1,#1b1e23);
--traj-tint:var(--jp-layout-color2,#2a2f36);--traj-line:var(--jp-border-color1,#5b6570)}}
.traj-show{box-sizing:border-box;max-width:62em;padding:.75em 1em;border:1px solid var(--traj-line);
border-radius:6px;color:var(--traj-ink);background:var(--traj-card);
font:14px/1.5 system-ui,sans-serif}
.traj-show h4{margin:0 0 .5em;color:inherit;font:600 1.1em/1.3 system-ui,sans-serif}
""".strip()
_ROUNDS = """
.traj-show ol{list-style:none;margin:.6em 0;padding:0!important}
.traj-show ol>li{margin:0 0 .6em;padding:0 0 0 .75em;border-left:3px solid var(--traj-line)}
.traj-show p{margin:0;color:inherit;font-weight:600}
.traj-show dl{display:grid;grid-template-columns:8em minmax(0,1fr);gap:.15em .5em;margin:0}
.traj-show dl>dt,.traj-show dl>dd{float:none;width:auto;margin:0;padding:.1em 0;color:inherit}
.traj-show dl>dt{color:var(--traj-soft);font-weight:400}
.traj-show dl>dd{white-space:pre-wrap;overflow-wrap:anywhere}
.traj-show dl>dd.traj-code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.95em}
.traj-show dl>dd.traj-told{padding:.1em .5em;border-radius:4px;background:var(--traj-tint)}
.traj-pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24em),1fr));gap:.75em;
max-width:90em}
""".rstrip()
# A tint that lets the card shine through is legible on any theme's card.
_TOKENS = """
.traj-tokens{white-space:pre-wrap;overflow-x:auto;margin-top:.5em;
font:.95em/2 ui-monospace,Menlo,Consolas,monospace}
.traj-tokens u,.traj-tokens span span{white-space:pre;padding:.1em 0;
border:1px solid var(--traj-line);border-radius:3px;color:var(--traj-soft)}
.traj-tokens u,.traj-legend u{border-color:var(--traj-soft);color:var(--traj-ink);
background:rgba(0,114,178,.22);font-weight:700;text-decoration:underline;text-underline-offset:.2em}
""".rstrip()


@dataclass(frozen=True, repr=False)
class Shown:
    """Something to look at; the last expression of a cell shows it, `print` gives the text."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def show(trajectory: Trajectory, *, title: str = "") -> Shown:
    """One trajectory, round by round, with its answer, verdict, state and cost."""
    html = styled(_section(trajectory, title), _ROUNDS)
    return Shown(html, "\n".join(_lines(trajectory, title, WIDTH)))


def show_side_by_side(
    left: Trajectory, right: Trajectory, *, titles: tuple[str, str] = ("", "")
) -> Shown:
    """Two trajectories next to each other (one below the other where the page is narrow)."""
    html = styled(
        '<div class="traj-pair" role="group" aria-label="Two trajectories">\n'
        f"{_section(left, titles[0])}\n{_section(right, titles[1])}\n</div>",
        _ROUNDS,
    )
    half = (WIDTH - len(_GUTTER)) // 2
    rows = zip_longest(_lines(left, titles[0], half), _lines(right, titles[1], half), fillvalue="")
    return Shown(html, "\n".join(f"{a:<{half}}{_GUTTER}{b}".rstrip() for a, b in rows))


def show_tokens(pairs: Iterable[tuple[str, bool]], title: str = "") -> Shown:
    """Tokens in reading order, each in its box; those that are learnt (carry loss) stand out."""
    pairs, title = list(pairs), title or "Tokens"
    count = f"{sum(bool(carries) for _, carries in pairs)} of {len(pairs)} tokens"
    boxes, words = [], []
    for carries, stretch in groupby(pairs, lambda pair: bool(pair[1])):
        tokens = [text for text, _ in stretch]
        name, tag = ("learnt", "u") if carries else ("read only", "span")
        box = "".join(_token(text, tag) for text in tokens)
        boxes.append(f'<span role="group" aria-label="{name}">{box}</span>')
        words.append(f"[[{''.join(tokens)}]]" if carries else "".join(tokens))
    html = (
        f'<section class="traj-show" aria-label="{escape(_seen(title))}">\n'
        f"<h4>{escape(_seen(title))}</h4>\n"
        f'<div class="traj-legend"><u>underlined</u>: learnt (carries loss), {count}; plain: read '
        f'only</div>\n<div class="traj-tokens">{"".join(boxes)}</div>\n</section>'
    )
    legend = f"[[in brackets]]: learnt (carries loss), {count}; the rest: read only"
    lines = [*_fold(title, WIDTH), *_fold(legend, WIDTH), "", *_fold("".join(words), WIDTH)]
    return Shown(styled(html, _TOKENS), "\n".join(lines))


# -- what is said, in either form ----------------------------------------------------------------


def _round(step: Step, method: str) -> list[Part]:
    turn = step.turn
    # A turn whose fields leave something out is shown whole: nothing a model wrote is hidden.
    whole = not step.text[turn.end :].strip() and len(_ACTION_LABEL.findall(step.text)) == 1
    if turn.action and whole:
        parts = [
            ("Thought", turn.thought or "(none)"),
            ("Action", f"{turn.action}[{turn.argument}]"),
        ]
    elif method in ONE_TURN and not turn.action:
        parts = [("Reply", step.text or "(empty)")]
    else:
        reading = f"taken as {turn.action}[{turn.argument}]" if turn.action else turn.problem
        parts = [("As written", step.text or "(empty)"), ("Note", reading)]
    told = "(none: the episode ended here)" if step.observation is None else step.observation
    return [*parts, ("Observation", told or "(empty)")]


def _result(trajectory: Trajectory) -> list[Part]:
    verdict = {True: "\N{CHECK MARK} right", False: "\N{BALLOT X} wrong"}
    tokens = trajectory.prompt_tokens  # summed over all calls; files from elsewhere lack it
    return [
        ("Answer", "(none given)" if trajectory.answer is None else trajectory.answer),
        ("Gold answer", "(unknown)" if trajectory.gold is None else trajectory.gold),
        ("Verdict", verdict.get(trajectory.correct, "(not scored)")),
        ("State", trajectory.state),
        ("Rounds", str(trajectory.rounds)),
        ("Prompt tokens", f"{tokens:,}" if tokens else "(not recorded)"),
    ]


def _seen(text: str) -> str:
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


# -- HTML ----------------------------------------------------------------------------------------


def styled(body: str, css: str = "") -> str:
    """A card's HTML with the style that all cards share, and its own."""
    return f"<style>{_CSS}{css}</style>\n{body}"


def _section(trajectory: Trajectory, title: str) -> str:
    label = shorten(f"{title or 'Trajectory'}: {trajectory.question}", 120, placeholder=" …")
    rounds = "\n".join(
        f"<li><p>Round {number}</p>{_dl(_round(step, trajectory.method))}</li>"
        for number, step in enumerate(trajectory.steps, 1)
    )
    return "\n".join(
        [
            f'<section class="traj-show" aria-label="{escape(_seen(label))}">',
            *([f"<h4>{escape(_seen(title))}</h4>"] if title else []),
            _dl([("Question", trajectory.question)]),
            # Some browsers take the list out of a list without bullets; the role puts it back.
            f'<ol role="list" aria-label="Rounds">\n{rounds}\n</ol>',
            _dl(_result(trajectory)),
            "</section>",
        ]
    )


def _dl(parts: Iterable[Part]) -> str:
    style = {"Action": "traj-code", "As written": "traj-code", "Observation": "traj-told"}
    items = []
    for label, text in parts:
        kind = f' class="{style[label]}"' if label in style else ""
        items.append(f"<dt>{label}</dt><dd{kind}>{escape(_seen(text))}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _token(text: str, tag: str) -> str:
    """A box; a line end in it shows as a mark, and the line ends behind the box."""
    text = _seen(text)
    shown = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}\n")
    box = f"<{tag}>{escape(shown.removesuffix(chr(10)))}</{tag}>"
    # A line may break before a space, never inside a token.
    return ("<wbr>" if text[:1].isspace() else "") + box + ("\n" if text.endswith("\n") else "")


# -- text ----------------------------------------------------------------------------------------


def _lines(trajectory: Trajectory, title: str, width: int) -> list[str]:
    lines = [*_fold(title, width), "=" * min(width, len(title))] if title else []
    lines += _rows([("Question", trajectory.question)], width)
    for number, step in enumerate(trajectory.steps, 1):
        lines += ["", f"Round {number}", *_rows(_round(step, trajectory.method), width, "  ")]
    return [*lines, "", *_rows(_result(trajectory), width)]


def _rows(parts: Iterable[Part], width: int, indent: str = "") -> list[str]:
    lines = []
    for label, text in parts:
        margin = f"{indent}{label}".ljust(_LABEL)
        for line in _fold(text, width - _LABEL):
            lines.append(f"{margin}{line}".rstrip())
            margin = " " * _LABEL
    return lines


def _fold(text: str, width: int) -> list[str]:
    return [part for line in _seen(text).splitlines() for part in wrap(line, width) or [""]] or [""]
