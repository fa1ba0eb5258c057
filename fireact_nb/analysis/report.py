"""The whole selection analysis of one pool as values, and as a page of plain text.

Knows pools and what the other rooms make of them; reads no file and fits no router itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .costs import Cost, Point, area, cheapest_correct, front, points, tokens
from .outcomes import Outcome
from .pools import Pool, count_samples, rates
from .routing import Routed
from .selection import (
    Implicit,
    best_fixed,
    corrected_oracle,
    oracle_beyond_samples,
    oracle_choice,
    pass_at_k,
    random_choice,
    same_temperature,
)
from .significance import McNemar, detectable_difference, holm, mcnemar
from .statistics import Interval
from .union import Alone, Growth, alone, oracle_growth, shapley, unsolved


@dataclass(frozen=True)
class Control:
    """Repeated tries of one agent beside the oracle over as many agents, on the same questions."""

    agent: str
    tries: int
    questions: int
    passed: Interval
    beyond: Interval  # oracle minus this
    fair: bool  # played at the pool's temperature


@dataclass(frozen=True)
class Comparison:
    """The best fixed agent against another, on the questions of the first seed and sample."""

    other: str
    test: McNemar
    p_adjusted: float  # Holm, over all comparisons of the analysis
    detectable: float  # the smallest difference that these questions would show


@dataclass(frozen=True)
class Analysis:
    """Everything that one pool tells about choosing among its agents.

    `corrected` is None where agents have one sample only, `cheapest` where they have several.
    """

    questions: int
    agents: tuple[Point, ...]
    random: Interval
    best: str
    best_score: Interval
    best_on_dev: bool
    oracle: Interval
    corrected: Interval | None
    growth: tuple[Growth, ...]
    shares: Mapping[str, Interval]
    alone: Mapping[str, Alone]
    unsolved: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    controls: tuple[Control, ...]
    cheapest: Point | None
    front: tuple[Point, ...]
    area: float
    implicit: Mapping[str, Implicit]
    routed: tuple[Routed, ...]


def analyse(
    pool: Pool,
    dev: Pool | None = None,
    controls: Sequence[Control] = (),
    routed: Sequence[Routed] = (),
    implicit: Mapping[str, Implicit] | None = None,
    cost: Cost = tokens,
) -> Analysis:
    """All of it for one pool; `dev` holds the same agents on other questions, to choose by.

    `implicit` tells, where trajectories are at hand, which method each agent picked by itself.
    """
    best, score = best_fixed(pool, dev)
    every = points(pool, cost)
    single = count_samples(pool) == 1
    return Analysis(
        questions=len({o.question_id for o in pool[best]}),
        agents=tuple(every),
        random=random_choice(pool),
        best=best,
        best_score=score,
        best_on_dev=dev is not None,
        oracle=oracle_choice(pool),
        corrected=corrected_oracle(pool) if count_samples(pool) > 1 else None,
        growth=oracle_growth(pool),
        shares=shapley(pool),
        alone=alone(pool),
        unsolved=unsolved(pool),
        comparisons=_compare(pool, best),
        controls=tuple(controls),
        cheapest=cheapest_correct(pool, cost) if single else None,
        front=tuple(front(every)),
        area=area(every),
        implicit=implicit or {},
        routed=tuple(routed),
    )


def control(pool: Pool, agent: str, samples: Sequence[Outcome]) -> Control:
    """The pass@k control for a pool of k agents, on the questions that the samples hold."""
    asked = {o.question_id for o in samples}
    small = {name: [o for o in rows if o.question_id in asked] for name, rows in pool.items()}
    return Control(
        agent,
        len(pool),
        len(asked),
        pass_at_k(samples, len(pool)),
        oracle_beyond_samples(small, samples),
        same_temperature(small, samples),
    )


def _compare(pool: Pool, best: str) -> tuple[Comparison, ...]:
    marks = {name: (rates({name: rows})[0, 0] >= 0.5).tolist() for name, rows in pool.items()}
    tests = {name: mcnemar(marks[best], marks[name]) for name in pool if name != best}
    adjusted = holm({name: test.p for name, test in tests.items()})
    found = []
    for name, test in tests.items():
        n = len(marks[name])
        dispute = (test.only_a + test.only_b) / n
        found.append(
            Comparison(name, test, adjusted[name], detectable_difference(n, dispute or 1 / n))
        )
    return tuple(found)


# -- as text ------------------------------------------------------------------------------------


def render(analysis: Analysis) -> str:
    """The analysis as lines of text, for a terminal."""
    a = analysis
    wide = max([24, *(len(p.name) for p in a.agents)]) + 4
    lines = [f"{a.questions} questions, {len(a.agents)} agents; 95% intervals", ""]
    priced = any(p.cost for p in a.agents)  # a file that tells no tokens tells nothing of cost
    lines += ["agent".ljust(wide) + "right".ljust(24) + "cost a question" * priced]
    lines += [f"{p.name:<{wide}}{p.score!s:<24}" + f"{p.cost:,.1f}" * priced for p in a.agents]
    where = "on dev" if a.best_on_dev else "on these very questions, a little optimistic"
    rows = [
        ("random choice", a.random, ""),
        ("best fixed", a.best_score, f"{a.best} (chosen {where})"),
        ("oracle", a.oracle, f"{len(a.unsolved)} questions nobody solves"),
    ]
    if a.corrected is not None:
        rows.append(("oracle, luck taken out", a.corrected, "one sample of each left out"))
    for c in a.controls:
        fair = "" if c.fair else "; another temperature than the pool's"
        rows.append((f"pass@{c.tries}", c.passed, f"{c.agent}, {c.questions} questions{fair}"))
        rows.append(("  oracle minus that", c.beyond, ""))
    if a.cheapest is not None and priced:
        rows.append(("cheapest right", a.cheapest.score, f"at a cost of {a.cheapest.cost:,.1f}"))
    lines += ["", *(f"{name:<{wide}}{value!s:<24}{note}".rstrip() for name, value, note in rows)]
    lines += ["", "who adds what".ljust(wide) + "share of the oracle".ljust(24) + "alone right"]
    for name, share in a.shares.items():
        only = a.alone[name]
        lines.append(f"{name:<{wide}}{share!s:<24}{only.share} ({len(only.questions)} questions)")
    lines += ["", "the oracle's growth".ljust(wide) + "in this order".ljust(24) + "any so many"]
    lines += [f"+ {g.added:<{wide - 2}}{g.oracle!s:<24}{g.of_size}" for g in a.growth]
    lines += ["", "best fixed against".ljust(wide) + "McNemar, p by Holm".ljust(24) + "detectable"]
    for pair in a.comparisons:
        said = f"{pair.test.only_a} : {pair.test.only_b}, p = {pair.p_adjusted:.3g}"
        lines.append(f"{pair.other:<{wide}}{said:<24}{100 * pair.detectable:.1f} points")
    names = " -> ".join(p.name for p in a.front)
    if priced:
        lines += ["", f"front of cost and score: {names}; mean score along it {a.area:.3f}"]
    return "\n".join(lines + _methods(a.implicit, wide) + _routers(a.routed, wide)) + "\n"


def _methods(implicit: Mapping[str, Implicit], wide: int) -> list[str]:
    if not implicit:
        return []
    lines = ["", "the method each picked by itself: how often, and right then"]
    for name, found in implicit.items():
        parts = [f"{m} {found.shares[m]:.0%}, {found.scores[m].value:.3f}" for m in found.shares]
        lines.append(f"{name:<{wide}}{'; '.join(parts)}")
    return lines


def _routers(routed: Sequence[Routed], wide: int) -> list[str]:
    if not routed:
        return []
    head = "right".ljust(24) + "cost".ljust(10) + "entropy".ljust(9) + "share of the gap closed"
    lines = ["", f"routers, {routed[0].how}", " ".ljust(wide) + head]
    for r in routed:
        lines.append(
            f"{r.name:<{wide}}{r.score!s:<24}{r.cost:<10,.0f}{r.entropy:<9.2f}{r.closed} "
            f"(gain {r.gain})"
        )
    return lines
