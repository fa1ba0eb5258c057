"""The grid at work: agents trained and played, with everything finished kept.

`run_study` works through the grid with several processes and can be killed at any moment: a trained
agent and a finished play are files of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..agent.episode import Settings
from ..agent.prompting import load_prompt
from ..agent.rollouts import generate, successes
from ..agent.trajectory import Trajectory, read_trajectories
from ..analysis.outcomes import Outcome, outcomes_of, read_outcomes, write_outcomes
from ..artifacts import RUNS, read_manifest, shipped
from ..errors import FireActError
from ..files import content_key, read_json, write_file
from ..learning.mixing import mix
from ..learning.training import fine_tune
from ..models.local import LocalChat
from ..tinyworld.shelf import held_out_questions, make_search, prompt_set, tiny_questions
from .grid import Agent, Play, agents, artifact_of

BARE_BATCH = 256  # episodes at once without examples: 2.5 times as fast as 64, the same answers


def train_agent(agent: Agent, progress: bool = False) -> Path:
    """The folder of a fine-tuned agent's adapter; trains it unless that was done before.

    Adapters are rounded to half precision before anything is measured with them, so that what is
    shipped is what was measured.
    """
    folder = RUNS / "study" / "adapters" / f"{agent.slug}-{_fingerprint(agent)}"
    mark = folder / "training.json"
    if mark.exists():
        return folder
    assert agent.recipe is not None
    chosen = mix(
        {source: load_source(source) for source, _ in agent.parts},
        dict(agent.parts),
        agent.recipe.seed,
        held_out=held_out_questions(),
    )
    done = fine_tune(shipped(agent.model), chosen, folder, agent.recipe, progress)
    if agent.recipe.kind != "full":
        _round_weights(folder / "adapter_model.safetensors")
    record = {
        **asdict(done),
        "folder": agent.slug,
        "agent": agent.name,
        "seed": agent.seed,
        "recipe": asdict(agent.recipe),
        "saved_bytes": next(folder.glob("*model.safetensors")).stat().st_size,
    }
    write_file(mark, json.dumps(record, indent=1))
    return folder


def play_agent(agent: Agent, play: Play, progress: bool = False) -> list[Outcome]:
    """The outcomes of one play, from its file if it was played before."""
    path = _play_file(agent, play)
    if path.exists():
        return read_outcomes(path)
    started = time.monotonic()
    prompt = load_prompt(agent.method, prompt_set(play.task))
    chat = _chat(agent)
    questions = tiny_questions(play.split, play.count, play.task)
    rows: list[Outcome] = []
    for sample in range(play.samples):
        rows += outcomes_of(
            generate(
                questions,
                prompt,
                chat,
                make_search(play.condition, agent.seed),
                Settings(temperature=play.temperature, seed=agent.seed, sample=sample),
                progress=progress,
            ),
            questions,
            agent.name,
            chat.name,
            agent.method if not agent.parts else "+".join(source for source, _ in agent.parts),
            play.condition,
            "shipped, fireact-nb artifacts study",
        )
    write_outcomes(path, rows)
    with (path.parent / "seconds.txt").open("a", encoding="utf-8") as log:
        log.write(f"{time.monotonic() - started:.1f}\n")  # training included, where it was needed
    return rows


def _play_file(agent: Agent, play: Play) -> Path:
    prompt = load_prompt(agent.method, prompt_set(play.task))
    what = (play.task, play.split, play.condition, f"{play.temperature:g}", play.samples,
            play.count or "all", prompt.digest[:6])  # fmt: skip
    name = "_".join(map(str, what)).replace(" ", "_")
    return RUNS / "study" / "plays" / f"{agent.slug}-{_fingerprint(agent)}" / f"{name}.csv.gz"


def _chat(agent: Agent) -> LocalChat:
    if not agent.parts:
        return LocalChat(shipped(agent.model))
    folder = train_agent(agent)
    if agent.recipe and agent.recipe.kind == "full":
        return LocalChat(folder, batch_size=BARE_BATCH)
    return LocalChat(shipped(agent.model), folder, batch_size=BARE_BATCH)


def load_source(source: str) -> list[Trajectory]:
    """The teacher's trajectories a part of a mix is drawn from.

    Successes only, unless "unfiltered" says otherwise; of Reflexion those that reached a reflection
    and were rescued.
    """
    played = read_trajectories(shipped(artifact_of(source)))
    if source.endswith("unfiltered"):
        return played
    kept = successes(played)
    return [t for t in kept if t.rounds >= 6] if source.endswith("reflexion") else kept


def _fingerprint(agent: Agent) -> str:
    """Changes with what the agent is made from: stale results are never taken for new ones."""
    manifest = read_manifest()
    if missing := [name for name in agent.inputs if name not in manifest]:
        raise FireActError(
            f"{agent.name} is made from {', '.join(missing)}, which the manifest does not list. "
            f"Make it first: fireact-nb artifacts {missing[0]}"
        )
    made_from = {name: manifest[name].sha256 for name in ("world", *agent.inputs)}
    return content_key(made_from, asdict(agent.recipe) if agent.recipe else agent.method,
                       agent.parts)[:8]  # fmt: skip


def _round_weights(path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: tensor.to(torch.float16) for name, tensor in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def run_study(grid: Sequence[Agent] | None = None, workers: int = 2) -> list[Outcome]:
    """Train and play every agent of the grid; what was done before is read from its files.

    `workers` processes of one thread each: on two cores faster than one process of two threads.
    """
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    grid = list(agents() if grid is None else grid)
    with ProcessPoolExecutor(workers, get_context("spawn"), _use_one_thread) as pool:
        running = {pool.submit(_work, agent): agent for agent in grid}
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
    return [row for agent in grid for play in agent.plays for row in play_agent(agent, play)]


def _work(agent: Agent) -> tuple[int, int, float]:
    rows = [play_agent(agent, play) for play in agent.plays]
    return sum(o.correct for o in rows[0]), len(rows[0]), spent_seconds(agent)


def spent_seconds(agent: Agent) -> float:
    """What an agent's training and plays took so far, over all runs; 0 where nothing is done."""
    log = RUNS / "study" / "plays" / f"{agent.slug}-{_fingerprint(agent)}" / "seconds.txt"
    return sum(map(float, log.read_text(encoding="utf-8").split())) if log.exists() else 0.0


def forecast_study(grid: Sequence[Agent], workers: int = 2) -> str:
    """What the grid will take, by what it took when the shipped outcomes were made."""
    took = {(r["agent"], r["seed"]): r["seconds"] for r in read_json(shipped("study_costs"))}
    left = [a for a in grid if not all(_play_file(a, play).exists() for play in a.plays)]
    hours = sum(took.get((a.name, a.seed), 120.0) for a in left) / workers / 3600
    return (
        f"{len(left)} of {len(grid)} agents are still to be trained or played: about {hours:.1f} "
        f"hours on {workers} cores like ours. It can be stopped at any time and goes on from there."
    )


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def study_costs() -> list[dict]:
    """What each finished agent of the grid took; for the fine-tuned ones how the training went."""
    records = []
    for agent in agents():
        record = {"agent": agent.name, "seed": agent.seed, "seconds": round(spent_seconds(agent))}
        if agent.parts:
            record["training"] = read_json(train_agent(agent) / "training.json", dict)
        records.append(record)
    return records
