"""The workflow that others copy, the Makefile, and the commands that the pages name: all exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from fireact_nb.artifacts import ROOT
from fireact_nb.cli import make_parser

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/notebooks.yml").read_text(encoding="utf-8"))
JOBS = WORKFLOW["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
COMMANDS = [line for step in STEPS for line in step.get("run", "").splitlines()]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.search(r"^\.PHONY: (help .+)", MAKEFILE, re.MULTILINE)[1].split())


def check_command(command: str) -> None:
    """Fails unless the command is one of this project's and its arguments make sense."""
    match shlex.split(command):
        case ["make", *targets]:
            assert targets and set(targets) <= TARGETS, command
        case ["fireact-nb", *arguments]:
            make_parser().parse_args(arguments)
        case ["python", "-m", "pip", "install", "-c", pins, "-e", project]:
            extras = re.fullmatch(r"\.\[(.+)\]", project)[1].split(",")
            metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
            assert set(extras) <= metadata["project"]["optional-dependencies"].keys(), command
            assert (ROOT / pins).exists(), command
        case _:
            pytest.fail(f"nobody checks this command: {command}")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_workflow_runs_commands_that_exist(command: str) -> None:
    check_command(command)


def test_every_job_runs_the_series_and_keeps_what_came_out() -> None:
    for name, job in JOBS.items():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert {"make run", "fireact-nb run --smoke"} & set(runs), name
        last = job["steps"][-1]
        assert last["uses"].startswith("actions/upload-artifact@") and last["if"] == "always()"
        assert "runs/executed/*.ipynb" in last["with"]["path"]


def test_a_failure_before_a_pipe_counts() -> None:
    """`bash` and nothing else makes GitHub add -eo pipefail; a login shell would drop it."""
    assert WORKFLOW["defaults"]["run"]["shell"] == "bash"
    assert not [place for place in (*JOBS.values(), *STEPS) if {"shell", "defaults"} & place.keys()]


def test_the_workflow_asks_for_little() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [job for job in JOBS.values() if "permissions" in job]
    assert all(0 < job["timeout-minutes"] <= 60 for job in JOBS.values())
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True
    assert "secrets." not in (ROOT / ".github/workflows/notebooks.yml").read_text(encoding="utf-8")


def test_the_workflow_runs_at_changes_and_weekly() -> None:
    when = WORKFLOW[True]  # YAML 1.1 reads the key `on` as a truth value
    assert {"push", "pull_request", "schedule"} <= when.keys()
    assert re.fullmatch(r"\d+ \d+ \* \* \d", when["schedule"][0]["cron"])


def test_actions_are_pinned_by_their_major_version() -> None:
    used: dict[str, Any] = dict(step["uses"].split("@") for step in STEPS if "uses" in step)
    assert used.keys() == {f"actions/{x}" for x in ("checkout", "setup-python", "upload-artifact")}
    assert all(re.fullmatch(r"v\d+", version) for version in used.values())


def test_make_help_lists_every_target() -> None:
    listed = set(re.findall(r"^([a-z]+):.*## ", MAKEFILE, re.MULTILINE))
    assert listed == TARGETS


@pytest.mark.parametrize(
    "page", ["README.md", "notebooks/README.md", "notebooks/INSTRUCTOR.md", ".ci/run"]
)
def test_make_targets_named_in_the_pages_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make\s([a-z]+)", text, re.MULTILINE))
    assert named and named <= TARGETS
