"""Checks of the exercises in notebook 07, oracle selection."""

from __future__ import annotations

from typing import Any

from .checks import call, exercise, expect, reject, reject_slips

_MARKS_07 = {
    "cot": [True, False, False, False],
    "react": [True, True, True, False],
    "reflexion": [False, True, False, False],
}


@exercise("07.1")
def _oracle(answer: Any) -> str:
    """Share of questions that at least one method answers right."""
    marks = {"cot": [True, False, False, False, False], "react": [True, True, False, False, False],
             "reflexion": [False, False, True, False, False]}  # fmt: skip
    got = call(answer, marks)
    slips = {
        3.0: "3 questions have a right answer. Return their SHARE of all questions.",
        0.4: "0.4 is the best single method. The oracle may take another one each time.",
        0.8: "0.8 is the sum of the three scores. A question that two methods get right counts "
        "once.",
        0.0: "You ask for ALL methods to be right. One is enough for the oracle.",
        4 / 15: "That is the mean of the marks: choosing by chance. The oracle takes a right "
        "method where there is one.",
    }
    reject_slips(got, slips)
    expect(answer, (marks,), 0.6)
    expect(answer, ({"cot": [False, True]},), 0.5, "A pool of one method.")
    expect(answer, (_MARKS_07,), 0.75)
    return "An upper limit: no way of choosing can do better with these methods."


@exercise("07.2")
def _random_choice(answer: Any) -> str:
    """Expected score of picking a method by chance for each question, without dice."""
    tries = {call(answer, _MARKS_07) for _ in range(12)}
    if len(tries) > 1:
        reject("It gives another number each time. Use no dice: work out what they give on "
               "average.")  # fmt: skip
    got = tries.pop()
    slips = {
        0.75: "0.75 is the best method (and the oracle). Chance also picks the others.",
        5 / 4: "More than 1 cannot be a score. You added the methods up: divide by how many "
        "there are.",
        5.0: "5 is the number of right marks. How many marks are there in all?",
        5 / 3: "You divided by the methods. Divide by the questions, too.",
        0.5: "That looks like a vote of the majority. Chance picks one method and keeps its "
        "answer.",
    }
    reject_slips(got, slips)
    expect(answer, (_MARKS_07,), 5 / 12)
    expect(answer, ({"a": [True, True], "b": [False, True]},), 0.75)
    return "It is the mean of the methods' scores: a weak method pulls it down."


@exercise("07.3")
def _pass_at_k(answer: Any) -> str:
    """1 - C(n - c, k) / C(n, k)."""
    got = call(answer, 3, 1, 2)
    slips = {
        1 - (2 / 3) ** 2: "You draw the same try twice: 1 - (1 - c/n)^k is for drawing WITH "
        "putting back, and it comes out too low. Draw k different tries out of n.",
        1 / 3: "That does not depend on k, or it is the chance that ALL k are wrong. Wanted is "
        "the chance that at least one is right.",
        2 / 3 * 2: "A chance above 1 cannot be.",
    }
    reject_slips(got, slips)
    expect(answer, (3, 1, 2), 2 / 3)
    expect(answer, (3, 1, 3), 1.0, "All three tries are looked at, and one is right.")
    expect(answer, (3, 2, 2), 1.0, "Only one try is wrong: two tries cannot both be.")
    expect(answer, (10, 3, 1), 0.3, "One try: the share of right ones.")
    expect(answer, (10, 3, 4), 5 / 6)
    expect(answer, (5, 0, 2), 0.0, "Nothing right, nothing found.")
    return "Without it, an oracle over methods is compared with a single try."


@exercise("07.4")
def _half_and_half(answer: Any) -> str:
    """A rule (kind -> method) learnt on half A, its score on half B."""

    def rows(half: str, kind: str, cot: str, react: str) -> list[Any]:
        return [(half, kind, {"cot": a == "1", "react": b == "1"})
                for a, b in zip(cot, react, strict=True)]  # fmt: skip

    first = [*rows("A", "choice", "1111", "0001"), *rows("A", "open", "0001", "1110"),
             *rows("B", "choice", "11000", "00111"),
             *rows("B", "open", "00001", "11110")]  # fmt: skip
    got = call(answer, first)
    if isinstance(got, dict):
        reject("That is the rule. Return its score: the share of right answers on half B.")
    slips = {
        0.7: "The rule was learnt on half B, where it is measured. It knew the answers: learn "
        "on the rows of half A only.",
        0.875: "That is the score on half A, where the rule was chosen. Measure on half B.",
        13 / 18: "You measured on both halves. On half A the rule was chosen: leave it out.",
        0.3: "One method for all: you chose the best of half A over all kinds. Choose for each "
        "kind.",
        1.0: "That is the oracle: it looks at each row's marks before it chooses.",
        6.0: "6 rows of half B are right. Return their share.",
    }
    reject_slips(got, slips)
    expect(answer, (first,), 0.6)
    second = [*rows("A", "choice", "110", "001"), *rows("A", "open", "001", "110"),
              *rows("B", "choice", "100000", "011111"), *rows("B", "open", "00", "11")]  # fmt: skip
    got = call(answer, second)
    if got == 7 / 8:
        reject("The rule was learnt on both halves together. Half B must not help to choose.")
    expect(answer, (second,), 3 / 8, "Half A says cot for choice; half B would not agree.")
    return "A rule that fails on half B was luck on half A."
