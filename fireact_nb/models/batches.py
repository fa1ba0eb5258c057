"""Many questions in one file at half the price: OpenAI's Batch API, for methods of one round.

Knows how a batch is sent, waited for and read, and what of it a journal holds, so that a run that
is killed pays nothing twice. The replies become those of calls one by one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..agent.asking import call_key, estimate_tokens, out_of_tokens
from ..agent.chat import Exhausted, Request, Stop
from ..agent.episode import Settings, play
from ..agent.journal import Journal
from ..agent.prompting import Prompt
from ..agent.rollouts import ask_for_yes, check_cap
from ..agent.secrets import hide
from ..agent.tasks import Question
from ..errors import FireActError
from ..files import content_key
from .api import OpenAIChat
from .failures import NotThere

if TYPE_CHECKING:
    import openai

MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000  # of one file; the service takes 200 MB
POLL = 30.0  # seconds between two looks at a batch, at most
_FILE = "batch.jsonl"
_PATH: Final = "/v1/chat/completions"
_ENDED = ("completed", "expired", "cancelled", "failed")
_MARK = "fireact_nb"  # under this name a batch's metadata holds what the journal calls it


@dataclass(frozen=True)
class Collected:
    """What came of a batch: requests that were answered, and those still to be asked."""

    asked: int
    answered: int
    usd: float
    states: tuple[str, ...]

    def __str__(self) -> str:
        left = self.asked - self.answered
        return (
            f"{self.answered} of {self.asked} requests answered by batch ({', '.join(self.states)}"
            f"), ${self.usd:.4f}" + (f"; {left} are asked one by one next" if left else "")
        )


def ask_in_batch(
    questions: Sequence[Question],
    prompt: Prompt,
    chat: OpenAIChat,
    journal: Journal,
    settings: Settings | None = None,
    *,
    max_usd: float | None = None,
    yes: bool = False,
    poll: float | None = None,
    stop: Stop | None = None,
) -> Collected:
    """Have the questions answered by the Batch API, into the journal; blocks until that is done.

    Then `generate` with the same arguments finds every reply there and asks what a batch that
    expired or failed in part left over. Interrupted or killed at any moment, the same call goes on:
    a batch that was sent is found again, not sent again. The first question is asked by itself, at
    the full price, to learn which request fields the model refuses, and whether its cap leaves it
    room for an answer. Raises FireActError if not, for a method of several rounds, without a `yes`
    to what may cost money, past `max_usd`, and for a service that refuses.
    """
    if not prompt.one_turn:
        raise FireActError(
            f"A batch is answered in one round, and {prompt.method} has several. Use generate for "
            "it; batches are for io and cot."
        )
    settings, stop = settings or Settings(), stop or Stop()
    check_cap(chat, max_usd)
    wanted = {call_key(r, chat): r for r in _openings(questions, prompt, settings)}
    counter = _Counter(chat, journal, wanted, poll or POLL, stop)
    asked = len(counter.missing())
    for mark in counter.open_batches():
        counter.finish(mark)
    missing = counter.missing()
    ask_for_yes(questions if missing else [], prompt, chat, None, settings, yes)
    if missing:
        counter.ask_first(missing.pop(next(iter(missing))))
        _check_budget(missing.values(), chat, max_usd, counter.usd)
    for part in _parts(missing, chat):
        counter.finish(counter.send(part))
    left = len(counter.missing())
    return Collected(asked, asked - left, counter.usd, tuple(counter.states))


def _openings(
    questions: Sequence[Question], prompt: Prompt, settings: Settings
) -> Iterator[Request]:
    """What `generate` would ask first; with one round, all it asks."""

    class _NoTool:
        name = "none"

        def search(self, query: str, salt: str = "") -> str:
            raise AssertionError("a method of one round does not search")

    for question in questions:
        yield next(play(question, prompt, _NoTool(), settings))


def _check_budget(
    requests: Collection[Request], chat: OpenAIChat, max_usd: float | None, spent: float
) -> None:
    """All of a batch is paid for at once, so that all of it must fit."""
    if max_usd is None or chat.price is None or not requests:
        return
    prompt = sum(estimate_tokens(m["content"]) for r in requests for m in r.messages)
    most = prompt * chat.price.prompt + sum(r.max_tokens for r in requests) * chat.price.completion
    usd = most / 1e6 * chat.price.batch
    if spent + usd > max_usd:
        raise FireActError(
            f"The batch of {len(requests)} requests may cost ${usd:.4f}, and of max_usd "
            f"${max(0.0, max_usd - spent):.4f} are left. It was not sent: raise max_usd, or ask "
            "fewer questions."
        )


def _parts(missing: dict[str, Request], chat: OpenAIChat) -> Iterator[dict[str, bytes]]:
    """The lines of each file that has to be sent, by the journal's keys."""
    part: dict[str, bytes] = {}
    size = 0
    for key, request in missing.items():
        body = chat.dialect.body(request, chat.effort)
        line = {"custom_id": key, "method": "POST", "url": _PATH, "body": body}
        text = json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n"
        if part and (len(part) == MOST_REQUESTS or size + len(text) > MOST_BYTES):
            yield part
            part, size = {}, 0
        part[key], size = text, size + len(text)
    if part:
        yield part


class _Counter:
    """Where batches are handed in and called for; the journal records each: sent, and read.

    `wanted` are the requests of this run by their keys; `usd` is what they cost so far.
    """

    def __init__(
        self,
        chat: OpenAIChat,
        journal: Journal,
        wanted: dict[str, Request],
        poll: float,
        stop: Stop,
    ) -> None:
        self.chat, self.journal, self.wanted = chat, journal, wanted
        self.poll, self.stop = poll, stop
        self.usd, self.states = 0.0, list[str]()

    def missing(self) -> dict[str, Request]:
        return {k: r for k, r in self.wanted.items() if self.journal.get(k, "call") is None}

    def open_batches(self) -> list[str]:
        """The marks of batches that hold something wanted and were not read to their end."""
        records = ((mark, self.journal.get(mark, "batch") or {}) for mark in self._marks())
        missing = self.missing().keys()
        return [
            mark
            for mark, record in records
            if not record.get("state") and not missing.isdisjoint(record["keys"])
        ]

    def _marks(self) -> list[str]:
        return self.journal.keys("batch")

    def ask_first(self, request: Request) -> None:
        [reply] = self.chat.reply([request], stop=self.stop)
        self.journal.put(call_key(request, self.chat), reply.to_dict(), "call")
        self.usd += reply.usd
        if reply.finish_reason == "out of tokens":  # as all the others would be
            raise out_of_tokens(self.chat, request, reply)

    def send(self, part: dict[str, bytes]) -> str:
        """Send one file; returns the mark under which the journal holds it."""
        self.journal.make_room()
        content = b"".join(part.values())
        try:
            file = self._call(lambda c: c.files.create(file=(_FILE, content), purpose="batch"))
        except NotThere as error:
            raise FireActError(
                f"{self.chat.endpoint} has no Batch API, so nothing was sent. Ask one by one: "
                "leave out --batch, or call generate alone."
            ) from error
        mark = content_key("batch", list(part), file.id)
        # Before the service knows of it: else a kill between the two would leave it paid and lost.
        self._note(mark, keys=list(part))
        try:
            batch = self._call(
                lambda c: c.batches.create(
                    input_file_id=file.id,
                    endpoint=_PATH,
                    completion_window="24h",
                    metadata={_MARK: mark},
                ),
                retries=0,  # what got no answer may have been taken all the same
            )
            self._note(mark, keys=list(part), id=batch.id)
        except Exhausted:
            if self._find(mark) is None:
                self._note(mark, keys=list(part), state="never sent")
                raise
        return mark

    def finish(self, mark: str) -> None:
        """Wait for a batch and journal its replies. Raises FireActError if it was refused."""
        record = self.journal.get(mark, "batch") or {}
        id, keys = record.get("id") or self._find(mark), record["keys"]
        if id is None:
            self._note(mark, keys=keys, state="never sent")
            return
        try:
            batch = self._wait(id, len(keys))
            unread = self._collect(batch.output_file_id)
            unread += self._collect(batch.error_file_id)
        except NotThere as error:
            self._note(mark, keys=keys, id=id, state="gone")
            warnings.warn(f"The batch {id} or its results are gone: {error}", stacklevel=3)
            return
        self.journal.flush()
        self.states.append(batch.status)
        # What another run's questions got stays to be read by that run.
        self._note(mark, keys=keys, id=id, state="" if unread else batch.status)
        if batch.status == "failed":
            said = [e.message for e in (batch.errors and batch.errors.data) or []]
            raise FireActError(
                f"{self.chat.endpoint} refused the batch {id}: "
                f"{hide(' '.join(map(str, said[:3]))) or 'it does not say why'}. Nothing of it was "
                "answered or paid. See to that, then call again."
            )

    def _wait(self, id: str, count: int) -> Any:
        pause, told = min(2.0, self.poll), False
        while True:
            batch = self._call(lambda c: c.batches.retrieve(id))
            if batch.status in _ENDED:
                return batch
            if not told:
                told = True
                print(
                    f"Batch {id} of {count} requests is {batch.status}. It may take a day; if you "
                    "stop waiting, the same call later finds it again.",
                    flush=True,
                )
            if self.stop.wait(pause):
                raise CancelledError
            pause = min(self.poll, 1.5 * pause)

    def _collect(self, file: str | None) -> int:
        """Journal a result file's replies; returns how many are for another run's questions."""
        if not file:
            return 0
        unread, wrong = 0, []
        share = self.chat.price.batch if self.chat.price else 1.0
        for row in _rows(self._call(lambda c: c.files.content(file).content)):
            key, response = str(row.get("custom_id")), row.get("response")
            answered = isinstance(response, dict) and response.get("status_code") == 200
            if self.journal.get(key, "call") is not None:
                continue
            if answered and key not in self.wanted:
                unread += 1
                continue
            reply = None
            if isinstance(response, dict) and answered:
                reply = self.chat.read(response.get("body"), self.wanted[key], 0.0, share)
            if reply is None:
                wrong.append(str(row.get("error") or response)[:300])
                continue
            self.journal.write(key, reply.to_dict(), "call")
            self.usd += reply.usd
        if wrong:
            warnings.warn(
                f"{len(wrong)} requests of a batch got no reply, the first: {hide(wrong[0])}. They "
                "are asked one by one by the next `generate`.",
                stacklevel=4,
            )
        return unread

    def _find(self, mark: str) -> str | None:
        """The id of the batch with this mark at the service, if it was ever taken."""
        found = self._call(
            lambda c: next(
                (b.id for b in c.batches.list(limit=100) if (b.metadata or {}).get(_MARK) == mark),
                None,
            )
        )
        return found

    def _note(self, mark: str, **record: Any) -> None:
        self.journal.put(mark, record, "batch")

    def _call(self, work: Callable[[openai.OpenAI], Any], retries: int | None = None) -> Any:
        return self.chat.call(work, self.stop, retries)


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.decode("utf-8", "replace").split("\n"):
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row
