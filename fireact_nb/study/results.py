"""The study's rows looked up, and the values that its tables are made of.

A `Claim` is one comparison the paper makes, with our paired difference; its verdict is read off the
interval, never off the sign alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..agent.search import NORMAL, Condition
from ..analysis.outcomes import Outcome, read_outcomes
from ..analysis.statistics import Interval, paired_bootstrap
from ..artifacts import Origin, find_origin, find_shipped, shipped
from ..errors import FireActError
from ..files import read_json
from ..lab import Lab, open_lab
from ..models.local import LocalChat
from .grid import PROFILE, VARIANT_SEEDS, Agent


@dataclass(frozen=True)
class Line:
    """One row: our accuracy with its interval, by seed where there are several; the paper's in %.

    `extra` holds what else the row tells, in words.
    """

    label: str
    ours: Interval
    n: int
    seeds: tuple[float, ...]
    paper: float | None = None
    extra: str = ""


@dataclass(frozen=True)
class Claim:
    """One effect: what the paper says in points, and our paired difference (share, not percent).

    `sign` is the paper's direction where its size is not known.
    """

    text: str
    paper: float | None
    ours: Interval
    sign: int = 0

    @property
    def verdict(self) -> str:
        """Agrees, disagrees, or not resolved where our interval includes zero.

        Without a word of the paper: up or down.
        """
        if self.ours.low <= 0 <= self.ours.high:
            return "not resolved"
        theirs = self.paper or self.sign
        if not theirs:
            return "up" if self.ours.value > 0 else "down"
        return "agrees" if (self.ours.value > 0) == (theirs > 0) else "disagrees"


@dataclass(frozen=True)
class Table:
    """A table of the study and what follows from it."""

    title: str
    source: str
    lines: tuple[Line, ...]
    claims: tuple[Claim, ...] = ()

    @property
    def differences(self) -> list[tuple[str, Interval, float | None]]:
        """The claims as rows of `figures.plot_differences`: ours and the paper's as shares."""
        return [(c.text, c.ours, None if c.paper is None else c.paper / 100) for c in self.claims]


class Outcomes:
    """The study's rows, looked up by agent, task and condition; `costs` say what trainings took.

    An agent is the grid's or, in a table of one's own, any name; a condition may be its text.
    `origin` and `costs_origin` tell where rows and costs come from, if they were opened.
    """

    def __init__(
        self,
        rows: Iterable[Outcome],
        costs: Iterable[Mapping[str, Any]] = (),
        origin: Origin | None = None,
        costs_origin: Origin | None = None,
    ) -> None:
        self.rows = list(rows)
        self.origin, self.costs_origin = origin, costs_origin
        self.trainings = {(c["agent"], c["seed"]): c["training"] for c in costs if "training" in c}

    def training(self, agent: Agent | str, seed: int = 0) -> str:
        """What a fine-tuning took and left on the disk, in words; empty where it is not known."""
        done = self.trainings.get((_name(agent), seed))
        if not done:
            return ""
        return (
            f"{done['seconds']:.0f} s on one core, {done['saved_bytes'] / 1e6:.2f} MB, "
            f"{done['trained_parameters']:,} weights trained"
        )

    def of(
        self,
        agent: Agent | str,
        task: str = "hotpotqa",
        condition: Condition | str = NORMAL,
        sampled: bool = False,
        seed: int | None = None,
    ) -> list[Outcome]:
        """An agent's rows: greedy ones, or with `sampled` those drawn at a temperature.

        Of all its seeds, or of one. Raises FireActError when there are none.
        """
        name = _name(agent)
        found = [
            o
            for o in self.rows
            if o.agent == name
            and o.task == task
            and o.condition == str(condition)
            and (o.temperature > 0) == sampled
            and seed in (None, o.seed)
        ]
        if not found:
            agents = sorted({o.agent for o in self.rows})
            raise FireActError(
                f"The outcomes hold no rows of {name!r} on {task} ({condition}). The agents are: "
                f"{'; '.join(agents)}."
            )
        return found

    def line(self, label: str, rows: Sequence[Outcome], paper_value: float | None = None,
             extra: str = "") -> Line:  # fmt: skip
        """A line of a table; rows of several seeds are averaged by question."""
        seeds = sorted({o.seed for o in rows})
        values = tuple(fmean(o.correct for o in rows if o.seed == s) for s in seeds)
        questions: dict[str, list[bool]] = {}
        for o in rows:
            questions.setdefault(o.question_id, []).append(o.correct)
        means = [fmean(marks) for marks in questions.values()]
        ours = paired_bootstrap([0.0] * len(means), means)
        return Line(label, ours, len(questions), values, paper_value, extra)


def open_study() -> Outcomes:
    """The outcomes and costs of a study: the learner's own, if there is one, else the shipped."""
    rows = find_origin("study", "study/study.csv.gz", "make study")
    costs = find_origin("study_costs", "study/study_costs.json", "make study")
    return Outcomes(read_outcomes(rows.path), read_json(costs.path), rows, costs)


def open_live() -> Outcomes:
    """The shipped runs of the cells that notebooks train live: every seed, on dev."""
    origin = find_shipped("live")
    return Outcomes(read_outcomes(origin.path), origin=origin)


def open_dev() -> Outcomes:
    """The shipped outcomes of the prompted teacher on dev."""
    origin = find_shipped("dev_outcomes")
    return Outcomes(read_outcomes(origin.path), origin=origin)


def study_lab() -> Lab:
    """Where the study was played: its questions, tool and models, whatever a notebook's profile."""
    return open_lab(PROFILE)


def load_student(agent: Agent, batch_size: int = 128) -> LocalChat:
    """A shipped student of the grid as its fine-tuning left it, at home in `study_lab`."""
    return study_lab().chat(shipped(agent.slug), batch_size)


def _name(agent: Agent | str) -> str:
    return agent if isinstance(agent, str) else agent.name


Sides = tuple[list[Outcome], list[Outcome]]


def same_questions(before: Sequence[Outcome], after: Sequence[Outcome]) -> Sides:
    """Of both sides the rows of the questions that both have."""
    asked = {o.question_id for o in before} & {o.question_id for o in after}
    one, other = ([o for o in rows if o.question_id in asked] for rows in (before, after))
    return one, other


def common_seeds(before: Sequence[Outcome], after: Sequence[Outcome]) -> Sides:
    """Of both sides the rows of the seeds that both have."""
    seeds = {o.seed for o in before} & {o.seed for o in after}
    one, other = ([o for o in rows if o.seed in seeds] for rows in (before, after))
    return one, other


def same_seeds(rows: Sequence[Outcome]) -> list[Outcome]:
    """Of the standard agent, only the seeds that the variants beside it were run with."""
    return [row for row in rows if row.seed in VARIANT_SEEDS]
