"""The grid at work: agents trained and played, with everything finished kept.

`Study.run` works through the grid with several processes and can be killed at any moment: a trained
agent and a finished play are files of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..agent.chat import Chat
from ..agent.episode import Settings
from ..agent.prompting import Prompt
from ..agent.rollouts import generate
from ..agent.sources import load_source
from ..analysis.outcomes import Outcome, outcomes_of, read_outcomes, write_outcomes
from ..artifacts import RUNS, Artifact, read_manifest, shipped
from ..errors import FireActError
from ..files import content_key, read_json, write_file
from ..lab import World
from ..learning.mixing import mix
from ..learning.training import Training, fine_tune
from ..models.local import LocalChat
from ..tinyworld import TinyWorld
from .grid import Agent, Play, agents

BARE_BATCH = 256  # episodes at once without examples: 2.5 times as fast as 64, the same answers


def start_workers(count: int) -> Executor:
    """Processes of one thread each: on two cores faster than one process of two threads."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(count, get_context("spawn"), _use_one_thread)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Study:
    """Where a study is done and with what: the defaults are the shipped models, on this machine.

    `runs` keeps what is finished; `world` has the questions, the tool and the prompts; `manifest`
    says what the agents are made from, as it was when the study was opened, and `shipped` where it
    lies; `fine_tune`, `chat` and `workers` do the work.
    """

    runs: Path = RUNS
    world: World = TinyWorld()
    manifest: Mapping[str, Artifact] = field(default_factory=read_manifest)
    shipped: Callable[[str], Path] = shipped
    fine_tune: Callable[..., Training] = fine_tune
    chat: Callable[..., Chat] = LocalChat
    workers: Callable[[int], Executor] = start_workers

    def train(self, agent: Agent, progress: bool = False) -> Path:
        """The folder of a fine-tuned agent's adapter; trains it unless that was done before.

        Adapters are rounded to half precision before anything is measured with them, so that what
        is shipped is what was measured.
        """
        assert agent.tuning is not None
        planned, recipe = agent.tuning.mix, agent.tuning.recipe
        folder = self.runs / "study" / "adapters" / self.identity(agent)
        mark = folder / "training.json"
        if mark.exists():
            return folder
        pools = {source.name: load_source(source, self.shipped) for source in planned.sources}
        chosen = mix(pools, planned.counts, recipe.seed, held_out=self.world.held_out())
        done = self.fine_tune(self.shipped(agent.model), chosen, folder, recipe, progress)
        if recipe.kind != "full":
            _round_weights(folder / "adapter_model.safetensors")
        record = {
            **asdict(done),
            "folder": agent.slug,
            "agent": agent.name,
            "seed": agent.seed,
            "recipe": recipe.to_dict(),
            "saved_bytes": next(folder.glob("*model.safetensors")).stat().st_size,
        }
        write_file(mark, json.dumps(record, indent=1))
        return folder

    def play(self, agent: Agent, play: Play, progress: bool = False) -> list[Outcome]:
        """The outcomes of one play, from its file if it was played before."""
        prompt = self.world.prompt(agent.method, play.task)
        path = self.play_file(agent, play, prompt)
        if path.exists():
            return read_outcomes(path)
        started = time.monotonic()
        chat = self._chat(agent)
        questions = self.world.questions(play.split, play.count, play.task)
        search = self.world.search(play.condition, agent.seed)
        rows: list[Outcome] = []
        for sample in range(play.samples):
            settings = Settings(temperature=play.temperature, seed=agent.seed, sample=sample)
            rows += outcomes_of(
                generate(questions, prompt, chat, search, settings, progress=progress),
                questions,
                agent.name,
                chat.name,
                agent.method_mix,
                str(play.condition),
            )
        write_outcomes(path, rows)
        with (path.parent / "seconds.txt").open("a", encoding="utf-8") as log:
            # Training included, where it was needed.
            log.write(f"{time.monotonic() - started:.1f}\n")
        return rows

    def run(self, grid: Sequence[Agent] | None = None, workers: int = 2) -> list[Outcome]:
        """Train and play every agent of the grid; what was done before is read from its files."""
        from concurrent.futures import as_completed

        grid = list(agents() if grid is None else grid)
        with self.workers(workers) as pool:
            running = {pool.submit(self._work, agent): agent for agent in grid}
            try:
                for count, future in enumerate(as_completed(running), 1):
                    agent = running[future]
                    right, asked, seconds = future.result()
                    print(
                        f"[{count}/{len(grid)}] {agent.name}, seed {agent.seed}: "
                        f"{right / asked:.1%} of {asked}, {seconds:.0f} s",
                        flush=True,
                    )
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [row for agent in grid for play in agent.plays for row in self.play(agent, play)]

    def seconds(self, agent: Agent) -> float:
        """What training and plays took so far, over all runs; 0 where nothing is done."""
        log = self._plays(agent) / "seconds.txt"
        return sum(map(float, log.read_text(encoding="utf-8").split())) if log.exists() else 0.0

    def forecast(self, grid: Sequence[Agent], workers: int = 2) -> str:
        """What the grid will take, by what it took when the shipped outcomes were made."""
        costs = read_json(self.shipped("study_costs"))
        took = {(cost["agent"], cost["seed"]): cost["seconds"] for cost in costs}
        left = [agent for agent in grid if not self._is_played(agent)]
        hours = sum(took.get((a.name, a.seed), 120.0) for a in left) / workers / 3600
        return (
            f"{len(left)} of {len(grid)} agents are still to be trained or played: about "
            f"{hours:.1f} hours on {workers} cores like ours. It can be stopped at any time and "
            "goes on from there."
        )

    def costs(self, grid: Sequence[Agent] | None = None) -> list[dict]:
        """What each finished agent took; for the fine-tuned ones how the training went."""
        records = []
        for agent in agents() if grid is None else grid:
            record = {"agent": agent.name, "seed": agent.seed}
            record["seconds"] = round(self.seconds(agent))
            if agent.tuning:
                record["training"] = read_json(self.train(agent) / "training.json", dict)
            records.append(record)
        return records

    def identity(self, agent: Agent) -> str:
        """The name of an agent's folders; it changes with all that the agent is made from.

        So stale results are never taken for new ones. Raises FireActError when the manifest lacks
        one of its inputs.
        """
        if missing := [name for name in agent.inputs if name not in self.manifest]:
            raise FireActError(
                f"{agent.name} is made from {', '.join(missing)}, which the manifest does not "
                f"list. Make it first: fireact-nb artifacts {missing[0]}"
            )
        made_from = {name: self.manifest[name].sha256 for name in ("world", *agent.inputs)}
        how = agent.tuning.recipe.to_dict() if agent.tuning else agent.method
        parts = list(agent.tuning.mix.counts.items()) if agent.tuning else []
        return f"{agent.slug}-{content_key(made_from, how, parts)[:8]}"

    def play_file(self, agent: Agent, play: Play, prompt: Prompt) -> Path:
        """Where a play is kept: another one for another condition, prompt or anything else."""
        what = (play.task, play.split, play.condition, f"{play.temperature:g}", play.samples,
                play.count or "all", prompt.digest[:6])  # fmt: skip
        return self._plays(agent) / ("_".join(map(str, what)).replace(" ", "_") + ".csv.gz")

    def _plays(self, agent: Agent) -> Path:
        return self.runs / "study" / "plays" / self.identity(agent)

    def _is_played(self, agent: Agent) -> bool:
        prompts = [(play, self.world.prompt(agent.method, play.task)) for play in agent.plays]
        return all(self.play_file(agent, play, prompt).exists() for play, prompt in prompts)

    def _chat(self, agent: Agent) -> Chat:
        if not agent.tuning:
            return self.chat(self.shipped(agent.model))
        folder = self.train(agent)
        if agent.tuning.recipe.kind == "full":
            return self.chat(folder, batch_size=BARE_BATCH)
        return self.chat(self.shipped(agent.model), folder, batch_size=BARE_BATCH)

    def _work(self, agent: Agent) -> tuple[int, int, float]:
        rows = [self.play(agent, play) for play in agent.plays]
        return sum(o.correct for o in rows[0]), len(rows[0]), self.seconds(agent)


def _round_weights(path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: tensor.to(torch.float16) for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
