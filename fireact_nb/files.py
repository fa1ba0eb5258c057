"""Files that are whole or absent, and errors that name the file, the line and what to do.

Knows text, JSON and JSON lines in UTF-8; knows nothing of what the files mean.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import FireActError

_NAMES: dict[type, str] = {dict: "object", list: "list"}


def read_text(path: str | Path) -> str:
    """The whole file, line ends untouched; a missing, empty or non-UTF-8 file is an error.

    A name that ends in .gz is unpacked.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise FireActError(
            f"There is no file {path}. Check the path (looked up from {Path.cwd()}), or make the "
            "file first with the step that writes it."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FireActError(
            f"{path} is not a whole gzip file ({error}). Download it or make it again."
        ) from error
    except OSError as error:
        raise FireActError(
            f"{path} cannot be read ({error.strerror}). Check that it is a file, not a folder, and "
            "that you may read it."
        ) from error
    except UnicodeDecodeError as error:
        raise FireActError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8, or check that this "
            "is the file you meant."
        ) from error
    if not text.strip():
        raise FireActError(f"{path} is empty. Download it or make it again.")
    return text


def read_json(path: str | Path, kind: type = list) -> Any:
    """The one JSON value in the file, which must be a `kind` (list or dict) that is not empty."""
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FireActError(f"{path} is not whole JSON: {_why(error, text)}") from error
    if not isinstance(value, kind) or not value:
        raise FireActError(
            f"{path} should hold a JSON {_NAMES[kind]} with something in it, but holds "
            f"{str(value)[:40]!r}. Check that this is the file you meant."
        )
    return value


def read_json_lines(
    path: str | Path, odd: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of every line; blank lines are skipped.

    A line that is no JSON object is an error; with `odd`, its text goes there and the rest is read.
    """
    # Not splitlines(): it would also break inside a string at U+2028 and its like.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, _read_object(line, f"{path}, line {number}")
        except FireActError as error:
            if odd is None:
                raise
            odd.append(str(error))


def _read_object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = _why(error, line, within=True)
        raise FireActError(f"{where} is not whole JSON: {why}") from error
    if not isinstance(value, dict):
        raise FireActError(
            f"{where} should be a JSON object, not {line[:40]!r}. Fix or remove the line, or check "
            "that this is the file you meant."
        )
    return value


def _why(error: Exception, text: str, within: bool = False) -> str:
    advice = "Download it or make it again."
    if not isinstance(error, json.JSONDecodeError):
        return f"{error}. {advice}"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it breaks off (a truncated file?). {advice}"
    at = f"column {error.colno}" if within else f"line {error.lineno}, column {error.colno}"
    return f"{error.msg} at {at}. {advice}"


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write the whole file or leave the old one as it was; missing folders are made.

    A name that ends in .gz is packed, without a time stamp: same content, same bytes. A symlink
    stays where it is and its target is written. Raises FireActError for a device, a pipe or a
    folder, and when the disk or the text forbids it; nothing is left behind.
    """
    path = Path(path)
    # The target itself is replaced: renaming onto a link would put a file in the link's place, and
    # renaming onto /dev/null would take it away from the whole machine.
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        if os.path.lexists(target) and not target.is_file():
            kind = "folder" if target.is_dir() else "device, a pipe or a link to itself"
            raise FireActError(
                f"{path} was not written: it is no plain file but a {kind}. Choose another name."
            )
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        data = gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the new name without its content
        os.replace(part, target)
    except UnicodeEncodeError as error:
        raise FireActError(
            f"{path} was not written: the text holds half a character (a lone surrogate) near "
            f"{content[max(0, error.start - 20) : error.start]!r}. Remove it from the row it is in."
        ) from error
    except OSError as error:
        raise FireActError(
            f"{path} was not written ({error.strerror}); an earlier version, if there was one, is "
            "untouched. Free some space or check that the folder may be written, then run the step "
            "again."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # most often it has taken its place by now
            part.unlink()


def file_state(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content, without reading it; None where there is no file.

    For what is kept of files within a process: a replaced file has another inode, a changed one
    another time or size.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def content_key(*parts: Any) -> str:
    """The sha256 of the parts as canonical JSON: equal content, equal key, on every machine.

    Dataclasses count as their dict, tuples as lists.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=asdict)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
