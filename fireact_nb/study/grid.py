"""The grid of experiments behind the notebooks: every agent, and what it is to play.

Knows models by name, mixes and settings; runs nothing. `prompted`, `tuned` and `live` look an agent
up, so that nobody else spells a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..agent.search import NORMAL, Condition
from ..agent.sources import Source
from ..errors import FireActError
from ..learning.mixing import Mix
from ..learning.recipe import Recipe, recipe_for

PROFILE = "tiny"  # where the study is played, whatever profile a notebook has
STUDENTS = ("student", "student_code", "student_large", "student_large_code")
MAIN = "student"  # the student of the experiments that the paper made with GPT-3.5
SEEDS = (0, 1)  # of the main student on ReAct; one more fine-tuning is two minutes on one core
VARIANT_SEEDS = (0,)  # of what is tried on the main student alone
# Chosen on dev.
RECIPE = Recipe(kind="lora", rank=8, alpha=16)
FULL_RATE = 1e-3  # full fine-tuning moves every weight: a smaller step, chosen on dev
PROMPTED = ("io", "cot", "react", "reflexion")
# How many training questions the teacher plays of each source.
TEACHER_PLAYS: Mapping[Source, int] = {
    Source("hotpotqa", "react"): 1500,
    Source("hotpotqa", "cot"): 700,
    Source("hotpotqa", "reflexion"): 500,
    Source("strategyqa", "react"): 640,
    Source("strategyqa", "cot"): 800,
    Source("mmlu", "react"): 520,
    Source("mmlu", "cot"): 640,
}
# With the tool as it is, 3% of the teacher's episodes reach a reflection. It plays Reflexion with a
# tool that fails three times in ten.
REFLEXION_SEARCH = Condition("none", 0.3)


def _part(task: str, method: str, count: int) -> Mix:
    return Mix(((Source(task, method), count),))


# The paper's counts: HotpotQA's mix, and what multi-task training adds.
REACT = _part("hotpotqa", "react", 500)
COT = _part("hotpotqa", "cot", 187)
REFLEXION = _part("hotpotqa", "reflexion", 47)
MULTI_TASK = REACT + _part("strategyqa", "react", 388) + _part("mmlu", "react", 456)
MULTI_TASK_COT = MULTI_TASK + COT + _part("strategyqa", "cot", 380) + _part("mmlu", "cot", 469)
MIXES: Mapping[str, Mix] = {
    "react": REACT,
    "react+cot": REACT + COT,
    "react+reflexion": REACT + REFLEXION,
    "all": REACT + COT + REFLEXION,
}
# What the main student alone is trained on besides; the names of several tasks show no sizes.
_OTHER_MIXES: Mapping[str, Mix] = {"cot": COT, "reflexion": REFLEXION}
_TASK_MIXES: Mapping[str, Mix] = {"multi-task": MULTI_TASK, "multi-task + cot": MULTI_TASK_COT}
SIZES = (100, 200, 500, 1000)  # of ReAct alone: the paper's Figure 3
# One thing changed in the recipe, by the name of the change.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "qlora": {"kind": "qlora"},
    "full": {"kind": "full", "learning_rate": FULL_RATE},
    "mask all turns": {"mask": "all turns"},
    "mask off": {"mask": "off"},
}
UNFILTERED = "failures kept"  # a variant, too: of the data
NOISE = (Condition("none", 0.5), Condition("random", 0.5))  # paper, Table 3
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
    condition: Condition = NORMAL
    temperature: float = 0.0
    samples: int = 1
    split: str = "test"
    count: int | None = None


@dataclass(frozen=True)
class Tuning:
    """What a model is fine-tuned on, and how."""

    mix: Mix
    recipe: Recipe = RECIPE


@dataclass(frozen=True)
class Agent:
    """A tiny model with a way to act: prompted by `method`, or fine-tuned, then `tuning` is there.

    `label` says what was done to the model.
    """

    model: str
    label: str
    method: str = "fireact"
    tuning: Tuning | None = None
    plays: tuple[Play, ...] = (Play(),)

    @property
    def name(self) -> str:
        """The agent's name in the outcomes table; seeds share it."""
        return f"{self.model}, {self.label}"

    @property
    def seed(self) -> int:
        return self.tuning.recipe.seed if self.tuning else 0

    @property
    def slug(self) -> str:
        """The name as part of a file name, with the seed."""
        words = "".join(c if c.isalnum() else " " for c in self.name).split()
        return "_".join([*words, *([str(self.seed)] if self.tuning else [])])

    @property
    def method_mix(self) -> str:
        """How it acts, as the outcomes table says it: the method, or the sources it learnt from."""
        return "+".join(self.tuning.mix.counts) if self.tuning else self.method

    @property
    def inputs(self) -> tuple[str, ...]:
        """The artifacts it is made from."""
        sources = self.tuning.mix.sources if self.tuning else ()
        return (self.model, *dict.fromkeys(source.artifact for source in sources))


# The same agent again and again: the control of the oracle over methods.
REPEATED = Play(temperature=TEMPERATURE, samples=SAMPLES, count=300)


def prompted(model: str, method: str) -> Agent:
    """The grid's agent of a model prompted by a method. Raises FireActError if there is none."""
    return _find(agents(), model, f"{method}, 2 examples", 0)


def tuned(
    model: str, mix: str, variant: str = "", *, count: int | None = None, seed: int = 0
) -> Agent:
    """The grid's agent of a model fine-tuned on a mix: "react", "cot", "multi-task", ...

    `variant` is one of VARIANTS or UNFILTERED, `count` another size than the paper's. Raises
    FireActError, naming what there is, if the grid has none.
    """
    return _find(agents(), model, _label(mix, variant, count), seed)


def live(name: str, seed: int = 0) -> Agent:
    """The cell that notebooks train live: of a mix's name, or of a variant's."""
    return _find(live_agents(), MAIN, f"live {name}", seed)


def live_recipe(student: Path | str, **changes: Any) -> Recipe:
    """How a notebook trains: the live cells' recipe, or for a model of the hub its own in 4 bits.

    `changes` are fields of Recipe.
    """
    if isinstance(student, str):
        return recipe_for(student, **{"kind": "qlora", **changes})
    return replace(LIVE, **changes)


def _find(grid: Sequence[Agent], model: str, label: str, seed: int) -> Agent:
    for agent in grid:
        if (agent.model, agent.label, agent.seed) == (model, label, seed):
            return agent
    there = [f"{a.label} (seed {a.seed})" for a in grid if a.model == model]
    raise FireActError(
        f"The grid has no agent {f'{model}, {label}'!r} of seed {seed}. Use another: of the model "
        f"{model} it has {'; '.join(there) or 'none, only of ' + ', '.join(STUDENTS)}."
    )


def _label(mix: str, variant: str = "", count: int | None = None) -> str:
    """What an agent is called that was fine-tuned on a mix, of another size or by a variant."""
    known = {**MIXES, **_OTHER_MIXES}.get(mix)
    sizes = "" if known is None else f" {count or known.sizes}"
    return f"{mix}{sizes}" + (f", {variant}" if variant else "")


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
            for name, mix in MIXES.items():
                if seed and (model, name) != (MAIN, "react"):
                    continue
                more: tuple[Play, ...] = ()
                if model == MAIN and seed == 0 and name == "react":
                    more = (*noisy, *elsewhere, REPEATED)
                if model == MAIN and seed == 0 and name == "react+cot":
                    more = (*noisy, Play("bamboogle"))
                grid.append(_tuned(model, _label(name), mix, seed, *more))
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
        for name, mix in MIXES.items():
            tuning = Tuning(mix.of_size(LIVE_COUNT), recipe)
            grid.append(Agent(MAIN, f"live {name}", tuning=tuning, plays=(on_dev, noisy)))
        for variant, change in VARIANTS.items():
            tuning = Tuning(REACT.of_size(LIVE_COUNT), replace(recipe, **change))
            grid.append(Agent(MAIN, f"live {variant}", tuning=tuning, plays=(on_dev,)))
    return grid


def dev_agents() -> list[Agent]:
    """The teacher on dev, where prompts, sizes and settings were chosen."""
    return [_prompted("teacher", method) for method in PROMPTED]


def shipped_agents() -> list[Agent]:
    """The fine-tuned agents whose adapters are shipped, of seed 0.

    Each student's on ReAct, and the main one's mixes, CoT alone and all tasks; with all of the grid
    the repository would be larger than it may be. `Study.train` makes the others again.
    """
    main = [Tuning(mix) for mix in (*MIXES.values(), COT, MULTI_TASK_COT)]
    return [a for a in agents() if a.tuning in (main if a.model == MAIN else main[:1])]


def _variants(seed: int, elsewhere: tuple[Play, ...]) -> list[Agent]:
    """What is tried on the main student alone."""
    grid = [
        _tuned(MAIN, _label("react", count=count), REACT.of_size(count), seed)
        for count in SIZES
        if count != 500  # the standard
    ]
    for variant, change in VARIANTS.items():
        recipe = replace(RECIPE, seed=seed, **change)
        grid.append(Agent(MAIN, _label("react", variant), tuning=Tuning(REACT, recipe)))
    unfiltered = Mix(((Source("hotpotqa", "react", filtered=False), 500),))
    grid.append(_tuned(MAIN, _label("react", UNFILTERED), unfiltered, seed))
    grid += [_tuned(MAIN, _label(name), mix, seed) for name, mix in _OTHER_MIXES.items()]
    for name, mix in _TASK_MIXES.items():
        grid.append(_tuned(MAIN, _label(name), mix, seed, *elsewhere))
    return grid


def _prompted(model: str, method: str, *more: Play) -> Agent:
    return Agent(model, f"{method}, 2 examples", method, plays=(Play(), *more))


def _tuned(model: str, label: str, mix: Mix, seed: int, *more: Play) -> Agent:
    tuning = Tuning(mix, replace(RECIPE, seed=seed))
    return Agent(model, label, tuning=tuning, plays=(Play(), *more))
