"""The explorer from a shell: tables of outcomes, and trajectories if there are any, as one page."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from ..agent.tasks import Question
from ..artifacts import RUNS
from ..errors import FireActError
from .options import check_in, check_out, given, place


def add_explore(commands: Any) -> None:
    command = commands.add_parser(
        "explore", help="outcomes and trajectories as one page to look through, offline",
        description="Writes one HTML file that needs neither a network nor a server: which agent "
        "got which question right, slices, what choosing could reach, every trajectory.",
    )  # fmt: skip
    command.add_argument(
        "outcomes", nargs="+", type=given, metavar="OUTCOMES",
        help="CSV, Parquet, our journals and trajectories, the authors' episodes, inspect_ai logs, "
        "lm-eval samples; NAME=FILE calls the agent of a file by that name",
    )  # fmt: skip
    command.add_argument(
        "--trajectories", nargs="+", type=place, default=[], metavar="FILE",
        help="JSON lines that a table's outcomes were made from",
    )  # fmt: skip
    command.add_argument(
        "--out", type=place, default=RUNS / "explorer.html", help="page (%(default)s)"
    )
    command.add_argument("--title", type=given, help="the page's title (the tables' names)")


def explore(options: argparse.Namespace) -> None:
    from ..agent.trajectory import read_trajectories
    from ..analysis.explorer import write_explorer
    from ..analysis.table import open_tables

    paths = [place(given.partition("=")[2] or given) for given in options.outcomes]
    for path in (*paths, *options.trajectories):
        check_in(path)
    check_out(options.out)
    table = open_tables(options.outcomes)
    trajectories = [t for path in options.trajectories for t in read_trajectories(path)]
    trajectories += table.trajectories.values()
    # What the tables say of a question is all there is of those that are not the tiny world's.
    questions = [Question(known, text, "", "", "") for known, text in table.texts.items()]
    questions += shipped_questions((o.task, o.split) for o in table.outcomes)
    title = options.title or ", ".join(path.name for path in paths)
    write_explorer(options.out, table.outcomes, trajectories, questions, title)
    size = options.out.stat().st_size / 1e6
    print(f"{len(table.outcomes):,} outcomes, {len(trajectories):,} trajectories, {size:.1f} MB")
    print(f"Open {options.out} in a browser.")


def shipped_questions(asked: Iterable[tuple[str, str]]) -> list[Question]:
    """The tiny world's questions of these tasks and splits: ids that are others' match none."""
    from ..tinyworld import TinyWorld

    found = []
    for task, split in sorted(set(asked)):
        try:
            found += TinyWorld().questions(split, task=task)
        except FireActError:  # no such split here: somebody else's table
            continue
    return found
