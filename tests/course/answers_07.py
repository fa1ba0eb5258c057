"""Notebook 07's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

import random
from math import comb
from statistics import fmean
from typing import Any


def columns(marks):
    return list(zip(*marks.values(), strict=True))


def score_of_a_rule(rows, learn="A", measure="B", by_kind=True):
    def right(method, kind):
        return sum(
            marks[method] for half, k, marks in rows if half in learn and (k == kind or not by_kind)
        )

    best = {kind: max(rows[0][2], key=lambda m: right(m, kind)) for _, kind, _ in rows}
    return fmean(marks[best[kind]] for half, kind, marks in rows if half in measure)


RIGHT: dict[str, Any] = {
    "07.1": lambda marks: fmean(any(row) for row in columns(marks)),
    "07.2": lambda marks: fmean(fmean(row) for row in columns(marks)),
    "07.3": lambda n, c, k: 1 - comb(n - c, k) / comb(n, k),
    "07.4": score_of_a_rule,
}
WRONG: list[tuple[str, Any, str]] = [
    ("07.1", lambda marks: sum(any(row) for row in columns(marks)), "SHARE"),
    ("07.1", lambda marks: max(fmean(m) for m in marks.values()), "best single method"),
    ("07.1", lambda marks: sum(fmean(m) for m in marks.values()), "counts once"),
    ("07.1", lambda marks: fmean(all(row) for row in columns(marks)), "ALL methods"),
    ("07.1", lambda marks: fmean(fmean(row) for row in columns(marks)), "by chance"),
    ("07.2", lambda marks: fmean(random.choice(row) for row in columns(marks)), "Use no dice"),
    ("07.2", lambda marks: max(fmean(m) for m in marks.values()), "best method"),
    ("07.2", lambda marks: sum(fmean(m) for m in marks.values()), "divide by how many"),
    ("07.2", lambda marks: fmean(sum(r) > len(r) / 2 for r in columns(marks)), "vote"),
    ("07.2", lambda marks: sum(map(sum, marks.values())), "How many marks"),
    ("07.2", lambda marks: sum(map(sum, marks.values())) / len(marks), "Divide by the questions"),
    ("07.3", lambda n, c, k: 1 - (1 - c / n) ** k, "putting back"),
    ("07.3", lambda n, c, k: comb(n - c, k) / comb(n, k), "at least one is right"),
    ("07.3", lambda n, c, k: c / n, "does not depend on k"),
    ("07.3", lambda n, c, k: k * (1 - c / n), "above 1"),
    ("07.4", lambda rows: score_of_a_rule(rows, learn="B"), "learnt on half B"),
    ("07.4", lambda rows: score_of_a_rule(rows, measure="A"), "score on half A"),
    ("07.4", lambda rows: score_of_a_rule(rows, measure="AB"), "measured on both halves"),
    ("07.4", lambda rows: score_of_a_rule(rows, learn="AB"), "both halves together"),
    ("07.4", lambda rows: score_of_a_rule(rows, by_kind=False), "One method for all"),
    ("07.4", lambda rows: fmean(any(m.values()) for h, _, m in rows if h == "B"), "oracle"),
    ("07.4", lambda rows: {"choice": "cot"}, "That is the rule"),
]
