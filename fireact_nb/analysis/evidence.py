"""What a router may see of a question before anybody knows who is right, and that it is no more.

Knows questions' words and signals; sees marks only to make sure that nothing follows from them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import FireActError
from .outcomes import Outcome
from .pools import Pool

_NAME = re.compile(r"(?<![.?!] )(?<!^)\b[A-Z]\w+(?: [A-Z]\w+)*")


@dataclass(frozen=True)
class Case:
    """One question as a router sees it: its words, and signals by name where they are known.

    No id, no type, no gold answer: a router has nothing to look a mark up by.
    """

    text: str
    signals: Mapping[str, float] = field(default_factory=dict)


Cases = Mapping[str, Case]  # by question id
Evidence = Callable[[Pool], Cases]  # from the outcomes, of which it may use all but the marks


def cases_of(texts: Mapping[str, str], *signals: Mapping[str, Mapping[str, float]]) -> Cases:
    """A case for each text; each of `signals` maps questions to named numbers."""
    return {
        question: Case(text, {n: v for s in signals for n, v in s.get(question, {}).items()})
        for question, text in texts.items()
    }


def popularity(texts: Mapping[str, str], corpus: Iterable[str]) -> dict[str, dict[str, float]]:
    """How often the rarest name of each question occurs in a corpus, as log(1 + count).

    Names are read off capital letters, so a question without one has no such signal. The corpus is
    what the agent's search reads, or other questions: never this one's answer.
    """
    counts = Counter(name for text in corpus for name in _NAME.findall(text))
    names = {question: _NAME.findall(text) for question, text in texts.items()}
    return {
        question: {"popularity": math.log1p(min(counts[name] for name in found))}
        for question, found in names.items()
        if found
    }


def see(evidence: Evidence, pool: Pool, tested: str | None = None) -> Cases:
    """The cases, after a look at whether they depend on who is right on the tested questions.

    They are made a second time from the same outcomes with every mark of the split `tested` (None:
    of all questions) turned round. Raises FireActError where that changes anything.
    """
    cases, turned = evidence(pool), evidence(turn_marks(pool, tested))
    asked = {o.question_id for rows in pool.values() for o in rows}
    if lacking := sorted(asked - cases.keys()):
        raise FireActError(
            f"{len(lacking)} questions have no text (first: {lacking[0]}), so a router cannot read "
            "them. Add a column 'question' to the table."
        )
    for question in sorted(asked):
        if cases[question] != turned.get(question):
            raise FireActError(
                f"What the router sees of {question} changes when the marks of the tested "
                "questions are turned round: it has seen who is right. Make the signals without "
                "'correct' and 'f1', and without anything made of them."
            )
    return cases


def check_blind(
    choose: Callable[[Pool], Mapping[str, str]], pool: Pool, tested: str | None = None
) -> Mapping[str, str]:
    """What a whole procedure chooses, from outcomes to an agent for each tested question.

    Raises FireActError where its choices change with the marks of the tested questions.
    """
    chosen, turned = choose(pool), choose(turn_marks(pool, tested))
    changed = [question for question in chosen if chosen[question] != turned.get(question)]
    if changed:
        raise FireActError(
            f"{len(changed)} of {len(chosen)} choices change when the marks of the tested "
            f"questions are turned round (first: {changed[0]}): the router has seen who is right. "
            "Fit it on train, choose it on dev, and give it no mark of test."
        )
    return chosen


def turn_marks(pool: Pool, split: str | None = None) -> dict[str, list[Outcome]]:
    """The pool with right and wrong exchanged on one split, or everywhere."""
    return {
        name: [
            replace(o, correct=not o.correct, f1=1 - o.f1) if split in (None, o.split) else o
            for o in rows
        ]
        for name, rows in pool.items()
    }
