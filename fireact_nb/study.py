"""The experiments behind the notebooks: a grid of agents, trained and played.

An `Agent` is a tiny model, prompted or fine-tuned on a mix of the teacher's trajectories, and what
it is to play. `agents` lists the whole grid; `run_study` works through it with two processes and
can be killed at any moment: a trained agent and a finished play are files of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .agent.episode import Settings
from .agent.prompting import load_prompt
from .agent.rollouts import generate, successes
from .agent.search import Bm25, Unreliable
from .agent.trajectory import Trajectory, read_trajectories
from .analysis.outcomes import Outcome, outcomes_of, read_outcomes, write_outcomes
from .artifacts import RUNS, read_manifest, shipped
from .errors import FireActError
from .files import content_key, read_json, write_file
from .learning.mixing import mix, share_out
from .learning.recipe import Recipe
from .learning.training import fine_tune
from .models.local import LocalChat
from .tinyworld.shelf import held_out_questions, prompt_set, tiny_questions, tiny_search

STUDENTS = ("student", "student_code", "student_large", "student_large_code")
MAIN = "student"  # the student of the experiments that the paper made with GPT-3.5
SEEDS = (0, 1)  # of the main student on ReAct; one more fine-tuning is two minutes on one core
VARIANT_SEEDS = (0,)  # of what is tried on the main student alone
# Chosen on dev.
RECIPE = Recipe(kind="lora", rank=8, alpha=16)
FULL_RATE = 1e-3  # full fine-tuning moves every weight: a smaller step, chosen on dev
PROMPTED = ("io", "cot", "react", "reflexion")
# What the teacher plays: (task, method) -> how many training questions.
TEACHER_PLAYS: Mapping[tuple[str, str], int] = {
    ("hotpotqa", "react"): 1500,
    ("hotpotqa", "cot"): 700,
    ("hotpotqa", "reflexion"): 500,
    ("strategyqa", "react"): 640,
    ("strategyqa", "cot"): 800,
    ("mmlu", "react"): 520,
    ("mmlu", "cot"): 640,
}
# With the tool as it is, 3% of the teacher's episodes reach a reflection. It plays Reflexion with a
# tool that fails three times in ten.
REFLEXION_SEARCH = "none 0.3"
# The paper's counts: HotpotQA's mix, and what multi-task training adds.
REACT = (("hotpotqa react", 500),)
COT = (("hotpotqa cot", 187),)
REFLEXION = (("hotpotqa reflexion", 47),)
MULTI_TASK = (*REACT, ("strategyqa react", 388), ("mmlu react", 456))
MULTI_TASK_COT = (*MULTI_TASK, *COT, ("strategyqa cot", 380), ("mmlu cot", 469))
MIXES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "react": REACT,
    "react+cot": (*REACT, *COT),
    "react+reflexion": (*REACT, *REFLEXION),
    "all": (*REACT, *COT, *REFLEXION),
}
NOISE = ("none 0.5", "random 0.5")  # paper, Table 3
SAMPLES = 3  # of one method, against three methods: the pass@k control
TEMPERATURE = 0.6  # the paper's for Llama
LIVE = replace(RECIPE, epochs=3)  # what a notebook trains in half a minute
LIVE_COUNT = 150  # trajectories
LIVE_QUESTIONS = 100
LIVE_SEEDS = (0, 1, 2, 3, 4)  # their spread is the tolerance a learner's own run is held against
BARE_BATCH = 256  # episodes at once without examples: 2.5 times as fast as 64, the same answers


@dataclass(frozen=True)
class Play:
    """What an agent is to play: a task's split, all or the first `count`, under one condition."""

    task: str = "hotpotqa"
    condition: str = "normal"
    temperature: float = 0.0
    samples: int = 1
    split: str = "test"
    count: int | None = None


@dataclass(frozen=True)
class Agent:
    """A tiny model with a way to act: prompted by `method`, or fine-tuned on `parts`.

    `label` says what was done to the model, `parts` is (source of trajectories, count). The name of
    a source is "task method"; with "unfiltered" behind it the failures are in it.
    """

    model: str
    label: str
    method: str = "fireact"
    parts: tuple[tuple[str, int], ...] = ()
    recipe: Recipe | None = None
    plays: tuple[Play, ...] = (Play(),)

    @property
    def name(self) -> str:
        """The agent's name in the outcomes table; seeds share it."""
        return f"{self.model}, {self.label}"

    @property
    def seed(self) -> int:
        return self.recipe.seed if self.recipe else 0

    @property
    def slug(self) -> str:
        """The name as part of a file name, with the seed."""
        words = "".join(c if c.isalnum() else " " for c in self.name).split()
        return "_".join([*words, *([str(self.seed)] if self.recipe else [])])

    @property
    def inputs(self) -> tuple[str, ...]:
        """The artifacts it is made from."""
        sources = dict.fromkeys(_artifact_of(source) for source, _ in self.parts)
        return (self.model, *sources)


# The same agent again and again: the control of the oracle over methods.
REPEATED = Play(temperature=TEMPERATURE, samples=SAMPLES, count=300)


def agents() -> list[Agent]:
    """The whole grid: every cell of the paper's Tables 1-5 and Figures 3 and 4, in our world."""
    grid = [_prompted("teacher", method) for method in ("io", "cot")]
    grid += [_prompted("teacher", "react", REPEATED)]
    grid += [_prompted("teacher", "reflexion")]
    elsewhere = tuple(Play(task) for task in ("strategyqa", "mmlu", "bamboogle"))
    noisy = tuple(Play(condition=condition, count=300) for condition in NOISE)
    for model in STUDENTS:
        main = model == MAIN
        grid += [_prompted(model, "io", *(elsewhere if main else ()))]
        grid += [_prompted(model, "cot")]
        grid += [_prompted(model, "react", *((*elsewhere, *noisy) if main else ()))]
    for seed in SEEDS:
        for model in STUDENTS:
            for name, parts in MIXES.items():
                if seed and (model, name) != (MAIN, "react"):
                    continue
                more: tuple[Play, ...] = ()
                if model == MAIN and seed == 0 and name == "react":
                    more = (*noisy, *elsewhere, REPEATED)
                if model == MAIN and seed == 0 and name == "react+cot":
                    more = (*noisy, Play("bamboogle"))
                grid.append(_tuned(model, f"{name} {_sizes(parts)}", parts, seed, *more))
    for seed in VARIANT_SEEDS:
        grid += _variants(seed, elsewhere)
    return grid


def live_agents() -> list[Agent]:
    """The cells that notebooks 04 to 06 train live: small, on dev, with every seed of LIVE_SEEDS.

    "live react" to "live all" are the MIXES in the same shares, LIVE_COUNT trajectories in all; the
    others change one thing about "live react".
    """
    grid = []
    on_dev = Play(split="dev", count=LIVE_QUESTIONS)
    noisy = replace(on_dev, condition=NOISE[0])
    for seed in LIVE_SEEDS:
        recipe = replace(LIVE, seed=seed)
        for name, parts in MIXES.items():
            counts = share_out(dict(parts), LIVE_COUNT)
            grid.append(Agent(MAIN, f"live {name}", parts=tuple(counts.items()), recipe=recipe,
                              plays=(on_dev, noisy)))  # fmt: skip
        plain = Agent(MAIN, "live react", parts=(("hotpotqa react", LIVE_COUNT),), plays=(on_dev,))
        grid += [
            replace(plain, label=f"live {label}", recipe=replace(recipe, **change))
            for label, change in {
                "qlora": {"kind": "qlora"},
                "full": {"kind": "full", "rate": FULL_RATE},
                "mask all turns": {"mask": "all turns"},
                "mask off": {"mask": "off"},
            }.items()
        ]
    return grid


def dev_agents() -> list[Agent]:
    """The teacher on dev, where prompts, sizes and settings were chosen."""
    return [_prompted("teacher", method) for method in PROMPTED]


def shipped_agents() -> list[Agent]:
    """The fine-tuned agents whose adapters are shipped, of seed 0.

    Each student's on ReAct, and the main one's mixes, CoT alone and all tasks; with all of the grid
    the repository would be larger than it may be. `train_agent` makes the others again.
    """
    return [
        a for a in agents()
        if a.parts and a.seed == 0 and (a.label == "react 500" or a.model == MAIN)
        and (a.parts in MIXES.values() or a.parts in (COT, MULTI_TASK_COT))
        and a.recipe == RECIPE
    ]  # fmt: skip


def _variants(seed: int, elsewhere: tuple[Play, ...]) -> list[Agent]:
    """What is tried on the main student alone."""
    grid = []
    for count in (100, 200, 1000):
        grid.append(_tuned(MAIN, f"react {count}", (("hotpotqa react", count),), seed))
    for kind, rate in (("qlora", RECIPE.rate), ("full", FULL_RATE)):
        agent = _tuned(MAIN, f"react 500, {kind}", REACT, seed)
        grid.append(replace(agent, recipe=replace(agent.recipe, kind=kind, rate=rate)))
    for mask in ("all turns", "off"):
        agent = _tuned(MAIN, f"react 500, mask {mask}", REACT, seed)
        grid.append(replace(agent, recipe=replace(agent.recipe, mask=mask)))
    grid += [
        _tuned(MAIN, "react 500, failures kept", (("hotpotqa react unfiltered", 500),), seed),
        _tuned(MAIN, "cot 187", COT, seed),
        _tuned(MAIN, "reflexion 47", REFLEXION, seed),
        _tuned(MAIN, "multi-task", MULTI_TASK, seed, *elsewhere),
        _tuned(MAIN, "multi-task + cot", MULTI_TASK_COT, seed, *elsewhere),
    ]
    return grid


def _prompted(model: str, method: str, *more: Play) -> Agent:
    return Agent(model, f"{method}, 2 examples", method, plays=(Play(), *more))


def _tuned(
    model: str, label: str, parts: tuple[tuple[str, int], ...], seed: int, *more: Play
) -> Agent:
    return Agent(
        model, label, parts=parts, recipe=replace(RECIPE, seed=seed), plays=(Play(), *more)
    )


def _sizes(parts: tuple[tuple[str, int], ...]) -> str:
    return "+".join(str(count) for _, count in parts)


# -- one agent ----------------------------------------------------------------------------------


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
        return LocalChat(folder, batch=BARE_BATCH)
    return LocalChat(shipped(agent.model), folder, batch=BARE_BATCH)


def make_search(condition: str, seed: int = 0) -> Bm25 | Unreliable:
    """The tool under a condition: "normal", "none 0.5" or "random 0.5" (paper, Table 3)."""
    if condition == "normal":
        return tiny_search()
    mode, p = condition.split()
    return Unreliable(tiny_search(), float(p), mode, seed)  # type: ignore[arg-type]


def load_source(source: str) -> list[Trajectory]:
    """The teacher's trajectories a part of a mix is drawn from.

    Successes only, unless "unfiltered" says otherwise; of Reflexion those that reached a reflection
    and were rescued.
    """
    played = read_trajectories(shipped(_artifact_of(source)))
    if source.endswith("unfiltered"):
        return played
    kept = successes(played)
    return [t for t in kept if t.rounds >= 6] if source.endswith("reflexion") else kept


def _artifact_of(source: str) -> str:
    task, method, *_ = source.split()
    return f"teacher_{task}_{method}"


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


# -- the whole grid -----------------------------------------------------------------------------


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
