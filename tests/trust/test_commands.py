"""R16: odd command lines end with status 1 or 2 and one paragraph that says what to do."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from fireact_nb import cli
from fireact_nb.agent.trajectory import Step, Trajectory, write_trajectories
from fireact_nb.models import local

SOLVED = Trajectory(
    "x1", "Who?", (Step.of("I know.", "finish", "Ann"),), answer="Ann", gold="Ann", correct=True
)
# In the table FILE is a file of text, TRAIN one of trajectories, DIR a folder with a file in it,
# FIFO a pipe that nobody writes to, LOOP a link to itself, GONE nothing, NEW a name that is free.
LINES = """
generate --out NEW --count 2 --seed x
generate --out NEW --count 2 --seed 1.5
generate --out NEW --count 2 --seed -1 --temperature nan
generate --out NEW --count 2 --temperature nan
generate --out NEW --count 2 --temperature inf
generate --out NEW --count 2 --temperature -inf
generate --out NEW --count 2 --temperature -1
generate --out NEW --count 2 --temperature 1e999
generate --out NEW --count 2 --temperature warm
generate --out NEW --count 0
generate --out NEW --count -3
generate --out NEW --count 1.5
generate --out NEW --count 999999999999
generate --out NEW --count ²
generate --out NEW --count ٣٣٣٣٣
generate --out NEW --task trivia
generate --out NEW --task ''
generate --out NEW --task ../../etc/passwd
generate --out NEW --split secret
generate --out NEW --split ''
generate --out NEW --split ../dev
generate --out NEW --method magic
generate --out NEW --method ''
generate --out NEW --method ../react
generate --out NEW --prompts none
generate --out NEW --prompts ../../..
generate --out NEW --prompts /etc
generate --out NEW --model GONE
generate --out NEW --model ''
generate --out NEW --model FILE
generate --out NEW --model DIR
generate --out NEW --model tokenizer
generate --out NEW --model 'no such model'
generate --out NEW --model student --adapter GONE
generate --out NEW --model student --adapter FILE
generate --out NEW --model student --adapter DIR
generate --out NEW --model student --adapter ''
generate --out DIR --count 2
generate --out '' --count 2
generate --out FILE/x.jsonl --count 2
generate --out /dev/null --count 2
generate --out /dev/full --count 2
generate --out FIFO --count 2
generate --out LOOP --count 2
generate --out /proc/x.jsonl --count 2
generate --out x.journal --count 2
generate --out NEW --journal NEW --count 2
generate --out NEW --journal DIR --count 2
generate --out NEW --journal FILE --count 2
generate --out NEW --journal /dev/null --count 2
generate --out NEW --journal FIFO --count 2
generate --out NEW --journal LOOP --count 2
generate --out NEW --count 2 --yes --base-url ''
generate --out NEW --count 2 --yes --base-url '   '
generate --out NEW --count 2 --yes --base-url http://[
generate --out NEW --count 2 --yes --base-url http://[::1
generate --out NEW --count 2 --yes --base-url localhost:8000
generate --out NEW --count 2 --yes --base-url ftp://localhost/v1
generate --out NEW --count 2 --yes --base-url file:///etc/passwd
generate --out NEW --count 2 --yes --base-url http://
generate --out NEW --count 2 --yes --base-url http://localhost:99999/v1
generate --out NEW --count 2 --yes --base-url http://localhost:port/v1
generate --out NEW --count 2 --yes --base-url http://localhost:-1/v1
generate --out NEW --count 2 --yes --base-url 'http://local host/v1'
generate --out NEW --count 2 --yes --base-url http://localhost/v1?key=x
generate --out NEW --count 2 --yes --base-url http://localhost/v1#x
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices nan 1
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices -1 1
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices inf 1
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices 1 1 --max-usd nan
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices 1 1 --max-usd -5
generate --out NEW --count 2 --yes --base-url http://127.0.0.1:1/v1 --prices 1
generate --out NEW --count 2 --max-usd 5
train
train GONE --out NEW
train DIR --out NEW
train FILE --out NEW
train FIFO --out NEW
train /dev/null --out NEW
train /dev/zero --out NEW
train LOOP --out NEW
train '' --out NEW
train TRAIN --out FILE
train TRAIN --out ''
train TRAIN --out /dev/null
train TRAIN --out FIFO
train TRAIN --out LOOP
train TRAIN --out NEW --seed -1
train TRAIN --out NEW --seed 99999999999999999999
train TRAIN --out NEW --seed nan
train TRAIN --out NEW --epochs 0
train TRAIN --out NEW --epochs -1
train TRAIN --out NEW --count 0
train TRAIN --out NEW --kind tiny
train TRAIN --out NEW --model GONE
train TRAIN --out NEW --model ''
evaluate --out NEW.txt --count 2
evaluate --out DIR --count 2
evaluate --out /dev/null --count 2
evaluate --out FIFO --count 2
evaluate --out x.journal --count 2
evaluate --out NEW.csv --task bamboogle --split train
evaluate --out NEW.csv --model GONE --count 2
evaluate --out NEW.csv --adapter GONE --count 2
evaluate --out NEW.csv --method magic
evaluate --out NEW.csv --count 999999
serve
serve GONE
serve ''
serve FILE
serve DIR
serve student --port -1
serve student --port 99999
serve student --port many
serve student --adapter GONE
pretrain giant
pretrain ''
pretrain ../student
pretrain student --tokens 0
pretrain student --tokens 5 --run FILE
pretrain student --tokens 5 --run ''
pretrain student --tokens 5 --run /dev/null
pretrain student --threads 0
run 99
run ''
run ../00
run 00 -p seed
run 00 --out FILE
run 00 --out /dev/null
run 00 --out ''
build 99
build ''
artifacts nothing
artifacts ''
artifacts all nothing
study --workers 0
study --workers -1 --list
study --list --out FILE
study --list --out ''
fly
''
--nothing
generate --out NEW --model \U0001f525
evaluate --out NEW.csv --task \u202etrivia
""".strip().splitlines()


@pytest.fixture(scope="module")
def loaded():
    """The slow imports, before any clock runs."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from fireact_nb.course import series
    from fireact_nb.learning import training

    return AutoModelForCausalLM, AutoTokenizer, series, training


@pytest.fixture
def place(loaded, tmp_path, monkeypatch):
    """A folder to stand in, with what the table names; no weights are loaded, no time is spent."""
    write_trajectories(tmp_path / "TRAIN", [SOLVED])
    (tmp_path / "FILE").write_text("only text\n")
    (tmp_path / "DIR").mkdir()
    (tmp_path / "DIR" / "kept").write_text("mine")
    os.mkfifo(tmp_path / "FIFO")
    (tmp_path / "LOOP").symlink_to("LOOP")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(line: str) -> list[str]:
    """A line as a shell cuts it, quotes and escapes of this file's letters alone."""
    line = re.sub(r"\\[uU][0-9a-f]+", lambda m: m[0].encode().decode("unicode_escape"), line)
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]


def late(*_):
    raise TimeoutError("it waits for ever")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes, devices and alarms")
@pytest.mark.parametrize("line", LINES)
def test_an_odd_line_ends_with_what_to_do(line, place, capsys, monkeypatch):
    known = local.load_model

    def load(model, adapter=None):
        if Path(model).name == "student" and adapter is None:
            pytest.fail("work was begun")
        return known(model, adapter)

    monkeypatch.setattr(local, "load_model", load)
    before = {p.name: p.lstat().st_mtime_ns for p in place.rglob("*")}
    signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    try:
        status = cli.main(words(line))
    except SystemExit as end:
        status = end.code
    finally:
        signal.alarm(0)
    said = capsys.readouterr().err
    assert status in (1, 2), said
    assert "Traceback" not in said and "Errno" not in said
    if status == 1:
        command = words(line)[0]
        assert said.startswith(f"fireact-nb {command}: ") and said.count("\n") == 1
        assert said.endswith(".\n") and len(said) < 900
        assert re.search(r"[.;:?)] +\S", said), f"no second sentence says what to do: {said}"
    else:
        assert said.startswith("usage: fireact-nb") and "error: " in said
    after = {p.name: p.lstat().st_mtime_ns for p in place.rglob("*")}
    assert {name: after.get(name) for name in before} == before, "it touched what was there"
    assert not [p for p in place.glob("NEW*") if p.is_file() and ".journal" not in p.name]
