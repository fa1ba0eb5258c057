"""Notebook 02's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

import re
from typing import Any


def slips(thought, phrases=((" are the same", True), (" are different", False)), flip=False):
    for sentence in thought.split(". "):
        for words, equal in phrases:
            if words in sentence:
                first, _, second = sentence.split(words)[0].partition(" and ")
                return ((first == second) != equal) != flip
    return False


def by_last_word(thought):
    found = re.search(r"(\w+) and [\w ]*?(\w+) are (the same|different)", thought)
    return bool(found) and (found[1] == found[2]) != (found[3] == "the same")


def from_the_beginning(thought):
    first, _, second = thought.split(" are the same")[0].partition(" and ")
    return " are the same" in thought and first != second


def trusting(thought):
    first, second, word = re.search(
        r"(?:^|\. )([^.]+) and ([^.]+) are (the same|different)", thought
    ).groups()
    return (first == second) != (word == "the same")


def price_of(wanted, rate, read, written, price_read, price_written):
    return wanted / rate * (read * price_read + written * price_written) / 1e6


RIGHT = {
    "02.1": lambda ts: [t for t in ts if t.correct and t.state == "finished"],
    "02.2": slips,
    "02.3": price_of,
}
WRONG: list[tuple[str, Any, str]] = [
    ("02.1", lambda ts: [t for t in ts if t.correct], "no finish to learn from"),
    ("02.1", lambda ts: [t for t in ts if t.state == "finished"], "t.correct = False was kept"),
    ("02.1", lambda ts: [t for t in ts if t.correct is not False and t.state == "finished"],
     "t.correct = None"),
    ("02.1", lambda ts: [t for t in ts if t.answer == t.gold], "forgives the article"),
    ("02.1", lambda ts: sum(bool(t.correct) for t in ts), "not how many"),
    ("02.1", lambda ts: [bool(t.correct) for t in ts], "a mark for each"),
    ("02.1", lambda ts: [t for t in ts if t.correct and t.state == "finished"][:1], "every right"),
    ("02.2", lambda thought: slips(thought, ((" are the same", True),)), "different is a slip"),
    ("02.2", lambda thought: slips(thought, flip=True), "other way round"),
    ("02.2", by_last_word, "several words"),
    ("02.2", from_the_beginning, "do not belong to it"),
    ("02.2", trusting, "compares nothing: return False"),
    ("02.2", lambda thought: False, "slips by"),
    ("02.2", lambda thought: None, "return on every path"),
    ("02.3", lambda w, r, i, o, pi, po: w * (i * pi + o * po) / 1e6, "failures were played"),
    ("02.3", lambda w, r, i, o, pi, po: w * r * (i * pi + o * po) / 1e6, "divide"),
    ("02.3", lambda w, r, i, o, pi, po: w / r * (i * pi + o * po), "MILLION"),
    ("02.3", lambda w, r, i, o, pi, po: (i * pi + o * po) / 1e6, "price of one episode"),
    ("02.3", lambda w, r, i, o, pi, po: w / r * (i + o) * pi / 1e6, "price of their own"),
    ("02.3", lambda w, r, i, o, pi, po: (w, r), "one number"),
]  # fmt: skip
