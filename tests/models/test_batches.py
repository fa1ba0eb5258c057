"""OpenAI's Batch API against a service that keeps files and batches: nothing is paid twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Pages
from servers import DROPPED, QUOTA, Answer, fails
from services import Batches

from fireact_nb.agent.chat import Stop
from fireact_nb.agent.episode import Settings
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.errors import FireActError
from fireact_nb.models import batches
from fireact_nb.models.api import OpenAIChat
from fireact_nb.models.batches import Collected, ask_in_batch

COT = Prompt("cot", "test", ({"role": "system", "content": "Think."},))
ASKED = QUESTIONS[:12]
ROOM = Settings(max_tokens=100)
pytestmark = pytest.mark.filterwarnings("ignore:.*takes no")


def chat_at(service: Batches, **settings: Any) -> OpenAIChat:
    return OpenAIChat("double", f"{service.url}/v1", **{"prices": (1, 1), "retries": 0, **settings})


def ask(service: Batches, journal: Journal, questions: Any = ASKED, **more: Any) -> Collected:
    chat = more.pop("chat", None) or chat_at(service)
    settings = {"yes": True, "poll": 0.01, **more}
    return ask_in_batch(questions, COT, chat, journal, ROOM, **settings)


def play(service: Batches, journal: Journal, questions: Any = ASKED) -> list:
    return generate(
        questions, COT, chat_at(service), Pages(), ROOM, journal, yes=True, progress=False
    )


def paid_once(service: Batches) -> bool:
    return set(service.paid.values()) == {1}


def timeless(played: list) -> list:
    return [replace(t, seconds=0.0, usd=0.0) for t in played]


def test_a_batch_gives_what_asking_one_by_one_gives_at_half_the_price(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "one") as one, Journal(tmp_path / "two") as two:
        chat = chat_at(service)
        object.__setattr__(chat, "price", replace(chat.price, batch=0.5))
        done = ask(service, one, chat=chat)
        assert (done.asked, done.answered, done.states) == (12, 12, ("completed",))
        seen = len(service.seen)
        by_batch = play(service, one)
        assert len(service.seen) == seen, "generate found every reply in the journal"
        assert len(service.paid) == 12 and paid_once(service)
        service.paid.clear()
        by_call = play(service, two)
        assert timeless(by_batch) == timeless(by_call)
        assert sorted(one.keys("call")) == sorted(two.keys("call"))
        full = by_call[0].usd
        assert [t.usd for t in by_batch] == pytest.approx([full] + [full / 2] * 11)
        assert done.usd == pytest.approx(full * 6.5)
    [rows] = service.files.values() if len(service.files) == 1 else [service.files["file0"]]
    bodies = [json.loads(row)["body"] for row in rows.decode().splitlines()]
    assert [sorted(body) for body in bodies] == [
        ["max_completion_tokens", "messages", "model"]
    ] * 11, "the first question taught what the model refuses"


class Impatient(Stop):
    """Gives the waiting up at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return True


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_a_batch_left_over_is_asked_afterwards_alone(end: str, tmp_path: Path) -> None:
    fates = ["answered", "error", "expired"]
    with Batches() as service, Journal(tmp_path / "j") as journal:
        service.end, service.fate = end, lambda id, place: fates[place % 3]
        with pytest.warns(UserWarning, match="7 requests of a batch got no reply"):
            done = ask(service, journal)
        assert (done.asked, done.answered, done.states) == (12, 5, (end,))
        assert "7 are asked one by one next" in str(done)
        played = play(service, journal)
        assert [t.answer for t in played] == ["x"] * 12
        assert len(service.paid) == 12 and paid_once(service)


def test_leftovers_may_go_into_a_second_batch(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        service.end, service.fate = "expired", lambda id, place: "expired"
        assert ask(service, journal).answered == 1
        service.end, service.fate = "completed", lambda id, place: "answered"
        assert ask(service, journal).answered == 11
        assert len(service.batches) == 2 and paid_once(service)


def test_a_wait_that_is_given_up_is_taken_up_again(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        with pytest.raises(CancelledError):
            ask(service, journal, stop=Impatient())
        # Without a yes: it is paid already.
        assert ask(service, journal, yes=False).answered == 11
        assert len(service.batches) == 1 and paid_once(service)


def test_another_runs_questions_stay_to_be_read(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        with pytest.raises(CancelledError):
            ask(service, journal, stop=Impatient())
        assert ask(service, journal, ASKED[:6]).answered == 5
        assert ask(service, journal).answered == 6
        assert len(service.batches) == 1 and paid_once(service)
        assert ask(service, journal).asked == 0


@pytest.mark.parametrize("trouble", [DROPPED, fails(500, "hm")], ids=["cut", "500"])
def test_a_batch_that_was_taken_though_nobody_heard_is_not_sent_again(
    trouble: Any, tmp_path: Path
) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        service.after_create = lambda: trouble
        assert ask(service, journal).answered == 12
        assert len(service.batches) == 1 and paid_once(service)


def test_a_batch_that_was_never_taken_is_sent_by_the_next_call(tmp_path: Path) -> None:
    def lose() -> Any:
        service.batches.clear()
        return DROPPED

    with Batches() as service, Journal(tmp_path / "j") as journal:
        service.after_create = lose
        with pytest.raises(FireActError, match="cannot be reached"):
            ask(service, journal)
        service.after_create = lambda: None
        assert ask(service, journal).answered == 11
        assert len(service.batches) == 1 and paid_once(service)


def test_a_batch_that_is_refused_says_why_and_is_sent_anew(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        service.end = "failed"
        with pytest.raises(FireActError, match="refused the batch.*Enqueued token limit"):
            ask(service, journal)
        service.end = "completed"
        assert ask(service, journal).answered == 11 and paid_once(service)


def test_a_batch_that_is_gone_is_told_and_asked_anew(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        with pytest.raises(CancelledError):
            ask(service, journal, stop=Impatient())
        service.batches.clear()
        with pytest.warns(UserWarning, match="batch0 or its results are gone"):
            assert ask(service, journal).answered == 11
        assert paid_once(service)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (fails(404, "Not Found"), "has no Batch API"),
        (QUOTA, "Add credit.*not paid again"),
        (fails(401, "Incorrect API key"), "check OPENAI_API_KEY"),
        (Answer(b"<html>Bad gateway</html>", 502), "keeps refusing"),
    ],
)
def test_what_a_service_answers_instead_of_taking_a_file(
    trouble: Answer, words: str, tmp_path: Path
) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        route = service.answer
        service.answer = lambda call: trouble if call.path == "/v1/files" else route(call)
        with pytest.raises(FireActError, match=words):
            ask(service, journal)
        assert not journal.keys("batch") and len(journal.keys("call")) == 1
        service.answer = route
        assert ask(service, journal).answered == 11 and paid_once(service)


def test_files_hold_no_more_than_the_service_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_REQUESTS", 4)
    with Batches() as service, Journal(tmp_path / "j") as journal:
        assert ask(service, journal).answered == 12
        sizes = [f.count(b"\n") for name, f in service.files.items() if name.startswith("file")]
        assert sizes == [4, 4, 3] and paid_once(service)
    monkeypatch.setattr(batches, "MOST_BYTES", 600)
    with Batches() as service, Journal(tmp_path / "k") as journal:
        assert ask(service, journal).answered == 12
        assert max(len(f) for n, f in service.files.items() if n.startswith("file")) <= 600


def test_no_batch_is_sent_to_a_model_that_thinks_its_cap_away(tmp_path: Path) -> None:
    with Batches() as service, Journal(tmp_path / "j") as journal:
        service.thinks = 5000
        with pytest.raises(FireActError, match="spent its cap of 100 tokens.*Raise max_tokens"):
            ask(service, journal)
        assert not service.batches and len(service.paid) == 1


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "no yes": (lambda s, j: ask(s, j, yes=False), "may cost money, for double"),
    "dear": (lambda s, j: ask(s, j, max_usd=0.0005), "It was not sent: raise max_usd"),
    "many rounds": (
        lambda s, j: ask_in_batch(ASKED, Prompt("react", "t"), chat_at(s), j, yes=True),
        "react has several",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_may_not_be_sent(why: str, tmp_path: Path) -> None:
    work, words = REFUSED[why]
    with Batches() as service, Journal(tmp_path / "j") as journal:
        with pytest.raises(FireActError, match=words):
            work(service, journal)
        assert not service.files and len(service.paid) <= (why == "dear")


SCRIPT = """
import sys
from test_batches import ASKED, COT, ROOM
from fireact_nb.agent.journal import Journal
from fireact_nb.models.api import OpenAIChat
from fireact_nb.models.batches import ask_in_batch
url, path = sys.argv[1:]
chat = OpenAIChat("double", url + "/v1", prices=(1, 1), retries=0)
with Journal(path) as journal:
    print(ask_in_batch(ASKED, COT, chat, journal, ROOM, yes=True, poll=0.01))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_run_that_is_killed_pays_nothing_twice(tmp_path: Path) -> None:
    """Killed when its file is there, when its batch is made, and while it is waited for."""
    script, journal = tmp_path / "run.py", tmp_path / "j"
    script.write_text(SCRIPT, encoding="utf-8")
    here = Path(__file__).parent
    folders = [str(here), str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), service.url, str(journal)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    with Batches() as service:
        service.looks = 10**6
        moments: list[Callable[[], bool]] = [
            lambda: bool(service.files),
            lambda: bool(service.batches),
            lambda: any(b["looks"] > 2 for b in service.batches.values()),
        ]
        for moment in moments:
            run = start()
            while not moment():
                assert run.poll() is None, run.communicate()
                time.sleep(0.0005)
            run.send_signal(signal.SIGKILL)
            run.communicate()
        service.looks = 1
        out, errors = start().communicate()
        assert re.search(r"\b(\d+) of \1 requests answered", out), out + errors
        assert len(service.paid) == 12 and paid_once(service)
        assert len(service.batches) == 1
