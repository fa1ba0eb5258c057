"""The checks of the notebooks' exercises: an instant answer that says what to do next.

Knows what a right answer does; knows nothing of how it was written. A check never raises, whatever
the learner wrote, so an unsolved exercise never breaks a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, NoReturn

from ...errors import FireActError

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
JUDGES: dict[str, Judge] = {}


def check(number: str, answer: Any) -> Verdict:
    """Try out what the learner wrote for exercise `number`, such as "01.1".

    Raises FireActError for a number that no exercise has, and nothing else.
    """
    if number not in JUDGES:
        raise FireActError(f"There is no exercise {number!r}. There are: {', '.join(JUDGES)}.")
    try:
        if answer is ...:
            raise _Waiting
        return Verdict(number, "solved", JUDGES[number](answer))
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


def exercise(number: str) -> Callable[[Judge], Judge]:
    """Enter a judge: it gets the answer, says what is wrong by `reject`, or returns a last word."""

    def enter(judge: Judge) -> Judge:
        JUDGES[number] = judge
        return judge

    return enter


def reject(message: str) -> NoReturn:
    raise _NotYet(message)


def call_directly(answer: Any, arguments: tuple[Any, ...], hint: str = "") -> Any:
    """What the learner's function gives; its errors become messages, with `hint` behind them."""
    if not callable(answer):
        reject("Hand the function itself to check, without calling it: check(number, name).")
    case = in_words(arguments)
    try:
        got = answer(*arguments)
        got = list(got) if isinstance(got, Iterator) else got  # a generator runs only now
    except (Exception, SystemExit) as error:  # exit() is no reason to end the run of a notebook
        reject(f"For ({case}) your code raised {type(error).__name__}: {error}. {hint}".strip())
    if got is ...:
        raise _Waiting
    return got


def call(answer: Any, *arguments: Any, hint: str = "") -> Any:
    """The same for copies of the arguments, where something must come back; arrays become lists."""
    got = call_directly(answer, deepcopy(arguments), hint)
    if got is None:
        reject(f"For ({in_words(arguments)}) your function gave None. Is there a return on every "
               "path?")  # fmt: skip
    return got.tolist() if hasattr(got, "tolist") else got


def expect(answer: Any, arguments: tuple[Any, ...], wanted: Any, hint: str = "") -> None:
    """Call the learner's function and compare; `hint` says what this case is about."""
    got = call(answer, *arguments, hint=hint)
    if isinstance(wanted, float) and isinstance(got, Real):
        right = is_close(got, wanted)
    elif isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        right = [*got] == [*wanted]
    else:
        right = got == wanted
    if not right:
        reject(f"For ({in_words(arguments)}) it gave {shorten(got)}; {shorten(wanted)} is wanted. "
               f"{hint}".strip())  # fmt: skip


def reject_slips(got: Any, slips: Mapping[float, str]) -> None:
    """Say what went wrong, if the number is one to which a typical slip leads."""
    if isinstance(got, Real) and not isinstance(got, bool):
        for value, message in slips.items():
            if is_close(got, value):
                reject(message)


def is_close(got: Any, wanted: float) -> bool:
    return abs(got - wanted) <= 1e-6 * max(1.0, abs(wanted))


def in_words(arguments: tuple[Any, ...]) -> str:
    return ", ".join(map(shorten, arguments))


def shorten(value: Any) -> str:
    text = repr(value).replace("\n", "")  # a matrix has several lines
    return text if len(text) <= 160 else f"{text[:157]}..."
