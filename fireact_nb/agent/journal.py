"""A crash-safe record of finished work: cache and resume point in one file.

Knows keys, JSON values and the disk. Does not know what a model, a call or a trajectory is.

The file is append-only JSONL, a record a line, which ends with the checksum of what precedes it:
``{"key": ..., "kind": ..., "value": {...}, "sum": "1a2b3c4d"}``. Records of the first edition have
none and are read as well.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import write_file

_OPENING = b'{"key": "'  # how every record begins
# What tells a damaged record from a line of another file: no single fault takes all three.
_MARKS = (_OPENING, b'", "kind": "', b'", "value": {')
_SUM = re.compile(rb', "sum": "([0-9a-f]{8})"\}')
_SUM_LENGTH = 20
_RESERVE = 1 << 18  # bytes that must fit on the disk before anything more is paid for
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_NO_LOCKS = (None, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class Journal:
    """Values by key and kind, each on the disk before `put` returns; one writer at a time.

    A record whose writing was cut short by a kill is dropped when the file is next opened. Lines
    that were damaged since move to a file with ".damaged" behind the name, with a warning; all
    others are kept. A later `put` of the same key and kind replaces the earlier one. An empty file
    with ".lock" behind the name stands beside the journal and stays. Raises FireActError when the
    file cannot be written, belongs to another writer, or is no journal.
    """

    def __init__(self, path: str | Path) -> None:
        import filelock

        self.path = Path(path)
        # Beside the file itself, whatever link led there, or two names would make two writers; and
        # not on the file, for Windows lets nobody read what is locked.
        self._guard = filelock.FileLock(f"{os.path.realpath(path)}.lock", thread_local=False)
        self._records: dict[tuple[str, str], bytes] = {}
        self._turn = threading.Lock()  # to write
        self._flush = threading.Lock()  # to wait for the disk
        self._end = self._safe = self._room = 0  # bytes written, durable, known to fit
        self._broken = ""  # why nothing more may be recorded
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise FireActError(
                f"The journal {self.path} cannot be opened for writing ({error.strerror}). "
                "Finished work is recorded there, so nothing was started. Choose a path in a "
                "folder you may write to."
            ) from error
        try:
            self._lock()
            self._replay()
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
        """Record a value; when this returns, nothing can lose it. Any thread may call.

        Raises FireActError when the disk refuses (the journal then holds what it held before), and
        when the file was deleted or replaced, or something else has written into it.
        """
        self.write(key, value, kind)
        self.flush()

    def write(self, key: str, value: dict[str, Any], kind: str = "call") -> None:
        """As `put`, but before the next `flush` a power cut, though no kill, may lose the value."""
        line = _line(key, kind, value)
        with self._turn:
            try:
                self._write(line)
                self._end += len(line)
            except BaseException:
                self._drop_tail()
                raise
            self._records[kind, key] = line

    def flush(self) -> None:
        """Wait until all that was written is on the disk."""
        mine = self._end
        with self._flush:  # one wait for the disk serves all who wrote before it began
            if self._safe < mine and not self._broken:
                self._commit()
        if self._broken:
            raise FireActError(self._broken)

    def make_room(self) -> None:
        """Raise FireActError if the disk has no room for what will be paid for next."""
        with self._turn:
            if self._end + _RESERVE // 2 < self._room:
                return
            try:
                # Whoever opens the file after a kill cuts zeros off its end.
                self._write(bytes(_RESERVE))
            finally:
                self._drop_tail()
            self._room = self._end + _RESERVE

    def keys(self, kind: str = "call") -> list[str]:
        """The keys of one kind, oldest first."""
        return [key for of, key in list(self._records) if of == kind]

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Let another writer in. What was read or put stays readable through `get`."""
        with self._turn:
            with suppress(OSError, ValueError):  # who waits for the disk need not wait longer
                end = self._end
                os.fsync(self._file.fileno())
                self._safe = end
            self._shut()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (held until close)

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

    def _replay(self) -> None:
        """Read all records, mend the end, set aside what is damaged."""
        self._file.seek(0)
        *lines, tail = self._file.readall().split(b"\n")
        damaged = {n: line for n, line in enumerate(lines, 1) if line and not self._read(line)}
        self._end = sum(len(line) + 1 for line in lines)
        if self._read(tail):  # whole, only its line break is missing
            self._file.write(b"\n")
            self._end += len(tail) + 1
        elif tail.strip(b"\0") and not _is_torn(tail):
            damaged[len(lines) + 1] = tail
        if (
            damaged
            and not self._records
            and not any(m in s for m in _MARKS for s in damaged.values())
        ):
            raise FireActError(
                f"{self.path} is not a journal: its line {min(damaged)} is "
                f"{damaged[min(damaged)][:60]!r}. Nothing was changed; choose another path for the "
                "journal."
            )
        if damaged:
            self._set_aside(damaged)
        else:
            self._file.truncate(self._end)
        self._safe = self._end

    def _set_aside(self, damaged: dict[int, bytes]) -> None:
        """Move lines, by number, to a file beside the journal, for a person to look at."""
        aside = Path(f"{self.path}.damaged")
        with aside.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in damaged.values()))
            file.flush()
            os.fsync(file.fileno())
        self._file.close()  # Windows replaces no file that is open
        write_file(self.path, self._content())
        self._open()
        self._end = os.fstat(self._file.fileno()).st_size
        some = ", ".join(map(str, list(damaged)[:5])) + ", ..." * (len(damaged) > 5)
        warnings.warn(
            f"{len(damaged)} lines of the journal {self.path} were damaged (line {some}) and moved "
            f"to {aside}. What they recorded is done anew; the other {len(self)} records are used.",
            stacklevel=4,
        )

    def _content(self) -> bytes:
        return b"".join(line.rstrip() + b"\n" for line in list(self._records.values()))

    def _read(self, line: bytes) -> bool:
        line = line.rstrip(b"\r")  # an editor's line ends change no record
        found = _SUM.fullmatch(line, max(0, len(line) - _SUM_LENGTH))
        if found and int(found[1], 16) != zlib.crc32(line[:-_SUM_LENGTH]):
            return False
        try:
            record = json.loads(line)
            kind, key, value = record["kind"], record["key"], record["value"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        # A record of the first edition has three fields: a fourth is a checksum that was damaged.
        if not found and len(record) != 3:
            return False
        if not (isinstance(kind, str) and isinstance(key, str) and isinstance(value, dict)):
            return False
        self._records[kind, key] = line
        return True

    def _write(self, data: bytes) -> None:
        if self._broken:
            raise FireActError(self._broken)
        if self._file.closed:
            raise FireActError(
                f"The journal {self.path} is closed, so nothing more can be recorded. Open it "
                "again, and keep it open until all work is done."
            )
        try:
            size = os.fstat(self._file.fileno()).st_size
            if size != self._end:
                self._lose("cut short" if size < self._end else "written by something else, too,")
                raise FireActError(self._broken)
            rest = memoryview(data)
            while rest:  # an unbuffered write may take only a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise FireActError(self._refusal(error)) from error

    def _commit(self) -> None:
        """Wait for the disk, then see that the file still stands where it was opened."""
        end = self._end
        try:
            os.fsync(self._file.fileno())
            here = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:  # what a failed flush left there nobody can tell
            with self._turn:
                self._break(self._refusal(error))
            return
        self._safe = end
        with suppress(OSError):
            if os.path.samestat(here, os.stat(self.path)):
                return
        with self._turn:
            self._lose("deleted, moved or replaced")

    def _lose(self, how: str) -> None:
        """The file is ours no more: end, but save what was recorded."""
        saved = Path(f"{self.path}.rescued") if os.path.lexists(self.path) else self.path
        self._break(
            f"The journal {self.path} was {how} while it was in use. All {len(self)} records of "
            f"this run are in {saved}: see what happened to the file, and run again with that one."
        )
        write_file(saved, self._content())

    def _break(self, why: str) -> None:
        self._broken = why
        self._shut()

    def _drop_tail(self) -> None:
        """Cut off what was not written whole."""
        if self._file.closed:
            return
        try:
            self._file.truncate(self._end)
        except OSError:
            # Nothing may follow a torn record; the next opening of the file cuts it off.
            self._shut()

    def _shut(self) -> None:
        self._file.close()
        self._guard.release()

    def _refusal(self, error: OSError | ValueError) -> str:
        number = getattr(error, "errno", None)
        why = "the disk is full" if number in _FULL else getattr(error, "strerror", "") or error
        return (
            f"The journal {self.path} could not record a result: {why}. The {len(self)} records "
            "before it are safe. Make room (or repair the disk) and run again; it resumes there."
        )


def _line(key: str, kind: str, value: dict[str, Any]) -> bytes:
    record = {"key": key, "kind": kind, "value": value}
    try:
        text = json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, as a broken reply can hold, needs escapes
        text = json.dumps(record).encode("utf-8")
    text = text[:-1]
    return text + b', "sum": "%08x"}\n' % zlib.crc32(text)


def _is_torn(tail: bytes) -> bool:
    """Whether a kill cut a record short; what has its checksum was written whole."""
    return tail.startswith(_OPENING[: len(tail)]) and not _SUM.search(tail)
