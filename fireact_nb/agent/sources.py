"""Where the trajectories of a training mix come from: a task, played by the teacher by a method.

Knows how a source is named, where it is kept and what is selected from it; trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..artifacts import shipped
from .rollouts import successes
from .trajectory import Trajectory, read_trajectories

# The round of Reflexion's first cue. What ended before it is plain ReAct, whatever the prompt said.
REFLECTION = 6


@dataclass(frozen=True)
class Source:
    """The teacher's episodes on the training questions of `task` by `method`.

    `filtered` keeps those that ended in the right answer, as the paper does.
    """

    task: str
    method: str
    filtered: bool = True

    @property
    def name(self) -> str:
        """As groups of a mix and the outcomes table call it: "hotpotqa react"."""
        return f"{self.task} {self.method}" + ("" if self.filtered else " unfiltered")

    @property
    def artifact(self) -> str:
        """The shipped file that holds all of its episodes, failures too."""
        return f"teacher_{self.task}_{self.method}"

    @property
    def own_file(self) -> str:
        """What the learner's own episodes are called in the runs folder."""
        return f"{self.artifact}.jsonl".replace("hotpotqa_", "")

    def select(self, played: Iterable[Trajectory]) -> list[Trajectory]:
        """What may be trained on; of Reflexion only what reached a reflection and was rescued."""
        if not self.filtered:
            return list(played)
        kept = successes(played)
        return [t for t in kept if t.rounds >= REFLECTION] if self.method == "reflexion" else kept


def load_source(source: Source, find: Callable[[str], Path] = shipped) -> list[Trajectory]:
    """The trajectories that a mix draws from `source`; `find` tells where an artifact lies."""
    return source.select(read_trajectories(find(source.artifact)))
