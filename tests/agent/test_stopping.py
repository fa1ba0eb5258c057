"""What waiting cannot cure ends a run at once, whatever the other episodes are waiting for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Dice, Pages
from servers import QUOTA, Answer, ChatServer, fails, says

from fireact_nb.agent.chat import Chat
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.trajectory import Trajectory
from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat

TESTS = Path(__file__).parents[1]
PATHS = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
BARE = Prompt("react", "test")
AT_ONCE = 3.0  # seconds: two are promised, the rest is for a busy machine
SEARCH = "Thought: I look it up.\nAction: search[thing]"
FINISH = "Thought: I know.\nAction: finish[colour 1]"
REFUSED = fails(401, "Incorrect API key provided", "invalid_api_key")
BUSY = fails(429, "slow down", retry_after="20")


def play(chat: Chat, journal: Journal | None = None, search: Any = None) -> list[Trajectory]:
    return generate(QUESTIONS, BARE, chat, search or Pages(), journal=journal, progress=False)


class Trouble:
    """A server's script: all is well for `good` requests; then of the eight that are under way one
    may hang, one gets the `fatal` answer a moment later, and the others are told to wait.
    """

    def __init__(self, fatal: Answer, good: int, hangs: bool) -> None:
        self.fatal, self.good, self.hangs = fatal, good, hangs
        self.seen, self.ended = 0, 0.0

    def __call__(self, request: dict[str, Any], number: int) -> Answer:
        self.seen = number + 1
        if number < self.good:
            return says(SEARCH)
        if number == self.good + 7:
            time.sleep(0.3)  # until the others wait
            self.ended, self.seen_then = time.monotonic(), self.seen
            return self.fatal
        return says("too late", delay=30) if self.hangs and number == self.good else BUSY


@pytest.mark.parametrize("hangs", [False, True], ids=["", "one hangs"])
@pytest.mark.parametrize("good", [0, 40], ids=["at the start", "in mid-run"])
@pytest.mark.parametrize(
    ("fatal", "remedy"), [(QUOTA, "Add credit"), (REFUSED, "OPENAI_API_KEY")], ids=["quota", "key"]
)
def test_a_fatal_answer_ends_the_run_while_others_wait(
    fatal: Answer, remedy: str, good: int, hangs: bool
) -> None:
    script = Trouble(fatal, good, hangs)
    with ChatServer(script) as server:
        chat = OpenAIChat("double", server.url, concurrency=8)
        with pytest.raises(FireActError, match=remedy):
            play(chat)
        assert time.monotonic() - script.ended < AT_ONCE
        time.sleep(0.1)
        assert script.seen == script.seen_then == good + 8, "calls were made after the error"


def test_after_a_stop_the_same_chat_plays_again_and_pays_nothing_twice(tmp_path: Path) -> None:
    script: Any = Trouble(REFUSED, 40, hangs=True)
    with ChatServer(lambda *call: script(*call)) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url, concurrency=8)
        with pytest.raises(FireActError, match="OPENAI_API_KEY"):
            play(chat, journal)
        assert len(journal.keys("call")) == 40
        asked = len(server.seen)
        script = lambda request, number: says(FINISH)  # noqa: E731
        trajectories = play(chat, journal)
        assert len(server.seen) - asked == len(QUESTIONS)
    assert all(t.state == "finished" for t in trajectories)
    assert sum(t.searches for t in trajectories) == 40


def test_calls_that_come_back_in_time_are_kept_and_the_first_error_is_raised(
    tmp_path: Path,
) -> None:
    together = threading.Barrier(4)

    def script(request: dict[str, Any], number: int) -> Answer:
        if number >= 4:
            return says(FINISH)
        together.wait(10)
        return [QUOTA, Answer(REFUSED.body, 401, delay=0.3), BUSY, says(FINISH, delay=0.5)][number]

    with ChatServer(script) as server, Journal(tmp_path / "j") as journal:
        with pytest.raises(FireActError, match="Add credit"):
            play(OpenAIChat("double", server.url, concurrency=4), journal)
        assert len(server.seen) == 4
        assert len(journal.keys("call")) == 1, "what was paid for was thrown away"


def test_a_journal_that_refuses_ends_the_run(tmp_path: Path) -> None:
    class Full(Journal):
        def write(self, *_: Any, **__: Any) -> None:
            raise FireActError("the disk is full")

    with ChatServer([BUSY, BUSY, says(FINISH)]) as server, Full(tmp_path / "j") as journal:
        started = time.monotonic()
        with pytest.raises(FireActError, match="the disk is full"):
            play(OpenAIChat("double", server.url, concurrency=3), journal)
        assert time.monotonic() - started < AT_ONCE
        assert len(server.seen) == 3


def test_what_hangs_elsewhere_is_left_behind_and_asks_no_more() -> None:
    gone, stuck = threading.Event(), []
    chat = Dice(local=False, batch_size=4)

    class Stuck(Pages):
        def search(self, query: str, salt: str = "") -> str:
            stuck.append(threading.current_thread())
            if stuck[0] is not threading.current_thread():
                raise FireActError("the search service is down")
            gone.wait(30)
            return "late"

    started = time.monotonic()
    with pytest.raises(FireActError, match="search service"):
        play(chat, search=Stuck())
    assert time.monotonic() - started < AT_ONCE
    asked = len(chat.asked)
    gone.set()
    stuck[0].join(10)
    assert not stuck[0].is_alive() and len(chat.asked) == asked


INTERRUPTED = """
    import signal, sys
    from doubles import QUESTIONS, Pages
    from servers import ChatServer, fails, says
    from fireact_nb.agent.prompting import Prompt
    from fireact_nb.agent.rollouts import generate
    from fireact_nb.models.api import OpenAIChat

    # A shell starts background jobs with interrupts ignored, and CI may be one.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def script(request, number):
        if number == 20 and HANGS:
            return says("too late", delay=30)
        if 20 <= number < 27:
            return fails(429, retry_after="20")
        if number == 60:
            print(number, flush=True)
        return says("Thought: I look.\\nAction: search[thing]", delay=0.05 * (number > 59))

    with ChatServer(script) as server:
        try:
            chat = OpenAIChat("double", server.url, concurrency=8)
            generate(QUESTIONS, Prompt("react", "test"), chat, Pages(), progress=False)
        except KeyboardInterrupt:
            print("interrupted", len(server.seen), flush=True)
    """


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT to one process")
@pytest.mark.parametrize("hangs", [False, True])
def test_an_interrupt_from_the_keyboard_ends_the_run_and_the_process(hangs: bool) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED.replace("HANGS", str(hangs)))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout and run.stdout.readline().strip() == "60"
    run.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = run.communicate(timeout=40)
    assert time.monotonic() - started < AT_ONCE
    assert run.returncode == 0 and not err, err
    word, seen = out.split()
    # Ours is the one episode that neither waits nor hangs: at most its next call was on its way.
    assert word == "interrupted" and int(seen) <= 70
