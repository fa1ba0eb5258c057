"""What a model wrote in its turn, read leniently: its thought and its first action.

Knows the ways in which models write actions: the unified form, its decorations (bold, bullets,
numbers, other cases and brackets), JSON and the tags of tool calls. Never raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, Literal

from .observations import find_observation, level

Name = Literal["search", "finish"]
Read = tuple[Name, str, int]  # an action, its argument, and where it ends in the text

_MARK = r"(?:[^\w\n]|_)"  # neither a letter nor a digit, on the same line
_THOUGHT = re.compile(
    rf"(?:\W|_)*(?:\d{{1,3}}{_MARK}+)?thought{_MARK}{{0,4}}?\d*(?:[^\w\n:]|_){{0,4}}:[ \t*_]*",
    re.IGNORECASE,
)
# "Action" at the start of a line, and all that is no word behind it.
_LABEL = re.compile(
    rf"^{_MARK}*(?:<\w{{1,8}}>|(?:(?:step|round) )?\d{{1,3}}{_MARK}+)?(?:(?:next|my|final|the) )?"
    r"actions?(?![^\W\d_])(?:[ _](?:taken|to take|step|round|no|type|name|[a-z])\b)?"
    r"(?P<gap>(?:</\w{1,8}>|[\W\d_①-⑳])*)(?:(?<=```)\w{1,12}\s+)?",
    re.IGNORECASE | re.MULTILINE,
)
# A line that opens a call without that label: JSON, a tag, a token of a chat template.
_OPENING = re.compile(
    r"^[^\S\n]*(?:```\w*\s*)?(?:[\[{]\s*[\"'{\[]|\[TOOL_CALLS\]"
    r"|<[|｜]?(?:tool|function|invoke|action|search|finish|call|python|plugin|start|channel))",
    re.IGNORECASE | re.MULTILINE,
)
_TRIES = 8  # so many openings, or calls without a label, are looked into
_REACH = 2000  # characters; so far an argument may go on over lines
_NAME = re.compile(
    r"(?:(?:i will|i'll|let me|call|use|using|run|perform|execute|tool|functions?|name)\b"
    r"(?:\W|_)*){0,3}"
    r"(search|finish)\b",
    re.IGNORECASE,
)
_CALL_LINE = re.compile(
    rf"^(?:{_MARK}|\d)*(?:print\()?(?=(?:functions?\.)?(?:search|finish)\s*[\[(])",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE_CALL = re.compile(
    r"\bAction ?\d{0,3}[*_ ]{0,3}:[*_ ]{0,3}(?=(?:search|finish)[\[(])", re.IGNORECASE
)
_NEXT_LABEL = re.compile(
    rf"^(?:(?:{_MARK}|\d)*(?:thought|actions?)\b|[^\S\n]*$)", re.IGNORECASE | re.MULTILINE
)
# Between a name and its argument: what closes the name, then what announces the argument.
_BETWEEN = re.compile(r"[*_`\"'\])}>]{0,3}\s*(?:(?:[:=,|–—→>：]|-(?=[\s>]))+\s*)?")
_INPUT = re.compile(
    r"[*_`\"']{0,3}(?:action[ _]input|input|query|answer|arguments?|args|parameters?)"
    r"[*_`\"']{0,3}\s*[:=：][*_ ]{0,3}\s*",
    re.IGNORECASE,
)
_BRACKETS = {"[": "]", "(": ")", "{": "}", "<": ">", "［": "］", "（": "）", "【": "】", "「": "」",
             "『": "』", "“": "”"}  # fmt: skip
_IN_CALL = re.compile(r"(?:\w{1,20}\s*[:=]\s*)?(?:\"(.*)\"|'(.*)'),?", re.DOTALL)

# The name of a call inside tags, JSON that is not whole, or a template's tokens.
_TAGGED = re.compile(
    r"(?:<(?:\w+[ =:])?(?:(?:name|type)=)?[\"']?|[>\]][\s\"'\[]*(?:functions?\.)?"
    r"|to=(?:functions?\.)?"
    r"|(?:name|action|tool|function)[\"']?\s*[:=]\s*[\"']?(?:functions?\.)?|[{,]\s*[\"'])"
    r"(search|finish)\b(?:\[ARGS\])?",
    re.IGNORECASE,
)
_VALUE_TAG = re.compile(
    r"<(?:parameter|param|arg_value|query|input|arguments?|answer)\b[^>\n]{0,80}>([^<]*)",
    re.IGNORECASE,
)
_JSON = re.compile(r"\{|\[(?=\s*[\"'{\[])")
_VALUE = re.compile(r"[:=]\s*(?:\"((?:[^\"\\\n]|\\.)*)\"?|'((?:[^'\\\n]|\\.)*)'?)")
_AFTER_TAG = re.compile(r"[^>\n]*>([^<]*)")
_STRUCTURE_END = re.compile(r"\n\**(?:Thought|Action)\b(?! Input)")
_NAMES = ("name", "action", "tool", "function", "tool_name", "command", "type")
_TALK = (*_NAMES, "thought", "thoughts", "reasoning", "id", "index", "observation")


@dataclass(frozen=True)
class Turn:
    """What one assistant turn says, read leniently.

    `action` is None when no action could be read; then `problem` says why in a few words that
    can be shown to the model as its observation. `end` is where the first action stops in the text.
    """

    thought: str
    action: Name | None
    argument: str
    problem: str = ""
    end: int = 0


def parse_turn(text: str) -> Turn:
    """Read one assistant turn; never raises.

    The first well-formed action counts. Nested brackets are balanced, over several lines too; a
    bracket that nothing closes ends the argument at the end of the line; anything from an invented
    Observation on is ignored.
    """
    flat = level(text)
    seen = flat[: find_observation(flat)]
    first, problem = len(seen), ""
    for start, read in _labelled(seen):
        first = min(first, start)
        if isinstance(read, str):
            problem = problem or read
        else:
            return Turn(_thought(text[:first]), read[0], read[1], "", read[2])
    if not problem:
        for start, read in _unlabelled(seen):
            return Turn(_thought(text[:start]), read[0], read[1], "", read[2])
    problem = problem or "no line starts with 'Action:'"
    return Turn(_thought(text[:first]), None, "", problem, len(seen))


def cut_turn(text: str) -> str:
    """The assistant turn up to the end of its action: no second action, no invented Observation."""
    return text[: parse_turn(text).end].strip()


def strip_thought(text: str) -> str:
    """The text without the label of a thought at its beginning."""
    label = _THOUGHT.match(text)
    return text[label.end() :] if label else text


def _thought(text: str) -> str:
    return strip_thought(text).strip()


def _labelled(text: str) -> Iterator[tuple[int, Read | str]]:
    """The places that open an action, in order, and what is read there (a text: the problem)."""
    openings = islice(_OPENING.finditer(text), _TRIES)
    tries = _TRIES
    for place in merge(openings, _LABEL.finditer(text), key=lambda m: m.start()):
        read: Read | str | None = None
        if place.re is _OPENING:
            read = _read_structure(text, place.start())
        else:
            gap = place["gap"]
            if tries and re.search(r"[{<]|\[\s*[\"'{\[]|```", gap):
                tries -= 1
                read = _read_structure(text, place.start("gap"))
            if read is None:
                read = _read_call(text, place.end())
                if isinstance(read, str) and ":" not in gap:
                    continue  # "Action" was a word of a thought
        if read is not None:
            yield place.start(), read


def _unlabelled(text: str) -> Iterator[tuple[int, Read]]:
    """A call alone on its line; failing that, a labelled one inside a line."""
    for pattern in (_CALL_LINE, _INLINE_CALL):
        for place in islice(pattern.finditer(text), _TRIES):
            read = _read_call(text, place.end(), closed=True)
            if not isinstance(read, str):
                yield place.start(), read


def _read_call(text: str, start: int, closed: bool = False) -> Read | str:
    """An action from its name on; `closed`: its brackets must be."""
    found = _NAME.match(text, start)
    if not found:
        return "the action is neither search[...] nor finish[...]"
    name, at = _name(found[1]), found.end()
    for pattern in (_BETWEEN, _INPUT):
        if passed := pattern.match(text, at):
            at = passed.end()
    line = text.rfind("\n", found.end(), at) + 1
    if line and _NEXT_LABEL.match(text, line) and not _INPUT.match(text, line):
        return f"{name} has nothing between its brackets"  # another label follows
    argument, end = _read_argument(text, at, closed)
    return (name, argument, end) if argument else f"{name} has nothing between its brackets"


def _read_argument(text: str, start: int, closed: bool) -> tuple[str, int]:
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    opening = text[start : start + 1]
    call = re.compile(r"\(?\s*(?=\{)").match(text, start)
    if call and (decoded := _decode(text, call.end())):
        return _first_text(decoded[0]), decoded[1]
    if opening and opening in _BRACKETS:
        reach = line_end + _REACH
        stop = _NEXT_LABEL.search(text, line_end, reach)
        end = _closing(text, start, min(stop.start() if stop else reach, len(text)))
        if end >= 0:
            inside = _one_line(text[start + 1 : end])
            quoted = _IN_CALL.fullmatch(inside) if opening == "(" else None
            return (quoted[1] or quoted[2] or "").strip() if quoted else inside, end + 1
        return "" if closed else text[start + 1 : line_end].strip(), line_end
    if opening and opening in "\"'`" and (close := text.find(opening, start + 1, line_end)) > 0:
        return text[start + 1 : close].strip(), close + 1
    bare = text[start:line_end].strip().rstrip("*`")
    return bare.removesuffix("]") if "[" not in bare else bare, line_end


def _closing(text: str, start: int, end: int) -> int:
    """Where the bracket at `start` closes, or -1."""
    opening, closing = text[start], _BRACKETS[text[start]]
    depth = 0
    for bracket in re.compile(f"[{re.escape(opening + closing)}]").finditer(text, start, end):
        depth += 1 if bracket[0] == opening else -1
        if depth == 0:
            return bracket.start()
    return -1


def _read_structure(text: str, start: int) -> Read | None:
    """A call in JSON, in tags or in a chat template's tokens."""
    stop = _STRUCTURE_END.search(text, start, start + 5 * _REACH)
    end = stop.start() if stop else min(len(text), start + 5 * _REACH)
    if opening := _JSON.search(text, start, end):
        decoded = _decode(text, opening.start())
        if decoded and (call := _pull(decoded[0])):
            return (*call, decoded[1])
    named = _TAGGED.search(text, start, end)
    if not named:
        return None
    name, at = _name(named[1]), named.end()
    if bracket := re.compile(r"[\"'\s]*(?=[\[(])").match(text, at, end):
        argument, stopped = _read_argument(text, bracket.end(), False)
        return (name, argument, stopped) if argument else None
    if (value := _VALUE_TAG.search(text, at, end)) and value[1].strip():
        return name, _one_line(value[1]), value.end()
    if (opening := _JSON.search(text, at, end)) and (decoded := _decode(text, opening.start())):
        argument = _first_text(decoded[0])
        if argument:
            return name, argument, decoded[1]
    for pattern in (_AFTER_TAG, _VALUE):
        value = (
            pattern.match(text, at, end) if pattern is _AFTER_TAG else pattern.search(text, at, end)
        )
        argument = next(filter(None, value.groups()), "").strip() if value else ""
        if value and argument:
            return name, _one_line(argument), value.end()
    return None


def _decode(text: str, start: int) -> tuple[Any, int] | None:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _pull(value: Any, depth: int = 5) -> tuple[Name, str] | None:
    """The call that JSON describes, in any of the shapes that models give it."""
    if depth == 0:
        return None
    if isinstance(value, str):
        if (decoded := _decode(value, 0)) and not isinstance(decoded[0], str):
            return _pull(decoded[0], depth - 1)
        read = _read_call(level(value), 0)
        return None if isinstance(read, str) else read[:2]
    if isinstance(value, list):
        if len(value) > 1 and (name := _named(value[0])) and (said := _first_text(value[1:])):
            return name, said
        return next(filter(None, (_pull(item, depth - 1) for item in value[:_TRIES])), None)
    if not isinstance(value, dict):
        return None
    keys = {key.lower(): item for key, item in value.items()}
    for key in _NAMES:
        if name := _named(keys.get(key)):
            said = _first_text({k: v for k, v in keys.items() if k not in _TALK})
            return (name, said) if said else None
        if key in keys and (call := _pull(keys[key], depth - 1)):
            return call
    for key, item in keys.items():
        if (name := _named(key)) and (said := _first_text(item)):
            return name, said
    inner = (item for item in keys.values() if isinstance(item, dict | list))
    return next(filter(None, (_pull(item, depth - 1) for item in inner)), None)


def _first_text(value: Any, depth: int = 5) -> str:
    """The first text or number in what JSON gave; what only accompanies a call is passed over."""
    if isinstance(value, str):
        decoded = _decode(value, 0) if value.lstrip()[:1] == "{" else None
        return _first_text(decoded[0], depth - 1) if decoded and depth else _one_line(value)
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key.lower() not in _TALK]
    if isinstance(value, list):
        inside = (_first_text(item, depth - 1) for item in value) if depth else iter(())
        return next(filter(None, inside), "")
    return "" if value is None else str(value)


def _named(value: Any) -> Name | None:
    found = re.fullmatch(r"\s*(?:functions?\.)?(search|finish)(?::\d+)?\s*", str(value), re.I)
    return _name(found[1]) if found else None


def _name(written: str) -> Name:
    return "search" if written[0] in "sSſ" else "finish"


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text else text.strip()
