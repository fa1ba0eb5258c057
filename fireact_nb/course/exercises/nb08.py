"""Checks of the exercises in notebook 08, for real."""

from __future__ import annotations

from typing import Any

from .checks import call, exercise, expect, reject


@exercise("08.1")
def _rows_at_once(answer: Any) -> str:
    """How many rows fit at once, so that they divide the batch, and how many times."""
    got = call(answer, 7, 2, 8)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        reject("Return two numbers: how many at once, and how many times.")
    if tuple(got) == (3, 2):
        reject("3 x 2 is 6, not 8. The two numbers must multiply to the batch exactly.")
    if tuple(got) == (3, 3):
        reject("3 x 3 is 9, not 8. The two numbers must multiply to the batch exactly.")
    if tuple(got) == (1, 8):
        reject("One at a time always works, and is slow. Take as many at once as fit and divide 8.")
    if tuple(got) == (4, 2):
        reject("Four rows take 8 of memory, and 7 are free.")
    expect(answer, (7, 2, 8), (2, 4))
    expect(answer, (100, 2, 8), (8, 1), "No more than the batch itself.")
    expect(answer, (1, 2, 8), (0, 0), "Not even one fits.")
    expect(answer, (6, 2, 9), (3, 3))
    expect(answer, (10, 2, 7), (1, 7), "7 is divided by 1 and by itself alone.")
    return "Half of all 'out of memory' is a batch that should have been divided."


@exercise("08.2")
def _flips(answer: Any) -> str:
    """Questions that went from right to wrong, and from wrong to right."""
    old = {1: True, 2: False, 3: True, 4: False, 5: True}
    new = {1: False, 2: True, 3: True, 4: True, 6: True}
    got = call(answer, old, new)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        reject("Return two numbers: right to wrong, and wrong to right.")
    if tuple(got) == (2, 1):
        reject("The other way round: first those that went from right to wrong.")
    if tuple(got) == (2, 2) or tuple(got) == (1, 3) or tuple(got) == (2, 3):
        reject("Question 5 or 6 is in one of the two alone. Compare what both have.")
    expect(answer, (old, new), (1, 2))
    expect(answer, ({}, new), (0, 0), "Nothing is in both.")
    expect(answer, ({1: True}, {1: True}), (0, 0), "It stayed right.")
    expect(
        answer,
        ({1: True, 2: False}, {2: False, 1: True}),
        (0, 0),
        "The second run may hold the questions in another order: compare by question.",
    )
    return "A difference of scores is won minus lost, and hides both."


@exercise("08.3")
def _cut(answer: Any) -> str:
    """The text up to the earliest stop."""
    expect(answer, ("Action: a\nObservation: b", ["\nObservation"]), "Action: a")
    expect(answer, ("no stop in here", ["\nObservation"]), "no stop in here",
           "Nothing to cut: `find` gives -1 where nothing is found.")  # fmt: skip
    expect(answer, ("one END two STOP three", ["STOP", "END"]), "one ",
           "The earliest place counts, not the first stop of the list.")  # fmt: skip
    expect(answer, ("one END two STOP three", ["END", "STOP"]), "one ", "In any order of the list.")
    expect(answer, ("a STOP b STOP c", ["STOP"]), "a ", "The first of several.")
    expect(answer, ("STOP at once", ["STOP"]), "", "A stop may stand at the very beginning.")
    expect(answer, ("all of it", []), "all of it", "There may be no stops.")
    return "Every client of a service that refuses `stop` needs this line."
