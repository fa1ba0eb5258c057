"""The `fireact-nb` command: each step of the pipeline, and the notebook series, from a shell.

Only wires the rooms together; a FireActError is printed as its one paragraph.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import FireActError
from . import exploring, exporting, pipeline, selecting, upkeep

_EPILOG = """examples:
  fireact-nb run                          execute the whole series, offline
  fireact-nb run 00 -p seed 1             one notebook with another seed
  fireact-nb generate --method react --split train --count 200 --out runs/react.jsonl
  fireact-nb train runs/react.jsonl --out runs/student-react
  fireact-nb export trl runs/react.jsonl --out runs/for-trl
  fireact-nb evaluate --adapter runs/student-react --out runs/outcomes.csv
  fireact-nb explore runs/outcomes.csv    who got what right, as a page to look through
  fireact-nb serve data/models/student --adapter runs/student-react
  fireact-nb select runs/outcomes.csv     what choosing among its agents could gain
  fireact-nb pretrain student             the tiny student from nothing (resumable)
  fireact-nb study                        every experiment of the paper in the tiny world
  fireact-nb doctor                       is this machine ready for a workshop?
"""

# By name: how a command takes its options, and what it does with them.
COMMANDS = {
    "run": (upkeep.add_run, upkeep.run),
    "lab": (upkeep.add_lab, upkeep.lab),
    "progress": (upkeep.add_progress, upkeep.progress),
    "build": (upkeep.add_build, upkeep.build),
    "pretrain": (pipeline.add_pretrain, pipeline.pretrain),
    "generate": (pipeline.add_generate, pipeline.generate),
    "train": (pipeline.add_train, pipeline.train),
    "export": (exporting.add_export, exporting.export),
    "evaluate": (pipeline.add_evaluate, pipeline.evaluate),
    "explore": (exploring.add_explore, exploring.explore),
    "serve": (pipeline.add_serve, pipeline.serve),
    "outcomes": (selecting.add_outcomes, selecting.outcomes),
    "select": (selecting.add_select, selecting.select),
    "badges": (upkeep.add_badges, upkeep.badges),
    "study": (upkeep.add_study, upkeep.study),
    "artifacts": (upkeep.add_artifacts, upkeep.artifacts),
    "doctor": (upkeep.add_doctor, upkeep.doctor),
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fireact-nb",
        description="FireAct, hands-on: prompt, generate, unify, fine-tune, evaluate an agent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fireact-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for add, _ in COMMANDS.values():
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        _, do = COMMANDS[options.command]
        do(options)
    except FireActError as error:
        print(f"fireact-nb {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. What was finished is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    return 0
