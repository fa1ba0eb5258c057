"""Files that are whole or absent, packed or not; what is broken is named with what to do."""

from __future__ import annotations

import gzip
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from fireact_nb.errors import FireActError
from fireact_nb.files import file_state, read_json, read_json_lines, read_text, write_file

TEXT = "Ann: Writer.\r\n\tBo — «City»\u2028of rain.\n" * 50


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "deep/er/a.jsonl.gz"])
@given(text=st.text(min_size=1).filter(lambda t: t.strip() and t[0] != "\ufeff"))
@settings(max_examples=30)  # each waits for the disk
def test_text_comes_back(tmp_path_factory, name, text):
    path = tmp_path_factory.getbasetemp() / "files" / name
    write_file(path, text)
    assert read_text(path) == text
    write_file(path, text.encode("utf-8"))
    assert read_text(path) == text


def test_a_gz_file_is_packed_and_any_other_is_not(tmp_path):
    write_file(tmp_path / "a.txt", TEXT)
    plain = (tmp_path / "a.txt").read_bytes()
    assert plain == TEXT.encode("utf-8")
    for name in ("a.txt.gz", "A.TXT.GZ"):
        write_file(tmp_path / name, TEXT)
        packed = (tmp_path / name).read_bytes()
        assert packed[:2] == b"\x1f\x8b" and len(packed) < len(plain) / 5
        assert gzip.decompress(packed) == plain  # so any other program reads it, too
        assert read_text(tmp_path / name) == TEXT


def test_the_same_content_is_the_same_bytes_at_any_time_under_any_name(tmp_path, monkeypatch):
    write_file(tmp_path / "a.txt.gz", TEXT)
    first = (tmp_path / "a.txt.gz").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_file(tmp_path / "b.csv.gz", TEXT.encode("utf-8"))
    assert (tmp_path / "b.csv.gz").read_bytes() == first
    assert first[4:8] == bytes(4), "a time stamp"
    write_file(tmp_path / "b.csv.gz", TEXT + ".")
    assert (tmp_path / "b.csv.gz").read_bytes() != first


def test_packed_by_another_program_with_a_name_and_a_time(tmp_path):
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"a": 1}\n\n{"b": 2}\n')
    assert list(read_json_lines(tmp_path / "a.jsonl.gz")) == [(1, {"a": 1}), (3, {"b": 2})]
    two = gzip.compress(b"[1, ") + gzip.compress(b"2]")
    (tmp_path / "a.json.gz").write_bytes(two)
    assert read_json(tmp_path / "a.json.gz") == [1, 2]


PACKED = gzip.compress(TEXT.encode("utf-8"), mtime=0)
FLIPPED = bytearray(PACKED)
FLIPPED[len(PACKED) // 2] ^= 0xFF


@pytest.mark.parametrize(
    "data",
    [
        PACKED[:-1],
        PACKED[:-8],
        PACKED[: len(PACKED) // 2],
        PACKED[:10],
        PACKED[:3],
        bytes(FLIPPED),
        PACKED[:-8] + bytes(8),  # a checksum that is not its own
        PACKED + b"rubbish",
        TEXT.encode("utf-8"),
        b"<html>Not found</html>",
        bytes(range(256)),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_a_broken_gz_file_is_named_with_advice(tmp_path, data):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data)
    for read in (read_text, read_json, lambda p: list(read_json_lines(p)), read_trajectories):
        with pytest.raises(FireActError) as caught:
            read(path)
        said = str(caught.value)
        assert said.startswith(f"{path} is not a whole gzip file (")
        assert said.endswith("Download it or make it again.")


def test_what_is_wrong_inside_a_gz_file_is_told_as_of_any_other(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    with pytest.raises(FireActError, match=r"no file .*a\.jsonl\.gz"):
        read_text(path)
    for content, says in (
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"ok\xff", r"not UTF-8 text \(byte 2\)"),
    ):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(FireActError, match=rf"a\.jsonl\.gz.* {says}|a\.jsonl\.gz {says}"):
            read_text(path)
    path.write_bytes(b"")
    with pytest.raises(FireActError, match="is empty"):
        read_text(path)
    write_file(path, '{"a": 1}\n{"b": \n')
    with pytest.raises(FireActError, match="line 2 is not whole JSON: it breaks off"):
        list(read_json_lines(path))


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "a.txt.gz"
    write_file(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FireActError, match="was not written .No space left.* untouched"):
        write_file(path, "new")
    assert read_text(path) == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt.gz"]
    with pytest.raises(FireActError, match="lone surrogate"):
        write_file(path, "half \ud800")
    assert read_text(path) == "old"


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
@pytest.mark.parametrize("name", ["link", "link.gz"])
def test_a_link_keeps_its_place_and_its_target_is_written(tmp_path, name, there):
    target, link = tmp_path / "far" / "target", tmp_path / name
    (tmp_path / "between").symlink_to("far/target")  # a link to a link, relative to its own folder
    link.symlink_to(tmp_path / "between")
    if there:
        write_file(target, "old")
    write_file(link, TEXT)
    assert link.is_symlink() and (tmp_path / "between").is_symlink() and not target.is_symlink()
    assert read_text(link) == TEXT, "packed or not by the name that was given"
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["between", "far", name, "target"])


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_a_link_whose_target_cannot_be_written_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "link")
    (tmp_path / "other").symlink_to(tmp_path)
    for name, kind in (("link", "link to itself"), ("other", "folder")):
        with pytest.raises(FireActError, match=rf"{name} was not written: .* {kind}\. Choose"):
            write_file(tmp_path / name, TEXT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "other"]


@pytest.mark.skipif(os.name == "nt", reason="has no such files")
def test_only_plain_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name, kind in (("folder", "folder"), ("pipe", "pipe"), ("link", "pipe")):
        with pytest.raises(FireActError, match=rf"{name} was not written: .* {kind}.* Choose"):
            write_file(tmp_path / name, TEXT)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "link", "pipe"]
    # Only after pipes were seen to be safe: root would take it away from the whole machine.
    with pytest.raises(FireActError, match="/dev/null was not written: .* device"):
        write_file(os.devnull, TEXT)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_state_tells_a_changed_file_without_reading_it(tmp_path):
    path = tmp_path / "a"
    assert file_state(path) is None
    seen = set()
    for text in ("one", "two", "two more"):
        write_file(path, text)
        assert file_state(path) == file_state(path)
        seen.add(file_state(path))
    assert len(seen) == 3


def test_trajectories_come_back_from_gz(tmp_path):
    told = [
        Trajectory("q1", "Who?", (Step.of("I — think.", "finish", "Ann"),), answer="Ann"),
        Trajectory("q2", "Where?", (), state="malformed", correct=False),
    ]
    write_trajectories(tmp_path / "t.jsonl.gz", told)
    assert read_trajectories(tmp_path / "t.jsonl.gz") == told
    assert (tmp_path / "t.jsonl.gz").read_bytes()[:2] == b"\x1f\x8b"
