"""A local language model behind the chat protocol, answered in batches on CPU or one GPU.

Knows tokens and decoding; where weights come from stands in `weights`. Knows nothing of agents,
tools or questions.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agent.chat import Reply, Request, Stop
from ..errors import FireActError
from .quirks import make_cache
from .templating import harmless, make_breaker, render
from .weights import describe, let_pad, load_model

if TYPE_CHECKING:
    import torch

_SHARED_PREFIX = 32  # tokens; a shorter common beginning is not worth a cache
_ROOM = 16  # tokens; what is left of the context counts in such steps, so that batches stay large


class LocalChat:
    """A causal LM with a chat template, with or without a LoRA adapter.

    `name` carries a hash of the weights and of the adapter, so a journal never mixes two models up.
    Decoding is greedy at temperature 0; otherwise each request draws its own noise from its seed
    and sample, whatever else is in the batch. The few-shot examples at the beginning of all prompts
    of a batch are read once (prefix cache).
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

        Raises FireActError when a folder has no usable weights or no chat template.
        """
        self.batch_size = batch_size
        if isinstance(model, (str, Path)):
            self.model, self.tokenizer = load_model(model, adapter)
            self.name = name or describe(model, adapter)
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
        self.context = self.model.config.max_position_embeddings
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        # A chat template may end a turn with another token than the one the model names, or both.
        self.ends = sorted({*ends, self.tokenizer.eos_token_id} - {None})

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]:
        """Answer all requests, in order; `done(place, reply)` is called as each batch ends."""
        replies: list[Reply | None] = [None] * len(requests)
        prompts = [self.encode(r) for r in requests]
        # Alike settings and lengths share a batch: little is padded, and no reply is cut short by
        # another's long prompt.
        settings = [
            (r.temperature, self._limit(r, p), r.stop)
            for r, p in zip(requests, prompts, strict=True)
        ]
        order = sorted(range(len(requests)), key=lambda i: (settings[i], len(prompts[i]), i))
        for group in _groups(order, settings, self.batch_size):
            if stop is not None and stop.is_set():
                raise CancelledError
            limit = settings[group[0]][1]
            answers = self._generate(
                [requests[i] for i in group], [prompts[i] for i in group], limit
            )
            for place, answer in zip(group, answers, strict=True):
                replies[place] = answer
                if done:
                    done(place, answer)
        return [r for r in replies if r is not None]

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

    def _generate(
        self, requests: list[Request], prompts: list[list[int]], limit: int
    ) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList

        if limit < 1:
            return [Reply("", len(p), 0, "context full", 0.0) for p in prompts]
        started = time.monotonic()
        first = requests[0]
        inputs = self._share_prefix(prompts)
        processors = LogitsProcessorList()
        if first.temperature > 0:
            processors.append(GumbelSampler(requests))
        with torch.inference_mode():
            # (rows, prompt tokens) in, (rows, prompt tokens + new tokens) out; rows that end early
            # are padded, so the longest answer decides how long the batch takes
            out = self.model.generate(
                **inputs,
                max_new_tokens=limit,
                # Plain decoding, whatever the model's generation_config.json asks for.
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                logits_processor=processors,
                stop_strings=list(first.stop) or None,
                tokenizer=self.tokenizer,
                eos_token_id=self.ends,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        rows = out[:, inputs["input_ids"].shape[1] :].tolist()  # (rows, new tokens)
        # One batch, one clock: its time is shared out evenly, so that sums are right.
        seconds = (time.monotonic() - started) / len(requests)
        replies = []
        for request, prompt, row in zip(requests, prompts, rows, strict=True):
            text, count, finish = self._decode(row, request, limit)
            replies.append(Reply(request.prefix + text, len(prompt), count, finish, seconds))  # type: ignore[arg-type]
        return replies

    def _share_prefix(self, prompts: list[list[int]]) -> dict[str, Any]:
        """Left-padded inputs; the beginning that all prompts share is read once for the batch.

        Each row is `shared` tokens, then its padding, then the rest of its prompt. With few-shot
        examples the shared part is most of a prompt.
        """
        import torch

        device = self.model.device
        cache = make_cache(self.model.config)
        shared = 0
        # A sliding window would count the padding behind the prefix as if it were text.
        if len(prompts) > 1 and not any(cache.is_sliding):
            # One token stays out of the cache: there must be something to compute logits from.
            shortest = min(map(len, prompts)) - 1
            while shared < shortest and len({p[shared] for p in prompts}) == 1:
                shared += 1
        if shared < _SHARED_PREFIX:
            shared = 0
        longest = max(map(len, prompts)) - shared
        pad = self.tokenizer.pad_token_id
        rows, mask = [], []
        for prompt in prompts:
            gap = longest - (len(prompt) - shared)
            rows.append(prompt[:shared] + [pad] * gap + prompt[shared:])
            mask.append([1] * shared + [0] * gap + [1] * (len(prompt) - shared))
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor(rows, device=device),  # (rows, shared + longest rest)
            "attention_mask": torch.tensor(mask, device=device),  # the same; 0 on padding
        }
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=device)  # (1, shared)
            with torch.inference_mode():
                self.model(
                    input_ids=prefix, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
            # keys and values (1, heads, shared, width) -> (rows, heads, shared, width)
            cache.batch_repeat_interleave(len(prompts))
        if not any(cache.is_sliding):
            inputs["past_key_values"] = cache
        return inputs

    def _decode(self, row: list[int], request: Request, limit: int) -> tuple[str, int, str]:
        """Text, tokens and finish reason. A row that ended before others is padded."""
        over = {*self.ends, self.tokenizer.pad_token_id}
        count = next((i for i, token in enumerate(row) if token in over), len(row))
        text = self.tokenizer.decode(row[:count], skip_special_tokens=True)
        cuts = [text.index(stop) for stop in request.stop if stop in text]
        if cuts:
            return text[: min(cuts)], count, "stop"
        # The end token is one the model wrote, the padding is not.
        wrote = count + (count < len(row) and row[count] in self.ends)
        return text, wrote, "length" if count == limit else "stop"


class GumbelSampler:
    """Sampling as greedy decoding over Gumbel noise, drawn per request and step.

    argmax(logits + T * Gumbel) samples softmax(logits / T); noise seeded by the request makes a
    reply independent of what shares its batch, so an interrupted run can be repeated exactly.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        import torch

        self.temperature = requests[0].temperature
        self.generators = []
        for request in requests:
            key = f"{request.seed}/{request.sample}/{request.prefix}/{request.messages}"
            seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
            # On the CPU even for a GPU, whose generators draw other numbers from the same seed.
            self.generators.append(torch.Generator().manual_seed(seed))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with noise, (rows, vocabulary) as they came; ids are (rows, tokens so far)."""
        import torch

        # -log of an exponential draw is a Gumbel draw, hence the minus below.
        noise = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=g) for g in self.generators]
        )
        return scores.float() - self.temperature * noise.log().to(scores.device)


def _groups(order: list[int], settings: list[tuple[Any, ...]], size: int) -> list[list[int]]:
    """Places in `order` cut into batches of at most `size`, each of one setting."""
    groups: list[list[int]] = []
    for i in order:
        if groups and settings[groups[-1][0]] == settings[i] and len(groups[-1]) < size:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
