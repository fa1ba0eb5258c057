"""Checks of the exercises in notebook 02, trajectory generation."""

from __future__ import annotations

from numbers import Real
from typing import Any

from .checks import call, exercise, expect, reject, reject_slips, shorten


@exercise("02.1")
def _keep(answer: Any) -> str:
    """A success filter: right and finished, by the marks that the trajectories carry."""
    from ...agent.trajectory import STATES, Step, Trajectory

    def played(name: str, correct: bool | None, state: str = "finished") -> Trajectory:
        step = Step.of("So it is The Jasin.", "finish", "The Jasin")
        return Trajectory(name, "Where?", (step,), answer="The Jasin", gold="Jasin",
                          correct=correct, state=state)  # fmt: skip

    right, missed, unscored = played("a", True), played("b", False), played("c", None)
    cut = [played(state, True, state) for state in STATES if state != "finished"]
    got = call(answer, [right, missed])
    if isinstance(got, Real):
        reject("Return the trajectories themselves, in a list, not how many there are.")
    got = list(got)
    if len(got) == 2 and all(isinstance(mark, bool) for mark in got):
        reject("That is a mark for each trajectory. Return a list of those that are kept.")
    if not got:
        reject(
            "A right one in the state 'finished' was dropped. Its answer is 'The Jasin' and its "
            "gold 'Jasin': exact match forgives the article. Trust t.correct, do not compare texts."
        )
    if missed in got:
        reject("One with t.correct = False was kept. That is how the 40 rows got in.")
    if unscored in list(call(answer, [right, unscored])):
        reject("One with t.correct = None was kept. Nobody scored it: ask for True, not for 'not "
               "False'.")  # fmt: skip
    for t in cut:
        if t in list(call(answer, [t, right])):
            reject(f"One in the state {t.state!r} was kept. It has no finish to learn from: look "
                   "at t.state, too.")  # fmt: skip
    if list(call(answer, [cut[0], right, missed, right])) != [right, right]:
        reject("Keep every right and finished one, in the order in which they came.")
    return "One line, six traps. The authors' released file fell into one of them."


@exercise("02.2")
def _slips(answer: Any) -> str:
    """Does a Thought call two different things the same, or one thing different?"""
    facts = "The city of Badel Motors is {}. The city of Jisel Press is {}. "
    end = "{} and {} are {}, so the answer is {}."

    def thought(first: str, second: str, word: str, said: str) -> str:
        return facts.format(first, second) + end.format(first, second, word, said)

    slip = thought("Hosel", "Sobel", "the same", "yes")
    fine = thought("Hosel", "Hosel", "the same", "yes")
    got = call(answer, slip), call(answer, fine)
    if got == (False, True):
        reject("The other way round: True is for a Thought that contradicts itself.")
    if got == (False, False):
        reject("'Hosel and Sobel are the same' slips by. Compare what stands on both sides of the "
               "'and'; the rest of the Thought has other names in it.")  # fmt: skip
    if got == (True, True):
        reject("'Hosel and Hosel are the same' is no slip. Is your first name cut off cleanly? The "
               "sentences before it do not belong to it.")  # fmt: skip
    expect(answer, ("The birth year of Ivo Mafus is 1930. So the answer is 1930.",), False,
           "It compares nothing: return False when neither phrase is there.")  # fmt: skip
    expect(answer, (thought("Hevel", "Hevel", "different", "no"),), True,
           "Calling one and the same thing different is a slip, too.")  # fmt: skip
    expect(answer, (thought("Hosel", "Sobel", "different", "no"),), False, "This is true.")
    expect(answer, (thought("Fovus University", "Divus University", "the same", "yes"),), True,
           "Names may have several words; the last words alone are equal here.")  # fmt: skip
    expect(answer, (thought("Hosel", "Hosel Press", "different", "no"),), False,
           "Hosel and Hosel Press are two names: compare them whole.")  # fmt: skip
    expect(answer, (thought("Hosel Press", "Hosel", "the same", "yes"),), True,
           "Hosel Press and Hosel are two names: compare them whole.")  # fmt: skip
    expect(answer, ("Hosel and Sobel are the same, so the answer is yes.",), True,
           "The comparison may be the first sentence.")  # fmt: skip
    return "A few lines of reading find what the success filter lets through."


@exercise("02.3")
def _price_of(answer: Any) -> str:
    """Dollars for kept trajectories: failures are paid for, prices are per million tokens."""
    case = (500, 0.5, 2000, 150, 1.0, 4.0)
    got = call(answer, *case)
    if not isinstance(got, Real):
        reject(f"Return one number, the dollars. Yours gave {shorten(got)}.")
    slips = {
        1.3: "You paid only for the 500 that are kept. The failures were played, too: how many "
        "episodes does it take until 500 pass?",
        0.65: "You multiplied by the rate. A lower pass rate must make it dearer: divide.",
        2_600_000.0: "The prices are for a MILLION tokens. Divide by 1,000,000.",
        2.15: "Written tokens have a price of their own, and they cost more here.",
        0.0026: "That is the price of one episode. How many have to be played until 500 pass?",
    }
    reject_slips(got, slips)
    expect(answer, case, 2.6)
    expect(answer, (47, 0.25, 4000, 200, 2.0, 10.0), 47 / 0.25 * (8000 + 2000) / 1e6,
           "Reading and writing have prices of their own.")  # fmt: skip
    return "You pay for episodes and get trajectories: the pass rate stands below the line."
