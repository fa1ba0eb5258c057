"""The journal under bit flips, cuts, strangers and a full disk: nothing changed is ever used."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from killing import TESTS
from long import TRUST

from fireact_nb.agent.journal import Journal
from fireact_nb.errors import FireActError

FLIPS = 3000 if TRUST else 150
RECORDS = {f"{n:064x}": {"text": f"Thought: {n}é\nAction: J[*{n}]", "n": [n]} for n in range(12)}
posix = pytest.mark.skipif(os.name == "nt", reason="no file that is open can be deleted there")


def write(path: Path) -> bytes:
    with Journal(path) as journal:
        for key, value in RECORDS.items():
            journal.put(key, value)
    return path.read_bytes()


def open_damaged(path: Path, content: bytes) -> tuple[dict[str, Any], list[str]]:
    """What a journal with this content holds, and what opening it warned of."""
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Journal(path) as journal:
            held = {key: journal.get(key) for key in list(journal.keys())}
    return held, [str(warning.message) for warning in told]


def test_a_flipped_bit_costs_its_record_and_no_other_and_is_told(tmp_path: Path) -> None:
    path, aside = tmp_path / "j", tmp_path / "j.damaged"
    whole = write(path)
    ends = [n for n, byte in enumerate(whole) if byte == 10]
    dice = random.Random(0)
    for _ in range(FLIPS):
        at = dice.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << dice.randrange(8)
        aside.unlink(missing_ok=True)
        held, told = open_damaged(path, bytes(flipped))
        assert all(RECORDS[key] == value for key, value in held.items()), at
        # A line end that is gone joins two records; every other flip harms one.
        assert len(RECORDS) - len(held) == (1 if at not in ends or at == ends[-1] else 2), at
        [warning] = told
        assert str(aside) in warning
        lost = aside.read_bytes()
        assert len(lost) >= min(len(line) for line in whole.split(b"\n")[:-1])
        assert open_damaged(path, path.read_bytes()) == (held, []), "told twice"


def test_a_journal_cut_anywhere_keeps_what_is_whole_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = write(path)
    places = range(len(whole)) if TRUST else random.Random(1).sample(range(len(whole)), 100)
    for cut in places:
        held, told = open_damaged(path, whole[:cut])
        records = whole[: cut + 1].count(b"\n")  # only its line end may be missing
        assert held == dict(list(RECORDS.items())[:records]) and not told
        with Journal(path) as journal:
            journal.put("next", {})
            assert len(journal) == records + 1


def test_several_faults_at_once_change_no_record(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = write(path)
    dice = random.Random(2)
    for _ in range(FLIPS // 10):
        content = bytearray(whole)
        for _ in range(dice.randint(2, 40)):
            start = dice.randrange(len(content))
            fault = dice.choice(("flip", "cut", "noise", "move"))
            if fault == "flip":
                content[start] ^= 1 << dice.randrange(8)
            elif fault == "cut":
                del content[start : start + dice.randint(1, 50)]
            elif fault == "noise":
                content[start:start] = dice.randbytes(dice.randint(1, 50))
            else:
                content[start:start] = content[: dice.randint(1, 300)]
        try:
            held, _ = open_damaged(path, bytes(content))
        except FireActError:  # not a trace of a record is left
            continue
        assert all(RECORDS[key] == value for key, value in held.items())


def test_a_journal_of_the_first_edition_goes_on_with_checksums(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text('{"key": "old", "kind": "call", "value": {"n": 1}}\n', encoding="utf-8")
    with Journal(path) as journal:
        journal.put("new", {"n": 2})
    held, told = open_damaged(path, path.read_bytes())
    assert held == {"old": {"n": 1}, "new": {"n": 2}} and not told
    # A checksum that lost its name makes no record of the first edition.
    held, told = open_damaged(path, path.read_bytes().replace(b'"sum"', b'"sun"'))
    assert held == {"old": {"n": 1}} and told


@posix
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "cut", "written"])
def test_a_file_that_is_lost_under_its_writer_is_noticed_and_saved(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        for key, value in RECORDS.items():
            journal.put(key, value)
        if how == "deleted":
            path.unlink()
        elif how == "moved":
            path.rename(tmp_path / "elsewhere")
        elif how == "replaced":
            (tmp_path / "other").write_text("other\n")
            (tmp_path / "other").replace(path)
        elif how == "cut":
            os.truncate(path, 100)
        else:
            with path.open("a") as stranger:
                stranger.write("a note\n")
        with pytest.raises(FireActError, match="while it was in use") as caught:
            journal.put("late", {})
        with pytest.raises(FireActError, match="while it was in use"):
            journal.put("later", {})
    saved = path if how in ("deleted", "moved") else tmp_path / "j.rescued"
    assert str(saved) in str(caught.value)
    with Journal(saved) as journal:
        assert RECORDS.items() <= {key: journal.get(key) for key in list(journal.keys())}.items()


@posix
def test_threads_that_lose_their_file_all_learn_of_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    kept: list[str] = []
    told: list[str] = []

    def work(name: int) -> None:
        try:
            for n in range(400):
                journal.put(f"{name}.{n}", {})
                kept.append(f"{name}.{n}")
        except FireActError as error:
            told.append(str(error))

    with Journal(path) as journal:
        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        [thread.start() for thread in threads]
        while len(kept) < 50:
            pass
        path.unlink()
        [thread.join() for thread in threads]
    assert len(told) == 8
    with Journal(path) as journal:
        assert set(kept) <= set(journal.keys())


def test_one_wait_for_the_disk_serves_all_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first waits for the disk, nineteen write; one more wait is enough for them all."""
    waits, real, all_wrote = [], os.fsync, threading.Event()

    def fsync(number: int) -> None:
        waits.append(number)
        assert all_wrote.wait(30)
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(tmp_path / "j") as journal:
        threads = [threading.Thread(target=journal.put, args=(f"{n}", {})) for n in range(20)]
        [thread.start() for thread in threads]
        deadline = time.monotonic() + 30
        while len(journal) < 20 and time.monotonic() < deadline:
            time.sleep(0.002)
        all_wrote.set()
        [thread.join() for thread in threads]
        assert len(journal) == 20
        assert len(waits) == 2


FULL = """
    import resource, sys
    from doubles import QUESTIONS, Dice, Pages
    from fireact_nb.agent import Journal, Prompt, generate, journal
    from fireact_nb.errors import FireActError

    # A limit on file size fails as a full disk does.
    journal._RESERVE = 20_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    prompt = Prompt("react", "test")
    chat = Dice(local=False)
    for attempt in range(3):
        with Journal(sys.argv[1]) as book:
            try:
                generate(QUESTIONS, prompt, chat, Pages(), None, book, progress=False)
            except FireActError as error:
                print("full" if "the disk is full" in str(error) else error, end=" ")
            print(len(chat.asked), len(book.keys("call")))
    """


@posix
@pytest.mark.parametrize("limit", [0, 15_000, 60_000])
def test_a_full_disk_pays_for_nothing_that_it_cannot_record(tmp_path: Path, limit: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path / "j"), str(limit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
        capture_output=True,
        text=True,
    )
    assert not run.stderr
    for line in run.stdout.splitlines():
        *said, asked, recorded = line.split()
        assert asked == recorded and said == ["full"], run.stdout
    assert len(run.stdout.splitlines()) == 3
    assert (asked != "0") == (limit > 20_000)
