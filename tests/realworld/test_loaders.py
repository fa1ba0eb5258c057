"""The authors' question files as questions; a broken one is named by file and row."""

from __future__ import annotations

import json

import pytest
from broken import QUESTIONS, assert_named

from fireact_nb.agent.tasks import Question, score
from fireact_nb.errors import FireActError
from fireact_nb.realworld.loaders import load_bamboogle, load_hotpotqa, load_mmlu, load_strategyqa


@pytest.mark.parametrize("load", [load_hotpotqa, load_strategyqa, load_bamboogle])
@pytest.mark.parametrize("content", QUESTIONS)
def test_a_missing_or_broken_file_is_named(tmp_path, load, content):
    assert_named(load, tmp_path / "data.file", content)
    with pytest.raises(FireActError, match="folder"):
        load(tmp_path)


def test_hotpotqa(tmp_path):
    path = tmp_path / "hotpot.json"
    rows = [{"question": "Who?", "answer": "Nobody", "type": "bridge"}]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert load_hotpotqa(path) == [
        Question("hotpotqa:dev:0", "Who?", "Nobody", "hotpotqa", "dev", "bridge")
    ]
    for change in ({"answer": 3}, {"answer": ""}, {"answer": None}):
        path.write_text(json.dumps([*rows, rows[0] | change]), encoding="utf-8")
        with pytest.raises(FireActError, match="entry 1.*'answer'.*download"):
            load_hotpotqa(path)
    for row, says in (({"question": "Who?"}, "'answer'"), ("Who?", "object")):
        path.write_text(json.dumps([*rows, row]), encoding="utf-8")
        with pytest.raises(FireActError, match=f"entry 1.*{says}"):
            load_hotpotqa(path)


def test_strategyqa(tmp_path):
    path = tmp_path / "strategy.json"
    rows = [{"qid": "x", "question": "Is it?", "answer": True, "facts": []},
            {"qid": "y", "question": "Was it?", "answer": False}]  # fmt: skip
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert [q.answer for q in load_strategyqa(path)] == ["yes", "no"]
    for row in (rows[1] | {"answer": "perhaps"}, {"qid": "y", "question": "Was it?"}):
        path.write_text(json.dumps([rows[0], row]), encoding="utf-8")
        with pytest.raises(FireActError, match="entry 1.*true or false.*use train or dev"):
            load_strategyqa(path)


def test_bamboogle(tmp_path):
    path = tmp_path / "bamboogle.csv"
    path.write_text('\ufeffQuestion,Answer\r\n"Who, when?",A B\r\n', encoding="utf-8")
    assert load_bamboogle(path) == [
        Question("bamboogle:test:0", "Who, when?", "A B", "bamboogle", "test", "bridge")
    ]
    for tail, says in (("Who", "line 3"), ("Who,", "line 3"), ('"Who,x\n', "not whole CSV")):
        path.write_text("Question,Answer\nQ,A\n" + tail, encoding="utf-8")
        with pytest.raises(FireActError, match=says):
            load_bamboogle(path)


def test_mmlu(tmp_path):
    path = tmp_path / "queue_theory_dev.csv"
    path.write_text('"How, then?",1,2,"3, or 4",5,C\n', encoding="utf-8")
    (question,) = load_mmlu(tmp_path)
    assert question.question == "How, then?\nA. 1\nB. 2\nC. 3, or 4\nD. 5"
    assert (question.answer, question.type, question.split) == ("C", "queue_theory", "dev")
    assert score("mmlu", "3, or 4", question.answer, question.options)
    path.write_text("How?,1,2,3,4,E\n", encoding="utf-8")
    with pytest.raises(FireActError, match="line 1.*'E'"):
        load_mmlu(tmp_path)
    path.rename(tmp_path / "queue.csv")
    with pytest.raises(FireActError, match="queue.csv is not named"):
        load_mmlu(tmp_path)
    with pytest.raises(FireActError, match="no CSV"):
        load_mmlu(tmp_path / "nowhere")
