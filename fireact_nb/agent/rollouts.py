"""Many episodes at once: drivers for local and API models, journal, forecast, budget.

Knows how to keep many episodes going and how to lose none of them; the episode itself, the model
and the tool are handed in.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from ..errors import FireActError
from ..files import content_key
from .asking import Budget, Desk, GuardedSearch
from .chat import Chat, Reply, Request, Stop
from .episode import Episode, Settings, play
from .journal import Journal
from .prompting import Prompt
from .search import Search
from .tasks import Question
from .trajectory import Trajectory

# Seconds in which calls under way may still come back when a run stops: they are paid for.
GRACE = 1.0

# The key of a trajectory, and what is played or was played for it.
Game = tuple[str, Episode]
Ended = tuple[str, Trajectory]


@dataclass(frozen=True)
class Forecast:
    """What a run will take, estimated before it starts. `usd` is None where prices are unknown.

    `most_usd` is the same if every reply were as long as it may be, as a reasoning model's can be.
    """

    episodes: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    most_usd: float | None = None

    def __str__(self) -> str:
        money = "price unknown" if self.usd is None else f"about ${self.usd:.2f}"
        if self.most_usd is not None:
            money += f" (${self.most_usd:.2f} if every reply is as long as it may be)"
        return (
            f"{self.episodes} episodes, about {self.calls:,} calls, {self.prompt_tokens:,} prompt "
            f"and {self.completion_tokens:,} completion tokens, {money}"
        )


def forecast(
    questions: Sequence[Question],
    prompt: Prompt,
    prices: tuple[float, float] | None = None,
    rounds: float = 3.2,
    settings: Settings | None = None,
) -> Forecast:
    """Estimate a run by its prompt's length, at `rounds` a question (paper, Table 4: 3.2).

    Counts four characters a token and 80 tokens a round for turn and observation. `prices` are US
    dollars for a million prompt and completion tokens; with `settings`, whose max_tokens caps a
    reply, the forecast also tells the most that it may be.
    """
    rounds = 1.0 if prompt.one_turn else rounds
    opening = sum(len(m["content"]) for q in questions for m in prompt.ask(q.question)) / 4
    calls = round(len(questions) * rounds)
    prompt_tokens = round(opening * rounds + len(questions) * 80 * rounds * (rounds - 1) / 2)
    completion_tokens = calls * 45
    usd = most = None
    if prices is not None:
        usd = (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6
        if settings is not None:
            most = usd + max(0, settings.max_tokens - 45) * calls * prices[1] / 1e6
    return Forecast(len(questions), calls, prompt_tokens, completion_tokens, usd, most)


def ask_for_yes(
    questions: Sequence[Question],
    prompt: Prompt,
    chat: Chat,
    search: Search | None,
    settings: Settings,
    yes: bool,
) -> None:
    """Raise FireActError, which holds the forecast, for what may cost money without a yes."""
    tool = None if prompt.one_turn else search
    paid = [x.name for x in (chat, tool) if x is not None and getattr(x, "may_cost", False)]
    if questions and paid and not yes:
        planned = forecast(questions, prompt, getattr(chat, "prices", None), settings=settings)
        raise FireActError(
            f"This run may cost money, for {' and '.join(paid)} may. Its forecast: {planned}. "
            "Nothing was asked. If you agree, call again with yes=True (on the command line: "
            "--yes), and with max_usd for a cap."
        )


def check_cap(chat: Chat, max_usd: float | None) -> None:
    """Raise FireActError for a cap on what nobody knows the price of."""
    if max_usd is not None and getattr(chat, "may_cost", False) and not getattr(chat, "prices", 0):
        raise FireActError(
            f"max_usd has no effect, as the price of {chat.name} is unknown. Give OpenAIChat its "
            "prices (on the command line: --prices), or write them into a file that FIREACT_PRICES "
            "names; or leave max_usd out."
        )


def generate(
    questions: Sequence[Question],
    prompt: Prompt,
    chat: Chat,
    search: Search,
    settings: Settings | None = None,
    journal: Journal | None = None,
    *,
    max_usd: float | None = None,
    yes: bool = False,
    progress: bool = True,
) -> list[Trajectory]:
    """Play every question once; trajectories come back in the order of the questions.

    With a journal, every reply, every answer of a search tool that is `remote`, and every finished
    trajectory is durable before it is used: a killed run called again finishes what is missing,
    asks nothing twice and gives the same result. A question whose model or tool still failed after
    the last try ends as "failed", with a warning, and is tried again by the next call; several such
    in a row end the run. `max_usd` caps what this call spends on the model (a search service counts
    its searches itself): past it no new call is made and a FireActError says how much is done.
    Raise the cap and call again to go on. A model or a tool that may cost money is asked only after
    a `yes`; without it, FireActError holds the forecast.
    """
    settings, stop = settings or Settings(), Stop()
    check_cap(chat, max_usd)
    prices = getattr(chat, "prices", None)
    desk = Desk(chat, journal, Budget(max_usd, prices), stop)
    tool = GuardedSearch(search, journal, stop) if getattr(search, "remote", False) else search
    keys = [_trajectory_key(q, prompt, chat, search, settings) for q in questions]
    results: dict[str, Trajectory] = {}
    missing: dict[str, Question] = {}  # a question that is there twice is played once
    for key, question in zip(keys, questions, strict=True):
        known = journal.get(key, "trajectory") if journal is not None else None
        if known is None:
            missing[key] = question
        else:
            results[key] = Trajectory.from_dict(known)
    ask_for_yes(list(missing.values()), prompt, chat, search, settings, yes)
    # Made as they are begun: ten thousand that wait would slow every collection of garbage.
    games = ((k, play(q, prompt, tool, settings, chat.name)) for k, q in missing.items())
    drive = _drive_batches if chat.endpoint == "local" else _drive_threads
    # An interrupt in here must close the driver, or its threads would go on asking unseen.
    with closing(drive(games, len(missing), desk)) as ended:
        for key, trajectory in _show(ended, len(missing), progress, prompt):
            results[key] = trajectory
            if journal is not None and trajectory.state != "failed":
                # Not waited for: the calls it follows from are on the disk.
                journal.write(key, trajectory.to_dict(), "trajectory")
    if journal is not None:
        journal.flush()
    _tell_failures(results, desk, tool)
    return [results[key] for key in keys]


def _tell_failures(results: dict[str, Trajectory], desk: Desk, tool: Search) -> None:
    """Warn of questions that failed; where all did, there is no result but the reason."""
    ends = [t.state for t in results.values() if t.state in ("failed", "out of tokens")]
    failed = len(ends)
    reason = desk.patience.last or (tool.patience.last if isinstance(tool, GuardedSearch) else None)
    if reason is None or not ends:
        return
    if failed == len(results):
        raise reason
    warnings.warn(
        f"{failed} of {len(results)} questions ended as {' or '.join(sorted(set(ends)))}; the last "
        f"reason: {reason} Call again to try them once more.",
        stacklevel=3,
    )


def _drive_batches(games: Iterator[Game], count: int, desk: Desk) -> Generator[Ended, None, None]:
    """Keep `chat.batch_size` episodes in step: a batched call for all of them, again and again."""
    # Nobody sets the stop: an error or an interrupt arises in this very thread.
    active: list[tuple[str, Episode, Request]] = []
    while count:
        free = desk.chat.batch_size - len(active)
        active += ((key, game, next(game)) for key, game in islice(games, free))
        replies = desk.ask([request for _, _, request in active])
        going: list[tuple[str, Episode, Request]] = []
        for (key, game, _), reply in zip(active, replies, strict=True):
            try:
                going.append((key, game, game.send(reply)))
            except StopIteration as end:
                count -= 1
                yield key, end.value
        active = going


def _drive_threads(games: Iterator[Game], count: int, desk: Desk) -> Generator[Ended, None, None]:
    """Let episodes run free: none waits for another's round. The first error ends all of them.

    The only threads of a run that ask a model are made here, and the one event that ends
    their waits is set here: an error in one episode must wake those that wait out a server's 429.
    """
    stop, turn = desk.stop, Lock()
    news: SimpleQueue[Ended | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            while not stop.is_set():
                with turn:
                    taken = next(games, None)
                if taken is None:
                    return
                key, game = taken
                news.put((key, _finish(game, desk.ask)))
        except BaseException as error:
            # In this order: what stopped the run stands before the cancellations it brings.
            news.put(error)
            stop.set()

    # Not an executor's threads: the interpreter would wait at its end for a call that hangs.
    workers = [Thread(target=work, daemon=True) for _ in range(min(desk.chat.batch_size, count))]
    try:
        for worker in workers:
            worker.start()
        for _ in range(count):
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


def _trajectory_key(
    question: Question, prompt: Prompt, chat: Chat, search: Search, settings: Settings
) -> str:
    return content_key(
        "trajectory", question.to_dict(), prompt.digest, chat.endpoint, chat.name, search.name,
        settings.to_dict(),
    )  # fmt: skip


def _show(results: Iterable[Ended], total: int, progress: bool, prompt: Prompt) -> Iterator[Ended]:
    """A progress line with the running success rate."""
    from tqdm import tqdm

    right = count = 0
    with tqdm(total=total, desc=prompt.method, disable=not progress, mininterval=1) as bar:
        for key, trajectory in results:
            count += 1
            right += bool(trajectory.correct)
            bar.set_postfix_str(f"{right}/{count} right", refresh=False)
            bar.update()
            yield key, trajectory


def successes(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """The success filter of the paper: keep what ended in the right answer."""
    return [t for t in trajectories if t.correct and t.state == "finished"]
