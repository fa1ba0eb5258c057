"""The experiments behind the notebooks, and the recipe of every shipped artifact.

Each recipe makes one link of the chain world -> tokenizer -> weights -> trajectories -> adapter ->
outcomes from the links before it; `remake` runs one and enters it in the manifest. All of them can
be killed and go on where they stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .artifacts import DATA, RUNS, register, shipped, tiny_questions, tiny_search
from .config import FireActError
from .evaluation import Outcome, outcomes_of, write_outcomes
from .files import write_file
from .formats import read_trajectories, write_trajectories
from .generate import generate, successes
from .journal import Journal
from .local import LocalChat
from .mixing import mix
from .prompting import load_prompt
from .tasks import save_questions
from .training import Recipe, fine_tune

TEACHER_QUESTIONS = 1200
TRAIN_ON = 500  # as many ReAct trajectories as in the paper
PROMPTED = ("io", "cot", "react", "reflexion")


@dataclass(frozen=True)
class Link:
    """How an artifact is made: where it goes, what it needs, and the function that writes it."""

    path: str
    inputs: tuple[str, ...]
    make: Callable[[Path], None]


def write_world(folder: Path) -> None:
    """Make the tiny world's files from its seed: passages and splits."""
    from .tinyworld.questions import make_puzzles, make_questions
    from .tinyworld.world import make_world

    world = make_world()
    write_file(folder / "passages.txt", "".join(p + "\n" for p in world.passages))
    for split, questions in make_questions(make_puzzles(world)).items():
        save_questions(folder / f"hotpotqa_{split}.jsonl", questions)


def write_tokenizer(folder: Path) -> None:
    """Train the tiny models' tokenizer; the same bytes every time."""
    from .tinyworld.vocabulary import save_tokenizer

    save_tokenizer(folder)


def write_model(name: str, folder: Path) -> None:
    """Pretrain a tiny model (long, resumable) and put its weights in place."""
    from transformers import AutoTokenizer

    from .tinyworld.pretrain import pretrain

    tokenizer = AutoTokenizer.from_pretrained(shipped("tokenizer"))
    made = pretrain(name, tokenizer, RUNS / "pretrain" / name)
    shutil.copytree(made, folder, dirs_exist_ok=True)


def write_teacher_trajectories(path: Path) -> None:
    """Let the few-shot prompted teacher play training questions; failures are kept, too."""
    with Journal(_journal("teacher_react")) as journal:
        trajectories = generate(
            tiny_questions("train", TEACHER_QUESTIONS),
            load_prompt("react"),
            LocalChat(shipped("teacher")),
            tiny_search(),
            journal=journal,
        )
    write_trajectories(path, trajectories)


def write_adapter(folder: Path) -> None:
    """Fine-tune the student by QLoRA on successes of the teacher, seed 0."""
    kept = successes(read_trajectories(shipped("teacher_react")))
    held_out = tiny_questions("dev") + tiny_questions("test")
    train = mix({"react": kept}, {"react": min(TRAIN_ON, len(kept))}, held_out=held_out)
    made = RUNS / "adapters" / "student_react"
    fine_tune(shipped("student"), train, made, Recipe())
    shutil.copytree(made, folder, dirs_exist_ok=True)


def write_dev_outcomes(path: Path) -> None:
    """Teacher and student prompted by every method, and the fine-tuned student, on all of dev."""
    command = "fireact-nb artifacts dev_outcomes"
    rows: list[Outcome] = []
    rows += _play_dev("teacher", None, PROMPTED, command)
    rows += _play_dev("student", None, PROMPTED, command)
    rows += _play_dev("student", shipped("student_react"), ("fireact",), command)
    write_outcomes(path, rows)


def _play_dev(
    model: str, adapter: Path | None, methods: tuple[str, ...], command: str
) -> list[Outcome]:
    questions = tiny_questions("dev")
    chat = LocalChat(shipped(model), adapter)
    rows: list[Outcome] = []
    with Journal(_journal(f"dev_{chat.name}")) as journal:
        for method in methods:
            trajectories = generate(
                questions, load_prompt(method), chat, tiny_search(), journal=journal
            )
            agent = f"{model}, fine-tuned" if adapter else f"{model}, {method}, 2 examples"
            rows += outcomes_of(
                trajectories, questions, agent, chat.name, method, provenance=f"shipped, {command}"
            )
    return rows


def _journal(name: str) -> Path:
    return RUNS / "journals" / f"{name}.jsonl"


LINKS = {
    "world": Link("tinyworld", (), write_world),
    "tokenizer": Link("tokenizer", ("world",), write_tokenizer),
    "teacher": Link("models/teacher", ("world", "tokenizer"), partial(write_model, "teacher")),
    "student": Link("models/student", ("world", "tokenizer"), partial(write_model, "student")),
    "teacher_react": Link(
        "trajectories/teacher_react.jsonl", ("world", "teacher"), write_teacher_trajectories
    ),
    "student_react": Link("adapters/student_react", ("student", "teacher_react"), write_adapter),
    "dev_outcomes": Link(
        "outcomes/dev.csv", ("world", "teacher", "student", "student_react"), write_dev_outcomes
    ),
}


def remake(name: str) -> None:
    """Make one artifact anew and enter it in the manifest."""
    if name not in LINKS:
        raise FireActError(f"There is no artifact {name!r}. There are: {', '.join(LINKS)}.")
    link = LINKS[name]
    path = DATA / link.path
    path.parent.mkdir(parents=True, exist_ok=True)
    link.make(path)
    register(name, path, link.inputs, f"fireact-nb artifacts {name}")
