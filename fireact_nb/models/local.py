"""A local language model behind the chat protocol, answered in batches on CPU or one GPU.

Knows tokens and decoding; where weights come from stands in `weights`. Knows nothing of agents,
tools or questions.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from ..agent.chat import Reply, Request, Stop
from ..errors import FireActError
from .adapters import find_base, load_model
from .sampling import Gumbel, add_noise
from .sizes import count_rows, is_out_of_memory, read_text_config, release_memory
from .slots import Slots, can_keep
from .templating import end_tokens, harmless, make_breaker, render
from .weights import describe, let_pad

KEPT = 2 << 30  # bytes of keys and values that may stay from one call to the next
_IDLE = 8  # one in so many rows may stand idle before others join or the rest close ranks
_ROOM = 16  # tokens; what is left of the context counts in such steps, so that batches stay large


@dataclass
class _Turn:
    """A request being answered: its place among the requests, and the tokens said so far."""

    place: int
    request: Request
    prompt: list[int]
    limit: int = 0
    said: list[int] = field(default_factory=list)
    began: float = 0.0  # on the clock of the call
    heard: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.said = []
        self.noise = Gumbel(self.request) if self.request.temperature > 0 else None


class LocalChat:
    """A causal LM with a chat template, with or without a LoRA adapter.

    `name` carries a hash of the weights and of the adapter, so a journal never mixes two models up.
    Decoding is greedy at temperature 0; otherwise each request draws its own noise from its seed
    and sample, whatever else is in the batch. What a conversation said is read once, and so are the
    few-shot examples that many begin with (`slots`).
    """

    endpoint = "local"

    def __init__(
        self,
        model: str | Path | Any,
        adapter: str | Path | None = None,
        *,
        tokenizer: Any = None,
        name: str | None = None,
        batch_size: int = 64,
    ) -> None:
        """`model` is a folder or hub name, or a loaded model (then give `tokenizer` and `name`).

        batch_size: conversations answered at once, or fewer where the memory holds fewer. Raises
        FireActError when a folder has no usable weights or no chat template.
        """
        if isinstance(model, (str, Path)):
            self.model, self.tokenizer = load_model(model, adapter)
            self.name = name or describe(find_base(model, adapter), adapter)
        else:
            if tokenizer is None or name is None:
                raise ValueError("a loaded model needs its tokenizer and a name")
            self.model, self.tokenizer, self.name = model.eval(), let_pad(tokenizer), name
        if not self.tokenizer.chat_template:
            raise FireActError(
                f"{self.name} has no chat template, so messages cannot be put to it. Use an "
                "instruct or chat model, or set tokenizer.chat_template before handing it over."
            )
        self.tokenizer.padding_side = "left"  # the next token is read off the last column
        self.batch_size = count_rows(self.model, batch_size)
        self.context = read_text_config(self.model.config).max_position_embeddings
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        # A chat template may end a turn with another token than the one the model names, or both.
        ends = {*ends, self.tokenizer.eos_token_id, *end_tokens(self.tokenizer)}
        self.ends = sorted(ends - {None})
        self._slots: tuple[Any, Slots] | None = None  # the weights they hold for, and the slots
        self._stops: tuple[tuple[str, ...], Any] | None = None
        self.keeps = can_keep(self.model)

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
        heard: Mapping[int, Callable[[str], None]] | None = None,
    ) -> list[Reply]:
        """Answer all requests, in order; `done(place, reply)` is called as each is there.

        heard: by place, what is called with the text so far of an answer that is not yet over,
        again and again; never, where keys and values cannot be kept.
        """
        turns = [_Turn(i, r, self.encode(r)) for i, r in enumerate(requests)]
        for turn in turns:
            turn.limit = self._limit(turn.request, turn.prompt)
            turn.heard = (heard or {}).get(turn.place)
        replies: dict[int, Reply] = {}
        for turn, seconds in self._within_memory(turns, stop or Stop()):
            reply = replies[turn.place] = self._finish(turn, seconds)
            if done:
                done(turn.place, reply)
        return [replies[place] for place in range(len(requests))]

    def _within_memory(self, turns: list[_Turn], stop: Stop) -> Iterator[tuple[_Turn, float]]:
        """Every turn as it is over; begun again with half as many at once where memory runs out.

        A reply does not depend on what shares its batch, so nothing that was said is lost by it.
        """
        left = {turn.place: turn for turn in turns}
        answer = self._in_slots if self.keeps else self._in_batches
        while left:
            try:
                for turn, seconds in answer(list(left.values()), stop):
                    del left[turn.place]
                    yield turn, seconds
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.batch_size == 1:
                    longest = max(len(turn.prompt) for turn in left.values())
                    raise FireActError(
                        f"The memory ran out while {self.name} answered one conversation of up to "
                        f"{longest} tokens. Use a smaller model, or free the memory that others "
                        "hold (restart the kernel)."
                    ) from error
                self.batch_size //= 2
                self._slots = None
                for turn in left.values():
                    turn.restart()
            if left:
                release_memory()

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request: chat template, opening of the answer, prefix.

        No content opens a role: special tokens in it are broken.
        """
        text = render(self.tokenizer, harmless(self.tokenizer, request.messages), opening=True)
        text += make_breaker(self.tokenizer)(request.prefix)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _limit(self, request: Request, prompt: list[int]) -> int:
        """How many tokens the reply may have; 0 when the prompt fills the context."""
        return min(request.max_tokens, max(0, self.context - len(prompt)) // _ROOM * _ROOM)

    def _in_slots(self, turns: list[_Turn], stop: Stop) -> Iterator[tuple[_Turn, float]]:
        """Rows of any settings, each leaving when it ends; those that wait take their places."""
        slots = self._open_slots()
        waiting, rows = deque(turns), dict[int, _Turn]()  # rows by slot
        clock = 0.0  # seconds, those of each step shared out among its rows, so that sums are right
        try:
            while waiting or rows:
                if stop.is_set():
                    raise CancelledError
                while waiting and waiting[0].limit < 1:
                    yield waiting.popleft(), 0.0
                started = time.monotonic()
                free = self.batch_size - len(rows)
                # A pass for one row costs nearly what one for many does: a few join together.
                if waiting and (not rows or free > self.batch_size // _IDLE):
                    taken = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                    _join(slots, rows, taken, clock)
                ended = self._step(slots, rows) if rows else []
                clock += (time.monotonic() - started) / max(1, len(rows))
                for slot in ended:
                    turn = rows.pop(slot)
                    yield turn, clock - turn.began
                for turn in rows.values():
                    if turn.heard:
                        turn.heard(self._so_far(turn))
        except BaseException:
            self._slots = None  # who knows what is half written
            raise
        if slots.nbytes > KEPT:
            self._slots = None

    def _open_slots(self) -> Slots:
        """What is kept from earlier calls, unless the weights are others since."""
        weights = [(p.data_ptr(), p._version) for p in self.model.parameters()]
        if self._slots is None or self._slots[0] != weights:
            self._slots = weights, Slots(self.model)
        return self._slots[1]

    def _step(self, slots: Slots, rows: dict[int, _Turn]) -> list[int]:
        """One token for every row; the slots whose turns are over."""
        import torch

        if max(rows) + 1 - len(rows) > len(rows) // _IDLE:
            _close_ranks(slots, rows)
        width = max(rows) + 1
        alive = torch.zeros(width, dtype=torch.bool)
        alive[list(rows)] = True
        scores = slots.step(width, alive)  # (width, vocabulary)
        add_noise(scores, {slot: turn.noise for slot, turn in rows.items() if turn.noise})
        chosen = scores.argmax(-1).cpu()  # (width,)
        slots.put(width, chosen)
        over = torch.isin(chosen, torch.tensor([*self.ends, self.tokenizer.pad_token_id]))
        for stops in {turn.request.stop for turn in rows.values()} - {()}:
            criterion = self._stopper(stops)
            hit = criterion(slots.tail(width, criterion.maximum_token_len), None)
            theirs = [slot for slot, turn in rows.items() if turn.request.stop == stops]
            over[theirs] |= hit[theirs]
        for slot, turn in rows.items():
            turn.said.append(int(chosen[slot]))
        return [s for s, turn in rows.items() if over[s] or len(turn.said) == turn.limit]

    def _stopper(self, stops: tuple[str, ...]) -> Any:
        """What tells whether the last tokens of rows (rows, tokens) end in a stop string."""
        if self._stops is None or self._stops[0] != stops:
            from transformers import StopStringCriteria

            self._stops = stops, StopStringCriteria(self.tokenizer, list(stops))
        return self._stops[1]

    def _in_batches(self, turns: list[_Turn], stop: Stop) -> Iterator[tuple[_Turn, float]]:
        """The plain way, for models whose keys and values cannot be kept: padded batches."""

        def setting(turn: _Turn) -> tuple[Any, ...]:
            return turn.request.stop, turn.limit

        # Alike settings and lengths share a batch: little is padded, and no reply is cut short by
        # another's long prompt.
        for _, alike in groupby(sorted(turns, key=lambda t: (*setting(t), len(t.prompt))), setting):
            group = list(alike)
            for at in range(0, len(group), self.batch_size):
                if stop.is_set():
                    raise CancelledError
                batch = group[at : at + self.batch_size]
                started = time.monotonic()
                self._generate(batch)
                seconds = (time.monotonic() - started) / len(batch)
                for turn in batch:
                    yield turn, seconds

    def _generate(self, turns: list[_Turn]) -> None:
        """Let a batch of one setting say what it has to say."""
        import torch
        from transformers import LogitsProcessorList

        if turns[0].limit < 1:
            return
        noises = {row: turn.noise for row, turn in enumerate(turns) if turn.noise}
        inputs = self.tokenizer.pad(
            {"input_ids": [turn.prompt for turn in turns]}, return_tensors="pt"
        ).to(self.model.device)  # (rows, prompt tokens), padded at the left
        with torch.inference_mode():
            # (rows, prompt tokens) in, (rows, prompt tokens + new tokens) out; rows that end early
            # are padded, so the longest answer decides how long the batch takes
            out = self.model.generate(
                **inputs,
                max_new_tokens=turns[0].limit,
                # Plain decoding, whatever the model's generation_config.json asks for.
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                logits_processor=LogitsProcessorList(
                    [lambda _, scores: add_noise(scores.float(), noises)]
                ),
                stop_strings=list(turns[0].request.stop) or None,
                tokenizer=self.tokenizer,
                eos_token_id=self.ends,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        for turn, row in zip(turns, out[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            turn.said = row

    def _so_far(self, turn: _Turn) -> str:
        """What an answer begins with, whatever follows: no half letter, no half stop string."""
        text = self.tokenizer.decode(turn.said, skip_special_tokens=True).rstrip("\ufffd")
        for stop in turn.request.stop:
            held = next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
            text = text[: len(text) - held]
        return turn.request.prefix + text

    def _finish(self, turn: _Turn, seconds: float) -> Reply:
        """What was said as a reply. A row that ended before others of its batch is padded."""
        request, row = turn.request, turn.said
        if turn.limit < 1:
            return Reply("", len(turn.prompt), 0, "context full", 0.0)
        over = {*self.ends, self.tokenizer.pad_token_id}
        count = next((i for i, token in enumerate(row) if token in over), len(row))
        text = self.tokenizer.decode(row[:count], skip_special_tokens=True)
        cuts = [text.index(stop) for stop in request.stop if stop in text]
        finish: Literal["stop", "length"] = "stop"
        if cuts:
            text = text[: min(cuts)]
        else:
            finish = "length" if count == turn.limit else "stop"
            # The end token is one the model wrote, the padding is not.
            count += count < len(row) and row[count] in self.ends
        return Reply(request.prefix + text, len(turn.prompt), count, finish, seconds)


def _join(slots: Slots, rows: dict[int, _Turn], turns: list[_Turn], clock: float) -> None:
    """Give each turn a slot that holds its prompt."""
    slots.reserve(len(rows) + len(turns), 0)
    spare = max(turn.limit for turn in turns)
    claimed = slots.claim([turn.prompt for turn in turns], rows, spare)
    for slot, turn in zip(claimed, turns, strict=True):
        turn.began = clock
        rows[slot] = turn


def _close_ranks(slots: Slots, rows: dict[int, _Turn]) -> None:
    """Put the rows into the first slots, so that a step computes no others."""
    while (last := max(rows)) >= len(rows):
        gap = next(slot for slot in range(last) if slot not in rows)
        slots.swap(gap, last)
        rows[gap] = rows.pop(last)
