"""What a chat template writes around the turns, read off short conversations and written anew.

For trainers that must be told which words are the agent's. What was read is compared with the
tokenizer's own template on real conversations, in its tokens and in where the loss falls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..agent.trajectory import Trajectory, render_messages
from ..errors import FireActError
from ..models.templating import harmless, render
from .masking import encode

MARK = re.compile(r"{%-?\s*generation\s*-?%}")
_WORDS = ("firstask", "firstsay", "nextask", "nextsay")
_ROLES = ("user", "assistant", "user", "assistant")


@dataclass(frozen=True)
class Shape:
    """What stands at the beginning, before a user's words, before and behind the agent's.

    `ask` closes the user's turn and opens the agent's, as where an answer is asked for; `lead` is
    white space that the agent writes itself. `end` closes its turn and is learnt, `space` is white
    space behind it. `system` stands before and behind a system message, which
    takes the beginning's place; None where there is no such role.
    """

    first: str
    user: str
    ask: str
    lead: str
    end: str
    space: str
    system: tuple[str, str] | None


def read_shape(tokenizer: Any) -> Shape:
    """The shape of a tokenizer's template. Raises FireActError for one that has no one shape."""
    messages = [{"role": r, "content": w} for r, w in zip(_ROLES, _WORDS, strict=True)]
    head, ask, tell, again, tail = _cut(tokenizer, messages, _WORDS)
    user = tell.removeprefix(tail)  # what opens a user's turn
    if ask != again or not tell.startswith(tail) or not head.endswith(user):
        _refuse(tokenizer)
    asked = render(tokenizer, messages[:1], opening=True).partition(_WORDS[0])[2]
    if not ask.startswith(asked) or ask[len(asked) :].strip():
        _refuse(tokenizer)
    system = None
    try:
        told = [{"role": "system", "content": "firstsystem"}, *messages[:2]]
        before, between, *_ = _cut(tokenizer, told, ("firstsystem", *_WORDS[:2]))
        if between.endswith(user):
            system = before, between[: len(between) - len(user)]
    except Exception:  # whatever a template of somebody else's does about the role
        pass
    first, lead, end = head[: len(head) - len(user)], ask[len(asked) :], tail.rstrip()
    return Shape(first, user, asked, lead, end, tail[len(end) :], system)


def mark_template(tokenizer: Any, trajectories: Sequence[Trajectory], max_length: int) -> str:
    """A template with {% generation %} around the agent's turns, their end inside.

    It is the tokenizer's own where that has the marks, wherever its maker put them. Raises
    FireActError where tokens or loss are not ours on one of the trajectories.
    """
    template = str(tokenizer.chat_template)
    own = bool(MARK.search(template))
    template = template if own else _write(read_shape(tokenizer))
    for trajectory in trajectories:
        example = encode(trajectory, tokenizer, max_length=max_length)
        found = tokenizer.apply_chat_template(
            harmless(tokenizer, render_messages(trajectory)), chat_template=template,
            return_dict=True, return_assistant_tokens_mask=True,
        )  # fmt: skip
        learnt = [int(label != -100) for label in example.labels]
        same = own or found["assistant_masks"] == learnt
        if found["input_ids"] != list(example.input_ids) or not same:
            _refuse(tokenizer)
    return template


def _write(shape: Shape) -> str:
    def say(*parts: str) -> str:
        return "{{- " + " + ".join(parts) + " -}}"

    quote = json.dumps  # a string of JSON's is one of Jinja's
    opening = say(quote(shape.first))
    if shape.system:
        before, behind = map(quote, shape.system)
        told = say(before, "messages[0].content", behind)
        opening = "{%- if messages[0].role == 'system' -%}" + told + "{%- else -%}" + opening
        opening += "{%- endif -%}"
    said = say(quote(shape.lead), "m.content", quote(shape.end))
    learnt = "{%- generation -%}" + said + "{%- endgeneration -%}"
    return (
        opening
        + "{%- for m in messages -%}{%- if m.role == 'assistant' -%}"
        + (say(quote(shape.ask)) + learnt + say(quote(shape.space)))
        + "{%- elif m.role == 'user' -%}"
        + say(quote(shape.user), "m.content")
        + "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}"
        + say(quote(shape.ask))
        + "{%- endif -%}"
    )


def _cut(tokenizer: Any, messages: list[dict[str, str]], words: Sequence[str]) -> list[str]:
    """What the template writes around the words."""
    text = render(tokenizer, messages, opening=False)
    if [text.count(word) for word in words] != [1] * len(words):
        _refuse(tokenizer)
    return re.split("|".join(words), text)


def _refuse(tokenizer: Any) -> NoReturn:
    raise FireActError(
        f"The chat template of {tokenizer.name_or_path or 'this model'} cannot be written anew for "
        "a trainer: it writes a turn in more than one way. Train it by `fireact-nb train`, or take "
        "another model."
    )
