"""Playing in native tool calls, with a model whose chat template knows tools.

Knows how a request of the unified form is put to such a model, and how its answer is brought back.
Knows nothing of decoding; the two forms stand in `agent.native`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..agent.chat import Reply, Request, Stop
from ..agent.native import TOOLS, to_native, write_turn
from ..agent.reading import parse_turn, strip_thought
from ..agent.trajectory import OBSERVATION
from ..errors import FireActError
from .local import LocalChat
from .presets import DEFAULT
from .templating import harmless, make_breaker, render


class ToolChat(LocalChat):
    """A local model that is asked in native tool calls; to its callers it speaks the unified form.

    Raises FireActError when its chat template leaves out tools, calls, thoughts or results.
    """

    def __init__(self, model: str | Path | Any, adapter: str | Path | None = None, **more: Any):
        super().__init__(model, adapter, **more)
        check_tools(self.tokenizer)
        self.name += "+tools"  # the same words are asked for otherwise: another journal's key

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request of the unified form, its calls native ones."""
        messages = harmless(self.tokenizer, to_native(request.messages))
        text = render(self.tokenizer, messages, opening=True, tools=TOOLS)
        text += make_breaker(self.tokenizer)(strip_thought(request.prefix))
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
        heard: Mapping[int, Callable[[str], None]] | None = None,
    ) -> list[Reply]:
        """Answer all requests in the unified form; `heard` gets the model's own words."""
        asked = [replace(r, prefix=strip_thought(r.prefix)) for r in requests]

        def told(place: int, reply: Reply) -> None:
            if done:
                done(place, _in_text(reply))

        return [_in_text(reply) for reply in super().reply(asked, told, stop, heard)]


def _in_text(reply: Reply) -> Reply:
    turn = parse_turn(reply.text)
    if not turn.action:
        return reply
    return replace(reply, text=write_turn(turn.thought, turn.action, turn.argument))


def check_tools(tokenizer: Any) -> None:
    """Raise FireActError unless the template writes tools, a thought, a call and its result."""
    messages = to_native(
        [
            {"role": "user", "content": "askwords"},
            {"role": "assistant", "content": "Thought: thoughtwords\nAction: search[callwords]"},
            {"role": "user", "content": f"{OBSERVATION}resultwords"},
        ]
    )
    try:
        text = render(tokenizer, messages, opening=True, tools=TOOLS)
    except FireActError:  # it has no role for a tool
        text = ""
    for what, word in {
        "no tools": TOOLS[0]["function"]["description"],
        "no thought beside a call": "thoughtwords",
        "no call": "callwords",
        "no result of a call": "resultwords",
    }.items():
        if word not in text:
            raise FireActError(
                f"The chat template of {tokenizer.name_or_path or 'this model'} knows {what}, so "
                "the agent cannot be taught or played in native tool calls. Use the text form, or "
                f"a model such as {DEFAULT}."
            )
