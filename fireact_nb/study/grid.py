"""The grid of experiments behind the notebooks: every agent, and what it is to play.

Knows models by name, mixes and settings; runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..learning.mixing import share_out
from ..learning.recipe import Recipe

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
        sources = dict.fromkeys(artifact_of(source) for source, _ in self.parts)
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
                "full": {"kind": "full", "learning_rate": FULL_RATE},
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
    for kind, rate in (("qlora", RECIPE.learning_rate), ("full", FULL_RATE)):
        agent = _tuned(MAIN, f"react 500, {kind}", REACT, seed)
        grid.append(replace(agent, recipe=replace(agent.recipe, kind=kind, learning_rate=rate)))
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


def artifact_of(source: str) -> str:
    task, method, *_ = source.split()
    return f"teacher_{task}_{method}"
