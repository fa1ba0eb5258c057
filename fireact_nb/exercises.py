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


# -- 02 trajectory generation ---------------------------------------------------------------------


# -- 03 format unification ------------------------------------------------------------------------


# -- 04 QLoRA -------------------------------------------------------------------------------------


# -- 05 multi-method mixing -----------------------------------------------------------------------


# -- 06 evaluation --------------------------------------------------------------------------------


# -- 07 oracle selection --------------------------------------------------------------------------
