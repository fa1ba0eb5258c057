"""Checks of the exercises in notebook 05, multi-method mixing."""

from __future__ import annotations

from numbers import Real
from typing import Any

from .checks import call, exercise, expect, reject, reject_slips, shorten


@exercise("05.1")
def _counts_for(answer: Any) -> str:
    """Whole numbers in the shares of 500, 187 and 47 that add up to the budget."""
    shares = (500, 187, 47)
    for budget in (734, 150, 100, 7, 1000, 1, 2, 3, 5, 10, 51, 333, 2000):
        got = call(answer, budget)
        if isinstance(got, Real) or len(got) != 3:
            reject("Return three numbers: ReAct, CoT, Reflexion, as in: return a, b, c.")
        got = list(got.values()) if isinstance(got, dict) else list(got)
        if any(isinstance(n, bool) or n != int(n) for n in got):
            reject(f"For {budget} it gave {shorten(tuple(got))}. Nobody can train on a piece of a "
                   "trajectory: whole numbers are wanted.")  # fmt: skip
        exact = [budget * share / 734 for share in shares]
        if sum(got) != budget and got == [round(value) for value in exact]:
            reject(f"Rounding each share by itself gives {sum(got)} in all for a budget of "
                   f"{budget}. Round down first, then hand out what is missing.")  # fmt: skip
        if sum(got) != budget and got == [int(value) for value in exact]:
            reject(f"Rounded down, and then? {budget - sum(got)} of {budget} are handed to nobody. "
                   "Who lost most by rounding?")  # fmt: skip
        if sum(got) != budget:
            reject(f"For {budget} the three numbers add up to {sum(got)}.")
        off = [abs(n - value) for n, value in zip(got, exact, strict=True)]
        if max(off) >= 1:
            worst = ("ReAct", "CoT", "Reflexion")[off.index(max(off))]
            reject(f"For {budget} it gave {shorten(tuple(got))}, the exact shares are "
                   f"{', '.join(f'{value:.2f}' for value in exact)}: {worst} is off by a whole one "
                   "or more.")  # fmt: skip
    return "The sum is exact, and no method is off by a whole trajectory."


@exercise("05.2")
def _clean(answer: Any) -> str:
    """Pairs of question and words, without later doubles and without held-out questions."""
    a, b, c = ("Who is older?", "search"), ("Who is older?", "think"), ("Where is B?", "search")
    leak = ("Where is D?", "search")
    got = list(call(answer, [a, b], []))
    if got != [a, b]:
        reject("One question, solved in two ways: both may stay. A double has the same question "
               "AND the same words.")  # fmt: skip
    if list(call(answer, [a, tuple([*a])], [])) == [a, a]:
        reject("The same question in the same words stands twice: drop the later one.")
    if list(call(answer, [a, leak], ["Where is D?"])) == [a, leak]:
        reject("A held-out question is still in the mix. Compare pair[0] with them.")
    if list(call(answer, [a, leak], ["WHERE is d?"])) != [a]:
        reject("'Where is D?' leaks 'WHERE is d?'. Compare both in lower case.")
    whole, part = ("Of B and C, who is older?", "search"), ("Who is older?", "search")
    if list(call(answer, [whole], [part[0]])) != [whole]:
        reject("'Of B and C, who is older?' is no leak of 'Who is older?': another question may "
               "hold its words. Compare whole questions.")  # fmt: skip
    if list(call(answer, [part], [whole[0]])) != [part]:
        reject("'Who is older?' is only a part of a held-out question. Compare whole ones.")
    longer = ("Who is older? And who younger?", "search")
    if list(call(answer, [longer], [part[0]])) != [longer]:
        reject("A question that only begins like a held-out one is another. Compare whole ones.")
    turned = ("Has B met C again?", "search")
    if list(call(answer, [turned], ["Has C met B again?"])) != [turned]:
        reject("'Has B met C again?' is not 'Has C met B again?'. Compare the texts, not the bags "
               "of their words.")  # fmt: skip
    many = [(f"Is {i} even?", "think") for i in range(9, 0, -1)]
    if list(call(answer, many, [])) != many:
        reject("The pairs came back in another order. A set forgets the order: use a list.")
    expect(answer, ([c, a, c, leak, b, a], ["where is d?"]), [c, a, b])
    return "Two lines of care; without them a table of results may be worth nothing."


@exercise("05.3")
def _largest_sd(answer: Any) -> str:
    """The largest standard deviation of numbers within limits, for a given mean."""
    got = call(answer, 3, 1, 11)
    slips = {
        16.0: "16 is the mean of the SQUARED distances (the variance). Take its root.",
        5.0: "5 is half of the range. That needs a mean in the middle, and the mean is 3: most "
        "numbers must sit at the low end.",
        8.0: "8 is the distance of the far end. Not every number can sit there, or the mean would "
        "be 11.",
        10 / 12**0.5: "That is the spread of numbers spread evenly. Numbers at the two ends are "
        "further from the mean.",
    }
    reject_slips(got, slips)
    expect(answer, (3, 1, 11), 4.0)
    expect(answer, (5, 0, 10), 5.0)
    expect(answer, (2, 0, 10), 4.0)
    expect(answer, (4, 1, 11), 21**0.5)
    expect(answer, (1, 1, 11), 0.0, "If the mean is at an end, every number is there.")
    return "For the paper's row that is 4.0: an sd of 4.8 cannot be."


@exercise("05.4")
def _known_share(answer: Any) -> str:
    """What share is known, when the rest is guessed."""
    got = call(answer, 0.75, 2)
    slips = {
        0.25: "0.75 - 0.5 is what lies above chance. Divide it by what could lie above chance, "
        "1 - 0.5.",
        0.375: "You multiplied by the chance. A model that knows 0.375 and guesses the rest would "
        "be right on 0.6875, not 0.75.",
        0.875: "That is the other direction: what a model that knows 0.75 gets right. Solve it for "
        "k.",
    }
    reject_slips(got, slips)
    expect(answer, (0.75, 2), 0.5)
    expect(answer, (0.7, 4), 0.6, "With four options chance is 1/4.")
    expect(answer, (1.0, 2), 1.0)
    below = call(answer, 0.4, 2)
    if isinstance(below, Real) and below < 0:
        reject("For (0.4, 2) it gave a share below zero. Nobody knows less than nothing: use max.")
    expect(answer, (0.4, 2), 0.0, "Fewer right than by guessing: nothing is known.")
    return "Half of a two-answer test is free. Look at what lies above it."
