"""What several commands share: options, their checks, and whether a result can be written."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from pathlib import Path

from ..errors import FireActError


def add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", type=given, default="tiny",
        help="tiny, colab, paper, or a TOML file that changes parts of one (%(default)s)",
    )  # fmt: skip


def add_model(parser: argparse.ArgumentParser, role: str) -> None:
    parser.add_argument(
        "--model",
        type=given,
        help=f"shipped name, model folder or owner/name of the hub (the profile's {role})",
    )
    parser.add_argument("--adapter", type=place, help="LoRA adapter folder")


def add_questions(parser: argparse.ArgumentParser, split: str, count: int) -> None:
    parser.add_argument(
        "--task",
        type=given,
        default="hotpotqa",
        help="hotpotqa, strategyqa, mmlu, bamboogle (%(default)s)",
    )
    parser.add_argument(
        "--split", type=given, default=split, help="train, dev or test (%(default)s)"
    )
    parser.add_argument("--questions", type=place, help="JSON lines of your own, not a split")
    parser.add_argument("--count", type=positive, help=f"questions ({count}, or all if fewer)")
    parser.set_defaults(most=count)


def given(text: str) -> str:
    if not text.strip():  # else it would mean the present folder, or everything there is
        raise argparse.ArgumentTypeError("it is empty: give a name, or leave the option out")
    return text


def place(text: str) -> Path:
    return Path(given(text))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:  # what numpy takes
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 (any) to 65535")
    return int(text)


def amount(text: str) -> float:
    """A temperature or a sum of money."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def check_in(path: Path) -> None:
    """Say what cannot be read as a file: reading a device or a pipe may never end."""
    if path.exists() and not path.is_file():
        raise FireActError(
            f"{path} is no plain file but a folder, a device or a pipe. Give the path of a file."
        )


def check_out(path: Path, folder: bool = False, option: str = "--out") -> None:
    """Say before the work, not after it, that its result cannot be written there."""
    try:
        target = Path(os.path.realpath(path))
        if path.is_dir() and not folder:
            raise IsADirectoryError(0, "it is a folder")
        if os.path.lexists(target) and not target.is_file() and not target.is_dir():
            raise OSError(0, "it is a device, a pipe or a link to itself")
        parent = path if folder else path.parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise FireActError(
            f"{path} cannot be written ({error.strerror}), so nothing was started. Give {option} a "
            f"{'folder' if folder else 'file in a folder'} you may write to."
        ) from error


def find_journal(out: Path, journal: Path | None = None) -> Path:
    """Where finished work is recorded: beside the result, never in its place."""
    journal = journal or out.with_suffix(".journal")
    check_out(journal, option="--journal")
    if os.path.realpath(journal) == os.path.realpath(out):
        raise FireActError(
            f"{out} would be both the result and the journal that it grows from, so nothing was "
            "started. Give --out another name, such as one that ends in .jsonl."
        )
    return journal
