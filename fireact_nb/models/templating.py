"""Messages as a chat template's text, in which only the template opens roles.

The same text in training as in answering, whatever the template's switches and habits. Knows
tokenizers and their templates; knows neither weights nor agents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from typing import Any
from weakref import WeakKeyDictionary

from ..agent.trajectory import Message
from ..errors import FireActError

# Marks that stand in a template as plain text, such as Llama 2's [INST], which is no token.
_MARKS = re.compile(r"<{1,2}[^\s<>'\"{}]+>{1,2}|\[/?[A-Z_]{3,}\]")
# A token of white space or of letters alone opens no role, and is part of common text.
_MARKED = re.compile(r"[^\w\s▁]")


def harmless(tokenizer: Any, messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with every special token of this very tokenizer broken in their contents.

    A question, a page or a model that writes `<|user|>` gets `<| user|>`, which opens no role.
    What holds no such token stays as it is; so does the role.
    """
    break_marks = make_breaker(tokenizer)

    def broken(value: Any) -> Any:  # tool calls are objects of objects
        if isinstance(value, str):
            return break_marks(value)
        if isinstance(value, Mapping):
            return {name: broken(part) for name, part in value.items()}
        return [broken(part) for part in value] if isinstance(value, (list, tuple)) else value

    return [{k: v if k == "role" else broken(v) for k, v in m.items()} for m in messages]


def render(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    opening: bool,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The messages in the tokenizer's chat template; `opening`: of an answer, at its end.

    The same words in training as in answering: the template's switches are set (`Form`), an answer
    opens as the agent's earlier turns do, and a system message goes into the first user turn where
    the template has no such role. Raises FireActError where the template refuses the conversation.
    """
    form = read_form(tokenizer)
    messages = list(messages) if form.system else _without_system(messages)
    text = _apply(tokenizer, messages, opening, form.switches, tools)
    return text.removesuffix(form.cut) + form.opening if opening else text


@dataclass(frozen=True)
class Form:
    """How a chat template writes conversations, read off short ones.

    switches: what it is told each time: no thinking, and no date of today, which would make every
    day's prompts others. system: whether it has a system role. cut, opening: what is taken off and
    put behind its own opening of an answer, so that an answer begins as the agent's turns do (some
    open a thought, or leave the channel to the model). end: what closes an agent's turn; "" where
    only the next role's marker does, or now this and now that.
    """

    switches: Mapping[str, Any]
    system: bool
    cut: str
    opening: str
    end: str


_ASK, _SAY = "askwords", "saywords"  # of the short conversations
_FORMS: WeakKeyDictionary[Any, tuple[Any, Form]] = WeakKeyDictionary()


def read_form(tokenizer: Any) -> Form:
    """The form of a tokenizer's template, read once for each. Raises FireActError without one."""
    template = tokenizer.chat_template
    if not template:
        raise FireActError(
            f"{_name(tokenizer)} has no chat template, so messages cannot be put to it. Use an "
            "instruct or chat model, or lay a chat_template.jinja into the model's folder."
        )
    known = _FORMS.get(tokenizer)
    if known is None or known[0] != template:
        known = _FORMS[tokenizer] = template, _read_form(tokenizer)
    return known[1]


def _read_form(tokenizer: Any) -> Form:
    switches = {k: v for k, v in _SWITCHES.items() if k in str(tokenizer.chat_template)}
    ask, say = {"role": "user", "content": _ASK}, {"role": "assistant", "content": _SAY}

    def write(*messages: Message, opening: bool = False) -> str:
        return _apply(tokenizer, messages, opening, switches)

    own = write(ask, opening=True)
    turn, found, last = write(ask, say).rpartition(_SAY)
    if not found or _ASK not in own:
        raise FireActError(
            f"The chat template of {_name(tokenizer)} leaves out what is said as plain text, as "
            "those of models for pictures do. Use a model for text."
        )
    between = write(ask, say, ask).partition(_SAY)[2]
    try:
        system = _SAY in write({"role": "system", "content": _SAY}, ask)
    except FireActError:
        system = False
    cut, opening = _compare_openings(own, turn)
    return Form(switches, system, cut, opening, _shared_end(tokenizer, last, between))


# What templates ask for by these names; Llama's takes today's date where it is told none.
_SWITCHES: Mapping[str, Any] = {"enable_thinking": False, "date_string": "26 Jul 2024"}


def _compare_openings(own: str, turn: str) -> tuple[str, str]:
    """What to take off a template's opening and to add to it, so that it is that of a turn.

    Space alone is no difference: "[/INST] " before a word would be other tokens than " word" is.
    """
    if turn.startswith(own):
        rest = turn[len(own) :]
        return "", rest if rest.strip() else ""
    shared = len(commonprefix([own, turn]))
    cut = own[shared:]
    # A thought left open. One that is closed and empty says that there is to be none.
    opens = re.fullmatch(r"\s*<[^/<>]+>\s*", cut)
    return (cut, turn[shared:]) if opens else ("", "")


def _shared_end(tokenizer: Any, last: str, between: str) -> str:
    """The special tokens that follow an agent's words both at the end and before another turn."""
    token, end = re.compile(rf"\s*(?:{special_tokens(tokenizer).pattern})"), ""
    while (found := token.match(last, len(end))) and between.startswith(found[0], len(end)):
        end += found[0]
    return end


def end_tokens(tokenizer: Any) -> set[int]:
    """The tokens by which the template closes an agent's turn: what was learnt to be said last."""
    found = special_tokens(tokenizer).findall(read_form(tokenizer).end)
    return set(tokenizer.convert_tokens_to_ids(found))


def special_tokens(tokenizer: Any) -> re.Pattern[str]:
    """What finds the tokenizer's special tokens in a text."""
    return _any_of(frozenset({*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}))


@lru_cache(maxsize=8)
def _any_of(tokens: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


def _without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages with what the system says at the head of the first user turn."""
    told = [str(m["content"]) for m in messages if m["role"] == "system"]
    rest = [m for m in messages if m["role"] != "system"]
    if told and rest and rest[0]["role"] == "user":
        rest[0] = {**rest[0], "content": "\n\n".join([*told, rest[0]["content"]])}
    elif told:
        rest.insert(0, {"role": "user", "content": "\n\n".join(told)})
    return rest


def _apply(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    opening: bool,
    switches: Mapping[str, Any],
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    more = {"tools": list(tools)} if tools else {}
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=opening, **switches, **more
            )
        )
    except Exception as error:  # whatever a template of somebody else's does
        roles = ", ".join(m["role"] for m in messages)
        raise FireActError(
            f"The chat template of {_name(tokenizer)} refuses the conversation ({roles}): "
            f"{str(error)[:200]}. Use another model, or lay another chat_template.jinja into a "
            "copy of its folder."
        ) from error


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or "this tokenizer")


def make_breaker(tokenizer: Any) -> Callable[[str], str]:
    """What breaks every special token of the tokenizer in a text, and changes nothing else."""
    return _make_breaker(frozenset(tokenizer.get_added_vocab()), str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _make_breaker(added: frozenset[str], template: str) -> Callable[[str], str]:
    marks = {token.strip() for token in added if _MARKED.search(token)}
    marks |= set(_MARKS.findall(template))
    marks = {mark for mark in marks if len(mark) > 1}
    if not marks:
        return lambda text: text
    # The longest first, or a token that begins like another would be broken too late to matter.
    pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))

    def break_one(found: re.Match[str]) -> str:
        mark = found[0]
        start = re.match(r"[\W_]*", mark)
        at = start.end() if start and 0 < start.end() < len(mark) else 1
        return f"{mark[:at]} {mark[at:]}"

    def break_marks(text: str) -> str:
        while pattern.search(text):  # a broken mark may leave a shorter one inside
            text = pattern.sub(break_one, text)
        return text

    return break_marks
