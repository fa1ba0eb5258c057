"""The real data sets: pinned, checked column by column, split the same way each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from holdings import parquet
from hub import HubServer

from fireact_nb.agent.tasks import score
from fireact_nb.errors import FireActError
from fireact_nb.realworld.datasets import Part, find_datasets, load_split, read_paragraphs

SPLITS = [(d.task, split) for d in find_datasets().values() for split in d.parts]


@pytest.mark.parametrize(("task", "split"), SPLITS)
def test_a_split_is_the_same_each_time_and_answers_are_right(
    hub_server: HubServer, task: str, split: str
) -> None:
    questions = load_split(task, split)
    assert questions and questions == load_split(task, split)
    assert {q.task for q in questions} == {task} and {q.split for q in questions} == {split}
    assert len({q.id for q in questions}) == len(questions)
    assert all(score(task, q.answer, q.answer, q.options) for q in questions)
    asked = [a.path for a in hub_server.asked if "/resolve/" in a.path]
    assert asked and all(find_datasets()[task].revision in path for path in asked)


def test_dev_and_test_share_no_question_of_their_file(hub_server: HubServer) -> None:
    dev, test = ({q.question for q in load_split("hotpotqa", s)} for s in ("dev", "test"))
    assert len(dev) == 500 and len(test) == 500 and not dev & test


def test_the_order_is_drawn_from_the_files_name_alone() -> None:
    first, rest = Part("a.parquet", take=3), Part("a.parquet", skip=3)
    assert sorted(first.places(10) + rest.places(10)) == list(range(10))
    assert first.places(10) != Part("b.parquet", take=3).places(10)


def test_options_stand_in_the_question(hub_server: HubServer) -> None:
    question = load_split("mmlu", "dev")[0]
    assert question.question.splitlines()[1:] == [
        f"{mark}. {text}" for mark, text in zip("ABCD", question.options, strict=True)
    ]
    assert question.answer in "ABCD"


@pytest.mark.parametrize("setting", ["distractor", "fullwiki"])
def test_paragraphs_are_read_in_pieces_and_whole(hub_server: HubServer, setting: str) -> None:
    pages = list(read_paragraphs("test", setting))
    assert len(pages) == 10_000 and all(title and sentences for title, sentences in pages)
    assert any(f"/{setting}/validation" in asked.path for asked in hub_server.asked)


def test_bamboogle_is_for_testing_alone(hub_server: HubServer) -> None:
    with pytest.raises(FireActError, match="no split 'train' of 'bamboogle'.*bamboogle test"):
        load_split("bamboogle", "train")
    with pytest.raises(FireActError, match="no setting 'full'.*fullwiki"):
        find_datasets("full")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"Frage": "Who?", "Answer": "Ann"}, "no column 'Question'; it has: Frage, Answer"),
        ({"Question": "Who?", "Answer": 3}, "column 'Answer' holds int64, not string"),
    ],
)
def test_a_changed_column_is_named(hub_server: HubServer, row: dict, words: str) -> None:
    key = ("dataset", "chiayewken/bamboogle")
    [file] = hub_server.repos[key].files
    hub_server.repos[key] = replace(hub_server.repos[key], files={file: parquet([row])})
    with pytest.raises(FireActError, match=words):
        load_split("bamboogle", "test")


def test_a_file_that_is_no_parquet_is_named(hub_server: HubServer) -> None:
    key = ("dataset", "chiayewken/bamboogle")
    [file] = hub_server.repos[key].files
    hub_server.repos[key] = replace(hub_server.repos[key], files={file: b"<html>login</html>"})
    with pytest.raises(FireActError, match="no whole parquet file"):
        load_split("bamboogle", "test")
