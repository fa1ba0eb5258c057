"""The chain of shipped data: a stale, changed or missing link is found and named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fireact_nb import artifacts
from fireact_nb.agent.tasks import normalize_answer
from fireact_nb.artifacts import (
    DATA,
    ROOT,
    find_origin,
    hash_path,
    provenance,
    read_manifest,
    register,
    shipped,
    stale_links,
)
from fireact_nb.errors import FireActError
from fireact_nb.tinyworld import TinyWorld, shelf

WORLD = TinyWorld()


@pytest.fixture
def chain(tmp_path) -> Path:
    """world (a folder) -> tokenizer (a file) -> weights (a folder made of both)."""
    (tmp_path / "world" / "deep").mkdir(parents=True)
    (tmp_path / "world" / "pages.txt").write_text("Kenel: City.\n", encoding="utf-8")
    (tmp_path / "world" / "deep" / "dev.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(bytes(range(256)))
    register("world", tmp_path / "world", [], "make world", tmp_path)
    register("tokenizer", tmp_path / "tokenizer.json", ["world"], "make tokenizer", tmp_path)
    register("weights", tmp_path / "weights", ["world", "tokenizer"], "make weights", tmp_path)
    return tmp_path


# -- stale links --------------------------------------------------------------------------------


def test_an_untouched_chain_holds(chain):
    assert stale_links(chain) == []
    links = read_manifest(chain)
    assert list(links) == sorted(links) == ["tokenizer", "weights", "world"]
    assert links["weights"].inputs == {n: links[n].sha256 for n in ("world", "tokenizer")}
    assert links["weights"].path == "weights" and links["weights"].command == "make weights"


def test_a_copy_elsewhere_holds(chain, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(chain, copy)
    assert stale_links(copy) == []


def change_one_byte(chain: Path) -> None:
    path = chain / "weights" / "model.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (change_one_byte, "weights: weights has changed since make weights"),
        (
            lambda d: (d / "world" / "deep" / "dev.jsonl").write_text("[]\n", encoding="utf-8"),
            "world: world has changed since make world",
        ),
        (lambda d: (d / "world" / "pages.txt").unlink(), "world: world has changed"),
        (
            lambda d: (d / "world" / "pages.txt").rename(d / "world" / "page.txt"),
            "world: world has changed",
        ),
        (
            lambda d: (d / "world" / "new.txt").write_text("", encoding="utf-8"),
            "world: world has changed",
        ),
        (
            lambda d: (d / "tokenizer.json").unlink(),
            "tokenizer: tokenizer.json is missing; remake it by make tokenizer",
        ),
        (lambda d: shutil.rmtree(d / "world"), "world: world is missing; remake it by make world"),
    ],
)
def test_harm_to_one_artifact_is_told_by_its_name(chain, harm, expected):
    harm(chain)
    (problem,) = stale_links(chain)
    assert problem.startswith(expected)


def test_an_input_made_anew_makes_its_users_stale(chain):
    (chain / "world" / "pages.txt").write_text("Kenel: Town.\n", encoding="utf-8")
    register("world", chain / "world", [], "make world", chain)
    assert stale_links(chain) == [
        "tokenizer: made from an earlier world; run make tokenizer",
        "weights: made from an earlier world; run make weights",
    ]
    (chain / "tokenizer.json").write_text('{"new": 1}', encoding="utf-8")
    register("tokenizer", chain / "tokenizer.json", ["world"], "make tokenizer", chain)
    assert stale_links(chain) == [
        "weights: made from an earlier world; run make weights",
        "weights: made from an earlier tokenizer; run make weights",
    ]
    register("weights", chain / "weights", ["world", "tokenizer"], "make weights", chain)
    assert stale_links(chain) == []


def test_an_input_made_anew_to_the_same_bytes_makes_nothing_stale(chain):
    register("world", chain / "world", [], "make world", chain)
    assert stale_links(chain) == []


def test_an_input_out_of_the_manifest(chain):
    path = chain / "manifest.json"
    text = re.sub(r'"world": \{\s+"path"', '"globe": {"path"', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    assert stale_links(chain) == [
        "tokenizer: its input world is not in the manifest",
        "weights: its input world is not in the manifest",
    ]


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"world": '])
def test_a_broken_manifest_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(FireActError, match=r"manifest\.json"):
        stale_links(tmp_path)


def test_names_and_contents_both_count(tmp_path):
    def folder(name: str, **files: str) -> str:
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return hash_path(tmp_path / name)

    assert folder("one", a="x", b="y") == folder("two", b="y", a="x")
    assert folder("three", a="y", b="x") != folder("one")
    assert folder("four", a="xy", b="") != folder("one")
    assert hash_path(tmp_path / "one" / "a") == (
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    )


# -- what is shipped ----------------------------------------------------------------------------


def test_the_shipped_chain_holds():
    assert stale_links() == []


def test_every_shipped_artifact_stands():
    manifest = read_manifest()
    assert {"world", "tokenizer"} <= set(manifest)
    for name, link in manifest.items():
        assert shipped(name) == DATA / link.path
        assert link.command == f"fireact-nb artifacts {name}"
        assert provenance(name) == f"shipped ({link.sha256[:8]}, {link.command})"


def test_unknown_artifact():
    with pytest.raises(FireActError, match=r"no shipped artifact 'wrold'. There are: .*world"):
        shipped("wrold")


def test_a_changed_artifact_is_not_handed_out(chain):
    with (chain / "world" / "pages.txt").open("a", encoding="utf-8") as file:
        file.write("Kenel: More.\n")
    for _ in range(2):
        with pytest.raises(FireActError, match=r"'world' .* has been changed\. Restore it"):
            shipped("world", chain)
    assert shipped("weights", chain) == chain / "weights"


def test_a_missing_artifact_is_not_handed_out_until_it_is_restored(chain):
    (chain / "tokenizer.json").rename(chain / "elsewhere.json")
    with pytest.raises(FireActError, match=r"'tokenizer' .* is missing\. Restore it"):
        shipped("tokenizer", chain)
    (chain / "elsewhere.json").rename(chain / "tokenizer.json")
    assert shipped("tokenizer", chain) == chain / "tokenizer.json"


def test_what_was_made_anew_is_handed_out(chain):
    assert shipped("world", chain) == chain / "world"
    (chain / "world" / "pages.txt").write_text("Kenel: Town.\n", encoding="utf-8")
    register("world", chain / "world", [], "make world", chain)
    assert shipped("world", chain) == chain / "world"


def test_questions_of_a_changed_world_are_not_handed_out(chain, monkeypatch):
    (chain / "world" / "pages.txt").write_text("", encoding="utf-8")
    monkeypatch.setattr(shelf, "shipped", lambda name: shipped(name, chain))
    with pytest.raises(FireActError, match="has been changed"):
        WORLD.questions("dev")


# -- the manifest -------------------------------------------------------------------------------


def test_the_manifest_is_read_once_for_each_state_of_the_file(chain, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(chain, copy)
    artifacts._parse_manifest.cache_clear()
    for _ in range(3):
        assert len(read_manifest(chain)) == 3
        assert shipped("world", chain) and shipped("world", copy)
    assert artifacts._parse_manifest.cache_info().misses == 2, "one a folder"
    read_manifest(chain).clear()
    assert len(read_manifest(chain)) == 3, "a reader can spoil it for others"
    text = (chain / "manifest.json").read_text(encoding="utf-8")
    (chain / "manifest.json").write_text(text.replace("make world", "do world"), encoding="utf-8")
    assert read_manifest(chain)["world"].command == "do world"
    register("tokenizer", chain / "tokenizer.json", [], "do tokenizer", chain)
    assert read_manifest(chain)["tokenizer"].command == "do tokenizer"
    assert read_manifest(chain)["world"].command == "do world"
    assert read_manifest(copy)["world"].command == "make world"


# -- the tiny questions -------------------------------------------------------------------------


def test_the_first_questions_of_a_split():
    dev = WORLD.questions("dev")
    assert WORLD.questions("dev", 5) == dev[:5]
    assert WORLD.questions("dev", len(dev)) == dev
    assert {q.split for q in dev} == {"dev"}


def test_more_questions_than_there_are():
    with pytest.raises(FireActError, match="401 questions were asked .* dev of hotpotqa has 400"):
        WORLD.questions("dev", 401)


TINY_SPLITS = {
    "bamboogle": {"test": 125},
    "hotpotqa": {"dev": 400, "test": 600, "train": 2400},
    "mmlu": {"dev": 200, "test": 300, "train": 1000},
    "strategyqa": {"dev": 200, "test": 300, "train": 1000},
}


@pytest.mark.parametrize(
    ("split", "task"),
    [("validation", "hotpotqa"), ("test", "triviaqa"), ("dev", "bamboogle"), ("", "mmlu")],
)
def test_unknown_splits_and_tasks_are_told_with_all_there_are(split, task):
    with pytest.raises(FireActError) as caught:
        WORLD.questions(split, task=task)
    there = ", ".join(f"{t} {s}" for t, splits in TINY_SPLITS.items() for s in splits)
    assert str(caught.value) == (
        f"The tiny world has no split {split!r} of {task!r}. There are: {there}."
    )


@pytest.mark.parametrize("task", TINY_SPLITS)
def test_every_task_has_its_splits(task):
    for split, count in TINY_SPLITS[task].items():
        questions = WORLD.questions(split, task=task)
        assert len(questions) == len({q.id for q in questions}) == count
        assert {(q.task, q.split) for q in questions} == {(task, split)}
        assert WORLD.questions(split, 3, task) == questions[:3]
        with pytest.raises(FireActError, match=f"split {split} of {task} has {count}"):
            WORLD.questions(split, count + 1, task)


def test_held_out_is_dev_and_test_of_all_tasks_and_nothing_to_train_on():
    held_out = WORLD.held_out()
    assert len(held_out) == 400 + 600 + 200 + 300 + 200 + 300 + 125
    assert Counter((q.task, q.split) for q in held_out) == {
        (task, split): count
        for task, splits in TINY_SPLITS.items()
        for split, count in splits.items()
        if split != "train"
    }
    ids, words = {q.id for q in held_out}, {normalize_answer(q.question) for q in held_out}
    assert len(ids) == len(held_out)
    for task, splits in TINY_SPLITS.items():
        if "train" in splits:
            train = WORLD.questions("train", task=task)
            assert not ids & {q.id for q in train}
            assert not words & {normalize_answer(q.question) for q in train}


def test_a_notebook_starts_from_the_learners_own_file_or_from_the_shipped_one(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(artifacts, "RUNS", tmp_path)
    origin = find_origin("study", "study/mine.csv", "make study")
    assert origin.path == shipped("study") and origin.label == provenance("study")
    assert str(origin) == f"{origin.label}; for your own, run: make study"
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.csv").write_text("mine", encoding="utf-8")
    origin = find_origin("study", "study/mine.csv", "make study")
    assert origin.path.read_text(encoding="utf-8") == "mine"
    assert str(origin) == origin.label == f"your own run ({tmp_path.name}/study/mine.csv)"


WHERE = """
import os
from fireact_nb import artifacts, cli
from fireact_nb.course import series
from fireact_nb.study import runner

parse = cli.make_parser().parse_args
for command in ("run", "study"):
    print(parse([command]).out)
print(series.EXECUTED)
print(runner.Study().runs)
print(runner.RUNS)
with series._environment(None):
    print(os.environ["FIREACT_RUNS"])
cli.main(["study", "--list"])
"""


def test_the_runs_folder_is_one_for_commands_series_study_and_kernels(tmp_path):
    """Also when it is named relative to another folder than the notebooks' kernels stand in."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "FIREACT_RUNS": "mine"}
    done = subprocess.run(
        [sys.executable, "-c", WHERE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *places, said = done.stdout.splitlines()
    runs = tmp_path / "mine"
    assert [*map(Path, places)] == [
        runs / "executed",
        runs / "study",
        runs / "executed",
        runs,
        runs,
        runs,
    ]
    assert "agents are still to be trained" in said
    assert [p.name for p in tmp_path.iterdir()] == ["mine"], "it wrote elsewhere, too"
    assert [p.name for p in runs.iterdir()] == ["study"]
