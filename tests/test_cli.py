"""The command line: helpful help, and for every mistake one paragraph that says what to do."""

from __future__ import annotations

import argparse
import json
import socket
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles import study_rows

from fireact_nb import cli
from fireact_nb.agent import rollouts
from fireact_nb.agent.prompting import Prompt, load_prompt
from fireact_nb.agent.tasks import Question, save_questions
from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from fireact_nb.analysis.outcomes import read_outcomes
from fireact_nb.models import local
from fireact_nb.study import chain, grid, runner
from fireact_nb.study.rendering import render_tables
from fireact_nb.study.runner import Study
from fireact_nb.study.tables import study_tables
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()
COMMANDS = sorted(cli.COMMANDS)
SOLVED = Trajectory(
    "x1", "Who?", (Step.of("I know.", "finish", "Ann"),), answer="Ann", gold="Ann", correct=True
)


def fail(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that must fail says on stderr."""
    status = cli.main([*map(str, arguments)])
    said = capsys.readouterr().err
    assert status == 1, said
    assert said.startswith(f"fireact-nb {arguments[0]}: ") and said.endswith(".\n"), said
    assert said.count("\n") == 1, "more than one paragraph"
    assert "Traceback" not in said and len(said) < 700
    return said


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert f"usage: fireact-nb {command}" in said and len(said.splitlines()) > 5


def test_the_first_help_lists_every_command_and_examples_that_parse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    parser = cli.make_parser()
    examples = [
        line.split("  ")[0].split()[1:]
        for line in map(str.strip, said.splitlines())
        if line.startswith("fireact-nb ")
    ]
    assert examples
    for example in examples:
        assert parser.parse_args(example).command == example[0]
    for command in COMMANDS:
        assert f"\n    {command}" in said


def test_every_argument_is_explained() -> None:
    parser = cli.make_parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert sorted(commands.choices) == COMMANDS
    silent = [
        f"{name} {action.dest}"
        for name, command in commands.choices.items()
        for action in command._actions
        if not action.help
    ]
    assert not silent


@pytest.mark.parametrize("arguments", [[], ["fly"], ["evaluate"], ["train", "x", "--kind", "no"]])
def test_a_command_that_does_not_parse_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and "usage: fireact-nb" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-3", "many", "1.5"])
def test_a_count_is_a_whole_number_from_one_on(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--out", "o.csv", f"--count={count}"])
    assert f"'{count}' is not a whole number from 1 on" in capsys.readouterr().err


def test_a_missing_model_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, out = tmp_path / "gone", tmp_path / "out" / "o.csv"
    known = tmp_path / "t.jsonl"
    write_trajectories(known, [SOLVED])
    for arguments in (
        ("generate", "--model", gone, "--out", out, "--count", 2),
        ("evaluate", "--model", gone, "--out", out, "--count", 2),
        ("train", known, "--model", gone, "--out", tmp_path / "adapter"),
        ("serve", gone),
    ):
        said = fail(capsys, *arguments)
        assert f"no model folder {gone}" in said and "Check the path" in said
    assert not out.exists()


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, "evaluate", "--model", tmp_path, "--out", tmp_path / "o.csv", "--count", 2)
    assert str(tmp_path) in said and "config.json" in said


def test_a_missing_trajectories_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, "train", tmp_path / "gone.jsonl", "--out", tmp_path / "a")
    assert f"no file {tmp_path / 'gone.jsonl'}" in said and "step that writes it" in said


def test_trajectories_without_a_success_are_nothing_to_train_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = Trajectory("x", "Who?", (), state="malformed", gold="Ann", correct=False)
    write_trajectories(tmp_path / "t.jsonl", [failed])
    said = fail(capsys, "train", tmp_path / "t.jsonl", "--model", tmp_path, "--out", tmp_path / "a")
    assert "no trajectory to train on" in said and "success filter" in said


def test_files_of_one_name_in_two_folders_are_both_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fireact_nb.learning import training

    paths = []
    for number in (1, 2):
        solved = Trajectory(**{**vars(SOLVED), "question": f"Who {number}?"})
        paths.append(tmp_path / str(number) / "react.jsonl")
        write_trajectories(paths[-1], [solved])
    used: list[Trajectory] = []

    def fake(model: Path, trajectories: list, folder: Path, recipe: object) -> training.Training:
        used.extend(trajectories)
        return training.Training(folder, len(trajectories), 1, 1, 2, 3, 0.1, ())

    monkeypatch.setattr(training, "fine_tune", fake)
    # Two examples are one step, too few for a loss to be logged: that is no error.
    assert cli.main(["train", *map(str, paths), "--model", "m", "--out", str(tmp_path)]) == 0
    assert {t.question for t in used} == {"Who 1?", "Who 2?"}


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_wrong_methods_splits_and_counts_are_named_with_the_choices(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    said = fail(capsys, command, "--method", "magic", "--out", out, "--count", 2)
    assert "'magic'" in said and "io, cot, react, reflexion, fireact" in said
    said = fail(capsys, command, "--split", "secret", "--out", out)
    assert "no split 'secret' of 'hotpotqa'" in said and "hotpotqa dev, hotpotqa test" in said
    said = fail(capsys, command, "--task", "trivia", "--out", out)
    assert "'trivia'" in said and "There are: bamboogle test, hotpotqa dev" in said
    said = fail(capsys, command, "--split", "dev", "--count", 999_999, "--out", out)
    assert "999999" in said and "dev of hotpotqa has 400" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["generate", "evaluate"])
@pytest.mark.parametrize(
    ("task", "prompts"), [("mmlu", "tiny_mmlu"), ("strategyqa", "tiny_strategyqa"), ("", "tiny")]
)
def test_a_task_brings_its_questions_and_its_prompts(
    command: str,
    task: str,
    prompts: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    played: list[tuple] = []

    def fake(questions: list, prompt: Prompt, *_: object, **__: object) -> list[Trajectory]:
        played.append((questions, prompt))
        return [
            Trajectory(q.id, q.question, (), answer=q.answer, gold=q.answer, correct=True)
            for q in questions
        ]

    monkeypatch.setattr(rollouts, "generate", fake)
    monkeypatch.setattr(local, "LocalChat", lambda *_: SimpleNamespace(name="nobody"))
    out = tmp_path / ("o.csv.gz" if command == "evaluate" else "o.jsonl.gz")
    choice = ["--task", task] if task else []
    arguments = [*choice, "--split", "dev", "--count", "7", "--method", "cot", "--model", "m"]
    assert cli.main([command, *arguments, "--out", str(out)]) == 0
    task = task or "hotpotqa"
    ((questions, prompt),) = played
    assert questions == WORLD.questions("dev", 7, task) and {q.task for q in questions} == {task}
    assert prompt == load_prompt("cot", prompts) and prompt.name == prompts
    if command == "evaluate":
        rows = read_outcomes(out)
        assert [(o.question_id, o.task) for o in rows] == [(q.id, task) for q in questions]
        assert all(o.correct for o in rows), "scored by the rule of another task"
        assert "EM 1.000" in capsys.readouterr().out
    else:
        assert [t.question_id for t in read_trajectories(out)] == [q.id for q in questions]
        assert "7 of 7 ended in the right answer" in capsys.readouterr().out


def test_the_prompts_of_another_set_are_taken_when_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Prompt] = []
    monkeypatch.setattr(rollouts, "generate", lambda q, p, *_, **__: played.append(p) or [])
    monkeypatch.setattr(local, "LocalChat", lambda *_: SimpleNamespace(name="nobody"))
    out = tmp_path / "o.jsonl"
    for more in ([], ["--prompts", "tiny"]):
        arguments = ["generate", "--task", "mmlu", "--model", "m", "--out", str(out), *more]
        assert cli.main(arguments) == 0
    assert [prompt.name for prompt in played] == ["tiny_mmlu", "tiny"]


def test_a_wrong_prompt_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = fail(capsys, "generate", "--prompts", "none", "--out", tmp_path / "o", "--count", 2)
    assert "'none'" in said and "tiny" in said


@pytest.mark.parametrize("command", ["generate", "evaluate", "run"])
def test_an_out_that_cannot_be_written_is_told_before_the_work(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "load_model", lambda *_: pytest.fail("work was begun"))
    file = tmp_path / "file"
    file.write_text("x")
    said = fail(capsys, command, "--out", file / "below" / "o.csv")
    assert f"{file / 'below' / 'o.csv'} cannot be written" in said and "--out" in said
    taken = file if command == "run" else tmp_path
    assert f"{taken} cannot be written" in fail(capsys, command, "--out", taken)


def test_a_train_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectories(tmp_path / "t.jsonl", [SOLVED])
    out = tmp_path / "t.jsonl" / "adapter"
    said = fail(capsys, "train", tmp_path / "t.jsonl", "--out", out)
    assert str(out) in said and "Choose a folder" in said


def test_wrong_notebooks_and_parameters_are_named_with_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import papermill

    from fireact_nb.course import series

    source = tmp_path / "00_first.py"
    source.write_text('# %% tags=["parameters"]\nseed = 0\nsize = 5\n\n# %%\nprint(seed)\n')
    monkeypatch.setattr(series, "SOURCES", tmp_path)
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("it ran"))
    out = tmp_path / "out"
    said = fail(capsys, "run", "07", "--out", out)
    assert "starts with 07" in said and "00_first" in said
    said = fail(capsys, "run", "00", "-p", "sed", "1", "--out", out)
    assert "no parameter sed" in said and "seed=0" in said and "size=5" in said


def test_wrong_models_and_artifacts_are_named_with_the_choices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, "pretrain", "giant", "--run", tmp_path / "run")
    assert "'giant'" in said and "teacher" in said and "student" in said
    assert not (tmp_path / "run").exists()
    said = fail(capsys, "artifacts", "nothing")
    assert "'nothing'" in said and "tokenizer" in said


# -- the study ----------------------------------------------------------------------------------


@pytest.fixture
def nothing_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of which nothing was done yet, and what it took elsewhere: a minute an agent."""
    costs = tmp_path / "costs.json"
    records = [{"agent": a.name, "seed": a.seed, "seconds": 60} for a in grid.agents()]
    costs.write_text(json.dumps(records), encoding="utf-8")
    fresh = partial(Study, runs=tmp_path / "runs", shipped={"study_costs": costs}.__getitem__)
    monkeypatch.setattr(runner, "Study", fresh)


def test_study_list_tells_what_it_would_take_and_does_nothing(
    nothing_done: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Study, "run", lambda *_, **__: pytest.fail("it ran"))
    count = len(grid.agents())
    for workers in (1, 2):
        arguments = ["study", "--list", "--workers", str(workers), "--out", str(tmp_path / "out")]
        assert cli.main(arguments) == 0
        (said,) = capsys.readouterr().out.splitlines()
        assert said.startswith(f"{count} of {count} agents are still to be trained or played: ")
        assert f"about {count / 60 / workers:.1f} hours on {workers} cores" in said
        assert "stopped at any time" in said
    assert not list((tmp_path / "out").glob("*"))


def test_study_writes_its_outcomes_and_its_tables(
    nothing_done: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, asked = study_rows(questions=4), []
    monkeypatch.setattr(Study, "run", lambda _, **options: asked.append(options) or rows)
    training = {"seconds": 7.0, "saved_bytes": 10, "trained_parameters": 4321}
    costs = [
        {
            "agent": grid.tuned(grid.MAIN, "react").name,
            "seed": 0,
            "seconds": 9,
            "training": training,
        }
    ]
    monkeypatch.setattr(Study, "costs", lambda _: costs)
    assert cli.main(["study", "--workers", "3", "--out", str(tmp_path / "out")]) == 0
    assert asked == [{"workers": 3}]
    assert read_outcomes(tmp_path / "out" / "study.csv.gz") == rows
    text = (tmp_path / "out" / "study.md").read_text("utf-8")
    assert text == render_tables(study_tables(rows, costs)) and "4,321 weights trained" in text
    said = capsys.readouterr().out
    assert "agents are still to be trained" in said.splitlines()[0] and text in said


def test_a_study_folder_that_cannot_be_written_is_told_before_the_work(
    nothing_done: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Study, "run", lambda *_, **__: pytest.fail("it ran"))
    (tmp_path / "file").write_text("x")
    said = fail(capsys, "study", "--out", tmp_path / "file")
    assert f"{tmp_path / 'file'} cannot be written" in said and "--out" in said


def test_artifacts_all_makes_every_link_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fireact_nb import artifacts

    made: list[str] = []
    monkeypatch.setattr(chain, "remake", made.append)
    monkeypatch.setattr(artifacts, "stale_links", list)
    assert cli.main(["artifacts", "all"]) == 0 and made == list(chain.LINKS)
    assert cli.main(["artifacts"]) == 0 and made == list(chain.LINKS)
    assert cli.main(["artifacts", "study", "world"]) == 0 and made[-2:] == ["study", "world"]
    capsys.readouterr()
    monkeypatch.setattr(artifacts, "stale_links", lambda: ["world: it is old."])
    assert "chain of artifacts is broken. world: it is old." in fail(capsys, "artifacts")


def api(*more: object) -> list[object]:
    """A generate command for a server where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ["generate", "--base-url", f"http://127.0.0.1:{port}/v1", "--count", 2, *more]


def test_a_paid_run_needs_a_yes_to_its_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "generate", lambda *_, **__: pytest.fail("it was begun"))
    out = tmp_path / "o.jsonl"
    status = cli.main([*map(str, api("--prices", 2.5, 10, "--out", out))])
    printed = capsys.readouterr()
    assert status == 1
    assert "2 episodes, about 6 calls" in printed.out and "about $0.0" in printed.out
    assert "may cost money" in printed.err and "--yes" in printed.err
    assert not list(tmp_path.iterdir())


def test_a_cap_without_prices_is_refused_for_it_would_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(capsys, *api("--max-usd", 5, "--out", tmp_path / "o.jsonl"))
    assert "--max-usd" in said and "--prices" in said


def test_a_missing_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o.jsonl"
    arguments = ["generate", "--base-url", "https://api.invalid/v1", "--count", 2, "--out", out]
    assert "--yes" in fail(capsys, *arguments), "its price is unknown, but it may have one"
    arguments += ["--yes"]
    assert "OPENAI_API_KEY" in fail(capsys, *arguments)


def test_ctrl_c_ends_with_130_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "load_model", interrupt)
    assert cli.main(["evaluate", "--model", "m", "--out", str(tmp_path / "o.csv")]) == 130
    assert "goes on from there" in capsys.readouterr().err


# -- other profiles, questions of one's own -----------------------------------------------------


def test_a_file_of_questions_takes_the_place_of_a_split(tmp_path, capsys):
    mine, out = tmp_path / "mine.jsonl", tmp_path / "dev.csv"
    save_questions(mine, [Question("mine:1", "Who is Ann?", "Ann", "hotpotqa", "mine")])
    assert cli.main(["evaluate", "--questions", str(mine), "--out", str(out)]) == 0
    assert [o.question_id for o in read_outcomes(out)] == ["mine:1"]


@pytest.mark.parametrize("command", ["generate", "evaluate --out dev.csv"])
def test_an_unknown_profile_is_named(capsys, command):
    assert "no profile 'huge'" in fail(capsys, *command.split(), "--profile", "huge")


def test_a_name_of_the_hub_is_a_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = str(tmp_path / "a.jsonl")
    said = fail(capsys, "generate", "--model", "owner/name", "--count", 1, "--out", out)
    assert "owner/name" in said
