"""A conversation as tokens, with the loss where the agent speaks.

Knows chat templates and tokens; knows neither weights nor training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from ..agent.native import TOOLS, render_native
from ..agent.trajectory import Trajectory, render_messages
from ..errors import FireActError
from ..models.presets import DEFAULT
from ..models.templating import harmless, read_form, render, special_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


FINISHED = "Observation: Episode finished"
_MARKED = re.compile(r"{%-?\s*generation\s*-?%}")  # where a template tells the agent's words itself


class Unlearnable(FireActError, ValueError):
    """A conversation that cannot be learnt from under this template, mask and length."""


class TooLong(Unlearnable):
    """A conversation longer than is asked for. Cut, it would teach an agent never to finish."""


@dataclass(frozen=True)
class Example:
    """A trajectory as tokens; `labels` is -100 where a token carries no loss.

    Both (tokens,): a label stands at its own token, and models shift them by one themselves.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


def encode(
    trajectory: Trajectory,
    tokenizer: PreTrainedTokenizerBase,
    mask: str = "agent",
    max_length: int = 1024,
    tools: bool = False,
) -> Example:
    """The unified conversation as tokens with the loss mask; raises as `encode_messages` does.

    tools: in native tool calls, which the chat template must know.
    """
    messages = render_native(trajectory) if tools else render_messages(trajectory)
    known = TOOLS if tools else None
    return encode_messages(messages, tokenizer, mask, max_length, known, name=trajectory.id)


def encode_messages(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    mask: str = "agent",
    max_length: int = 1024,
    tools: Sequence[Mapping[str, Any]] | None = None,
    name: str = "the conversation",
) -> Example:
    """Role messages as tokens with the loss mask.

    Special tokens in contents are broken, as in the prompts that `LocalChat` makes. Raises
    Unlearnable when the template hides which words are the agent's or how its turns end, or when no
    token, or no token but the first under a mask, would be left without its mask: nothing or
    everything learnt is a mistake. Raises TooLong above `max_length` tokens.
    """
    messages = harmless(tokenizer, messages)
    text = render(tokenizer, messages, opening=False, tools=tools)
    # Rendered and tokenised once as a whole: turns tokenised one by one could be cut elsewhere than
    # in the prompt the model sees when it answers.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, places = encoded["input_ids"], encoded["offset_mapping"]
    if mask == "off":
        spans = [(0, len(text))]
    elif mask in ("agent", "all turns"):
        spans = _Turns(tokenizer, messages, text, tools, name).find(mask == "all turns", places)
    else:
        raise ValueError(f"mask is 'agent', 'all turns' or 'off', not {mask!r}")
    # By the characters a token covers, never by its id: a padding token that is also the end of a
    # turn keeps its loss where it ends one.
    labels = [
        token if any(start < end and a <= start < b for a, b in spans) else -100
        for token, (start, end) in zip(ids, places, strict=True)
    ]
    learnt = sum(label != -100 for label in labels[:max_length])
    if learnt == 0 or (mask != "off" and learnt == len(labels[:max_length])):
        what = "no token carries" if learnt == 0 else "every token carries"
        kind = TooLong if len(ids) > max_length else Unlearnable
        raise kind(
            f"{name}: under the mask {mask!r} {what} loss. Check that it has agent turns "
            f"within {max_length} tokens and that the chat template marks turns."
        )
    if len(ids) > max_length:
        raise TooLong(
            f"{name}: the conversation has {len(ids)} tokens, and {max_length} are allowed. Cut "
            "there, it would lose its end and teach the agent never to finish. Raise max_length or "
            "leave it out."
        )
    return Example(tuple(ids), tuple(labels))


@dataclass(frozen=True)
class _Turns:
    """A rendered conversation, and where in it who speaks."""

    tokenizer: Any
    messages: Sequence[Mapping[str, Any]]
    text: str
    tools: Sequence[Mapping[str, Any]] | None
    name: str

    def find(self, told: bool, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Characters that carry loss, from and to: the agent's turns, or with `told` all but the
        first message. `places` are the tokens'.
        """
        end = read_form(self.tokenizer).end
        if not end:
            self._refuse(
                "closes an agent's turn by the next role's marker alone, or now by one token and "
                "now by another, so that the agent would never learn to stop"
            )
        agents = [i for i, m in enumerate(self.messages) if m["role"] == "assistant"]
        marked = self._marked(places)
        begins = dict(zip(agents, marked, strict=True)) if len(marked) == len(agents) else {}
        spans: list[tuple[int, int]] = []
        done = 0
        for place, message in enumerate(self.messages):
            silent = str(message.get("content", "")).startswith(FINISHED)
            if message["role"] == "assistant":
                span = self._agent(place, begins.get(place), done, end)
                done = span[1]
            elif told and place > 0 and not silent:
                begin = self._common(self._render(place, opening=False))
                over = self._common(self._render(place + 1, opening=False))
                span = max(begin, done), len(self.text[:over].rstrip())
                done = span[1]
            else:
                continue
            if not silent:
                spans.append(span)
        return spans

    def _agent(self, place: int, marked: int | None, done: int, end: str) -> tuple[int, int]:
        """Where an agent's turn begins, at a mark of the template's or else, and where it is over.

        To the end-of-turn token, without which the agent would never stop, but not the line break
        some templates put behind it.
        """
        before = self._render(place, opening=True)
        begin = self._common(before) if marked is None else marked
        close = self.text.find(end.strip(), max(begin, done))
        over = close + len(end.strip())
        if close >= 0 and marked is not None:
            return begin, over
        message = self.messages[place]
        said = str(message.get("content") or "").strip()
        calls = bool(message.get("tool_calls"))
        within = self.text[:close].rstrip()
        at = self.text.find(said, begin, close) if calls else len(within) - len(said)
        if not self.text.startswith(before):
            # Only what stands before the words differs, as an empty thought that the template
            # writes in the last turn alone. Words that begin as that does are theirs, though.
            begin = min(begin, at)
        whole = calls or within.endswith(said)
        if close < 0 or not done <= begin <= at or not whole or self.text[begin:at].strip():
            self._refuse("changes or hides the agent's words when other turns are around them")
        return begin, over

    def _marked(self, places: Sequence[tuple[int, int]]) -> list[int]:
        """Where the template says that the agent's words begin; empty where it says nothing."""
        if not _MARKED.search(str(self.tokenizer.chat_template)):
            return []
        form, more = read_form(self.tokenizer), {"tools": list(self.tools)} if self.tools else {}
        if not form.system and any(m["role"] == "system" for m in self.messages):
            return []  # it stands elsewhere in our text
        found = self.tokenizer.apply_chat_template(
            list(self.messages), return_dict=True, return_assistant_tokens_mask=True,
            **form.switches, **more,
        )["assistant_masks"]  # fmt: skip
        runs = groupby(zip(found, places, strict=True), key=lambda pair: pair[0])
        return [next(run)[1][0] for mark, run in runs if mark]

    def _render(self, count: int, opening: bool) -> str:
        return render(self.tokenizer, self.messages[:count], opening, self.tools)

    def _common(self, other: str) -> int:
        """How many characters the text begins alike with another, special tokens being whole."""
        shared = len(commonprefix([self.text, other]))
        near = special_tokens(self.tokenizer).finditer(self.text, max(0, shared - 64), shared + 64)
        return min([shared, *(m.start() for m in near if m.start() < shared < m.end())])

    def _refuse(self, what: str) -> None:
        raise Unlearnable(
            f"{self.name}: the chat template of {self.tokenizer.name_or_path} {what}. Use a "
            f"student whose template keeps turns as they are, such as {DEFAULT}, or a copy of the "
            "model's folder with a template for training in chat_template.jinja: {% generation %} "
            "around the agent's turns, each with its end."
        )


def features(examples: Sequence[Example]) -> list[dict[str, list[int]]]:
    """Examples as transformers' collator takes them."""
    return [{"input_ids": list(e.input_ids), "labels": list(e.labels)} for e in examples]


def make_collator(tokenizer: Any) -> Any:
    """What makes a batch of `features`: ids, mask and labels, each (rows, tokens of the longest).

    Padded on the right, where causal attention keeps padding out of every real token's sight, with
    the tokenizer's padding and labels of -100.
    """
    from transformers import DataCollatorForSeq2Seq

    tokenizer.padding_side = "right"
    return DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100)
