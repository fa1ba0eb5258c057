"""A study of stand-ins: few questions, a model that guesses, a training that only writes files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from doubles import QUESTIONS, Pages
from stories import STORIES

from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.prompting import Prompt, load_prompt
from fireact_nb.agent.search import Condition
from fireact_nb.agent.sources import Source
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Trajectory, write_trajectories
from fireact_nb.artifacts import Artifact
from fireact_nb.learning.mixing import Mix
from fireact_nb.learning.recipe import Recipe
from fireact_nb.learning.training import Training
from fireact_nb.study.chain import LINKS
from fireact_nb.study.grid import Agent, Play, Tuning
from fireact_nb.study.runner import Study

FEW = Agent(
    "student",
    "react 3",
    tuning=Tuning(Mix(((Source("hotpotqa", "react"), 3),)), Recipe(kind="lora", rank=2, seed=4)),
    plays=(Play(), Play(condition=Condition("none", 0.5)), Play("bamboogle")),
)


@dataclass
class Guess:
    """Answers every question at once; `asked` holds (model, question, sample) of each call.

    `stop_at` is how many calls are answered before it is stopped by `error`.
    """

    name: str
    asked: list[tuple[str, str, int]]
    stop_at: int | None = None
    error: type[BaseException] = KeyboardInterrupt
    endpoint, batch_size = "local", 8

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: object = None,
    ) -> list[Reply]:
        if self.stop_at is not None and len(self.asked) >= self.stop_at:
            raise self.error("The disk is full.")
        replies = []
        for place, request in enumerate(requests):
            self.asked.append((self.name, request.messages[-1]["content"], request.sample))
            text = f"Thought: I guess.\nAction: finish[colour {request.sample % 3}]"
            replies.append(Reply(text, 10, 5, "stop", 0.001))
            if done:
                done(place, replies[-1])
        return replies


@dataclass
class World:
    """Six questions a split; `calls` holds what was asked of it, `prompts` is asked if given."""

    calls: list[tuple] = field(default_factory=list)
    held: Sequence[Question] = tuple(QUESTIONS)
    prompts: Prompt | None = None

    def questions(self, split: str, count: int | None = None, task: str = "hotpotqa") -> list:
        self.calls.append((split, count, task))
        chosen = [replace(q, id=f"{task[0]}{q.id}", task=task, split=split) for q in QUESTIONS[:6]]
        return chosen[:count]

    def search(self, condition: Condition, seed: int = 0) -> Pages:
        self.calls.append((condition, seed))
        return Pages()

    def prompt(self, method: str, task: str) -> Prompt:
        return self.prompts or load_prompt(method)

    def held_out(self) -> Sequence[Question]:
        return self.held


@dataclass
class Bench:
    """A study that runs in this process, beside all that happened in it."""

    folder: Path
    world: World = field(default_factory=World)
    trained: list[tuple] = field(default_factory=list)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    chats: list[tuple] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    pools: list[int] = field(default_factory=list)
    stop: dict = field(default_factory=dict)
    study: Study = field(init=False)

    def __post_init__(self) -> None:
        write_trajectories(self.folder / "played.jsonl.gz", STORIES)
        # A manifest that holds everything, to be changed at will.
        made = {
            name: Artifact(link.path, f"sha of {name}", {}, "make")
            for name, link in LINKS.items()
            if not link.path.startswith("outcomes/")
        }
        self.study = Study(
            runs=self.folder / "runs",
            world=self.world,
            manifest=made,
            shipped=self.shipped,
            fine_tune=self.fine_tune,
            chat=self.chat,
            workers=self.start_workers,
        )

    def renew(self, name: str) -> None:
        made = self.study.manifest
        made[name] = replace(made[name], sha256=f"new {made[name].sha256}")

    def shipped(self, name: str) -> Path:
        self.looked_up.append(name)
        return self.folder / ("played.jsonl.gz" if name.startswith("teacher_") else name)

    def start_workers(self, count: int) -> ThreadPoolExecutor:
        self.pools.append(count)
        return ThreadPoolExecutor(1)

    def chat(self, *paths: Path, batch_size: int = 64) -> Guess:
        self.chats.append(paths)
        return Guess(f"model of {paths[-1].name}", self.asked, **self.stop)

    def fine_tune(
        self, model: Path, chosen: list[Trajectory], folder: Path, recipe: Recipe, progress: bool
    ) -> Training:
        """Writes an adapter of float32 at once."""
        import torch
        from safetensors.torch import save_file

        self.trained.append((model.name, sorted(t.question_id for t in chosen), recipe))
        folder.mkdir(parents=True, exist_ok=True)
        kind = "model" if recipe.kind == "full" else "adapter_model"
        save_file({"a": torch.full((8, 8), 1 / 3)}, folder / f"{kind}.safetensors")
        (folder / "adapter_config.json").write_text("{}")
        (folder / "recipe.json").write_text("{}")
        return Training(folder, len(chosen), 99, 64, 128, 1, 2.5, ((1, 3.0), (5, 2.0)))

    def plays(self) -> list[Path]:
        return sorted((self.study.runs / "study" / "plays").rglob("*.csv.gz"))
