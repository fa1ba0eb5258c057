"""Asking models and tools that cost: from the journal, else paid once, within a cap, with patience.

Knows requests, replies and what a search tool is; knows nothing of episodes.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from email.utils import parsedate_to_datetime
from threading import Condition, Lock, Thread

from ..errors import FireActError
from ..files import content_key
from .chat import Chat, Exhausted, Reply, Request, Stop
from .journal import Journal
from .search import Search, Unavailable
from .secrets import hide, hide_in_reply

SEVERAL = 5  # failures in a row, none of them passing, that end a run: then the service is down
TRIES = 4  # of a search
SEARCH_SECONDS = 30.0  # until a search that hangs counts as failed
LONGEST_WAIT = 120.0  # seconds before a search is tried again, whatever the service asks for
ADDRESS = re.compile(r"\bhttps?://\S+")
_BYTES_PER_TOKEN = 3  # fewer than most languages have: a cap must not be passed by an estimate


class Budget:
    """What this run has spent, in US dollars, against its cap (None: no cap).

    A call is let through if the dearest so far, and what `prices` (USD per million prompt and
    completion tokens) let expect at most, would still fit beside all that are under way.
    """

    def __init__(self, cap: float | None, prices: tuple[float, float] | None = None) -> None:
        self.cap, self.spent = cap, 0.0
        self._prices = prices or (0.0, 0.0)
        self._dearest, self._held, self._under_way = 0.0, 0.0, 0
        self._news = Condition()  # episodes pay from many threads

    def hold(self, requests: Sequence[Request], stop: Stop) -> float:
        """Set aside, until `pay`, what each call may cost at most; wait while others are under way.

        Raises FireActError if even then it does not fit.
        """
        if self.cap is None:
            return 0.0
        guess = max(map(self._guess, requests))
        with self._news:
            while True:
                if stop.is_set():
                    raise CancelledError
                each = max(guess, self._dearest)
                needed = self.spent + self._held + each * len(requests)
                if self.spent < self.cap and needed <= self.cap + 1e-9:
                    break
                if not self._under_way:
                    raise FireActError(
                        f"The budget of ${self.cap:.2f} is spent (${self.spent:.4f} in this run, "
                        f"and the next call may cost ${each:.4f}). What a journal holds is not "
                        "paid again: call again with a higher max_usd to go on."
                    )
                self._news.wait(0.5)
            self._held += each * len(requests)
            self._under_way += len(requests)
        return each

    def pay(self, usd: float, held: float) -> None:
        """A call has cost so much, for which so much was held."""
        with self._news:
            self.spent += usd
            self._dearest = max(self._dearest, usd)
            if self.cap is not None:
                self._held -= held
                self._under_way -= 1
                self._news.notify_all()

    def _guess(self, request: Request) -> float:
        prompt = sum(map(estimate_tokens, (m["content"] for m in request.messages)))
        return (prompt * self._prices[0] + request.max_tokens * self._prices[1]) / 1e6


def estimate_tokens(text: str) -> int:
    """Tokens of a text that nobody has counted, rather too many than too few."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def call_key(request: Request, chat: Chat) -> str:
    """Where a journal keeps the reply to a request; whoever changes it makes journals worthless."""
    # vars, not asdict: its deep copy of every message cost more than the hash.
    return content_key("call", vars(request), chat.endpoint, chat.name)


class Patience:
    """Counts failures in a row; several end the run."""

    def __init__(self) -> None:
        self.last: Exhausted | None = None
        self._row = 0
        self._lock = Lock()

    def failed(self, error: Exhausted) -> None:
        """Raises FireActError after several failures."""
        with self._lock:
            self.last, self._row = error, self._row + 1
            if self._row >= SEVERAL:
                raise FireActError(f"{error} {self._row} in a row went so; nothing more was asked.")

    def passed(self) -> None:
        self._row = 0


class Desk:
    """Where the episodes of one run ask their model.

    Replies come from the journal where it has them; a request that is under way is not sent again;
    a new reply is journalled before it is used. A request that is exhausted is answered by a reply
    with the finish reason "failed", which is not journalled.
    """

    def __init__(self, chat: Chat, journal: Journal | None, budget: Budget, stop: Stop) -> None:
        self.chat, self.journal, self.budget, self.stop = chat, journal, budget, stop
        self.patience = Patience()
        self._under_way: dict[str, Future[Reply]] = {}
        self._turn = Lock()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        own: dict[str, tuple[Request, Future[Reply]]] = {}
        replies = []
        for request in requests:
            key = call_key(request, self.chat)
            with self._turn:
                if key not in self._under_way:
                    self._under_way[key] = Future()
                    own[key] = request, self._under_way[key]
                replies.append(self._under_way[key])
        try:
            self._answer(own)
        except BaseException as error:
            for _, future in own.values():
                if not future.done():
                    future.set_exception(error)
            raise
        finally:
            with self._turn:
                for key in own:
                    del self._under_way[key]
        return [future.result() for future in replies]

    def _answer(self, own: dict[str, tuple[Request, Future[Reply]]]) -> None:
        new = {}
        for key, (request, future) in own.items():
            known = self.journal.get(key, "call") if self.journal is not None else None
            if known is None:
                new[key] = request, future
            else:
                future.set_result(Reply.from_dict(known))
        if not new:
            return
        if self.stop.is_set():
            raise CancelledError
        if self.journal is not None:
            self.journal.make_room()
        keys, requests = list(new), [request for request, _ in new.values()]
        held = self.budget.hold(requests, self.stop)
        paid: list[int] = []

        def keep(place: int, reply: Reply) -> None:
            self.budget.pay(reply.usd, held)
            paid.append(place)
            if self.journal is not None:
                self.journal.write(keys[place], reply.to_dict(), "call")
            if reply.finish_reason == "out of tokens":
                self.patience.failed(out_of_tokens(self.chat, requests[place], reply))
            else:
                self.patience.passed()

        try:
            answers = self.chat.reply(requests, keep, self.stop)
            if self.journal is not None:
                self.journal.flush()
        except Exhausted as error:
            self.patience.failed(error)
            answers = [Reply("", 0, 0, "failed", 0.0)] * len(requests)
        finally:
            for _ in range(len(requests) - len(paid)):
                self.budget.pay(0.0, held)
        for (_, future), reply in zip(new.values(), answers, strict=True):
            future.set_result(reply)


def out_of_tokens(chat: Chat, request: Request, reply: Reply) -> Exhausted:
    """The error for a reply that ran into its cap before its first word, and what to do."""
    thinking = f", {reply.reasoning_tokens} of them on thinking" if reply.reasoning_tokens else ""
    return Exhausted(
        f"{chat.name} spent its cap of {request.max_tokens} tokens{thinking}, before the first "
        "word of its answer. Raise max_tokens (in Settings, or --max-tokens), or lower the "
        "model's reasoning_effort."
    )


class GuardedSearch:
    """A remote search tool, asked once for each occasion: journalled, tried again, not waited for.

    A FireActError of the tool ends the run, as it says what to do, and Exhausted the episode. All
    else is a failure that may pass: Unavailable, any other error, an answer that is no text or that
    takes longer than `SEARCH_SECONDS`.
    """

    def __init__(self, tool: Search, journal: Journal | None, stop: Stop) -> None:
        self.tool, self.name, self.journal, self.stop = tool, tool.name, journal, stop
        self.patience = Patience()

    def search(self, query: str, salt: str = "") -> str:
        key = content_key("search", self.name, query, salt)
        known = self.journal.get(key, "search") if self.journal is not None else None
        if known is not None:
            return known["text"]
        if self.journal is not None:
            self.journal.make_room()
        try:
            text = self._try(query, salt)
        except Exhausted as error:
            self.patience.failed(error)
            raise
        if self.journal is not None:
            self.journal.put(key, {"query": query, "text": text}, "search")
        self.patience.passed()
        return text

    def _try(self, query: str, salt: str) -> str:
        problem, wait = "", 0.0
        for attempt in range(TRIES):
            # Full jitter, as between the tries of a call, on top of what the service asked for.
            pause = min(wait, LONGEST_WAIT) + random.uniform(0, 2**attempt) if attempt else 0.0
            if (pause and self.stop.wait(pause)) or self.stop.is_set():
                raise CancelledError
            wait = 0.0
            try:
                text = _in_time(lambda: self.tool.search(query, salt))
                if isinstance(text, str):
                    return hide_in_reply(text)
                problem = f"it answered with {type(text).__name__}, not with text"
            except Unavailable as error:
                problem, wait = str(error), error.wait
            except (FireActError, CancelledError):
                raise
            except TimeoutError:
                problem = f"no answer within {SEARCH_SECONDS:g} s"
            except Exception as error:
                # Its words may hold the address that was asked, and in it a key.
                said = hide(f"{type(error).__name__}: {' '.join(str(error).split())}")
                problem = ADDRESS.sub("[address]", said)[:200]
        raise Exhausted(
            f"The search tool {self.name} failed {TRIES} times ({problem.rstrip('.')}). Check the "
            "service and the network, then run again: what is journalled is not asked again."
        )


def _in_time(work: Callable[[], str]) -> str:
    """The result of foreign code, which may hang: it is waited for on a thread that may be left."""
    done: Future[str] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(SEARCH_SECONDS)


def asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds in Retry-After, as a number or a date; 0 without one that can be read."""
    for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(header, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (TypeError, ValueError, OverflowError):
                continue
        if 0 < seconds < float("inf"):
            return seconds
    return 0.0
