"""The pipeline from a shell: pretrain, generate, train, evaluate, serve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from .asking import add_asking, open_chat, open_tool, play
from .options import (
    add_model,
    add_profile,
    add_questions,
    amount,
    check_in,
    check_out,
    find_journal,
    given,
    place,
    port,
    positive,
    seed,
)

if TYPE_CHECKING:
    from ..agent import Question
    from ..lab import Lab


def add_pretrain(commands: Any) -> None:
    command = commands.add_parser("pretrain", help="pretrain a tiny model from nothing; resumable")
    command.add_argument(
        "model", type=given, help="teacher, student, student_code, student_large, ..."
    )
    command.add_argument("--tokens", type=positive, help="default: as the shipped model")
    command.add_argument("--run", type=place, help="folder for checkpoints (runs/pretrain/MODEL)")
    command.add_argument("--threads", type=positive, default=1, help="CPU threads (%(default)s)")


def pretrain(options: argparse.Namespace) -> None:
    from ..artifacts import RUNS, shipped
    from ..models.weights import load_tokenizer
    from ..tinyworld.pretrain import MODELS, pretrain

    folder = options.run or RUNS / "pretrain" / options.model
    if options.model in MODELS:  # else nothing will be written
        check_out(folder, folder=True, option="--run")
    tokenizer = load_tokenizer(shipped("tokenizer"))
    print(pretrain(options.model, tokenizer, folder, options.tokens, threads=options.threads))


def add_generate(commands: Any) -> None:
    command = commands.add_parser("generate", help="let a few-shot prompted model play questions")
    add_profile(command)
    add_model(command, "teacher")
    add_questions(command, "train", 200)
    command.add_argument(
        "--method", type=given, default="react", help="io, cot, react, reflexion or fireact"
    )
    command.add_argument("--temperature", type=amount, default=0.0, help="%(default)s is greedy")
    command.add_argument("--seed", type=seed, default=0, help="another seed, another draw")
    command.add_argument(
        "--prompts", type=given, help="prompt set (default: the tiny one of the task)"
    )
    command.add_argument(
        "--out", type=place, help="trajectories, JSON lines (where the notebooks look for yours)"
    )
    command.add_argument("--journal", type=place, help="resume point (default: OUT.journal)")
    add_asking(command)


def generate(options: argparse.Namespace) -> None:
    from ..agent.episode import Settings
    from ..agent.journal import Journal
    from ..agent.prompting import load_prompt
    from ..agent.rollouts import successes
    from ..agent.sources import Source
    from ..agent.trajectory import write_trajectories
    from ..lab import open_lab

    lab = open_lab(options.profile)
    options.model = options.model or lab.profile.teacher
    questions = _questions(lab, options)
    if options.prompts:
        prompt = load_prompt(options.method, options.prompts)
    else:
        prompt = lab.prompt(options.method, options.task)
    out = options.out or lab.runs / Source(options.task, options.method).own_file
    check_out(out)
    record = find_journal(out, options.journal)
    settings = Settings(options.temperature, options.max_tokens, seed=options.seed)
    search = open_tool(options, lab)
    chat = open_chat(options, questions, prompt, search, settings)
    with Journal(record) as journal:
        trajectories = play(options, questions, prompt, chat, search, settings, journal)
    write_trajectories(out, trajectories)
    right = len(successes(trajectories))
    print(f"{right} of {len(trajectories)} ended in the right answer -> {out}")


def add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="fine-tune a student on trajectories")
    command.add_argument(
        "trajectories", type=place, nargs="+", help="JSON lines; successes are used"
    )
    add_profile(command)
    command.add_argument(
        "--model", type=given,
        help="shipped name, folder or owner/name[@revision] of the hub (the profile's student)",
    )  # fmt: skip
    command.add_argument("--out", type=place, required=True, help="folder for the adapter")
    command.add_argument(
        "--kind", default="qlora", choices=("lora", "qlora", "full"),
        help="adapter, adapter on a 4-bit base, or all weights (%(default)s)",
    )  # fmt: skip
    command.add_argument("--count", type=positive, help="use this many, drawn by the seed")
    command.add_argument("--seed", type=seed, default=0, help="of the draw and the training")
    # Without these, what fits the model: a tiny one learns at twenty times a real one's rate.
    command.add_argument("--epochs", type=positive, help="(by the model)")
    command.add_argument("--rate", type=amount, help="learning rate (by the model)")
    command.add_argument("--rank", type=positive, help="of the adapter (by the model)")
    command.add_argument("--batch", type=positive, help="conversations a step (by the model)")
    command.add_argument("--length", type=positive, help="most tokens of one (by the model)")


def train(options: argparse.Namespace) -> None:
    from ..agent.rollouts import successes
    from ..agent.trajectory import Trajectory, read_trajectories
    from ..artifacts import find_model
    from ..lab import open_lab
    from ..learning.mixing import mix
    from ..learning.recipe import recipe_for
    from ..learning.training import fine_tune

    groups: dict[str, list[Trajectory]] = {}
    for path in options.trajectories:
        check_in(path)
    for path in options.trajectories:  # two folders may hold files of one name
        groups.setdefault(path.stem, []).extend(successes(read_trajectories(path)))
    lab = open_lab(options.profile)
    mixed = mix(groups, seed=options.seed, held_out=lab.held_out())
    if options.count is not None:
        mixed = mixed[: options.count]
    model = find_model(options.model or lab.profile.student)
    asked = {
        "epochs": options.epochs, "learning_rate": options.rate, "rank": options.rank,
        "alpha": options.rank and 2 * options.rank, "batch_size": options.batch,
        "max_length": options.length,
    }  # fmt: skip
    recipe = recipe_for(
        model, kind=options.kind, seed=options.seed, **{k: v for k, v in asked.items() if v}
    )
    done = fine_tune(model, mixed, options.out, recipe)
    losses = [f"{loss:.2f}" for _, loss in done.losses]
    long = f" ({done.left_out} longer ones left out)" if done.left_out else ""
    print(
        f"{done.examples} trajectories{long}, {done.trained_parameters:,} of "
        f"{done.all_parameters:,} parameters, {done.seconds:.0f} s, "
        f"loss {' -> '.join([*losses[:1], *losses[1:][-1:]])} -> {done.folder}"
    )


def add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="play a split and write the outcomes table")
    add_profile(command)
    add_model(command, "student")
    add_questions(command, "dev", 200)
    command.add_argument(
        "--method", type=given, default="fireact", help="fireact is the bare question"
    )
    command.add_argument("--out", type=place, required=True, help="outcomes, .csv or .parquet")
    add_asking(command)


def evaluate(options: argparse.Namespace) -> None:
    from ..agent.episode import Settings
    from ..agent.journal import Journal
    from ..analysis.outcomes import outcomes_of, write_outcomes
    from ..analysis.statistics import accuracy
    from ..lab import open_lab

    lab = open_lab(options.profile)
    options.model = options.model or lab.profile.student
    questions = _questions(lab, options)
    prompt = lab.prompt(options.method, options.task)
    check_out(options.out)
    if not options.out.name.lower().endswith((".csv", ".csv.gz", ".parquet")):
        raise FireActError(
            f"{options.out} is neither .csv nor .parquet, so nothing was started. Give --out a "
            "name that says which it is."
        )
    record = find_journal(options.out)
    settings = Settings(max_tokens=options.max_tokens)
    search = open_tool(options, lab)
    chat = open_chat(options, questions, prompt, search, settings)
    with Journal(record) as journal:
        trajectories = play(options, questions, prompt, chat, search, settings, journal)
    outcomes = outcomes_of(trajectories, questions, agent=chat.name, model=options.model)
    write_outcomes(options.out, outcomes)
    score = accuracy(outcomes)
    print(f"EM {score} over {len(outcomes)} -> {options.out}")


def add_serve(commands: Any) -> None:
    command = commands.add_parser(
        "serve", help="offer a local model on an OpenAI-compatible address"
    )
    command.add_argument(
        "model", type=given, help="shipped name (teacher, student, ...) or model folder"
    )
    command.add_argument("--adapter", type=place, help="LoRA adapter folder")
    command.add_argument("--port", type=port, default=8000, help="%(default)s if not given")


def serve(options: argparse.Namespace) -> None:
    from ..artifacts import find_model
    from ..models.local import LocalChat
    from ..models.server import serve

    path = find_model(options.model)
    serve(LocalChat(path, options.adapter), Path(path).name, port=options.port)


def _questions(lab: Lab, options: argparse.Namespace) -> list[Question]:
    from ..agent.tasks import load_questions

    if options.questions:
        check_in(options.questions)
        questions = load_questions(options.questions)[: options.count]
    else:
        questions = lab.questions(options.split, options.count, options.task)
    return questions if options.count else questions[: options.most]
