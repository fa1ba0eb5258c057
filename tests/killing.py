"""Kill a run again and again, resume it, and count what was lost or asked twice.

The run is a script of its own, started as `python script journal asked result`. It wraps its model
in `Recorded(chat, asked)`, plays with a `Journal(journal)`, and writes its trajectories to `result`
by `write_trajectories`. Any model will do, a real one too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fireact_nb.agent.chat import Chat, Reply, Request, Stop
from fireact_nb.agent.trajectory import Trajectory, read_trajectories
from fireact_nb.files import content_key

TESTS = Path(__file__).parent

# Put a chat in place of CHAT.
SCRIPT = """
import sys
from doubles import QUESTIONS, Dice, Pages
from killing import Recorded
from fireact_nb.agent.trajectory import write_trajectories
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.models.api import OpenAIChat

record, asked, result = sys.argv[1:]
chat = Recorded(CHAT, asked)
with Journal(record) as journal:
    trajectories = generate(
        QUESTIONS, Prompt("react", "test"), chat, Pages(), journal=journal, progress=False
    )
write_trajectories(result, trajectories)
"""


class Recorded:
    """A chat that notes the key of every call it answers, before anyone can use the answer."""

    def __init__(self, chat: Chat, asked: str | Path) -> None:
        self.chat = chat
        self.name, self.endpoint = chat.name, chat.endpoint
        self.batch_size = chat.batch_size
        self._file = os.open(asked, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]:
        def note(place: int, reply: Reply) -> None:
            key = content_key("call", asdict(requests[place]), self.endpoint, self.name)
            os.write(self._file, f"{key}\n".encode())
            if done:
                done(place, reply)

        return self.chat.reply(requests, note, stop)


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was killed. `again` counts calls killed before their record.

    `replayed` tells whether its journal's calls alone give the same file, byte for byte.
    """

    kills: int
    trajectories: int
    calls: int
    lost: int
    repeated: int
    again: int
    different: int
    replayed: bool

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.trajectories} trajectories, {self.calls} calls: "
            f"lost={self.lost} repeated={self.repeated} different={self.different} "
            f"replayed={self.replayed} "
            f"(asked again because killed before they were recorded: {self.again})"
        )


def kill_and_resume(tmp_path: Path, script: Path, kills: int, seed: int) -> Outcome:
    """Run once undisturbed; then with SIGKILL at `kills` random moments, resuming each time.

    A moment is a random length of the growing journal plus a random delay, so that no kill comes
    too late, however fast or slow the machine. Every record counts: `lost` are trajectories that a
    journal held when its run was killed and the final result lacks or holds changed; `repeated` are
    calls asked though the journal held them; `different` are final trajectories unlike those of the
    undisturbed run, times apart.
    """
    calm = [tmp_path / f"calm.{end}" for end in ("journal", "asked", "result")]
    journal, asked, result = (tmp_path / f"killed.{end}" for end in ("journal", "asked", "result"))
    started = time.monotonic()
    _finish(_start(script, calm))
    size = calm[0].stat().st_size
    pause = (time.monotonic() - started) * 5_000 / size  # seconds in which some 5 kB are written
    rng = random.Random(seed)
    moments = sorted(rng.uniform(0, 0.97) * size for _ in range(kills))

    held: list[dict] = []
    repeated, begin = 0, 0
    for moment in [*moments, None]:
        known = set(_records(journal, "call"))
        run = _start(script, [journal, asked, result])
        if moment is None:
            _finish(run)
        else:
            while _size(journal) < moment:
                if run.poll() is not None:
                    raise AssertionError(f"the run ended before its kill: {run.communicate()[1]}")
                time.sleep(0.001)
            time.sleep(rng.choice((0.0, rng.uniform(0, pause))))  # aimed at a record, or anywhere
            run.send_signal(signal.SIGKILL)
            run.communicate()
            held.append(_records(journal, "trajectory"))
        keys = asked.read_text().split() if asked.exists() else []
        repeated += sum(key in known for key in keys[begin:])
        begin = len(keys)

    final = {t.id: t for t in read_trajectories(result)}
    kept = {k: v for records in held for k, v in records.items()}
    lost = sum(final.get(t.id) != t for t in map(_trajectory, kept.values()))
    lost += sum(  # what an earlier kill left must still be there after a later one
        later.get(key) != value
        for before, later in zip(held, held[1:], strict=False)
        for key, value in before.items()
    )
    undisturbed = read_trajectories(calm[2])
    different = sum(_timeless(final.get(t.id)) != _timeless(t) for t in undisturbed)
    calls = _records(journal, "call")
    assert calls.keys() <= set(keys), "Recorded does not build keys as generate does"
    again = len(keys) - len(set(keys))
    replayed = _replays(script, journal, result)
    return Outcome(kills, len(final), len(calls), lost, repeated, again, different, replayed)


def _replays(script: Path, journal: Path, result: Path) -> bool:
    """Whether the calls of a journal give its run's result again, `seconds` too, without a call."""
    other = [result.with_name(f"replayed.{end}") for end in ("journal", "asked", "result")]
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    other[0].write_text("".join(s for s in lines if '", "kind": "call"' in s), encoding="utf-8")
    _finish(_start(script, other))
    asked = other[1].read_text() if other[1].exists() else ""
    return not asked and other[2].read_bytes() == result.read_bytes()


def _size(journal: Path) -> int:
    """Bytes of records, without the zeros by which a journal tries how much room it has."""
    return len(journal.read_bytes().rstrip(b"\0")) if journal.exists() else 0


def _start(script: Path, paths: Sequence[Path]) -> subprocess.Popen[str]:
    folders = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, paths)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )


def _finish(run: subprocess.Popen[str]) -> None:
    errors = run.communicate()[1]
    assert run.returncode == 0, errors


def _records(journal: Path, kind: str) -> dict[str, dict]:
    """What a journal's file holds, read without the journal's own code."""
    records = {}
    for line in journal.read_text("utf-8").split("\n") if journal.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the end, or a record torn by the kill
        if record["kind"] == kind:
            records[record["key"]] = record["value"]
    return records


def _trajectory(value: dict) -> Trajectory:
    return Trajectory.from_dict(value)


def _timeless(trajectory: Trajectory | None) -> Trajectory | None:
    return trajectory and replace(trajectory, seconds=0.0)
