"""The recipe of every shipped artifact.

Each `Link` makes one artifact of the chain world -> tokenizer -> weights -> trajectories ->
adapters -> outcomes -> tables from the links before it; `remake` runs one and enters it in the
manifest. All of them can be killed and go on where they stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..agent.journal import Journal
from ..agent.rollouts import generate
from ..agent.search import NORMAL
from ..agent.sources import Source
from ..agent.tasks import save_questions
from ..agent.trajectory import write_trajectories
from ..analysis.outcomes import Outcome, read_outcomes, write_outcomes
from ..artifacts import DATA, provenance, register
from ..errors import FireActError
from ..files import read_json, write_file
from .grid import (
    REFLEXION_SEARCH,
    STUDENTS,
    TEACHER_PLAYS,
    Agent,
    Play,
    dev_agents,
    live_agents,
    shipped_agents,
)
from .rendering import render_tables
from .runner import Study
from .tables import draw_tuning, study_tables


@dataclass(frozen=True)
class Link:
    """How an artifact is made: where it goes, what it needs, and the function that writes it.

    `make(study, path)` does the work with the means of a study.
    """

    path: str
    inputs: tuple[str, ...]
    make: Callable[[Study, Path], None]


def write_world(folder: Path) -> None:
    """Make the tiny world's files from its seed: passages and the splits of all tasks."""
    from ..tinyworld.splits import make_all_puzzles, make_questions
    from ..tinyworld.world import make_world

    world = make_world()
    write_file(folder / "passages.txt", "".join(p + "\n" for p in world.passages))
    for task, puzzles in make_all_puzzles(world).items():
        for split, questions in make_questions(puzzles, task).items():
            save_questions(folder / f"{task}_{split}.jsonl", questions)


def write_tokenizer(folder: Path) -> None:
    """Train the tiny models' tokenizer; the same bytes every time."""
    from ..tinyworld.vocabulary import save_tokenizer

    save_tokenizer(folder)


def write_model(name: str, study: Study, folder: Path) -> None:
    """Pretrain a tiny model (long, resumable) and put its weights in place."""
    from ..models.weights import load_tokenizer
    from ..tinyworld.pretrain import pretrain

    tokenizer = load_tokenizer(study.shipped("tokenizer"))
    made = pretrain(name, tokenizer, study.runs / "pretrain" / name)
    shutil.copytree(made, folder, dirs_exist_ok=True)


def write_teacher_trajectories(source: Source, study: Study, path: Path) -> None:
    """Let the few-shot prompted teacher play training questions; failures are kept, too."""
    condition = REFLEXION_SEARCH if source.method == "reflexion" else NORMAL
    with Journal(study.runs / "journals" / f"{source.artifact}.jsonl") as journal:
        trajectories = generate(
            study.world.questions("train", TEACHER_PLAYS[source], source.task),
            study.world.prompt(source.method, source.task),
            study.chat(study.shipped("teacher")),
            study.world.search(condition),
            journal=journal,
        )
    write_trajectories(path, trajectories)


def write_adapter(agent: Agent, study: Study, folder: Path) -> None:
    """Fine-tune an agent of the grid and keep what is needed to load it."""
    made = study.train(agent)
    for name in ("adapter_config.json", "adapter_model.safetensors", "recipe.json"):
        write_file(folder / name, (made / name).read_bytes())


def write_dev_outcomes(study: Study, path: Path) -> None:
    """The prompted teacher on all of dev, by every method."""
    rows: list[Outcome] = []
    for agent in dev_agents():
        rows += study.play(agent, Play(split="dev"))
    write_outcomes(path, _shipped_rows(rows, "dev_outcomes"))


def write_study(study: Study, path: Path) -> None:
    """The outcomes of the whole grid on test; milliseconds are enough."""
    write_outcomes(path, _shipped_rows(study.run(), "study", digits=3))


def write_live(study: Study, path: Path) -> None:
    """The cells that notebooks train live, with several seeds, on dev."""
    write_outcomes(path, _shipped_rows(study.run(live_agents()), "live", digits=3))


def _shipped_rows(rows: Sequence[Outcome], name: str, digits: int | None = None) -> list[Outcome]:
    """Rows as they are shipped: they say by which command; seconds rounded, so that they pack."""
    note = f"shipped, fireact-nb artifacts {name}"
    seconds = [row.seconds if digits is None else round(row.seconds, digits) for row in rows]
    return [replace(r, provenance=note, seconds=s) for r, s in zip(rows, seconds, strict=True)]


def write_study_costs(study: Study, path: Path) -> None:
    """What each agent of the grid took, and how the trainings went."""
    write_file(path, json.dumps(study.costs(), indent=1))


def write_study_tables(study: Study, path: Path) -> None:
    """The study in words: every table of the paper with ours beside it, as Markdown."""
    rows, costs = read_outcomes(study.shipped("study")), read_json(study.shipped("study_costs"))
    write_file(path, render_tables(study_tables(rows, costs), provenance("study")))


def write_study_picture(study: Study, path: Path) -> None:
    """The study's main result as a picture: each student before and after fine-tuning."""
    write_file(path, draw_tuning(read_outcomes(study.shipped("study")), provenance("study")).png)


MODELS = ("teacher", *STUDENTS)
LINKS: dict[str, Link] = {
    "world": Link("tinyworld", (), lambda study, path: write_world(path)),
    "tokenizer": Link("tokenizer", ("world",), lambda study, path: write_tokenizer(path)),
    **{
        name: Link(f"models/{name}", ("world", "tokenizer"), partial(write_model, name))
        for name in MODELS
    },
    **{
        source.artifact: Link(
            f"trajectories/{source.artifact}.jsonl.gz",
            ("world", "teacher"),
            partial(write_teacher_trajectories, source),
        )
        for source in TEACHER_PLAYS
    },
    **{
        agent.slug: Link(f"adapters/{agent.slug}", agent.inputs, partial(write_adapter, agent))
        for agent in shipped_agents()
    },
}
_MADE = tuple(name for name in LINKS if name != "tokenizer")
LINKS["dev_outcomes"] = Link("outcomes/dev.csv.gz", ("world", "teacher"), write_dev_outcomes)
LINKS["study"] = Link("outcomes/study.csv.gz", _MADE, write_study)
LINKS["live"] = Link(
    "outcomes/live.csv.gz",
    ("world", *dict.fromkeys(name for agent in live_agents() for name in agent.inputs)),
    write_live,
)
LINKS["study_costs"] = Link("outcomes/study_costs.json.gz", ("study",), write_study_costs)
LINKS["study_tables"] = Link("outcomes/study.md", ("study", "study_costs"), write_study_tables)
LINKS["study_picture"] = Link("outcomes/study.png", ("study",), write_study_picture)


def remake(name: str, folder: Path = DATA, study: Study | None = None) -> None:
    """Make one artifact anew in `folder` and enter it in the manifest there."""
    if name not in LINKS:
        few = [n for n, made in LINKS.items() if not made.path.startswith("adapters/")]
        raise FireActError(
            f"There is no artifact {name!r}. There are: {', '.join(few)}; and the adapters, each "
            "by the name of its folder in data/adapters."
        )
    link = LINKS[name]
    path = folder / link.path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for each artifact: the next one is made from what this one enters in the manifest.
    link.make(study or Study(), path)
    register(name, path, link.inputs, f"fireact-nb artifacts {name}", folder)
