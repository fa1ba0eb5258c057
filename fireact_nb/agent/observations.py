"""Observations: the tool's words made harmless, and the model's words that pose as the tool's.

Knows letters, marks and line ends; knows neither actions nor episodes.
"""

from __future__ import annotations

import re
import unicodedata

# Characters. No shipped snippet comes near it, and twenty fit a context of 32k tokens.
MAX_OBSERVATION = 3000
# Every line end of Unicode but \n itself, as str.splitlines knows them.
_LINE_END = re.compile("[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# What could steer a terminal: escape sequences, and all control characters that are no white space.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]"
)
# Markers of the chat templates in use (ours, ChatML, Llama, Mistral, Gemma, Phi, DeepSeek, GLM,
# Command R, Granite, gpt-oss): text from a tool must not open a role, at a server's model either.
_CHAT_TOKEN = re.compile(
    r"<[|｜](?=[\w▁/][\w▁/ .:-]{0,40}[|｜]?>)|<(?=[\w▁/]{1,40}[|｜]>)|<<(?=/?SYS>>)"
    r"|<(?=/?(?:s|unk|[bes]o[sp]|(?:BOS|EOS)_TOKEN|(?:start|end)_of_(?:turn|image)|unused\d+"
    r"|think|tool_call|tool_response)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|ARGS|THINK|gMASK"
    r"|BOS|EOS)\])"
)
# Characters that take no place: zero width, joiners, direction marks, variation selectors, tags.
_UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff\u0300-\u036f]+"
)
# Letters that look like ours once case is folded and compatibility forms are decomposed.
_LIKE = {
    "o": "0оοօσᴏⲟꓳ○◯〇סø๐", "b": "8ьвβʙƅᏼꓐ", "s": "5$ѕꜱꓢᏚ", "e": "3еεҽєᴇꓰ℮Ꭼ", "r": "гᴦʀꓣᎡ",
    "v": "νѵᴠꓦᏙ", "a": "4@аαɑᴀꓮᎪ", "t": "7+тτᴛꓔᎢ", "i": "1!|lіιıɪꓲ", "n": "пηոɴνꓠ",
}  # fmt: skip
# Letters in circles, squares and flags, which Unicode does not decompose.
_BOXED = {
    first + n: chr(97 + n) for first in (0x1F150, 0x1F170, 0x1F1E6) for n in range(26)
}  # fmt: skip
_WORD = r"[\W_]{0,3}".join(f"[{c}{re.escape(_LIKE[c])}]" for c in "observation")
_MARKS = re.compile(r"[\W\d_]*")
_POSING = re.compile(
    rf"[\W\d_]*?(?:{_WORD}s?(?![^\W\d_])"
    r"|(?:obs|(?:tool|function)[\W_]*(?:response|result|output)s?)(?=[\W\d_]*(?:[:>\]}=]|$)))"
)
_PROSE = re.compile(r"\s*observations? +[^\W\d_]")  # a thought broken inside a sentence
_CANONICAL = re.compile(r"\s*Observation\b")
# Behind a sentence or an action on the same line only the plain label counts.
_INLINE = re.compile(r"(?<=[.!?\])}>])[^\S\n]{0,8}\*{0,2}Observation ?\d{0,3}\*{0,2} ?:")


def level(text: str) -> str:
    r"""The text, equally long, with \n for every line end of Unicode."""
    return _LINE_END.sub("\n", text.replace("\r\n", " \n"))


def find_observation(text: str, inline: bool = True) -> int:
    """Where a `level` text begins to pose as the tool: its length if it never does.

    A line that begins with "Observation" counts whatever stands behind it; in another case, under
    marks or bullets, or in letters that only look the same, it counts unless it reads as prose.
    """
    found = _INLINE.search(text) if inline else None
    end, at = (found.start() if found else len(text)), 0
    for line in text.split("\n"):
        if at > end or (line and _poses(line)):
            return min(at, end)
        at += len(line) + 1
    return end


def _poses(line: str) -> bool:
    if _CANONICAL.match(line):
        return True
    seen = without_controls(line)
    if not seen.isascii():
        seen = _UNSEEN.sub("", seen)[:2000].translate(_BOXED)
        seen = _UNSEEN.sub("", unicodedata.normalize("NFKD", seen))
    marks = _MARKS.match(seen)
    start = max(0, marks.end() - 1) if marks else 0  # a zero may stand for the first letter
    head = seen[start : start + 160].casefold()
    return bool(_POSING.match(head)) and not _PROSE.match(line)


def without_controls(text: str) -> str:
    """The text without the control characters that could steer a terminal it is printed to."""
    return _CONTROL.sub("", text)


def clean_observation(text: str, limit: int = MAX_OBSERVATION) -> str:
    """One line of tool text that can act neither as an action nor as a chat role.

    Of more than `limit` characters the end is cut off, and a mark says how much.
    """
    # No more words are split off than can be kept: a page may have megabytes.
    line = " ".join(without_controls(text).split(None, limit + 1))
    clean = _CHAT_TOKEN.sub(lambda m: m.group(0) + " ", line[: limit + 1])
    if len(line) <= limit and len(clean) <= limit:
        return clean
    kept = clean[: max(0, limit - 40)].rstrip()
    return f"{kept} [... {len(line) - len(kept):,} characters left out]"
