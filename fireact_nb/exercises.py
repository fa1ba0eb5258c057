"""The checks of the notebooks' exercises: an instant answer that says what to do next.

Knows what a right answer does; knows nothing of how it was written. A check never raises, whatever
the learner wrote, so an unsolved exercise never breaks a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from .config import FireActError

_MARKS = {
    "waiting": "\N{HORIZONTAL ELLIPSIS}",
    "not yet": "\N{BALLOT X}",
    "solved": "\N{CHECK MARK}",
}


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check found; the last expression of a cell shows it."""

    number: str
    state: Literal["waiting", "not yet", "solved"]
    message: str

    def __repr__(self) -> str:
        return f"{_MARKS[self.state]} Exercise {self.number}, {self.state}. {self.message}"


class _NotYet(Exception):
    """The answer is not right; the text says why, and what to look at."""


class _Waiting(Exception):
    """Nothing was written yet."""


Judge = Callable[[Any], str]
_JUDGES: dict[str, Judge] = {}


def check(number: str, answer: Any) -> Verdict:
    """Try out what the learner wrote for exercise `number`, such as "01.1".

    Raises FireActError for a number that no exercise has, and nothing else.
    """
    if number not in _JUDGES:
        raise FireActError(f"There is no exercise {number!r}. There are: {', '.join(_JUDGES)}.")
    try:
        if answer is ...:
            raise _Waiting
        return Verdict(number, "solved", _JUDGES[number](answer))
    except _Waiting:
        return Verdict(number, "waiting", "Replace the three dots, then run the cell again.")
    except _NotYet as problem:
        return Verdict(number, "not yet", str(problem))
    except Exception as error:  # a judge that trips over an unforeseen kind of answer
        return Verdict(
            number, "not yet",
            f"The check could not use your answer ({type(error).__name__}: {error}). Compare what "
            "kind of thing it is (a number, a text, a list) with what the card asks for.",
        )  # fmt: skip


def _exercise(number: str) -> Callable[[Judge], Judge]:
    """Enter a judge: it gets the answer, says what is wrong by `_wrong`, or returns a last word."""

    def enter(judge: Judge) -> Judge:
        _JUDGES[number] = judge
        return judge

    return enter


def _wrong(message: str) -> NoReturn:
    raise _NotYet(message)


def _call(answer: Any, *arguments: Any) -> Any:
    """What the learner's function gives; its errors become messages."""
    if not callable(answer):
        _wrong("Hand the function itself to check, without calling it: check(number, name).")
    shown = ", ".join(_short(a) for a in arguments)
    try:
        got = answer(*arguments)
    except Exception as error:
        _wrong(f"For ({shown}) your code raised {type(error).__name__}: {error}")
    if got is ...:
        raise _Waiting
    if got is None:
        _wrong(f"For ({shown}) your function gave None. Is there a return on every path?")
    return got


def _expect(answer: Any, arguments: tuple[Any, ...], wanted: Any, hint: str = "") -> None:
    """Call the learner's function and compare; `hint` says what this case is about."""
    got = _call(answer, *arguments)
    if isinstance(wanted, float) and isinstance(got, (int, float)):
        right = abs(got - wanted) <= 1e-6 * max(1.0, abs(wanted))
    else:
        right = got == wanted
    if not right:
        shown = ", ".join(_short(a) for a in arguments)
        _wrong(f"For ({shown}) it gave {_short(got)}; {_short(wanted)} is wanted. {hint}".strip())


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


# -- 01 ReAct prompting ---------------------------------------------------------------------------


@_exercise("01.1")
def _read_action(answer: Any) -> str:
    """Action and argument of a turn; the first action counts, brackets may be nested."""
    plain = "Thought: hm.\nAction: search[Paper Lalor]"
    if isinstance(_call(answer, plain), str):
        _wrong("Return two texts, as in: return name, argument. Yours returned one.")
    if tuple(_call(answer, plain)) == ("search", "Paper Lalor]"):
        _wrong("The closing bracket is still there. The argument ends before the last ].")
    _expect(answer, (plain,), ("search", "Paper Lalor"))
    _expect(answer, ("Thought: so\nAction: finish[1942]",), ("finish", "1942"),
            "The action may be finish, too.")  # fmt: skip
    _expect(answer, ("Thought: I am lost.",), ("none", ""), "There is no line with Action: here.")
    _expect(answer, ("Thought: x\nAction: search[Lalor [film]]",), ("search", "Lalor [film]"),
            "The argument goes on to the last bracket of the line, not to the first.")  # fmt: skip
    _expect(answer, ("Thought: x\nAction: search[A B]\nAction: finish[C]",), ("search", "A B"),
            "Only the first action counts.")  # fmt: skip
    _expect(answer, ("Thought: an Action: is a word\nAction: finish[yes]",), ("finish", "yes"),
            "Look at the beginning of a line: a Thought may mention the word.")  # fmt: skip
    return "Five lines turn a text into something a program can do."


@_exercise("01.2")
def _tokens_per_right_answer(answer: Any) -> str:
    """All tokens spent, over the number of right answers; infinity without any."""
    got = _call(answer, [True, False], [100, 300])
    if got == 200:
        _wrong("200 is the mean over all questions. Divide by the number of RIGHT answers.")
    if got == 100:
        _wrong("You left out what the wrong answer cost. Its 300 tokens were read, too.")
    _expect(answer, ([True, False], [100, 300]), 400.0)
    _expect(answer, ([True, True, False, True], [10, 20, 30, 40]), 100 / 3)
    try:
        nothing = answer([False, False], [5, 5])
    except ZeroDivisionError:
        _wrong('Nothing was right, so you divided by zero. Return float("inf") then.')
    if nothing != float("inf"):
        _wrong(f'If nothing was right, the price is float("inf"). Yours gave {_short(nothing)}.')
    return "A cheap method that is seldom right may be the dearest of all."


@_exercise("01.3")
def _worked_example(answer: Any) -> str:
    """A ReAct example with two searches that the tool really answered so, and the right answer."""
    from .artifacts import tiny_search
    from .trajectory import parse_text

    if not isinstance(answer, str):
        _wrong('Put the whole example into one text between """ and """.')
    try:
        steps = parse_text("", answer.strip()).steps
    except ValueError as error:
        _wrong(f"This does not read as an episode: {error}.")
    turns = [step.turn for step in steps]
    for number, turn in enumerate(turns, 1):
        if turn.action is None:
            _wrong(f"Round {number} has no readable action: {turn.problem}.")
        if not turn.thought:
            _wrong(f"Round {number} has no Thought. The model copies what it sees: show one.")
    if not turns or turns[-1].action != "finish":
        _wrong("The last round must end with Action: finish[...]. Or it never learns to stop.")
    if len(turns) < 3:
        _wrong(f"It has {len(turns) - 1} search; this question needs the author and then a year.")
    for number, (step, turn) in enumerate(zip(steps[:-1], turns[:-1], strict=True), 1):
        real = tiny_search().search(turn.argument)
        if step.observation is None or step.observation.strip() != real:
            _wrong(f"In round {number} the tool really says: {real!r}. Yours: "
                   f"{step.observation!r}.")  # fmt: skip
    if turns[-1].argument != "1942":
        _wrong(f"The answer is not {turns[-1].argument!r}. Read your own observations again.")
    if not any("1942" in (step.observation or "") for step in steps):
        _wrong(
            "1942 stands in no observation: this example would teach to guess. Search once more."
        )
    return "The model can copy this form, and every observation in it is true."


# -- 02 trajectory generation ---------------------------------------------------------------------


# -- 03 format unification ------------------------------------------------------------------------


# -- 04 QLoRA -------------------------------------------------------------------------------------


# -- 05 multi-method mixing -----------------------------------------------------------------------


# -- 06 evaluation --------------------------------------------------------------------------------


# -- 07 oracle selection --------------------------------------------------------------------------
