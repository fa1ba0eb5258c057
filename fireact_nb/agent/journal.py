"""A crash-safe record of finished work: cache and resume point in one file.

Knows keys, JSON values and the disk. Does not know what a model, a call or a trajectory is.

The file is append-only JSONL, a record a line: ``{"key": ..., "kind": ..., "value": {...}}``.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import FireActError

_OPENING = b'{"key": "'  # how every record begins: tells a torn record from a file of another kind
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_NO_LOCKS = (None, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class Journal:
    """Values by key and kind, each on the disk before `put` returns; one writer at a time.

    A record whose writing was cut short by a kill is dropped when the file is next opened; all
    others are kept. A later `put` of the same key and kind replaces the earlier one. An empty file
    with ".lock" behind the name stands beside the journal and stays. Raises FireActError when the
    file cannot be written, belongs to another writer, or is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        import filelock

        self.path = Path(path)
        # Beside the file itself, whatever link led there, or two names would make two writers; and
        # not on the file, for Windows lets nobody read what is locked.
        self._guard = filelock.FileLock(f"{os.path.realpath(path)}.lock", thread_local=False)
        self._records: dict[tuple[str, str], bytes] = {}
        self._turn = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (held until close)
        except OSError as error:
            raise FireActError(
                f"The journal {self.path} cannot be opened for writing ({error.strerror}). "
                "Finished work is recorded there, so nothing was started. Choose a path in a "
                "folder you may write to."
            ) from error
        try:
            self._lock()
            self._end = self._replay()
        except BaseException as error:
            if self._guard.is_locked:  # then the file is no journal, and nothing is left beside it
                with suppress(OSError):
                    os.unlink(self._guard.lock_file)
            self._shut()
            if isinstance(error, OSError):
                raise FireActError(
                    f"The journal {self.path} could not be locked, read or repaired "
                    f"({error.strerror}). Check the disk, and that you may write in its folder; or "
                    "copy the file to another folder and use it there."
                ) from error
            raise

    def get(self, key: str, kind: str = "call") -> dict[str, Any] | None:
        """The value as JSON gives it back (a fresh copy), or None if there is none."""
        line = self._records.get((kind, key))
        return None if line is None else json.loads(line)["value"]

    def put(self, key: str, value: dict[str, Any], kind: str = "call") -> None:
        """Record a value; when this returns, a kill cannot lose it. Any thread may call.

        Raises FireActError when the disk refuses; the journal then holds what it held before.
        """
        line = _line({"key": key, "kind": kind, "value": value})
        with self._turn:
            if self._file.closed:
                raise FireActError(
                    f"The journal {self.path} is closed, so nothing more can be recorded. Open it "
                    "again, and keep it open until all work is done."
                )
            try:
                rest = memoryview(line)
                while rest:  # an unbuffered write may take only a part
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except BaseException as error:
                self._drop_tail(self._end)
                if isinstance(error, OSError):
                    raise FireActError(self._refusal(error)) from error
                raise
            self._end += len(line)
            self._records[kind, key] = line

    def keys(self, kind: str = "call") -> list[str]:
        """The keys of one kind, oldest first."""
        return [key for of, key in list(self._records) if of == kind]

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Let another writer in. What was read or put stays readable through `get`."""
        with self._turn:
            self._shut()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        """Be the one writer; a holder that is killed loses the lock with its life."""
        import filelock

        try:
            self._guard.acquire(blocking=False)
        except filelock.Timeout as error:
            raise FireActError(
                f"The journal {self.path} is being written by another run, or by a journal opened "
                "earlier in this notebook. Wait for that run to end, close that journal (or "
                "restart its kernel), or give this run a journal of its own."
            ) from error
        except (OSError, NotImplementedError) as error:
            if getattr(error, "errno", None) not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{self.path} is on a file system without locks: see to it yourself that only "
                "one run writes there.",
                stacklevel=3,
            )

    def _replay(self) -> int:
        """Read all records and repair the end; returns the length of the sound file."""
        self._file.seek(0)
        *lines, tail = self._file.readall().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not self._read(line):
                raise FireActError(
                    f"Line {number} of the journal {self.path} is not a record: {line[:60]!r}. "
                    "Nothing was changed. If the file is a journal, something else has written "
                    "into it: delete that line and run again (only that record is done anew). If "
                    "it is not, choose another path."
                )
        end = sum(len(line) + 1 for line in lines)
        if self._read(tail):  # whole, only its line break is missing
            self._file.write(b"\n")
            end += len(tail) + 1
        elif tail.startswith(_OPENING[: len(tail)]) or not tail.strip(b"\0"):
            self._file.truncate(end)
        else:
            raise FireActError(
                f"{self.path} is not a journal: it ends with {tail[-60:]!r}. Nothing was changed; "
                "choose another path for the journal."
            )
        return end

    def _read(self, line: bytes) -> bool:
        try:
            record = json.loads(line)
            kind, key, value = record["kind"], record["key"], record["value"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if not (isinstance(kind, str) and isinstance(key, str) and isinstance(value, dict)):
            return False
        self._records[kind, key] = line
        return True

    def _drop_tail(self, end: int) -> None:
        try:
            self._file.truncate(end)
        except OSError:
            # Nothing may follow a torn record; the next opening of the file cuts it off.
            self._shut()

    def _shut(self) -> None:
        self._file.close()
        self._guard.release()

    def _refusal(self, error: OSError) -> str:
        why = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        return (
            f"The journal {self.path} could not record a result: {why}. The {len(self)} records "
            "before it are safe. Make room (or repair the disk) and run again; it resumes there."
        )


def _line(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, as a broken reply can hold, needs escapes
        return json.dumps(record).encode("utf-8") + b"\n"
