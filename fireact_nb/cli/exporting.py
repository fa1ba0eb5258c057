"""`fireact-nb export`: what others' trainers need, from a shell."""

from __future__ import annotations

import argparse
from typing import Any

from .options import check_in, check_out, given, place

_TARGETS = ("llamafactory", "trl", "openai", "together", "axolotl")


def add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export", help="write data, settings and the command for another trainer"
    )
    command.add_argument("target", choices=_TARGETS, help="program or service")
    command.add_argument(
        "trajectories", type=place, nargs="+", help="JSON lines; what cannot be taught is left out"
    )
    command.add_argument(
        "--model", type=given, default="student",
        help="shipped name, model folder or hub name; for a service its own name (%(default)s)",
    )  # fmt: skip
    command.add_argument("--out", type=place, required=True, help="folder for all files")
    command.add_argument(
        "--tools", action="store_true", help="native tool calls instead of Thought and Action"
    )


def export(options: argparse.Namespace) -> None:
    from ..agent.trajectory import read_trajectories
    from ..artifacts import find_model
    from ..lab import open_lab
    from ..learning.mixing import check_leaks
    from ..learning.services import export

    for path in options.trajectories:
        check_in(path)
    check_out(options.out, folder=True)
    read = [t for path in options.trajectories for t in read_trajectories(path)]
    check_leaks(read, open_lab("tiny").held_out())
    model = str(find_model(options.model))
    print(export(options.target, read, model, options.out, tools=options.tools))
