"""Choosing among agents from a shell: a template to fill in, and the analysis of any outcomes."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from .exploring import shipped_questions
from .options import amount, check_in, check_out, given, place, positive

if TYPE_CHECKING:
    from ..analysis.outcomes import Outcome
    from ..analysis.pools import Pool
    from ..analysis.report import Control
    from ..analysis.routing import Routed
    from ..analysis.selection import Implicit
    from ..analysis.table import Table


def add_outcomes(commands: Any) -> None:
    command = commands.add_parser("outcomes", help="a template for an outcomes table of your own")
    command.add_argument("what", choices=("template",), help="a CSV with every column, to fill in")
    command.add_argument("--out", type=place, help="file (default: print it)")


def outcomes(options: argparse.Namespace) -> None:
    from ..analysis.table import template
    from ..files import write_file

    if options.out is None:
        print(template(), end="")
        return
    check_out(options.out)
    write_file(options.out, template())
    print(f"Fill in your rows, then: fireact-nb select {options.out}")


def add_select(commands: Any) -> None:
    command = commands.add_parser(
        "select", help="what choosing among agents could gain: oracle, control, routers",
        description="Reads outcomes (CSV, Parquet, our journals and trajectories, the authors' "
        "released episodes, inspect_ai logs, lm-eval samples) and prints what choosing among the "
        "agents could gain, and how sure that is.",
    )  # fmt: skip
    command.add_argument(
        "tables", type=given, nargs="+", metavar="TABLE",
        help="file; NAME=FILE calls the agent of a file by that name",
    )  # fmt: skip
    command.add_argument(
        "--agent", type=given, action="append", default=[], metavar="NAME",
        help="an agent of the pool; repeat for more (default: all)",
    )  # fmt: skip
    for name in ("task", "condition", "split"):
        command.add_argument(
            f"--{name}", type=given, help=f"whose rows (needed if there are several {name}s)"
        )
    command.add_argument(
        "--temperature", type=amount, help="whose rows (default: each agent's lowest)"
    )
    command.add_argument(
        "--asked",
        type=positive,
        help="questions asked, if the tables hold fewer; the rest is wrong",
    )
    command.add_argument(
        "--routers", action="store_true", help="fit and test routers, too (needs scikit-learn)"
    )
    command.add_argument("--out", type=place, help="write the text there, too")


def select(options: argparse.Namespace) -> None:
    from ..analysis.report import analyse, render
    from ..analysis.table import open_tables
    from ..files import write_file

    if options.out is not None:
        check_out(options.out)
    for path in options.tables:
        check_in(place(path.partition("=")[2] or path))
    table = open_tables(options.tables)
    rows = list(table.outcomes)
    for column in ("task", "condition"):
        rows = _keep(rows, column, getattr(options, column))
    split = options.split or _tested(rows)
    heat = _heat(rows, options)
    greedy = [o for o in rows if o.temperature == heat[o.agent]]
    pool, missing = _pool(_keep(greedy, "split", split), options)
    dev = _dev(greedy, split, options)
    controls = _controls(pool, _keep(rows, "split", split))
    routed = _route(greedy, split, table, options) if options.routers else ()
    text = "".join(f"{name}: {n} questions missing, counted as wrong\n" for name, n in missing)
    text += render(analyse(pool, dev, controls, routed, _implicit(pool, table)))
    print(text, end="")
    if options.out is not None:
        write_file(options.out, text)


def _keep(rows: Sequence[Outcome], column: str, wanted: str | None) -> list[Outcome]:
    values = sorted({str(getattr(o, column)) for o in rows})
    if wanted is None and len(values) > 1:
        raise FireActError(
            f"The tables hold rows of several {column}s: {', '.join(values)}. Name one by "
            f"--{column}."
        )
    kept = [o for o in rows if wanted is None or getattr(o, column) == wanted]
    if not kept:
        raise FireActError(
            f"The tables hold no rows of the {column} {wanted!r}, only of: {', '.join(values)}."
        )
    return kept


def _tested(rows: Sequence[Outcome]) -> str | None:
    """The one split there is; of a table with train and dev as well, test is what it is about."""
    splits = {o.split for o in rows}
    if len(splits) == 1:
        return splits.pop()
    return "test" if "test" in splits and splits <= {"train", "dev", "test"} else None


def _heat(rows: Sequence[Outcome], options: argparse.Namespace) -> dict[str, float]:
    """The temperature of each agent whose rows are analysed."""
    found: dict[str, float] = {}
    for o in rows:
        lowest = min(found.get(o.agent, o.temperature), o.temperature)
        found[o.agent] = lowest if options.temperature is None else options.temperature
    return found


def _pool(
    rows: Sequence[Outcome], options: argparse.Namespace
) -> tuple[Pool, list[tuple[str, int]]]:
    from ..analysis.table import pool_of

    chosen = pool_of(_common_seeds(rows, options.agent), options.agent, options.asked or 0)
    return chosen.pool, list(chosen.missing.items())


def _common_seeds(rows: Sequence[Outcome], agents: Sequence[str]) -> list[Outcome]:
    """Of agents with several seeds the rows of the seeds that all of those have."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for o in rows:
        if not agents or o.agent in agents:
            seeds[o.agent].add(o.seed)
    several = [found for found in seeds.values() if len(found) > 1]
    common = set.intersection(*several) if several else set()
    if several and not common:
        raise FireActError(
            "The agents have no seed in common, so their runs do not pair. Name agents by --agent "
            f"that do; the seeds are: {dict(seeds)}."
        )
    return [o for o in rows if len(seeds.get(o.agent, ())) < 2 or o.seed in common]


def _dev(rows: Sequence[Outcome], split: str | None, options: argparse.Namespace) -> Pool | None:
    """The pool on dev, if all of its agents played it."""
    on_dev = [o for o in rows if o.split == "dev"]
    if split == "dev" or not on_dev:
        return None
    wanted = options.agent or sorted({o.agent for o in rows})
    if {o.agent for o in on_dev} < set(wanted):
        return None
    return _pool(on_dev, argparse.Namespace(agent=options.agent, asked=None))[0]


def _controls(pool: Pool, rows: Sequence[Outcome]) -> list[Control]:
    """The pass@k control of every agent of the pool that has samples enough at one temperature."""
    from ..analysis.report import control

    played = {o.question_id for found in pool.values() for o in found}
    groups: dict[tuple[str, float], list[Outcome]] = defaultdict(list)
    for o in rows:
        if o.agent in pool and o.temperature > 0 and o.question_id in played:
            groups[o.agent, o.temperature].append(o)
    found = []
    for (agent, _), samples in groups.items():
        tries: dict[tuple[int, str], int] = defaultdict(int)
        for o in samples:
            tries[o.seed, o.question_id] += 1
        if min(tries.values()) >= len(pool):
            found.append(control(pool, agent, samples))
    return found


def _implicit(pool: Pool, table: Table) -> dict[str, Implicit]:
    """The methods that agents picked, where the tables' files hold their episodes, scored."""
    from ..analysis.selection import implicit_choice

    found = {}
    for name, rows in pool.items():
        episodes = [
            replace(table.trajectories[o.trajectory_id], correct=o.correct)
            for o in rows
            if o.trajectory_id in table.trajectories
        ]
        if episodes:
            found[name] = implicit_choice(episodes)
    return found


def _route(
    rows: Sequence[Outcome], split: str | None, table: Table, options: argparse.Namespace
) -> list[Routed]:
    """Routers on the questions' words, and on how popular their names are in train."""
    from ..analysis.evidence import cases_of, popularity
    from ..analysis.routing import families, route

    whole = {o.split for o in rows} == {"train", "dev", "test"} and split == "test"
    kept = list(rows) if whole else _keep(rows, "split", split)
    parts = {o.split for o in kept}
    pool: dict[str, list[Outcome]] = defaultdict(list)
    for part in sorted(parts):
        here = argparse.Namespace(agent=options.agent, asked=None)
        for name, found in _pool([o for o in kept if o.split == part], here)[0].items():
            pool[name] += found
    asked = {o.question_id for found in pool.values() for o in found}
    known = {q.id: q.question for q in shipped_questions({(o.task, o.split) for o in kept})}
    texts = {q: text for q, text in (known | dict(table.texts)).items() if q in asked}
    train = {o.question_id for o in kept if whole and o.split == "train"}
    seen = [text for q, text in texts.items() if q in train]
    cases = cases_of(texts, popularity(texts, seen) if seen else {})
    return route(dict(pool), lambda _: cases, families(("popularity",) if seen else ()))
