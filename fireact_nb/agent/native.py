r"""The same trajectories in native tool calls: `tools`, `tool_calls` and role `tool`.

Knows both forms of one conversation and the way between them. Knows no model, no chat template and
no file. A round in the text form is::

    assistant  Thought: I look up the book.\nAction: search[the book]
    user       Observation: The book: novel by Ann.

and in the native form::

    assistant  content "I look up the book.", tool_calls [search {"query": "the book"}]
    tool       The book: novel by Ann.

The answer is a call, too: of `finish`. A turn that holds no action stays plain text in both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .reading import Name, parse_turn
from .trajectory import OBSERVATION, Message, Trajectory, parse_messages, render_messages

_ARGUMENTS: Mapping[str, tuple[str, str, str]] = {
    "search": ("query", "Search the encyclopedia; returns one short passage.", "What to look for."),
    "finish": ("answer", "Give the final answer and end the episode.", "The answer, in few words."),
}


def _tool(name: str) -> dict[str, Any]:
    argument, what, meaning = _ARGUMENTS[name]
    parameters = {
        "type": "object",
        "properties": {argument: {"type": "string", "description": meaning}},
        "required": [argument],
    }
    function = {"name": name, "description": what, "parameters": parameters}
    return {"type": "function", "function": function}


# The agent's two actions as functions, in the shape that OpenAI and chat templates share.
TOOLS: tuple[dict[str, Any], ...] = (_tool("search"), _tool("finish"))


def to_native(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """A conversation of the text form, such as a prompt, in native calls; arguments as objects."""
    native: list[dict[str, Any]] = []
    called: Name | None = None
    for place, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role == "assistant":
            turn = parse_turn(content)
            called = turn.action if _keeps(content) else None
            said = {"role": role, "content": turn.thought if called else content}
            native.append(said | ({"tool_calls": [_call(place, turn)]} if called else {}))
        elif role == "user" and called and content.startswith(OBSERVATION):
            heard = content.removeprefix(OBSERVATION)
            answered = {"role": "tool", "tool_call_id": f"call_{place - 1}", "name": called}
            native.append({**answered, "content": heard})
            called = None
        else:
            native.append(dict(message))
            called = None
    return native


def _call(place: int, turn: Any) -> dict[str, Any]:
    arguments = {_ARGUMENTS[turn.action][0]: turn.argument}
    function = {"name": turn.action, "arguments": arguments}
    return {"id": f"call_{place}", "type": "function", "function": function}


def write_turn(thought: str, action: Name, argument: str) -> str:
    """A native turn in the text form; line breaks and lone brackets in the argument give way."""
    argument = " ".join(argument.split())
    for written in (argument, argument.replace("[", "(").replace("]", ")")):
        text = f"Thought: {thought}\n" * bool(thought) + f"Action: {action}[{written}]"
        turn = parse_turn(text)
        if (turn.thought, turn.action, turn.argument) == (thought, action, written):
            break
    return text


def _keeps(text: str) -> bool:
    """Whether a turn's thought and action come back from the native form as they are read here."""
    turn = parse_turn(text)
    if not turn.action:
        return False
    again = parse_turn(write_turn(turn.thought, turn.action, turn.argument))
    return (again.thought, again.action) == (turn.thought, turn.action) and bool(again.argument)


def from_native(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """A conversation in native calls in the text form; arguments may be objects or JSON.

    What a system message says about tools is kept. Raises ValueError, naming the message, for a
    call of another tool, of several at once, or without its argument.
    """
    text: list[Message] = []
    for place, message in enumerate(messages):
        role, content = message["role"], message.get("content") or ""
        if calls := message.get("tool_calls"):
            try:
                text.append({"role": role, "content": _read_call(content, calls)})
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"message {place} ({role}): {error}") from error
        elif role == "tool":
            text.append({"role": "user", "content": OBSERVATION + " ".join(content.split())})
        else:
            text.append({"role": role, "content": content})
    return text


def _read_call(thought: str, calls: Sequence[Mapping[str, Any]]) -> str:
    if len(calls) != 1:
        raise ValueError(f"{len(calls)} tools are called at once, and the unified form has one")
    function = calls[0]["function"]
    name, arguments = function["name"], function["arguments"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if name not in _ARGUMENTS or not isinstance(arguments.get(_ARGUMENTS[name][0]), str):
        raise ValueError(f"there is no tool {name!r} with the arguments {sorted(arguments)}")
    return write_turn(thought.strip(), name, arguments[_ARGUMENTS[name][0]])


def render_native(trajectory: Trajectory) -> list[dict[str, Any]]:
    """The conversation of a trajectory in native calls."""
    return to_native(render_messages(trajectory))


def parse_native(messages: Sequence[Mapping[str, Any]], **known: Any) -> Trajectory:
    """The trajectory behind a native conversation; `known` fills the fields it lacks.

    `parse_native(render_native(t))` has t's steps as `canonical` writes them. Raises ValueError,
    naming the message, for what is no conversation of this agent.
    """
    return parse_messages(from_native(messages), **known)


def canonical(trajectory: Trajectory) -> Trajectory:
    """The trajectory with each turn that holds an action as "Thought: ...\\nAction: name[...]"."""
    steps = []
    for step in trajectory.steps:
        turn = step.turn
        if turn.action and _keeps(step.text):
            step = replace(step, text=write_turn(turn.thought, turn.action, turn.argument))
        steps.append(step)
    return replace(trajectory, steps=tuple(steps))
