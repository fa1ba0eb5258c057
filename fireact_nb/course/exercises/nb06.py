"""Checks of the exercises in notebook 06, evaluation."""

from __future__ import annotations

from numbers import Real
from statistics import NormalDist, fmean, pstdev, stdev
from typing import Any

from .checks import call, call_directly, exercise, expect, reject, reject_slips, shorten


@exercise("06.1")
def _em(answer: Any) -> str:
    """Share of right answers over every question asked; missing and None are wrong."""
    gold = {1: "Jatin", 2: "Hosel", 3: "New Order", 4: "1942"}
    got = call(answer, {1: "Jatin", 2: None, 3: "Old", 4: "1942"}, gold,
               hint="An answer may be None, and normalize_answer wants a text: ask for None "
               "first, and count it as wrong.")  # fmt: skip
    if got in (2, 50):
        reject("Return a share between 0 and 1: divide by the number of questions asked.")
    if got == 0.25:
        reject("'Jatin' is right where gold says 'Jatin'. Normalise both sides, or none matches.")
    reject_slips(got, {2 / 3: "2 of 3? Four questions were asked, one of them without an answer."})
    expect(answer, ({1: "Jatin", 2: None, 3: "Old", 4: "1942"}, gold), 0.5)
    got = call(answer, {1: "Jatin", 4: "1942"}, gold,
               hint="Question 2 is missing in answers. answers.get(2) gives None.")  # fmt: skip
    if got == 1:
        reject("2 right of 4 asked gave 1.0: you divided by the answers there are. That is how 35 "
               "rows got lost. Divide by len(gold).")  # fmt: skip
    expect(answer, ({1: "Jatin", 4: "1942"}, gold), 0.5, "Missing answers are wrong answers.")
    got = call(answer, {1: "The Jatin.", 2: "hosel"}, gold)
    if got in (0, 0.25):
        reject("'The Jatin.' and 'hosel' are right: exact match forgives capitals, articles and "
               "punctuation. Compare what normalize_answer makes of both.")  # fmt: skip
    expect(answer, ({1: "The Jatin.", 2: "hosel"}, gold), 0.5)
    got = call(answer, {1: "It is Jatin", 3: "Order"}, gold)
    if got:
        reject("'It is Jatin' or 'Order' got a point. EM wants the whole answer and nothing else: "
               "compare with ==, not with 'in'.")  # fmt: skip
    got = call(answer, {1: "Jatin Jatin", 3: "Order New"}, gold)
    if got:
        reject("'Order New' or 'Jatin Jatin' got a point: the same words are not the same answer.")
    if call(answer, {3: "New"}, gold):
        reject("'New' got a point where gold says 'New Order'. EM wants the whole answer.")
    got = call(answer, {1: "jatin", 2: "Hosel"}, {1: "Jatin", 2: "the Hosel"})
    if got != 1:
        reject("'Hosel' is right where gold says 'the Hosel'. Normalise both sides.")
    if call(answer, {}, {1: "The", 2: "Jatin"}):
        reject("A missing answer got a point: 'The' normalises to an empty text, and so does the "
               "text you put in place of None. Ask for None first.")  # fmt: skip
    return "Nobody was dropped, so your score can be compared with anyone's."


@exercise("06.2")
def _paired(answer: Any) -> str:
    """Mean difference b - a of marks on the same questions, with its 95% interval."""
    a, b = [True, False, False, False, True], [True, True, True, False, False]
    got = call(answer, a, b)
    if not isinstance(got, (tuple, list)) or len(got) != 3:
        reject("Return three numbers: the mean difference and the two ends of its interval.")
    m, low, high = got
    if abs(m + 0.2) < 1e-9:
        reject("The sign is the other way round: b - a says how much better the second one is.")
    if abs(m - 1) < 1e-9:
        reject("That is the sum of the differences. Divide it by the number of questions.")
    if not abs(m - 0.2) <= 1e-9:
        reject(f"The mean of b - a is 0.2 here: +1, +1, -1 and twice 0 over five. Yours is "
               f"{shorten(m)}.")  # fmt: skip
    s = 0.56**0.5  # of 0, 1, 1, 0, -1
    half = 1.96 * s / 5**0.5
    reach = (high - low) / 2
    slips = {
        1.96 * s: "The interval is too wide: divide s by n**0.5. A mean of many varies less than "
        "one question does.",
        1.96 * s / 5: "You divided by n. Divide by its root, n**0.5.",
        s / 5**0.5: "You left out the 1.96: this holds the truth only two times in three.",
        1.96 * (0.24 / 5) ** 0.5: "That is the spread of one side alone. Take the spread of the "
        "differences.",
        1.96 * (0.48 / 5) ** 0.5: "That is the unpaired formula: it adds up what both sides "
        "vary. Take the spread of the differences.",
        1.96 * 0.56 / 5**0.5: "0.56 is the variance. Its root is the standard deviation.",
    }
    reject_slips(reach, slips)
    if high < low:
        reject("The ends have changed places: the low end is m - ..., the high end m + ....")
    if not _reaches(got, [0, 1, 1, 0, -1]):
        reject(f"For ({a}, {b}) the interval is 0.2 plus and minus {half:.3f}. Yours goes from "
               f"{shorten(low)} to {shorten(high)}.")  # fmt: skip
    same = call(answer, [True, False, True], [True, False, True])
    if not all(abs(x) <= 1e-9 for x in same):
        reject("Twice the same marks: every difference is 0, and so is the interval. Does yours "
               "look at the questions one by one?")  # fmt: skip
    a, b = [False] * 7 + [True], [True, True, True, False] * 2
    if not _reaches(call(answer, a, b), [1, 1, 1, 0, 1, 1, 1, -1]):
        reject("It is right for five questions, and not for eight. n is how many there are.")
    got = call_directly(answer, ([True, False], [True]), "They are no pairs: return None.")
    if got is not None:
        reject("Two marks against one gave an interval. zip drops what is left over without a "
               "word. Return None when the lengths differ.")  # fmt: skip
    return "Only questions on which the two disagree make it wider: that is what pairing buys."


def _reaches(got: Any, differences: list[int]) -> bool:
    """Is it their mean and its interval? By pstdev or stdev, by 1.96 or the exact quantile."""
    (m, low, high), n = got, len(differences)
    fine = [z * spread(differences) / n**0.5 for z in (1.96, NormalDist().inv_cdf(0.975))
            for spread in (pstdev, stdev)]  # fmt: skip
    middle = abs(m - fmean(differences)) <= 1e-9 and abs((low + high) / 2 - m) <= 1e-9
    return middle and any(abs((high - low) / 2 - x) <= 1e-6 for x in fine)


@exercise("06.3")
def _questions_needed(answer: Any) -> str:
    """Smallest n whose 95% interval reaches no more than `half` to either side of `share`."""
    got = call(answer, 0.4, 0.03)
    if isinstance(got, Real):
        for values, message in (
            ((1024, 1024.4), "With 1024 the interval is a little wider than 0.03. Round up, to a "
             "whole question."),
            ((30, 31, 30.7), "You divided by half. Divide by half**2."),
            ((32, 33, 32.0), "That is the root of n. Square it."),
            ((15, 16, 15.7), "Solve for n with the squares: half**2 and 1.96**2."),
            ((256, 257, 256.1), "0.03 is what lies on EITHER side. You doubled it."),
            ((4097, 4098, 4097.7), "0.03 is what lies on EITHER side. You took it for the whole "
             "width."),
            ((2049, 2048, 2048.8), "That is for the difference of two scores, unpaired. Here it is "
             "one score."),
            ((266, 267, 266.7), "You left out the 1.96."),
            ((522, 523, 522.7), "The 1.96 has to be squared, too."),
            ((1707, 1708, 1707.4), "You forgot the (1 - share)."),
        ):  # fmt: skip
            if any(abs(float(got) - value) <= 0.06 for value in values):
                reject(message)
    expect(answer, (0.4, 0.03), 1025)
    if not isinstance(got, int):
        reject(f"{got!r} is right, but questions are whole: return an int (math.ceil gives one).")
    expect(answer, (0.5, 0.1), 97)
    got = call(answer, 0.9, 0.02)
    if got == 2401:
        reject("For a score of 0.9 it gave 2401, which is for 0.5. Use the share.")
    expect(answer, (0.9, 0.02), 865)
    return "Half the width costs four times the questions. Plan before you pay."


@exercise("06.4")
def _losses_of(answer: Any) -> str:
    """Points and share of right answers lost under noise, over the questions both hold."""
    normal = {"e": True, "f": True, "a": True, "b": True, "c": True, "d": False}
    noisy = {"a": True, "b": False, "c": False, "d": False}
    got = call(answer, normal, noisy)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        reject("Return two numbers: the points lost, and the share of the right answers lost.")
    points, share = got
    if abs(points - 2) < 1e-9:
        reject("2 questions were lost. Return them as a share of the questions both hold.")
    if points < 0 or share < 0:
        reject("The signs are the other way round: a loss is a positive number here.")
    if abs(points - 2 / 3) < 1e-9 and abs(share - 0.5) < 1e-9:
        reject("The two numbers have changed places: first the points, then the share of what it "
               "had.")  # fmt: skip
    slips = {
        5 / 6 - 1 / 4: "You compared 6 questions with 4 others. The two that were not played with "
        "noise must not count on one side only.",
        4 / 6: "e and f were not played with noise. They are not wrong, they are not there: leave "
        "them out.",
        2 / 6: "Two of FOUR: only four questions are in both.",
    }
    reject_slips(points, slips)
    if abs(points - 0.5) < 1e-9:
        slips = {
            1 / 3: "1/3 is what it kept. What did it lose?",
            2.0: "You divided by what it kept. Divide by what it had: 3 right answers.",
            0.4: "It had 3 right answers among the common questions, not 5.",
            0.5: "Both numbers are the same. The second one is relative: divide by the right "
            "answers it had, 3.",
        }
        reject_slips(share, slips)
    if not (abs(points - 0.5) <= 1e-9 and abs(share - 2 / 3) <= 1e-9):
        reject(f"For ({shorten(normal)}, {shorten(noisy)}) it gave {shorten(tuple(got))}; 0.5 and "
               "2/3 are wanted.")  # fmt: skip
    nothing = call(answer, {"a": False}, {"a": False},
                   hint="It had no right answer. Nothing can be lost then: 0.0.")  # fmt: skip
    if tuple(nothing) != (0, 0):
        reject(f"Who had nothing right loses nothing: (0.0, 0.0). Yours gave {shorten(nothing)}.")
    got = call(answer, {"a": False, "b": True}, {"a": True, "b": True, "c": True})
    if not (abs(got[0] + 0.5) <= 1e-9 and abs(got[1] + 1) <= 1e-9):
        reject("Noise may help by luck: with one right before and two after, the loss is -0.5, and "
               "-1 of what it had. A question that only one side has does not count.")  # fmt: skip
    return "Points and shares can tell two stories. Say which one you tell."
