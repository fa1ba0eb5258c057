"""Upkeep from a shell: the notebooks, the study, the shipped data, the machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..artifacts import RUNS
from ..errors import FireActError
from .options import check_out, given, place, positive


def add_run(commands: Any) -> None:
    command = commands.add_parser("run", help="execute notebooks by papermill, offline")
    command.add_argument(
        "names", nargs="*", type=given, help="beginnings of notebook names, such as 00; all if none"
    )
    command.add_argument(
        "--smoke", action="store_true", help="smallest sizes: does every cell run?"
    )
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebook's first cell; repeat for more",
    )  # fmt: skip
    command.add_argument(
        "--out", type=place, default=RUNS / "executed", help="folder (%(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    from ..course.series import peak_memory_gib, run_series

    check_out(options.out, folder=True)
    parameters = {name: _value(value) for name, value in options.parameter}
    own = None
    if options.smoke:
        parameters["quick"] = True
        own = options.out / "smoke"  # its few episodes are nobody's results
    done = run_series(options.names, parameters, options.out, own)
    peak = peak_memory_gib()
    memory = f", at most {peak:.1f} GiB each" if peak else ""
    print(f"{len(done)} notebooks in {sum(run.seconds for run in done):.0f} s{memory}")


def _value(text: str) -> bool | int | float | str:
    """A parameter as papermill's own command line reads it."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def add_build(commands: Any) -> None:
    command = commands.add_parser(
        "build", help="execute the scripts and renew the committed notebooks"
    )
    command.add_argument(
        "names", nargs="*", type=given, help="beginnings of notebook names; all if none"
    )
    command.add_argument(
        "--texts", action="store_true", help="renew the text cells only; nothing is executed"
    )


def build(options: argparse.Namespace) -> None:
    from ..course.doctor import record_times
    from ..course.series import build, retell

    if options.texts:
        print(*retell(options.names), sep="\n")
        return
    done = build(options.names)
    record_times({run.notebook.stem: run.seconds for run in done})
    for run in done:
        print(run.notebook)


def add_badges(commands: Any) -> None:
    command = commands.add_parser(
        "badges", help="set the repository's address in every notebook's first cell and Colab link",
        description="Makes the notebooks fetch and open your copy of the project on Colab.",
    )  # fmt: skip
    command.add_argument(
        "--repo", type=given, required=True, metavar="OWNER/NAME", help="on GitHub"
    )


def badges(options: argparse.Namespace) -> None:
    from ..course.badges import set_repository

    written = set_repository(options.repo)
    print(f"https://github.com/{options.repo} stands in {len(written)} files. Install again to")
    print("renew what pip knows of it: python -m pip install --no-deps -e .")


def add_lab(commands: Any) -> None:
    command = commands.add_parser(
        "lab", help="your own copies of the notebooks, without outputs, in JupyterLab",
        description="Copies the notebooks without outputs into runs/lab and opens them there. A "
        "copy that you have edited or run is never written over.",
    )  # fmt: skip
    command.add_argument("--no-open", action="store_true", help="only lay the copies out")


def lab(options: argparse.Namespace) -> None:
    import subprocess
    import sys

    from ..course.copies import COPIES, lay_out

    for copy in lay_out():
        print(f"{copy.path.name:<32} {copy.fate}")
    print(f"-> {COPIES}\nTo begin one anew, move its file away and give this command again.")
    if not options.no_open:
        subprocess.run([sys.executable, "-m", "jupyterlab", str(COPIES)], check=False)


def add_progress(commands: Any) -> None:
    commands.add_parser(
        "progress", help="which exercises you have solved",
        description="Reads the saved notebooks in runs/lab; nothing is executed.",
    )  # fmt: skip


def progress(options: argparse.Namespace) -> None:
    from ..course.copies import progress

    marks = {"solved": "x", "not yet": "-", "waiting": " ", "not run": " "}
    found = progress()
    for notebook, cards in found.items():
        solved = sum(card.state == "solved" for card in cards)
        print(f"{notebook}: {solved} of {len(cards)}" if cards else f"{notebook}: no exercises")
        for card in cards:
            print(f"  [{marks[card.state]}] {card.number} {card.title:<42} {card.state}")
    every = [card for cards in found.values() for card in cards]
    print(f"{sum(card.state == 'solved' for card in every)} of {len(every)} solved, as last saved.")


def add_study(commands: Any) -> None:
    command = commands.add_parser("study", help="the whole grid of experiments; resumable, hours")
    command.add_argument("--workers", type=positive, default=2, help="processes (%(default)s)")
    command.add_argument("--list", action="store_true", help="only say what would be run, and time")
    command.add_argument("--out", type=place, default=RUNS / "study", help="folder (%(default)s)")


def study(options: argparse.Namespace) -> None:
    from ..analysis.outcomes import write_outcomes
    from ..files import write_file
    from ..study.grid import agents
    from ..study.rendering import render_tables
    from ..study.runner import Study
    from ..study.tables import study_tables

    check_out(options.out, folder=True)
    study = Study()
    print(study.forecast(agents(), options.workers))
    if options.list:
        return
    rows, costs = study.run(workers=options.workers), study.costs()
    write_outcomes(options.out / "study.csv.gz", rows)
    write_file(options.out / "study_costs.json", json.dumps(costs, indent=1))
    text = render_tables(study_tables(rows, costs))
    write_file(options.out / "study.md", text)
    print(f"{text}\n-> {options.out}")


def add_artifacts(commands: Any) -> None:
    command = commands.add_parser("artifacts", help="check or remake the shipped data")
    command.add_argument(
        "names",
        nargs="*",
        type=given,
        help="which to remake, or all; none: check the chain of hashes",
    )


def artifacts(options: argparse.Namespace) -> None:
    from ..artifacts import stale_links
    from ..study.chain import LINKS, remake

    for name in [*LINKS] if options.names == ["all"] else options.names:
        remake(name)
    problems = stale_links()
    if problems:
        raise FireActError("The chain of artifacts is broken. " + " ".join(problems))
    print("Every shipped artifact is what the manifest says.")


def add_doctor(commands: Any) -> None:
    commands.add_parser(
        "doctor", help="is this machine ready? how long will each notebook take?",
        description="Checks this machine for the series, and forecasts each notebook's time. "
        "Status 1 if something would stop the series.",
    )  # fmt: skip


def doctor(options: argparse.Namespace) -> None:
    from ..course.doctor import examine, render

    print("Looking at this machine and timing a piece of the work: up to 40 seconds.", flush=True)
    findings = examine()
    print(render(findings))
    if problems := [f.name for f in findings if f.level == "problem"]:
        raise FireActError(
            f"The series would be stopped here by: {', '.join(problems)}. Do what the lines above "
            "that begin with 'x problem' say, then run `fireact-nb doctor` again."
        )
