"""A profile opened: its world's questions, search and prompts, its teacher and its student.

Every notebook begins here, so that the same cells run under any profile. Knows which world and
models a profile names; knows no experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from . import artifacts
from .agent.chat import Chat
from .agent.prompting import Prompt
from .agent.search import NORMAL, Condition, Search
from .agent.sources import Source
from .agent.tasks import Question
from .agent.trajectory import Trajectory, read_trajectories
from .artifacts import Origin, find_model
from .errors import FireActError
from .models.api import OpenAIChat
from .models.kept import KeptChat
from .models.local import LocalChat
from .models.weights import load_tokenizer
from .profiles import Profile, load_profile
from .realworld.release import RELEASED_RUNS, Imported, released_run, released_training
from .realworld.shelf import RealWorld
from .tinyworld import TinyWorld


class World(Protocol):
    """Where questions come from, what can be searched, and how it is asked there.

    `written` tells where the teacher's episodes of a source lie: the learner's own first, and last
    those that come with the world. `pages` is all that can be found, empty where nobody has it all.
    """

    def questions(
        self, split: str, count: int | None = None, task: str = "hotpotqa"
    ) -> list[Question]: ...

    def search(self, condition: Condition = NORMAL, seed: int = 0) -> Search: ...

    def prompt(self, method: str, task: str = "hotpotqa") -> Prompt: ...

    def held_out(self) -> list[Question]: ...

    def written(self, source: Source) -> list[Origin]: ...

    def pages(self) -> list[str]: ...


# A world is opened by its name; a new one is a new line here.
WORLDS: Mapping[str, Callable[[Profile], World]] = {
    "tiny": lambda profile: TinyWorld(),
    "real": lambda profile: _real_world("distractor", profile),
    "real fullwiki": lambda profile: _real_world("fullwiki", profile),
}


@dataclass(frozen=True)
class Written:
    """Trajectories that the teacher wrote, and where they come from.

    `played` are all episodes, `kept` those that pass the source's filter.
    """

    played: tuple[Trajectory, ...]
    kept: tuple[Trajectory, ...]
    origin: Origin


@dataclass(frozen=True)
class Lab:
    """An opened profile; printing it shows the run's configuration."""

    profile: Profile
    world: World

    def __str__(self) -> str:
        p = self.profile
        words = f"profile {p.name}: world {p.world}, teacher {p.teacher}, student {p.student}"
        if p.base_url:
            return f"{words}; the teacher answers at {p.base_url}, for ${p.max_usd:.2f} at most"
        if p.teacher == p.student:
            return f"{words}; the student, prompted, plays the teacher's live part"
        return words

    @property
    def runs(self) -> Path:
        """The folder for what the learner makes; each profile but the tiny one has its own."""
        return (
            artifacts.RUNS if self.profile.world == "tiny" else artifacts.RUNS / self.profile.name
        )

    def questions(
        self, split: str, count: int | None = None, task: str = "hotpotqa"
    ) -> list[Question]:
        """The first `count` questions of a split (all without a count)."""
        return self.world.questions(split, count, task)

    def search(self, condition: Condition = NORMAL, seed: int = 0) -> Search:
        """The search tool, sound or failing as `condition` says."""
        return self.world.search(condition, seed)

    def prompt(self, method: str, task: str = "hotpotqa") -> Prompt:
        """How a method opens an episode of a task; "fireact" is the bare question."""
        return self.world.prompt(method, task)

    def held_out(self) -> list[Question]:
        """Every question that no training may see."""
        return self.world.held_out()

    def pages(self) -> list[str]:
        """Every passage of the world, to check what an agent says; empty for a real engine."""
        return self.world.pages()

    def written(
        self, method: str = "react", task: str = "hotpotqa", least: int = 1, own: bool = True
    ) -> Written:
        """What the teacher wrote by a method: the learner's own if `least` of it can be trained on.

        Else, and always without `own`, what comes with the world.
        """
        source = Source(task, method)
        *mine, last = self.world.written(source)
        for origin in mine if own else ():
            found = _read(source, origin)
            if len({(t.question, t.steps) for t in found.kept}) >= least:
                return found
        return _read(source, last)

    def released(self, what: str = "hotpotqa") -> Imported | None:
        """What the authors released: a task's training rows, or one of RELEASED_RUNS.

        None under profile tiny, which stays off the network.
        """
        if self.profile.world == "tiny":
            return None
        return released_run(what) if what in RELEASED_RUNS else released_training(what)

    def teacher(self) -> Chat:
        """The strong model, to be prompted: at an address, here, or the student in its part.

        One at an address that is not this machine's may cost, so the profile's `max_usd` must allow
        it; its replies are kept, and none is paid for twice.
        """
        p = self.profile
        if p.base_url:
            return self._remote_teacher
        return self.chat() if p.teacher == p.student else LocalChat(find_model(p.teacher))

    @cached_property
    def _remote_teacher(self) -> Chat:
        p = self.profile
        chat = OpenAIChat(p.teacher, p.base_url)
        if not chat.may_cost:
            return chat
        if not p.max_usd:
            raise FireActError(
                f"The teacher {p.teacher} at {p.base_url} may cost money, and the profile "
                f"{p.name} allows none. If you agree, put `max_usd` into its file: the most "
                "dollars that a run may spend."
            )
        return KeptChat(chat, self.runs / "teacher.journal", p.max_usd)

    @cached_property
    def student(self) -> Path | str:
        """The small model to be fine-tuned: its folder, or its name on the hub."""
        return find_model(self.profile.student)

    @cached_property
    def tokenizer(self) -> Any:
        """The student's, to look at its tokens."""
        return load_tokenizer(self.student)

    def chat(self, tuned: str | Path | None = None, batch_size: int = 64) -> LocalChat:
        """The student as it is, or as fine-tuning left it: `tuned` holds an adapter or a model."""
        if tuned is None:
            # A model of billions is loaded once; the tiny one is too small for that to matter.
            if isinstance(self.student, str):
                return self._plain_student
            return LocalChat(self.student, batch_size=batch_size)
        if (Path(tuned) / "adapter_config.json").exists():
            return LocalChat(self.student, tuned, batch_size=batch_size)
        return LocalChat(tuned, batch_size=batch_size)

    @cached_property
    def _plain_student(self) -> LocalChat:
        return LocalChat(self.student)


def _real_world(setting: str, profile: Profile) -> RealWorld:
    return RealWorld(setting, profile.search or "bm25", profile.name, profile.max_usd > 0)


def _read(source: Source, origin: Origin) -> Written:
    played = read_trajectories(origin.path)
    return Written(tuple(played), tuple(source.select(played)), origin)


def open_lab(profile: str) -> Lab:
    """The lab of a profile, by its name or the path of its TOML file.

    Raises FireActError for a profile that nobody wrote, or one with a world that nobody knows.
    """
    chosen = load_profile(profile)
    if chosen.world not in WORLDS:
        raise FireActError(
            f"The profile {chosen.name} names the world {chosen.world!r}. There are: "
            f"{', '.join(WORLDS)}."
        )
    return Lab(chosen, WORLDS[chosen.world](chosen))
