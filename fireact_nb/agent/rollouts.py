"""Many episodes at once: drivers for local and API models, journal, forecast, budget.

Knows how to keep many episodes going and how to lose none of them; the episode itself, the model
and the tool are handed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from ..errors import FireActError
from ..files import content_key
from .chat import Chat, Reply, Request, Stop
from .episode import Episode, Settings, play
from .journal import Journal
from .prompting import Prompt
from .search import Search
from .tasks import Question
from .trajectory import Trajectory

# Seconds in which calls under way may still come back when a run stops: they are paid for.
GRACE = 1.0

# A place in the list of questions, and what is played or was played for it.
Game = tuple[int, Episode]
Ended = tuple[int, Trajectory]


@dataclass(frozen=True)
class Forecast:
    """What a run will take, estimated before it starts. `usd` is None where prices are unknown."""

    episodes: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None

    def __str__(self) -> str:
        money = "price unknown" if self.usd is None else f"about ${self.usd:.2f}"
        return (
            f"{self.episodes} episodes, about {self.calls:,} calls, {self.prompt_tokens:,} prompt "
            f"and {self.completion_tokens:,} completion tokens, {money}"
        )


def forecast(
    questions: Sequence[Question],
    prompt: Prompt,
    prices: tuple[float, float] | None = None,
    rounds: float = 3.2,
) -> Forecast:
    """Estimate a run by its prompt's length, at `rounds` a question (paper, Table 4: 3.2).

    Counts four characters a token and 80 tokens a round for turn and observation. `prices` are US
    dollars for a million prompt and completion tokens.
    """
    rounds = 1.0 if prompt.one_turn else rounds
    opening = sum(len(m["content"]) for q in questions for m in prompt.ask(q.question)) / 4
    calls = round(len(questions) * rounds)
    prompt_tokens = round(opening * rounds + len(questions) * 80 * rounds * (rounds - 1) / 2)
    completion_tokens = calls * 45
    usd = None
    if prices is not None:
        usd = (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6
    return Forecast(len(questions), calls, prompt_tokens, completion_tokens, usd)


def generate(
    questions: Sequence[Question],
    prompt: Prompt,
    chat: Chat,
    search: Search,
    settings: Settings | None = None,
    journal: Journal | None = None,
    *,
    max_usd: float | None = None,
    progress: bool = True,
) -> list[Trajectory]:
    """Play every question once; trajectories come back in the order of the questions.

    With a journal, every reply and every finished trajectory is durable before it is used: a killed
    run called again finishes what is missing, asks nothing twice and gives the same result.
    `max_usd` caps this call's spending: past it no new call is made and a FireActError says how
    much is done (raise the cap and call again to go on).
    """
    settings = settings or Settings()
    keys = [_trajectory_key(q, prompt, chat, search, settings) for q in questions]
    results: dict[int, Trajectory] = {}
    if journal is not None:
        for place, key in enumerate(keys):
            if (known := journal.get(key, "trajectory")) is not None:
                results[place] = Trajectory.from_dict(known)
    missing = [i for i in range(len(questions)) if i not in results]
    games = [(i, play(questions[i], prompt, search, settings, chat.name)) for i in missing]
    drive = _drive_batches if chat.endpoint == "local" else _drive_threads
    # An interrupt in here must close the driver, or its threads would go on asking unseen.
    with closing(drive(games, chat, journal, Budget(max_usd))) as ended:
        for place, trajectory in _show(ended, len(games), progress, prompt):
            results[place] = trajectory
            if journal is not None:
                journal.put(keys[place], trajectory.to_dict(), "trajectory")
    return [results[i] for i in range(len(questions))]


class Budget:
    """What this run has spent, in US dollars, against its cap (None: no cap)."""

    def __init__(self, cap: float | None) -> None:
        self.cap, self.spent = cap, 0.0
        self._lock = Lock()

    def pay(self, usd: float) -> None:
        with self._lock:  # episodes pay from many threads
            self.spent += usd

    def check(self) -> None:
        if self.cap is not None and self.spent >= self.cap:
            raise FireActError(
                f"The budget of ${self.cap:.2f} is spent (${self.spent:.4f} in this run). "
                "What a journal holds is not paid again: call again with a higher max_usd to go on."
            )


def _drive_batches(
    games: Sequence[Game], chat: Chat, journal: Journal | None, budget: Budget
) -> Generator[Ended, None, None]:
    """Keep `chat.batch_size` episodes in step: a batched call for all of them, again and again."""
    # Nobody sets this stop: an error or an interrupt arises in this very thread.
    ask = partial(_ask, chat, journal, budget, Stop())
    waiting = list(reversed(games))
    active: list[tuple[int, Episode, Request]] = []
    while waiting or active:
        while waiting and len(active) < chat.batch_size:
            place, game = waiting.pop()
            active.append((place, game, next(game)))
        replies = ask([request for _, _, request in active])
        going: list[tuple[int, Episode, Request]] = []
        for (place, game, _), reply in zip(active, replies, strict=True):
            try:
                going.append((place, game, game.send(reply)))
            except StopIteration as end:
                yield place, end.value
        active = going


def _drive_threads(
    games: Sequence[Game], chat: Chat, journal: Journal | None, budget: Budget
) -> Generator[Ended, None, None]:
    """Let episodes run free: none waits for another's round. The first error ends all of them.

    The only threads of the package that ask a model are made here, and so is the one event that
    ends their waits: an error in one episode must wake those that wait out a server's 429.
    """
    stop, turn, todo = Stop(), Lock(), iter(games)
    ask = partial(_ask, chat, journal, budget, stop)
    news: SimpleQueue[Ended | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            while not stop.is_set():
                with turn:
                    taken = next(todo, None)
                if taken is None:
                    return
                place, game = taken
                news.put((place, _finish(game, ask)))
        except BaseException as error:
            # In this order: what stopped the run stands before the cancellations it brings.
            news.put(error)
            stop.set()

    # Not an executor's threads: the interpreter would wait at its end for a call that hangs.
    workers = [Thread(target=work, daemon=True) for _ in range(min(chat.batch_size, len(games)))]
    try:
        for worker in workers:
            worker.start()
        for _ in games:
            yield _next(news)
    except BaseException:
        stop.set()
        _join(workers, GRACE)
        for close in list(stop.closers):
            close()
        # Whoever hangs elsewhere, as in a search, is left behind: it will ask no more.
        _join(workers, 0.5)
        raise


def _next(news: SimpleQueue[Ended | BaseException]) -> Ended:
    while True:
        try:
            # Windows cannot interrupt a wait that has no time limit.
            item = news.get(timeout=0.5)
        except Empty:
            continue
        if isinstance(item, BaseException):
            raise item
        return item


def _join(workers: Sequence[Thread], seconds: float) -> None:
    """Wait until all have ended, at most so long in all."""
    deadline = time.monotonic() + seconds
    for worker in filter(Thread.is_alive, workers):
        worker.join(max(0.0, deadline - time.monotonic()))


def _finish(game: Episode, ask: Callable[[list[Request]], list[Reply]]) -> Trajectory:
    """Play one episode to its end."""
    request = next(game)
    while True:
        [reply] = ask([request])
        try:
            request = game.send(reply)
        except StopIteration as end:
            return end.value


def _ask(
    chat: Chat, journal: Journal | None, budget: Budget, stop: Stop, requests: list[Request]
) -> list[Reply]:
    """Replies from the journal where it has them, from the model where not, journalled at once."""
    keys = [content_key("call", asdict(r), chat.endpoint, chat.name) for r in requests]
    known = [journal.get(key, "call") if journal is not None else None for key in keys]
    new = [i for i, value in enumerate(known) if value is None]
    replies = {i: Reply.from_dict(value) for i, value in enumerate(known) if value is not None}
    if new:
        if stop.is_set():
            raise CancelledError
        budget.check()

        def keep(position: int, reply: Reply) -> None:
            budget.pay(reply.usd)
            if journal is not None:
                journal.put(keys[new[position]], reply.to_dict(), "call")

        answers = chat.reply([requests[i] for i in new], keep, stop)
        replies.update(zip(new, answers, strict=True))
    return [replies[i] for i in range(len(requests))]


def _trajectory_key(
    question: Question, prompt: Prompt, chat: Chat, search: Search, settings: Settings
) -> str:
    return content_key(
        "trajectory", question.to_dict(), prompt.digest, chat.endpoint, chat.name, search.name,
        settings.to_dict(),
    )  # fmt: skip


def _show(
    results: Iterable[tuple[int, Trajectory]], total: int, progress: bool, prompt: Prompt
) -> Iterator[tuple[int, Trajectory]]:
    """A progress line with the running success rate."""
    from tqdm import tqdm

    right = count = 0
    with tqdm(total=total, desc=prompt.method, disable=not progress, mininterval=1) as bar:
        for place, trajectory in results:
            count += 1
            right += bool(trajectory.correct)
            bar.set_postfix_str(f"{right}/{count} right", refresh=False)
            bar.update()
            yield place, trajectory


def successes(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """The success filter of the paper: keep what ended in the right answer."""
    return [t for t in trajectories if t.correct and t.state == "finished"]
