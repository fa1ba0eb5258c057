"""Notebook 08's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from typing import Any


def rows_at_once(free, per_row, batch):
    for rows in range(min(batch, int(free // per_row)), 0, -1):
        if batch % rows == 0:
            return rows, batch // rows
    return 0, 0


def beyond_the_batch(free, per_row, batch):
    fit = int(free // per_row)
    rows = next((n for n in range(fit, 0, -1) if batch % n == 0 or n > batch), 0)
    return (rows, max(1, batch // rows)) if rows else (0, 0)


def flips(old, new):
    both = [q for q in old if q in new]
    return sum(old[q] and not new[q] for q in both), sum(new[q] and not old[q] for q in both)


def missing_is_wrong(old, new):
    every = {*old, *new}
    lost = sum(old.get(q, False) and not new.get(q, False) for q in every)
    return lost, sum(new.get(q, False) and not old.get(q, False) for q in every)


def cut(text, stops):
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else text


def first_of_the_list(text, stops):
    for stop in stops:
        if stop in text:
            return text[: text.find(stop)]
    return text


RIGHT = {"08.1": rows_at_once, "08.2": flips, "08.3": cut}
WRONG: list[tuple[str, Any, str]] = [
    ("08.1", lambda free, row, batch: (free // row, batch // (free // row)), "3 x 2 is 6"),
    ("08.1", lambda free, row, batch: (free // row, -(-batch // (free // row))), "3 x 3 is 9"),
    ("08.1", lambda free, row, batch: (1, batch), "is slow"),
    ("08.1", lambda free, row, batch: free // row, "two numbers"),
    ("08.1", beyond_the_batch, "No more than the batch"),
    ("08.2", lambda old, new: flips(old, new)[::-1], "other way round"),
    ("08.2", missing_is_wrong, "Compare what both have"),
    ("08.2", lambda old, new: sum(flips(old, new)), "two numbers"),
    ("08.3", lambda text, stops: text[: min(text.find(s) for s in stops)], "Nothing to cut"),
    ("08.3", first_of_the_list, "earliest place"),
    ("08.3", lambda text, stops: text, "'Action: a' is wanted"),
]  # fmt: skip
