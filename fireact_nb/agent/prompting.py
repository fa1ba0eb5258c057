"""Prompts: the messages each method opens with, read from the text files in `prompts/`.

Knows instructions, worked examples and reflection cues; knows neither models nor tools.
A prompt file reads::

    # comments: where the examples come from
    Instruction: optional, one paragraph, becomes the system message
    Cue 6: optional, what opens the Thought of round 6

    Question: ...
    Thought: ...
    Action: ...
    Observation: ...
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ..errors import FireActError
from .trajectory import OBSERVATION, ONE_TURN, Message, parse_text, render_messages

FOLDER = Path(__file__).parent / "prompts"
_ASKED = re.compile(r"(Question: .*?)\n(?=(?:Thought|Action|Answer|Observation):)", re.DOTALL)
METHODS = ("io", "cot", "react", "reflexion", "fireact")


@dataclass(frozen=True)
class Prompt:
    """What stands before the question. `cues` maps a round to the opening of its Thought.

    The cue is put there by the harness without looking at the gold answer (paper section 3).
    """

    method: str
    name: str
    messages: tuple[Message, ...] = ()
    cues: Mapping[int, str] = field(default_factory=dict, hash=False)

    def ask(self, question: str) -> list[Message]:
        """The opening messages of an episode."""
        return [*self.messages, {"role": "user", "content": question}]

    @property
    def one_turn(self) -> bool:
        """Whether the first reply is the answer: such a method uses no tool."""
        return self.method in ONE_TURN

    @property
    def digest(self) -> str:
        """A short hash of the content, for journal keys: an edited prompt is another prompt."""
        content = f"{self.method}{self.messages}{sorted(self.cues.items())}"
        return hashlib.sha256(content.encode("utf-8")).hexdigest()[:12]


def load_prompt(method: str, name: str = "tiny", folder: Path = FOLDER) -> Prompt:
    """The prompt of a method from the set `name`, a folder in `folder`.

    "fireact" is the bare question a fine-tuned student gets: no instruction, no examples.
    Raises FireActError for an unknown method or set, or a file that does not read as a prompt.
    """
    if method not in METHODS:
        raise FireActError(f"There is no method {method!r}. Choose one of: {', '.join(METHODS)}.")
    if method == "fireact":
        return Prompt("fireact", "bare")
    path = folder / name / f"{method}.txt"
    if not path.exists():
        sets = sorted(p.name for p in folder.iterdir() if p.is_dir())
        raise FireActError(
            f"There is no prompt file {path.name} in the set {name!r} (looked in {path.parent}). "
            f"The sets are: {', '.join(sets)}."
        )
    return parse_prompt(path.read_text(encoding="utf-8"), method, name)


def parse_prompt(text: str, method: str, name: str) -> Prompt:
    """Read a prompt file's text; see the module's docstring for the form."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    blocks = [b.strip() for b in re.split(r"\n\s*\n", "\n".join(lines)) if b.strip()]
    messages: list[Message] = []
    cues: dict[int, str] = {}
    for block in blocks:
        # A question with options has several lines: it goes on up to the first turn.
        asked = _ASKED.match(block)
        head, _, rest = block.partition("\n")
        if asked:
            head, rest = asked[1], block[asked.end() :]
        if head.startswith("Question: "):
            if not rest:
                raise FireActError(f"Prompt {name}/{method}: the example {head!r} has no answer.")
            for before, line in pairwise(block.splitlines()):
                if line.startswith(OBSERVATION) and before.startswith((OBSERVATION, "Question: ")):
                    raise FireActError(
                        f"Prompt {name}/{method}: {line[:60]!r} answers no turn. Put the Thought "
                        "and the Action that it answers above it."
                    )
            messages += render_messages(parse_text(head.removeprefix("Question: "), rest))
            continue
        for line in block.splitlines():
            if cue := re.match(r"Cue (\d+): (.+)", line):
                cues[int(cue[1])] = cue[2]
            elif line.startswith("Instruction: ") and not messages:
                messages.append({"role": "system", "content": line.removeprefix("Instruction: ")})
            else:
                raise FireActError(
                    f"Prompt {name}/{method}: the line {line[:60]!r} is neither an Instruction, a "
                    "Cue nor part of an example. An example opens with 'Question: '; a blank line "
                    "ends it."
                )
    return Prompt(method, name, tuple(messages), cues)
