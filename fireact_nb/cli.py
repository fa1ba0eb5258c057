"""The `fireact-nb` command: each step of the pipeline, and the notebook series, from a shell.

Only wires the rooms together; a FireActError is printed as its one paragraph.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .errors import FireActError

if TYPE_CHECKING:
    from .agent.tasks import Question

_EPILOG = """examples:
  fireact-nb run                          execute the whole series, offline
  fireact-nb run 00 -p seed 1             one notebook with another seed
  fireact-nb generate --method react --split train --count 200 --out runs/react.jsonl
  fireact-nb train runs/react.jsonl --out runs/student-react
  fireact-nb evaluate --adapter runs/student-react --out runs/outcomes.csv
  fireact-nb serve data/models/student --adapter runs/student-react
  fireact-nb pretrain student             the tiny student from nothing (resumable)
  fireact-nb study                        every experiment of the paper in the tiny world
  fireact-nb doctor                       is this machine ready for a workshop?
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fireact-nb",
        description="FireAct, hands-on: prompt, generate, unify, fine-tune, evaluate an agent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fireact-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute notebooks by papermill, offline")
    run.add_argument(
        "names", nargs="*", help="beginnings of notebook names, such as 00; all if none"
    )
    run.add_argument("--smoke", action="store_true", help="smallest sizes: does every cell run?")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebook's first cell; repeat for more",
    )  # fmt: skip
    run.add_argument("--out", type=Path, default=Path("runs/executed"), help="folder (%(default)s)")

    build = commands.add_parser(
        "build", help="execute the scripts and renew the committed notebooks"
    )
    build.add_argument("names", nargs="*", help="beginnings of notebook names; all if none")

    pretrain = commands.add_parser("pretrain", help="pretrain a tiny model from nothing; resumable")
    pretrain.add_argument("model", help="teacher, student, student_code, student_large, ...")
    pretrain.add_argument("--tokens", type=_positive, help="default: as the shipped model")
    pretrain.add_argument("--run", type=Path, help="folder for checkpoints (runs/pretrain/MODEL)")
    pretrain.add_argument("--threads", type=_positive, default=1, help="CPU threads (%(default)s)")

    generate = commands.add_parser("generate", help="let a few-shot prompted model play questions")
    _add_model(generate, "teacher")
    _add_questions(generate, "train", 200)
    generate.add_argument("--method", default="react", help="io, cot, react, reflexion or fireact")
    generate.add_argument("--temperature", type=float, default=0.0, help="%(default)s is greedy")
    generate.add_argument("--seed", type=int, default=0, help="another seed, another draw")
    generate.add_argument("--prompts", help="prompt set (default: the tiny one of the task)")
    generate.add_argument("--out", type=Path, required=True, help="trajectories, JSON lines")
    generate.add_argument("--journal", type=Path, help="resume point (default: OUT.journal)")
    generate.add_argument(
        "--base-url", help="an OpenAI-compatible server; then --model is its model's name"
    )
    generate.add_argument(
        "--prices", type=float, nargs=2, metavar=("IN", "OUT"),
        help="US dollars for a million prompt and completion tokens",
    )  # fmt: skip
    generate.add_argument("--max-usd", type=float, help="stop when this much is spent")
    generate.add_argument("--yes", action="store_true", help="agree to the forecast of a paid run")

    train = commands.add_parser("train", help="fine-tune a student on trajectories")
    train.add_argument("trajectories", type=Path, nargs="+", help="JSON lines; successes are used")
    train.add_argument(
        "--model", default="student", help="shipped name or model folder (%(default)s)"
    )
    train.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    train.add_argument(
        "--kind", default="qlora", choices=("lora", "qlora", "full"),
        help="adapter, adapter on a 4-bit base, or all weights (%(default)s)",
    )  # fmt: skip
    train.add_argument("--count", type=_positive, help="use this many, drawn by the seed")
    train.add_argument("--epochs", type=_positive, default=6, help="%(default)s if not given")
    train.add_argument("--seed", type=int, default=0, help="of the draw and the training")

    evaluate = commands.add_parser("evaluate", help="play a split and write the outcomes table")
    _add_model(evaluate, "student")
    _add_questions(evaluate, "dev", 200)
    evaluate.add_argument("--method", default="fireact", help="fireact is the bare question")
    evaluate.add_argument("--out", type=Path, required=True, help="outcomes, .csv or .parquet")

    serve = commands.add_parser("serve", help="offer a local model on an OpenAI-compatible address")
    serve.add_argument("model", help="shipped name (teacher, student, ...) or model folder")
    serve.add_argument("--adapter", type=Path, help="LoRA adapter folder")
    serve.add_argument("--port", type=int, default=8000, help="%(default)s if not given")

    study = commands.add_parser("study", help="the whole grid of experiments; resumable, hours")
    study.add_argument("--workers", type=_positive, default=2, help="processes (%(default)s)")
    study.add_argument("--list", action="store_true", help="only say what would be run, and time")
    study.add_argument("--out", type=Path, default=Path("runs/study"), help="folder (%(default)s)")

    artifacts = commands.add_parser("artifacts", help="check or remake the shipped data")
    artifacts.add_argument(
        "names", nargs="*", help="which to remake, or all; none: check the chain of hashes"
    )

    commands.add_parser(
        "doctor", help="is this machine ready? how long will each notebook take?",
        description="Checks this machine for the series, and forecasts each notebook's time. "
        "Status 1 if something would stop the series.",
    )  # fmt: skip
    return parser


def _add_model(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--model", default=default, help="shipped name or model folder (%(default)s)"
    )
    parser.add_argument("--adapter", type=Path, help="LoRA adapter folder")


def _add_questions(parser: argparse.ArgumentParser, split: str, count: int) -> None:
    parser.add_argument(
        "--task", default="hotpotqa", help="hotpotqa, strategyqa, mmlu, bamboogle (%(default)s)"
    )
    parser.add_argument("--split", default=split, help="train, dev or test (%(default)s)")
    parser.add_argument("--count", type=_positive, help=f"questions ({count}, or all if fewer)")
    parser.set_defaults(most=count)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        _COMMANDS[options.command](options)
    except FireActError as error:
        print(f"fireact-nb {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. What was finished is kept; the same command goes on from there.",
            file=sys.stderr,
        )
        return 130
    return 0


def _model_path(name: str) -> Path:
    from .artifacts import read_manifest, shipped

    known = {n for n, a in read_manifest().items() if a.path.startswith("models/")}
    return shipped(name) if name in known else Path(name)


def _check_out(path: Path, folder: bool = False) -> None:
    """Say before the work, not after it, that its result cannot be written there."""
    try:
        if path.is_dir() and not folder:
            raise IsADirectoryError(0, "it is a folder")
        parent = path if folder else path.parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise FireActError(
            f"{path} cannot be written ({error.strerror}), so nothing was started. Give --out a "
            f"{'folder' if folder else 'file in a folder'} you may write to."
        ) from error


def _run(options: argparse.Namespace) -> None:
    from .course.series import peak_memory_gib, run_series

    _check_out(options.out, folder=True)
    parameters = {name: _value(value) for name, value in options.parameter}
    own = None
    if options.smoke:
        parameters["quick"] = True
        own = options.out / "smoke"  # its few episodes are nobody's results
    done = run_series(options.names, parameters, options.out, own)
    peak = peak_memory_gib()
    memory = f", at most {peak:.1f} GiB each" if peak else ""
    print(f"{len(done)} notebooks in {sum(run.seconds for run in done):.0f} s{memory}")


def _value(text: str) -> bool | int | float | str:
    """A parameter as papermill's own command line reads it."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _build(options: argparse.Namespace) -> None:
    from .course.doctor import record_times
    from .course.series import build

    done = build(options.names)
    record_times({run.notebook.stem: run.seconds for run in done})
    for run in done:
        print(run.notebook)


def _pretrain(options: argparse.Namespace) -> None:
    from transformers import AutoTokenizer

    from .artifacts import RUNS, shipped
    from .tinyworld.pretrain import pretrain

    folder = options.run or RUNS / "pretrain" / options.model
    tokenizer = AutoTokenizer.from_pretrained(shipped("tokenizer"))
    print(pretrain(options.model, tokenizer, folder, options.tokens, threads=options.threads))


def _questions(options: argparse.Namespace) -> list[Question]:
    from .tinyworld.shelf import tiny_questions

    questions = tiny_questions(options.split, options.count, options.task)
    return questions if options.count else questions[: options.most]


def _generate(options: argparse.Namespace) -> None:
    from .agent.episode import Settings
    from .agent.journal import Journal
    from .agent.prompting import load_prompt
    from .agent.rollouts import forecast, generate, successes
    from .agent.trajectory import write_trajectories
    from .models.api import OpenAIChat, is_loopback
    from .models.local import LocalChat
    from .tinyworld.shelf import prompt_set, tiny_search

    questions = _questions(options)
    prompt = load_prompt(options.method, options.prompts or prompt_set(options.task))
    _check_out(options.out)
    if options.max_usd is not None and not (options.base_url and options.prices):
        raise FireActError(
            "--max-usd has no effect without --base-url and --prices, for nobody knows what a call "
            "costs. Add --prices, or leave --max-usd out for a model that costs nothing."
        )
    if options.base_url:
        prices = tuple(options.prices) if options.prices else None
        print(forecast(questions, prompt, prices))
        if not options.yes and (prices or not is_loopback(options.base_url)):
            raise FireActError(
                "This run may cost money. Add --yes if you agree to the forecast above."
            )
        chat = OpenAIChat(options.model, options.base_url, prices=prices)
    else:
        chat = LocalChat(_model_path(options.model), options.adapter)
    settings = Settings(temperature=options.temperature, seed=options.seed)
    with Journal(options.journal or options.out.with_suffix(".journal")) as journal:
        trajectories = generate(
            questions, prompt, chat, tiny_search(), settings, journal, max_usd=options.max_usd
        )
    write_trajectories(options.out, trajectories)
    right = len(successes(trajectories))
    print(f"{right} of {len(trajectories)} ended in the right answer -> {options.out}")


def _train(options: argparse.Namespace) -> None:
    from .agent.rollouts import successes
    from .agent.trajectory import Trajectory, read_trajectories
    from .learning.mixing import mix
    from .learning.recipe import Recipe
    from .learning.training import fine_tune
    from .tinyworld.shelf import held_out_questions

    groups: dict[str, list[Trajectory]] = {}
    for path in options.trajectories:  # two folders may hold files of one name
        groups.setdefault(path.stem, []).extend(successes(read_trajectories(path)))
    mixed = mix(groups, seed=options.seed, held_out=held_out_questions())
    if options.count is not None:
        mixed = mixed[: options.count]
    recipe = Recipe(kind=options.kind, epochs=options.epochs, seed=options.seed)
    done = fine_tune(_model_path(options.model), mixed, options.out, recipe)
    losses = [f"{loss:.2f}" for _, loss in done.losses]
    print(
        f"{done.examples} trajectories, {done.trained_parameters:,} of {done.all_parameters:,} "
        f"parameters, {done.seconds:.0f} s, loss {' -> '.join([*losses[:1], *losses[1:][-1:]])}"
        f" -> {done.folder}"
    )


def _evaluate(options: argparse.Namespace) -> None:
    from .agent.journal import Journal
    from .agent.prompting import load_prompt
    from .agent.rollouts import generate
    from .analysis.outcomes import outcomes_of, write_outcomes
    from .analysis.statistics import accuracy
    from .models.local import LocalChat
    from .tinyworld.shelf import prompt_set, tiny_search

    questions = _questions(options)
    prompt = load_prompt(options.method, prompt_set(options.task))
    _check_out(options.out)
    chat = LocalChat(_model_path(options.model), options.adapter)
    with Journal(options.out.with_suffix(".journal")) as journal:
        trajectories = generate(questions, prompt, chat, tiny_search(), journal=journal)
    outcomes = outcomes_of(trajectories, questions, agent=chat.name, model=options.model)
    write_outcomes(options.out, outcomes)
    score = accuracy(outcomes)
    print(f"EM {score} over {len(outcomes)} -> {options.out}")


def _serve(options: argparse.Namespace) -> None:
    from .models.local import LocalChat
    from .models.server import serve

    path = _model_path(options.model)
    serve(LocalChat(path, options.adapter), path.name, port=options.port)


def _study(options: argparse.Namespace) -> None:
    from .analysis.outcomes import write_outcomes
    from .files import write_file
    from .study.grid import agents
    from .study.rendering import render_tables
    from .study.runner import Study
    from .study.tables import study_tables

    _check_out(options.out, folder=True)
    study = Study()
    print(study.forecast(agents(), options.workers))
    if options.list:
        return
    rows, costs = study.run(workers=options.workers), study.costs()
    write_outcomes(options.out / "study.csv.gz", rows)
    write_file(options.out / "study_costs.json", json.dumps(costs, indent=1))
    text = render_tables(study_tables(rows, costs))
    write_file(options.out / "study.md", text)
    print(f"{text}\n-> {options.out}")


def _artifacts(options: argparse.Namespace) -> None:
    from .artifacts import stale_links
    from .study.chain import LINKS, remake

    for name in [*LINKS] if options.names == ["all"] else options.names:
        remake(name)
    problems = stale_links()
    if problems:
        raise FireActError("The chain of artifacts is broken. " + " ".join(problems))
    print("Every shipped artifact is what the manifest says.")


def _doctor(options: argparse.Namespace) -> None:
    from .course.doctor import examine, render

    print("Looking at this machine and timing a piece of the work: up to 40 seconds.", flush=True)
    findings = examine()
    print(render(findings))
    if problems := [f.name for f in findings if f.level == "problem"]:
        raise FireActError(
            f"The series would be stopped here by: {', '.join(problems)}. Do what the lines above "
            "that begin with 'x problem' say, then run `fireact-nb doctor` again."
        )


_COMMANDS = {
    "run": _run,
    "build": _build,
    "pretrain": _pretrain,
    "generate": _generate,
    "train": _train,
    "evaluate": _evaluate,
    "serve": _serve,
    "study": _study,
    "artifacts": _artifacts,
    "doctor": _doctor,
}
