"""What several commands share: options, their checks, and whether a result can be written."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ..errors import FireActError


def add_model(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--model", default=default, help="shipped name or model folder (%(default)s)"
    )
    parser.add_argument("--adapter", type=Path, help="LoRA adapter folder")


def add_questions(parser: argparse.ArgumentParser, split: str, count: int) -> None:
    parser.add_argument(
        "--task", default="hotpotqa", help="hotpotqa, strategyqa, mmlu, bamboogle (%(default)s)"
    )
    parser.add_argument("--split", default=split, help="train, dev or test (%(default)s)")
    parser.add_argument("--count", type=positive, help=f"questions ({count}, or all if fewer)")
    parser.set_defaults(most=count)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def check_out(path: Path, folder: bool = False) -> None:
    """Say before the work, not after it, that its result cannot be written there."""
    try:
        if path.is_dir() and not folder:
            raise IsADirectoryError(0, "it is a folder")
        parent = path if folder else path.parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise FireActError(
            f"{path} cannot be written ({error.strerror}), so nothing was started. Give --out a "
            f"{'folder' if folder else 'file in a folder'} you may write to."
        ) from error
