"""Notebook 01's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from typing import Any


def by_partition(turn, find="partition"):
    for line in turn.splitlines():
        if line.startswith("Action:"):
            name, _, rest = line.removeprefix("Action:").strip().partition("[")
            return name, getattr(rest, find)("]")[0]
    return "none", ""


def of_the_last_action(turn):
    lines = [line for line in turn.splitlines() if line.startswith("Action:")]
    return by_partition(lines[-1], "rpartition") if lines else ("none", "")


def anywhere(turn):
    _, found, rest = turn.partition("Action:")
    name, _, rest = rest.strip().partition("[")
    return (name, rest.split("\n")[0].rpartition("]")[0]) if found else ("none", "")


EXAMPLE = """Thought: I need the author of Paper Lalor.
Action: search[Paper Lalor author]
Observation: Paper Lalor: The author is Leo Kolin.
Thought: The author is Leo Kolin. Next I need the birth year of Leo Kolin.
Action: search[when was Leo Kolin writer born]
Observation: Leo Kolin (writer): Born in Nizus in 1942.
Thought: Leo Kolin was born in 1942. So the answer is 1942.
Action: finish[1942]"""
RIGHT = {
    "01.1": lambda turn: by_partition(turn, "rpartition"),
    "01.2": lambda marks, tokens: sum(tokens) / sum(marks) if any(marks) else float("inf"),
    "01.3": EXAMPLE,
}
WRONG: list[tuple[str, Any, str]] = [
    ("01.1", by_partition, "to the last bracket"),
    ("01.1", of_the_last_action, "first action counts"),
    ("01.1", anywhere, "beginning of a line"),
    ("01.1", lambda turn: "search[Paper Lalor]", "two texts"),
    ("01.1", lambda turn: ("search", "Paper Lalor]"), "closing bracket"),
    ("01.1", lambda turn: turn.index("nowhere"), "raised ValueError"),
    ("01.1", lambda turn: None, "return on every path"),
    ("01.2", lambda marks, tokens: sum(tokens) / len(marks), "number of RIGHT"),
    (
        "01.2",
        lambda marks, tokens: sum(t for m, t in zip(marks, tokens, strict=True) if m) / sum(marks),
        "what the wrong answer cost",
    ),
    ("01.2", lambda marks, tokens: sum(tokens) / sum(marks), "If nothing was right"),
    ("01.2", lambda marks, tokens: sum(tokens) / max(1, sum(marks)), "nothing was right"),
    ("01.3", EXAMPLE.replace("Action: finish[1942]", "Answer: 1942"), "Round 3 has no readable"),
    ("01.3", EXAMPLE.split("\nThought: Leo Kolin was")[0], "must end with Action: finish"),
    ("01.3", EXAMPLE.replace("Born in Nizus in 1942.", "Born in 1942."), "the tool really says"),
    ("01.3", EXAMPLE.replace("finish[1942]", "finish[1951]"), "not '1951'"),
    ("01.3", EXAMPLE.split("Thought: The author is")[0] + "Thought: x\nAction: finish[1942]",
     "has 1 search"),
    ("01.3", EXAMPLE.replace("Thought: I need the author of Paper Lalor.\n", ""), "no Thought"),
    ("01.3", 1942, "one text"),
]  # fmt: skip
