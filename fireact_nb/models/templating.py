"""Messages as a chat template's text, in which only the template opens roles.

Knows tokenizers and their templates; knows neither weights nor agents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from ..agent.trajectory import Message

# Marks that stand in a template as plain text, such as Llama 2's [INST], which is no token.
_MARKS = re.compile(r"<{1,2}[^\s<>'\"{}]+>{1,2}|\[/?[A-Z_]{3,}\]")
# A token of white space or of letters alone opens no role, and is part of common text.
_MARKED = re.compile(r"[^\w\s▁]")


def harmless(tokenizer: Any, messages: Iterable[Message]) -> list[Message]:
    """The messages with every special token of this very tokenizer broken in their contents.

    A question, a page or a model that writes `<|user|>` gets `<| user|>`, which opens no role.
    What holds no such token stays as it is.
    """
    break_marks = make_breaker(tokenizer)
    return [{**m, "content": break_marks(m["content"])} for m in messages]


def render(tokenizer: Any, messages: Sequence[Message], opening: bool) -> str:
    """The messages in the tokenizer's chat template; `opening`: of an answer, at its end."""
    text = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=opening
    )
    return str(text)


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
