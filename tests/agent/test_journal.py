"""The journal: what `put` returned from survives anything; nothing else is ever made up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireact_nb.agent.journal import Journal
from fireact_nb.errors import FireActError
from fireact_nb.files import content_key

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, users and limits")

# Any text, half surrogate pairs and line separators included.
TEXT = st.text(st.characters(), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PUTS = st.lists(
    st.tuples(
        st.sampled_from(["call", "trajectory"]),
        st.sampled_from("abc") | TEXT,
        st.dictionaries(TEXT, JSON, max_size=3),
    ),
    max_size=8,
)


def python(code: str, *args: object, **options: object) -> subprocess.Popen[str]:
    """A Python process of its own that runs `code` with the package on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )


@settings(max_examples=40, deadline=None)
@given(puts=PUTS, halfway=st.integers(0, 8))
def test_what_was_put_is_read_back_now_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, puts: list, halfway: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    expected: dict = {}
    for part in (puts[:halfway], puts[halfway:]):
        with Journal(path) as journal:
            for kind, key, value in part:
                journal.put(key, value, kind)
                expected[kind, key] = value
            assert len(journal) == len(expected)
            for (kind, key), value in expected.items():
                assert journal.get(key, kind) == value
    with Journal(path) as journal:
        for kind in ("call", "trajectory"):
            assert {k: journal.get(k, kind) for k in journal.keys(kind)} == {
                key: value for (of, key), value in expected.items() if of == kind
            }


@settings(max_examples=40, deadline=None)
@given(puts=PUTS.filter(bool), data=st.data())
def test_a_file_torn_anywhere_keeps_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, puts: list, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    ends = [0]
    with Journal(path) as journal:
        for kind, key, value in puts:
            journal.put(key, value, kind)
            ends.append(path.stat().st_size)
    cut = data.draw(st.integers(0, ends[-1]))
    with path.open("r+b") as file:
        file.truncate(cut)
    # A record that lacks nothing but its line break counts as whole.
    whole = sum(end - 1 <= cut for end in ends[1:])
    expected = {(kind, key): value for kind, key, value in puts[:whole]}
    with Journal(path) as journal:
        assert len(journal) == len(expected)
        assert all(journal.get(key, kind) == value for (kind, key), value in expected.items())
        journal.put("next", {"n": 1})
    with Journal(path) as journal:
        assert journal.get("next") == {"n": 1}
        assert len(journal) == len(expected | {("call", "next"): {}})


def test_a_value_changed_after_put_or_get_does_not_change_the_journal(tmp_path: Path) -> None:
    value = {"list": [1]}
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.put("k", value)
        value["list"].append(2)
        journal.get("k")["list"].append(3)  # type: ignore[index]
        assert journal.get("k") == {"list": [1]}
        assert journal.get("k", "trajectory") is None


def test_zeros_left_by_a_power_cut_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", {"n": 1})
    sound = path.read_bytes()
    path.write_bytes(sound + b"\0" * 100)
    with Journal(path) as journal:
        assert journal.keys() == ["a"]
    assert path.read_bytes() == sound


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[1]",
        b'{"key": "a", "kind": "call"}',
        b"\xff\xfe",
        b'{"key":1,"kind":"call","value":{}}',
    ],
)
def test_a_broken_line_in_the_middle_is_set_aside_and_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("a", {"n": 1})
        journal.put("b", {"n": 2})
    sound = path.read_bytes()
    first, second = sound.splitlines()
    path.write_bytes(b"\n".join([first, damage, second, b""]))
    with (
        pytest.warns(UserWarning, match=r"line 2\) and moved to .*damaged"),
        Journal(path) as journal,
    ):
        assert journal.keys() == ["a", "b"]
        journal.put("c", {})
    assert (tmp_path / "j.jsonl.damaged").read_bytes() == damage + b"\n"
    assert path.read_bytes().startswith(sound)
    with Journal(path) as journal:  # and told once
        assert journal.keys() == ["a", "b", "c"]


@pytest.mark.parametrize("content", ["name,answer\nx,1\n", "just a note", '{"cells": []}'])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FireActError, match="choose another path"):
        Journal(path)
    assert path.read_text(encoding="utf-8") == content
    assert list(tmp_path.iterdir()) == [path], "something was left beside a file that is not ours"


OPEN = """
    import sys
    from fireact_nb.errors import FireActError
    from fireact_nb.agent.journal import Journal
    try:
        Journal(sys.argv[1]).put("theirs", {})
    except FireActError as error:
        print(error)
    """


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.put("ours", {"n": 1})
        out, err = python(OPEN, path).communicate(timeout=30)
        assert "being written by another run" in out and not err
        with pytest.raises(FireActError, match="opened earlier in this notebook"):
            Journal(path)
        journal.put("ours too", {"n": 2})
    out, err = python(OPEN, path).communicate(timeout=30)
    assert (out, err) == ("", "")
    with Journal(path) as journal:
        assert journal.keys() == ["ours", "ours too", "theirs"]


@posix
def test_two_names_of_one_file_do_not_make_two_writers(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "j.jsonl")
    with Journal(tmp_path / "j.jsonl"), pytest.raises(FireActError, match="another run"):
        Journal(tmp_path / "link")


def test_a_journal_has_nothing_beside_it_but_its_lock(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.put("a", {})
    assert {path.name for path in tmp_path.iterdir()} <= {"j.jsonl", "j.jsonl.lock"}


NO_LOCKS = """
    import errno, fcntl, sys

    def flock(*_):
        raise OSError(errno.KIND, "no locks here")

    fcntl.flock = flock
    from fireact_nb.agent.journal import Journal
    from fireact_nb.errors import FireActError
    try:
        with Journal(sys.argv[1]) as journal:
            print("open", len(journal), flush=True)
            journal.put(sys.argv[2], {})
            sys.stdin.readline()
    except FireActError as error:
        print(error)
    """


@posix
def test_where_no_locks_exist_a_run_is_warned_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    code = NO_LOCKS.replace("KIND", "ENOTSUP")
    for before in range(2):
        out, err = python(code, path, before, stdin=subprocess.DEVNULL).communicate(timeout=30)
        assert out.split() == ["open", str(before)]
        assert "without locks" in err and "only one run" in err


@posix
def test_where_flock_is_missing_a_second_writer_is_refused_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.jsonl"
    code = NO_LOCKS.replace("KIND", "ENOSYS")
    first = python(code, path, "first", stdin=subprocess.PIPE)
    assert first.stdout and first.stdout.readline() == "open 0\n"
    out, _ = python(code, path, "second", stdin=subprocess.DEVNULL).communicate(timeout=30)
    assert "being written by another run" in out
    first.kill()
    first.communicate()
    out, _ = python(code, path, "third", stdin=subprocess.DEVNULL).communicate(timeout=30)
    assert out.startswith("open")


def test_a_closed_journal_can_be_read_but_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.put("a", {"n": 1})
    journal.close()
    assert journal.get("a") == {"n": 1}
    with pytest.raises(FireActError, match="is closed"):
        journal.put("b", {})


def test_folders_are_made_and_an_impossible_one_is_explained(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "folder" / "j.jsonl") as journal:
        journal.put("a", {})
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FireActError, match="Choose a path in a folder you may write to"):
        Journal(tmp_path / "file" / "j.jsonl")
    with pytest.raises(FireActError, match="cannot be opened for writing"):
        Journal(tmp_path)


@posix
def test_a_read_only_folder_is_refused_when_opened(tmp_path: Path) -> None:
    # Root may write anywhere, so a root process becomes nobody, once its imports are done.
    code = """
        import os, sys, tempfile
        import filelock  # as nobody, it could not be read
        from fireact_nb.errors import FireActError
        from fireact_nb.agent.journal import Journal
        folder = tempfile.mkdtemp()
        os.chmod(folder, 0o555)
        try:
            if (child := os.fork()) == 0:
                if os.geteuid() == 0:
                    os.setuid(65534)
                try:
                    Journal(folder + "/j.jsonl")
                except FireActError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        finally:
            os.rmdir(folder)
        """
    out, err = python(code).communicate(timeout=30)
    assert "cannot be opened for writing (Permission denied)" in out, err


@posix
def test_a_full_disk_is_explained_and_leaves_the_journal_sound(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    # A limit on file size fails as a full disk does: a part is written, then the rest is refused.
    code = """
        import resource, sys
        from fireact_nb.errors import FireActError
        from fireact_nb.agent.journal import Journal
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        journal = Journal(sys.argv[1])
        journal.put("before", {"text": "x" * 500})
        for attempt in range(2):
            try:
                journal.put("too big", {"text": "x" * 1000})
            except FireActError as error:
                print(error)
        journal.put("small", {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        journal.put("after", {"text": "x" * 1000})
        """
    out, err = python(code, path).communicate(timeout=30)
    assert not err
    assert out.count("the disk is full. The 1 records before it are safe. Make room") == 2
    assert [json.loads(line)["key"] for line in path.read_text(encoding="utf-8").splitlines()] == [
        "before",
        "small",
        "after",
    ]


@posix
def test_threads_may_put_at_the_same_time_though_some_puts_fail(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    code = """
        import resource, sys, threading
        from fireact_nb.errors import FireActError
        from fireact_nb.agent.journal import Journal

        def work(name):
            for n in range(20):
                key = f"{name}.{n}"
                try:
                    journal.put(key, {"key": key, "text": "x" * (900_000 if n % 4 == 3 else n)})
                    sys.stdout.write(key + "\\n")  # in one piece, beside the other threads
                except FireActError:
                    pass

        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
        with Journal(sys.argv[1]) as journal:
            threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        """
    out, err = python(code, path).communicate(timeout=30)
    assert not err
    assert len(out.split()) == 8 * 15
    with Journal(path) as journal:
        assert set(journal.keys()) == set(out.split())
        assert all((journal.get(key) or {})["key"] == key for key in out.split())


@posix
def test_a_killed_run_loses_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    code = """
        import sys
        from fireact_nb.agent.journal import Journal
        with Journal(sys.argv[1]) as journal:
            n = len(journal)
            while True:
                key = f"{sys.argv[2]}.{n}"
                journal.put(key, {"key": key, "text": "x" * (n * 7919 % 300_000)})
                print(key, flush=True)
                n += 1
        """
    dice = random.Random(0)
    printed: list[str] = []
    for life in range(10):
        process = python(code, path, life)
        assert process.stdout
        for _ in range(dice.randint(1, 6)):
            printed.append(process.stdout.readline().strip())
        time.sleep(dice.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=30)
        # The last line may have been cut short by the kill itself.
        printed += [line.strip() for line in out.splitlines(keepends=True) if line.endswith("\n")]
        assert not err
    assert len(printed) >= 10
    with Journal(path) as journal:
        for key in printed:
            assert (journal.get(key) or {}).get("key") == key


def test_keys_depend_on_content_alone() -> None:
    assert content_key({"a": 1, "b": [2]}, "x") == content_key({"b": (2,), "a": 1}, "x")
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key({"a": "é"}) != content_key({"a": "e"})
    assert len(content_key("\ud800")) == 64
    # Frozen: journals written by an earlier release must stay readable as caches.
    assert content_key("http://x", {"n": 1}).startswith("768ec7ea973f803a")
