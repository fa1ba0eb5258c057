"""A conversation as tokens, with the loss where the agent speaks.

Knows chat templates and tokens; knows neither weights nor training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..agent.trajectory import Message, Trajectory, render_messages
from ..models.templating import harmless, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


FINISHED = "Observation: Episode finished"


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
) -> Example:
    """The unified conversation as tokens with the loss mask.

    Works with any chat template whose rendering of a conversation's beginning is the beginning of
    its rendering. Special tokens in contents are broken, as in the prompts that `LocalChat` makes.
    Over-long conversations lose their end. Raises ValueError when no token, or no token but the
    first under a mask, would be left without its mask: nothing or everything learnt is a mistake.
    """
    messages = harmless(tokenizer, render_messages(trajectory))
    text = render(tokenizer, messages, opening=False)
    spans = _loss_spans(tokenizer, messages, text, mask)
    # Rendered and tokenised once as a whole: turns tokenised one by one could be cut elsewhere than
    # in the prompt the model sees when it answers.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"][:max_length]
    # By the characters a token covers, never by its id: a padding token that is also the end of a
    # turn keeps its loss where it ends one.
    labels = [
        token if any(start < end and a <= start < b for a, b in spans) else -100
        for token, (start, end) in zip(ids, encoded["offset_mapping"], strict=False)
    ]
    learnt = sum(label != -100 for label in labels)
    if learnt == 0 or (mask != "off" and learnt == len(labels)):
        what = "no token carries" if learnt == 0 else "every token carries"
        raise ValueError(
            f"{trajectory.id}: under the mask {mask!r} {what} loss. Check that it has agent turns "
            f"within {max_length} tokens and that the chat template marks turns."
        )
    return Example(tuple(ids), tuple(labels))


def _loss_spans(
    tokenizer: Any, messages: Sequence[Message], text: str, mask: str
) -> list[tuple[int, int]]:
    """Character spans of the rendered text that carry loss."""
    if mask == "off":
        return [(0, len(text))]
    if mask not in ("agent", "all turns"):
        raise ValueError(f"mask is 'agent', 'all turns' or 'off', not {mask!r}")
    spans = []
    for place, message in enumerate(messages):
        agent = message["role"] == "assistant"
        told = mask == "all turns" and place > 0
        if not (agent or told) or message["content"].startswith(FINISHED):
            continue
        before = render(tokenizer, messages[:place], opening=agent)
        after = render(tokenizer, messages[: place + 1], opening=False)
        if not (text.startswith(before) and text.startswith(after)):
            raise ValueError(
                "this chat template changes earlier turns when later ones are added, so loss "
                "cannot be assigned to turns; set tokenizer.chat_template to one that does not"
            )
        # To the end-of-turn token, without which the agent would never stop, but not the line
        # break some templates put behind it.
        spans.append((len(before), len(after.rstrip())))
    return spans


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
