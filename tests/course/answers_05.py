"""Notebook 05's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from typing import Any

SHARES = (500, 187, 47)


def by_largest_remainder(budget):
    exact = [budget * share / 734 for share in SHARES]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(3), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: budget - sum(counts)]:
        counts[i] += 1
    return tuple(counts)


def remainder_to_the_first(budget):
    _, cot, reflexion = (int(budget * share / 734) for share in SHARES)
    return budget - cot - reflexion, cot, reflexion


def clean(pairs, held_out, write=str.lower, double=lambda pair: pair):
    forbidden = {write(question) for question in held_out}
    kept: dict[Any, Any] = {}
    for pair in pairs:
        if write(pair[0]) not in forbidden:
            kept.setdefault(double(pair), pair)
    return list(kept.values())


RIGHT: dict[str, Any] = {
    "05.1": by_largest_remainder,
    "05.2": clean,
    "05.3": lambda mean, low, high: ((high - mean) * (mean - low)) ** 0.5,
    "05.4": lambda right, options: max(0.0, (right - 1 / options) / (1 - 1 / options)),
}
WRONG: list[tuple[str, Any, str]] = [
    ("05.1", lambda b: tuple(round(b * s / 734) for s in SHARES), "Rounding each share by itself"),
    ("05.1", lambda b: tuple(int(b * s / 734) for s in SHARES), "handed to nobody"),
    ("05.1", lambda b: tuple(b * s / 734 for s in SHARES), "whole numbers are wanted"),
    ("05.1", lambda b: SHARES, "add up to 734"),
    ("05.1", remainder_to_the_first, "ReAct is off by a whole one"),
    ("05.1", lambda b: b // 3, "three numbers"),
    ("05.2", lambda p, h: clean(p, h, double=lambda pair: pair[0]), "both may stay"),
    ("05.2", lambda p, h: clean(p, h, write=str), "lower case"),
    ("05.2", lambda p, h: sorted(clean(p, h)), "another order"),
    ("05.2", lambda p, h: list(dict.fromkeys(p)), "held-out question is still"),
    ("05.2", lambda p, h: [x for x in p if x[0] not in h], "drop the later one"),
    ("05.3", lambda mean, low, high: (high - mean) * (mean - low), "variance"),
    ("05.3", lambda mean, low, high: (high - low) / 2, "half of the range"),
    ("05.3", lambda mean, low, high: max(high - mean, mean - low), "far end"),
    ("05.3", lambda mean, low, high: (high - low) / 12**0.5, "spread evenly"),
    ("05.4", lambda right, options: right - 1 / options, "Divide it by what could lie above"),
    ("05.4", lambda right, options: (right - 1 / options) / (1 - 1 / options), "below zero"),
    ("05.4", lambda right, options: right / options, "multiplied by the chance"),
    ("05.4", lambda right, options: right + (1 - right) / options, "other direction"),
    ("05.4", lambda right, options: max(0.0, 2 * right - 1), "With four options"),
]
