"""Keys and values of conversations, a row each, kept from one reply to the next.

Knows tokens, positions and the model's forward pass; knows neither requests nor how a token is
chosen.

A conversation grows by a turn and an observation a round. What a model computed for the tokens so
far is still right, so only the new ones are read; and few-shot examples, once read for one row, are
copied into the others. Every row stands at the left of its slot at positions of its own, so that
rows may come and go at any step.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from .quirks import CUSTOM_CACHE
from .sizes import read_text_config

if TYPE_CHECKING:
    import torch

_AHEAD = 128  # tokens a slot can grow by before all are copied
_WORTH = 32  # tokens; a shorter common beginning is not worth reading one prompt before the others
_AT_ONCE = 4096  # tokens read in one pass


def can_keep(model: Any) -> bool:
    """Whether a model's keys and values may be kept in slots.

    That needs positions that are told, not counted, a mask that is used as it comes, and layers
    that see all that was said: a sliding window keeps only the last of it.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    config = read_text_config(model.config)
    return (
        CUSTOM_CACHE.fits()
        and config._attn_implementation == "sdpa"
        and bool(getattr(config, "rope_parameters", None))
        and bool(getattr(model, "_supports_attention_backend", False))
        and all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)
    )


class Slots:
    """Room for the keys and values of some conversations.

    Memory is slots x tokens reserved in each x 2 x layers x heads x width x bytes a number: 4,608
    bytes a token for the tiny student, 9,216 for the teacher.
    """

    def __init__(self, model: Any) -> None:
        import torch
        from transformers import Cache

        self.model = model
        self.count, self.reserved = 0, 0
        self.layers = [
            _make_layer(self) for _ in range(read_text_config(model.config).num_hidden_layers)
        ]
        self._cache = Cache(layers=self.layers)
        # What a slot holds or is about to hold: (slots, reserved tokens), -1 where nothing.
        self.tokens = torch.empty(0, 0, dtype=torch.long)
        # How many of a slot's tokens have their keys and values: (slots,).
        self.ready = torch.empty(0, dtype=torch.long)
        self.asked: list[int] = []  # tokens of a slot's last prompt
        self._used: list[int] = []  # when a slot was last claimed: the oldest is overwritten first
        self._clock = 0
        # Where the pass under way writes: slots (rows,), positions (rows, tokens), seen tokens.
        self.slots: Any = slice(0, 0)
        self.positions = self.tokens
        self.seen = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(layer.nbytes for layer in self.layers)

    def reserve(self, count: int, tokens: int) -> None:
        """Have at least `count` slots of `tokens` tokens; nothing is lost."""
        import torch

        if tokens > self.reserved:
            self.reserved = tokens + _AHEAD
        fresh = max(0, count - self.count)
        self.count += fresh
        self.asked += [0] * fresh
        self._used += [0] * fresh
        held = self.tokens
        if held.shape != (self.count, self.reserved):
            self.tokens = torch.full((self.count, self.reserved), -1)
            self.tokens[: held.shape[0], : held.shape[1]] = held
            self.ready = torch.cat([self.ready, self.ready.new_zeros(fresh)])
            for layer in self.layers:
                layer.grow()

    def claim(self, prompts: list[list[int]], busy: Collection[int], spare: int) -> list[int]:
        """A slot for each prompt, holding keys and values of all its tokens but the last.

        `busy` slots may be copied from, never written; `spare` tokens of room stay behind a prompt.
        There must be a slot that is not busy for each prompt.
        """
        self.reserve(0, max(map(len, prompts)) + spare)
        claimed: dict[int, int] = {}  # place in prompts -> slot
        # Who goes on with a conversation comes first, or its slot might be taken by another.
        known = [int(self._common(prompt)[1].max()) for prompt in prompts]
        for place in sorted(range(len(prompts)), key=lambda i: -known[i]):
            prompt = prompts[place]
            common, ready = self._common(prompt)
            if common.max() > ready.max() + _WORTH:  # one before it begins alike: read that first
                self._read(list(claimed.values()))
                common, ready = self._common(prompt)
            source, shared = int(ready.argmax()), int(ready.max())
            free = [s for s in range(self.count) if s not in busy and s not in claimed.values()]
            # The same conversation goes on in its slot; what only begins alike leaves it in peace.
            goes_on = source in free and shared + 2 >= self.asked[source]
            slot = source if goes_on else min(free, key=lambda s: self._used[s])
            if slot != source and shared:
                for layer in self.layers:
                    layer.copy(source, slot, shared)
            self.tokens[slot] = -1
            self.tokens[slot, : len(prompt)] = self.tokens.new_tensor(prompt)
            self.ready[slot] = shared
            self.asked[slot] = len(prompt)
            self._clock += 1
            self._used[slot] = self._clock
            claimed[place] = slot
        self._read(list(claimed.values()))
        return [claimed[place] for place in range(len(prompts))]

    def _common(self, prompt: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """How far each slot's tokens are the prompt's, and how many of these are ready: (slots,).

        The prompt's last token never counts: there must be something to compute logits from.
        """
        n = min(len(prompt) - 1, self.reserved)
        same = self.tokens[:, :n] == self.tokens.new_tensor(prompt[:n])
        common = same.long().cumprod(1).sum(1)
        return common, common.minimum(self.ready)

    def _read(self, slots: list[int]) -> None:
        """Compute what is missing of the prompts in `slots`, those of like length together."""
        import torch

        missing = {s: self.asked[s] - 1 - int(self.ready[s]) for s in slots}
        waiting = sorted((s for s in slots if missing[s] > 0), key=lambda s: missing[s])
        while waiting:
            longest, rows = 2 * missing[waiting[0]] + 16, 0
            while (
                rows < len(waiting)
                and missing[waiting[rows]] <= longest
                and (rows == 0 or (rows + 1) * missing[waiting[rows]] <= _AT_ONCE)
            ):
                rows += 1
            taken, waiting = torch.tensor(waiting[:rows]), waiting[rows:]
            size = missing[int(taken[-1])]
            # A shorter row is padded at its right; what is written there is never seen, for later
            # tokens of the row take its place.
            positions = self.ready[taken, None] + torch.arange(size)  # (rows, tokens)
            self.reserve(0, int(positions.max()) + 1)
            self._forward(taken, positions)
            self.ready[taken] += torch.tensor([missing[int(s)] for s in taken])

    def step(self, rows: int, alive: torch.Tensor) -> torch.Tensor:
        """Feed the next token of the first `rows` slots; logits (rows, vocabulary).

        A row that is not `alive` (rows,) is computed along and stays as it is.
        """
        ready = self.ready[:rows]
        self.reserve(0, int(ready.max()) + 2)
        logits = self._forward(slice(0, rows), ready[:, None], int(ready[alive].max()) + 1)
        self.ready[:rows] += alive
        return logits

    def put(self, rows: int, tokens: torch.Tensor) -> None:
        """What the first `rows` slots say next, (rows,); fed by the next step."""
        import torch

        self.tokens[torch.arange(rows), self.ready[:rows]] = tokens

    def tail(self, rows: int, size: int) -> torch.Tensor:
        """The last tokens that the first `rows` slots said, (rows, size); 0 before a beginning."""
        import torch

        places = self.ready[:rows, None] + torch.arange(1 - size, 1)
        return self.tokens[torch.arange(rows)[:, None], places.clamp(min=0)].clamp(min=0)

    def swap(self, one: int, other: int) -> None:
        """Exchange two slots."""
        for layer in self.layers:
            layer.swap(one, other, int(self.ready[[one, other]].max()))
        for held in (self.tokens, self.ready):
            held[[one, other]] = held[[other, one]]
        for listed in (self.asked, self._used):
            listed[one], listed[other] = listed[other], listed[one]

    def _forward(self, slots: Any, positions: torch.Tensor, seen: int = 0) -> torch.Tensor:
        """Compute the tokens at `positions` (rows, tokens) of `slots`; the last one's logits."""
        import torch

        self.seen = seen or int(positions.max()) + 1
        device = self.model.device
        rows = torch.arange(self.count)[slots]
        tokens = self.tokens[rows[:, None], positions].clamp(min=0)
        self.slots, self.positions = slots, positions.to(device)
        # A token sees those of its row at its own position and before: (rows, 1, tokens, seen).
        mask = torch.arange(self.seen, device=device) <= self.positions[:, None, :, None]
        with torch.no_grad():
            logits = self.model(
                input_ids=tokens.to(device),
                attention_mask=mask,
                position_ids=self.positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits
        return logits[:, -1].float()


def _make_layer(slots: Slots) -> Any:
    """One layer's keys and values, as transformers asks for them."""
    import torch
    from transformers.cache_utils import DynamicLayer

    class Layer(DynamicLayer):
        keys: Any  # both (slots, heads, reserved tokens, width)
        values: Any

        @property
        def nbytes(self) -> int:
            return self.keys.nbytes + self.values.nbytes if self.is_initialized else 0

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> Any:
            """Takes (rows, heads, tokens, width); returns what the rows see, (…, seen, width)."""
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.keys, self.values = key_states[:0, :, :0], value_states[:0, :, :0]
                self.grow()
            rows = torch.arange(slots.count, device=key_states.device)[slots.slots][:, None]
            found = []
            for held, new in ((self.keys, key_states), (self.values, value_states)):
                held[rows, :, slots.positions] = new.transpose(1, 2)
                # A slice is a view, a list of slots a copy: that is only for reading prompts.
                found.append(held[slots.slots, :, : slots.seen])
            return found[0], found[1]

        def grow(self) -> None:
            """Have room for all slots."""
            if not self.is_initialized:
                return
            size = slots.count, slots.reserved
            self.keys, self.values = _larger(self.keys, *size), _larger(self.values, *size)

        def copy(self, source: int, target: int, size: int) -> None:
            for held in (self.keys, self.values):
                held[target, :, :size] = held[source, :, :size]

        def swap(self, one: int, other: int, size: int) -> None:
            for held in (self.keys, self.values):
                moved = held[one, :, :size].clone()
                held[one, :, :size] = held[other, :, :size]
                held[other, :, :size] = moved

    return Layer()


def _larger(held: torch.Tensor, count: int, reserved: int) -> torch.Tensor:
    """(slots, heads, tokens, width) with more slots and tokens."""
    # Zeros, for a masked number that is none would spoil a sum.
    room = held.new_zeros((count, held.shape[1], reserved, held.shape[3]))
    room[: held.shape[0], :, : held.shape[2]] = held
    return room
