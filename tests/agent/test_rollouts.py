"""Many episodes at once: nothing lost, nothing asked twice, whichever driver, whatever breaks."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Dice, Pages
from killing import SCRIPT, kill_and_resume

from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.episode import Settings
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import forecast, generate, successes
from fireact_nb.agent.trajectory import Trajectory
from fireact_nb.errors import FireActError

BARE = Prompt("react", "test")
FEW = QUESTIONS[:8]  # each record of a journal waits for the disk
both_drivers = pytest.mark.parametrize("local", [True, False], ids=["batched", "threaded"])


def play(chat: Dice, journal: Journal | None = None, **changes: object) -> list[Trajectory]:
    known = {"questions": QUESTIONS, "prompt": BARE, "search": Pages(), "settings": Settings()}
    arguments = {**known, **changes, "chat": chat, "journal": journal}
    return generate(**arguments, progress=False)  # type: ignore[arg-type]


class Breaking(Dice):
    """Answers `good` calls, then raises `error` at each."""

    def __init__(self, good: int, error: BaseException, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.good, self.error, self.refused = good, error, 0

    def answer(self, request: Request) -> Reply:
        if len(self.asked) >= self.good:
            self.refused += 1
            raise self.error
        return super().answer(request)


@both_drivers
def test_trajectories_come_in_the_order_of_the_questions(local: bool) -> None:
    trajectories = play(Dice(local, wait=0.001))
    assert [t.question_id for t in trajectories] == [q.id for q in QUESTIONS]
    # The double is worth testing with: episodes of many lengths and ends.
    assert {t.state for t in trajectories} == {"finished", "out of rounds", "malformed"}
    assert {1, 2, 3, 11} <= {t.rounds for t in trajectories}
    assert 0 < len(successes(trajectories)) < len(QUESTIONS)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_both_drivers_give_the_same_trajectories(batch: int) -> None:
    batched, threaded = Dice(True, batch), Dice(False, batch)
    assert play(batched) == play(threaded) == play(Dice())
    assert sorted(map(repr, batched.asked)) == sorted(map(repr, threaded.asked))


def test_batches_are_kept_full() -> None:
    sizes = []

    class Counted(Dice):
        def reply(self, requests: Sequence[Request], *others: Any) -> list[Reply]:
            sizes.append(len(requests))
            return super().reply(requests, *others)

    play(Counted(batch_size=8))
    assert max(sizes) == 8 and sizes[0] == 8
    assert sizes == sorted(sizes, reverse=True), "an ended episode was not replaced by the next"


class Sure(Dice):
    """Answers every question at once."""

    def answer(self, request: Request) -> Reply:
        return Reply("Thought: I know.\nAction: finish[colour 1]", 10, 5, "stop", 0.0)


def count_calls(work: Callable[[], object]) -> int:
    """How many functions this thread calls: a measure of work that no machine slows."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
@both_drivers
def test_ten_times_the_questions_are_ten_times_the_work(local: bool) -> None:
    chat = Sure(local, wait=0.001)
    play(chat, questions=FEW)  # what is imported in the first run is not counted

    def calls(count: int) -> int:
        asked = [replace(FEW[0], id=str(n), question=f"thing {n}?") for n in range(count)]
        return count_calls(lambda: play(chat, questions=asked))

    assert 9 < calls(10_000) / calls(1000) < 12


def test_there_are_no_more_threads_than_the_chat_wants() -> None:
    before, most = threading.active_count(), []

    class Watched(Sure):
        def answer(self, request: Request) -> Reply:
            most.append(threading.active_count())
            return super().answer(request)

    play(Watched(local=False, batch_size=3, wait=0.001))
    assert max(most) - before <= 3


# The keys of an earlier release's journal: whoever changes one makes all journals worthless.
KEYS = {
    "call": [
        "84039b98fcf12519ca3e99f212233bfda537dd5f4c2c077d70783879c7e6dd24",
        "ecbb4ab3a52f4e4cf8ebb90a40e3e34eeb2815413ac569bc83281334cfa371ac",
    ],
    "trajectory": ["05c9e73ad225c99e782d3604a95319a186a2f411be95d1aa749067bff2e12764"],
}


def test_journal_keys_are_those_of_the_first_edition(tmp_path: Path) -> None:
    prompt = Prompt("react", "test", ({"role": "system", "content": "Think."},), {1: "Hm,"})
    with Journal(tmp_path / "j") as journal:
        play(
            Dice(), journal, questions=FEW[1:2], prompt=prompt, settings=Settings(0.5, 20, 3, 4, 5)
        )
        assert {kind: journal.keys(kind) for kind in KEYS} == KEYS


def test_a_journal_of_the_first_edition_is_read(tmp_path: Path) -> None:
    value = (
        '"prompt_tokens": 9, "completion_tokens": 4, "finish": "stop", "seconds": 0.5, "usd": 0.0'
    )
    text = r'"text": "Thought: I see.\nAction: finish[colour 1]"'
    key = "fb9c47ffb12f2f312368e725107d1d209d135e91e84327b8cbf0bdc8c43a91ee"
    line = f'{{"key": "{key}", "kind": "call", "value": {{{text}, {value}}}}}\n'
    (tmp_path / "j").write_text(line, encoding="utf-8")
    chat = Dice(local=False)
    with Journal(tmp_path / "j") as journal:
        (trajectory,) = play(chat, journal, questions=FEW[1:2])
    assert chat.asked == [] and trajectory.correct
    assert (trajectory.prompt_tokens, trajectory.state) == (9, "finished")


@both_drivers
def test_no_questions_no_calls(local: bool) -> None:
    chat = Dice(local)
    assert play(chat, questions=[]) == [] and not chat.asked


@both_drivers
def test_a_journal_changes_nothing_and_spares_every_call(local: bool, tmp_path: Path) -> None:
    first, second = Dice(local), Dice(local)
    with Journal(tmp_path / "j") as journal:
        expected = play(first, journal, questions=FEW)
        assert expected == play(Dice(local), questions=FEW)
        assert len(journal.keys("call")) == len(first.asked)
        assert len(journal.keys("trajectory")) == len(FEW)
    with Journal(tmp_path / "j") as journal:
        assert play(second, journal, questions=FEW) == expected
        assert second.asked == []
        # More questions later: only theirs are asked.
        third = Dice(local)
        more = [*QUESTIONS[:3], replace(QUESTIONS[3], id="new", question="Which is thing 77?")]
        assert play(third, journal, questions=more)[:3] == expected[:3]
        assert third.asked and all("thing 77" in str(r) for r in third.asked)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": Prompt("react", "test", ({"role": "system", "content": "Think."},))},
        {"prompt": Prompt("react", "test", (), {1: "Hm,"})},
        {"settings": Settings(seed=1)},
        {"settings": Settings(sample=1)},
        {"settings": Settings(temperature=0.7)},
    ],
    ids=["edited prompt", "other cue", "other seed", "other sample", "other temperature"],
)
@both_drivers
def test_another_run_does_not_hit_the_journal(local: bool, change: dict, tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        play(Dice(local), journal, questions=FEW)
        chat = Dice(local)
        expected = play(Dice(local), questions=FEW, **change)
        assert play(chat, journal, questions=FEW, **change) == expected
        assert len(chat.asked) == len({repr(r) for r in chat.asked}) >= len(FEW)


def test_another_model_does_not_hit_the_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        play(Dice(), journal, questions=FEW)
        chat = Dice()
        chat.name = "dice 2"
        play(chat, journal, questions=FEW)
        elsewhere = Dice(local=False)
        play(elsewhere, journal, questions=FEW)
        assert len(chat.asked) == len(elsewhere.asked) > len(FEW)


def test_a_corrected_gold_answer_is_scored_anew_without_a_call(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        answers = [t.answer for t in play(Dice(), journal, questions=FEW)]
        chat = Dice()
        mended = [replace(q, answer=a or "") for q, a in zip(FEW, answers, strict=True)]
        again = play(chat, journal, questions=mended)
        assert chat.asked == []
        assert all(t.correct for t in again if t.state == "finished")


@both_drivers
@pytest.mark.parametrize("good", [0, 1, 30, 100])
def test_an_error_stops_the_run_and_loses_nothing(local: bool, good: int, tmp_path: Path) -> None:
    chat = Breaking(good, FireActError("the key is not accepted"), local=local, wait=0.002)
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(FireActError, match="not accepted"):
            play(chat, journal)
        assert chat.refused <= chat.batch_size, "calls were made after the error"
        assert len(journal.keys("call")) == len(chat.asked)
        finished = len(journal.keys("trajectory"))
        assert finished < len(QUESTIONS) and (finished > 0) == (good >= 30)
        other = Dice(local)
        assert play(other, journal) == play(Dice(local))
        assert not set(map(repr, other.asked)) & set(map(repr, chat.asked))


def test_after_an_error_no_thread_starts_a_further_call(tmp_path: Path) -> None:
    calls: list[float] = []

    class OneFails(Dice):
        def answer(self, request: Request) -> Reply:
            calls.append(time.monotonic())
            if len(calls) == 5:
                raise FireActError("quota")
            return super().answer(request)

    with pytest.raises(FireActError, match="quota"):
        play(OneFails(local=False, batch_size=4, wait=0.02))
    # Those under way at the error, and at most one more for each that ended at the same moment.
    assert len(calls) <= 5 + 2 * 4


@both_drivers
def test_an_error_in_the_search_tool_is_raised(local: bool) -> None:
    class Down(Pages):
        def search(self, query: str, salt: str = "") -> str:
            raise FireActError("the search service is down")

    with pytest.raises(FireActError, match="search service"):
        play(Dice(local), search=Down())


def test_an_interrupt_while_recording_ends_all_calls(tmp_path: Path) -> None:
    class Interrupted(Journal):
        def write(self, key: str, value: dict, kind: str = "call") -> None:
            if kind == "trajectory":
                raise KeyboardInterrupt
            super().write(key, value, kind)

    chat = Dice(local=False, batch_size=2, wait=0.005)
    with Interrupted(tmp_path / "j") as journal, pytest.raises(KeyboardInterrupt) as caught:
        play(chat, journal)
    asked = len(chat.asked)
    time.sleep(0.05)
    # A notebook keeps the last traceback, and with it everything the run had open.
    assert caught.tb and len(chat.asked) == asked


@both_drivers
def test_a_budget_stops_the_run_says_so_and_is_no_loss(local: bool, tmp_path: Path) -> None:
    first, second, third = (Dice(local, usd=0.01) for _ in range(3))
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(FireActError, match=r"budget of \$0\.50 is spent .*max_usd"):
            play(first, journal, max_usd=0.5)
        # What is under way counts as spent; a batch goes whole or not at all.
        assert len(first.asked) == (48 if local else 50)
        assert play(second, journal, max_usd=100.0) == play(Dice(local, usd=0.01))
        assert not set(map(repr, first.asked)) & set(map(repr, second.asked))
        # What the journal answers costs nothing.
        assert len(play(third, journal, max_usd=0.0)) == len(QUESTIONS)


def test_a_budget_is_spent_on_new_calls_only(tmp_path: Path) -> None:
    asked: list[int] = []
    with Journal(tmp_path / "j") as journal:
        for _ in range(9):
            chat = Dice(local=False, batch_size=1, usd=0.25)
            try:
                trajectories = play(chat, journal, questions=FEW, max_usd=2.5)
            except FireActError:
                asked.append(len(chat.asked))
            else:
                break
    assert len(trajectories) == len(FEW)
    assert len(asked) >= 2 and set(asked) == {10}


def test_a_forecast_knows_method_prompt_and_price() -> None:
    long = Prompt("react", "test", ({"role": "system", "content": "word " * 400},))
    react, cot = forecast(QUESTIONS, long, (1.0, 2.0)), forecast(QUESTIONS, Prompt("cot", "t"))
    assert (react.calls, cot.calls, cot.usd) == (128, 40, None)
    assert react.prompt_tokens > 128 * 500
    assert react.usd == pytest.approx((react.prompt_tokens + 2 * react.completion_tokens) / 1e6)
    assert "price unknown" in str(cot) and "128 calls" in str(react)
    assert forecast([], long, (1.0, 2.0)).usd == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@both_drivers
def test_a_run_killed_at_random_moments_loses_and_repeats_nothing(
    local: bool, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.replace("CHAT", f"Dice(local={local}, wait=0.04)"), encoding="utf-8")
    kills = 100 if os.environ.get("FIREACT_TRUST") == "1" else 10
    outcome = kill_and_resume(tmp_path, script, kills, seed=int(local))
    print(f"\n{'batched' if local else 'threaded'}: {outcome}")
    assert outcome.trajectories == len(QUESTIONS) and outcome.calls > 100, outcome
    assert outcome.lost == outcome.repeated == outcome.different == 0, outcome
    assert outcome.replayed, outcome
