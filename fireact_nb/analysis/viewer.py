"""Trajectories and tokens to look at: readable HTML in a notebook, plain text everywhere else.

Knows how an episode is laid out; does not know how it was played or scored. All text in it comes
from models, searches and files, so none of it is trusted: `markup` escapes everything, there is no
script, and what could steer a terminal or turn the reading direction shows as a replacement mark.
Nothing is told by colour alone, and the same trajectory always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, zip_longest
from textwrap import shorten, wrap
from typing import Any

from ..agent.trajectory import ONE_TURN, Step, Trajectory
from .markup import render, visible

WIDTH = 88  # columns of the plain text
_GUTTER = " | "
_LABEL = 15  # columns; the longest label is "Prompt tokens"
Part = tuple[str, str]  # a label and the text under it
_ACTION_LABEL = re.compile(r"^[^\S\n]*Action\b", re.MULTILINE)


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
    html = render("rounds.html", cards=[_card(trajectory, title)])
    return Shown(html, "\n".join(_lines(trajectory, title, WIDTH)))


def show_side_by_side(
    left: Trajectory, right: Trajectory, *, titles: tuple[str, str] = ("", "")
) -> Shown:
    """Two trajectories next to each other (one below the other where the page is narrow)."""
    html = render("rounds.html", cards=[_card(left, titles[0]), _card(right, titles[1])])
    half = (WIDTH - len(_GUTTER)) // 2
    rows = zip_longest(_lines(left, titles[0], half), _lines(right, titles[1], half), fillvalue="")
    return Shown(html, "\n".join(f"{a:<{half}}{_GUTTER}{b}".rstrip() for a, b in rows))


def show_tokens(pairs: Iterable[tuple[str, bool]], title: str = "") -> Shown:
    """Tokens in reading order, each in its box; those that are learnt (carry loss) stand out."""
    # Visible before the template looks for blanks: some control characters count as white space.
    marks, title = [(visible(text), bool(carries)) for text, carries in pairs], title or "Tokens"
    count = f"{sum(carries for _, carries in marks)} of {len(marks)} tokens"
    stretches = [
        (carries, [text for text, _ in stretch])
        for carries, stretch in groupby(marks, lambda mark: mark[1])
    ]
    html = render("tokens.html", title=title, count=count, stretches=stretches)
    words = [f"[[{''.join(s)}]]" if carries else "".join(s) for carries, s in stretches]
    legend = f"[[in brackets]]: learnt (carries loss), {count}; the rest: read only"
    lines = [*_fold(title, WIDTH), *_fold(legend, WIDTH), "", *_fold("".join(words), WIDTH)]
    return Shown(html, "\n".join(lines))


# -- what is said, in either form ----------------------------------------------------------------


def describe_step(step: Step, method: str) -> list[Part]:
    """The round's labelled parts; `method` tells whether its turn may be a bare reply."""
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
    verdict = {True: "\N{CHECK MARK} right", False: "\N{BALLOT X} wrong", None: "(not scored)"}
    tokens = trajectory.prompt_tokens  # summed over all calls; files from elsewhere lack it
    return [
        ("Answer", "(none given)" if trajectory.answer is None else trajectory.answer),
        ("Gold answer", "(unknown)" if trajectory.gold is None else trajectory.gold),
        ("Verdict", verdict[trajectory.correct]),
        ("State", trajectory.state),
        ("Rounds", str(trajectory.rounds)),
        ("Prompt tokens", f"{tokens:,}" if tokens else "(not recorded)"),
    ]


def _card(trajectory: Trajectory, title: str) -> dict[str, Any]:
    """What the template `rounds.html` lays out."""
    name = shorten(f"{title or 'Trajectory'}: {trajectory.question}", 120, placeholder=" …")
    rounds = [describe_step(step, trajectory.method) for step in trajectory.steps]
    return {"name": name, "title": title, "question": trajectory.question,
            "rounds": rounds, "result": _result(trajectory)}  # fmt: skip


# -- text ----------------------------------------------------------------------------------------


def _lines(trajectory: Trajectory, title: str, width: int) -> list[str]:
    lines = [*_fold(title, width), "=" * min(width, len(title))] if title else []
    lines += _rows([("Question", trajectory.question)], width)
    for number, step in enumerate(trajectory.steps, 1):
        lines += [
            "",
            f"Round {number}",
            *_rows(describe_step(step, trajectory.method), width, "  "),
        ]
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
    lines = [part for line in visible(text).splitlines() for part in wrap(line, width) or [""]]
    return lines or [""]
