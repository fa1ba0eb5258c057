"""Scoring against the official HotpotQA script, each task's rule, and our own question files."""

from __future__ import annotations

import json
import re
import string
from collections import Counter

import pytest
from broken import QUESTIONS, assert_named
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb.agent.tasks import (
    TASKS,
    Question,
    exact_match,
    f1_score,
    find_task,
    load_questions,
    normalize_answer,
    save_questions,
    score,
)
from fireact_nb.errors import FireActError
from fireact_nb.files import content_key

# -- hotpot_evaluate_v1.py, word for word but for quotes and line breaks --------------------------


def official_normalize_answer(s):

    def remove_articles(text):
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    def lower(text):
        return text.lower()

    return white_space_fix(remove_articles(remove_punc(lower(s))))


def official_f1_score(prediction, ground_truth):
    normalized_prediction = official_normalize_answer(prediction)
    normalized_ground_truth = official_normalize_answer(ground_truth)

    ZERO_METRIC = (0, 0, 0)

    if (
        normalized_prediction in ["yes", "no", "noanswer"]
        and normalized_prediction != normalized_ground_truth
    ):
        return ZERO_METRIC
    if (
        normalized_ground_truth in ["yes", "no", "noanswer"]
        and normalized_prediction != normalized_ground_truth
    ):
        return ZERO_METRIC

    prediction_tokens = normalized_prediction.split()
    ground_truth_tokens = normalized_ground_truth.split()
    common = Counter(prediction_tokens) & Counter(ground_truth_tokens)
    num_same = sum(common.values())
    if num_same == 0:
        return ZERO_METRIC
    precision = 1.0 * num_same / len(prediction_tokens)
    recall = 1.0 * num_same / len(ground_truth_tokens)
    f1 = (2 * precision * recall) / (precision + recall)
    return f1, precision, recall


def official_exact_match_score(prediction, ground_truth):
    return official_normalize_answer(prediction) == official_normalize_answer(ground_truth)


# ------------------------------------------------------------------------------------------------

WORDS = [
    *("a", "an", "the", "The", "the-", "(An)", "yes", "No", "noanswer", "no answer"),
    *("cat", "Cat", "don't", "U.S.", "3,677", "Ōkami", "İ", "ß", "不", "!!!", "\xa0", "\u2028"),
]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=6).map(" ".join) | st.text()


@given(TEXTS, TEXTS)
def test_metrics_are_the_official_ones(prediction, gold):
    assert normalize_answer(gold) == official_normalize_answer(gold)
    for said, wanted in ((prediction, gold), (gold.upper(), gold), (prediction, prediction)):
        assert f1_score(said, wanted) == official_f1_score(said, wanted)[0]
        if official_normalize_answer(wanted):
            assert exact_match(said, wanted) == official_exact_match_score(said, wanted)
        else:
            assert not exact_match(said, wanted) and f1_score(said, wanted) == 0


@pytest.mark.parametrize(
    ("prediction", "gold", "em", "f1"),
    [
        ("The Cat!", "cat", True, 1.0),
        ("a black cat", "cat", False, 2 / 3),
        ("yes", "yes", True, 1.0),
        ("yes it is", "yes", False, 0.0),
        ("yes", "yes it is", False, 0.0),
        ("no answer", "noanswer", False, 0.0),
        ("", "cat", False, 0.0),
        (None, "cat", False, 0.0),
        ("!!!", "!!!", False, 0.0),  # a gold answer that normalises to nothing never matches
        ("The The", "The The", False, 0.0),
        ("", "The The", False, 0.0),
    ],
)
def test_named_cases(prediction, gold, em, f1):
    assert exact_match(prediction, gold) is em
    assert f1_score(prediction, gold) == pytest.approx(f1)


OPTIONS = ("An apple", "1", "-1", "A. Smith")


@pytest.mark.parametrize(
    ("task", "prediction", "gold", "right"),
    [
        ("hotpotqa", "the Cat", "cat", True),
        ("bamboogle", "cats", "cat", False),
        ("strategyqa", "Yes.", "yes", True),
        ("strategyqa", "no", "no", True),
        ("strategyqa", "not sure", "no", False),
        ("strategyqa", "no, it is not", "no", False),
        ("strategyqa", "", "no", False),
        ("strategyqa", "", "", False),
        ("strategyqa", None, "no", False),
        ("mmlu", "A", "A", True),
        ("mmlu", " (b). ", "B", True),
        ("mmlu", "B)", "B", True),
        ("mmlu", "an apple", "A", True),  # the text of option A, not its letter
        ("mmlu", "An apple.", "A", True),
        ("mmlu", "an orange", "A", False),
        ("mmlu", "a", "A", True),
        ("mmlu", "AB", "A", False),
        ("mmlu", "A or B", "A", False),
        ("mmlu", "E", "A", False),
        ("mmlu", "-1", "C", True),
        ("mmlu", "1", "C", False),
        ("mmlu", "C: -1", "C", True),
        ("mmlu", "C. 1", "C", False),
        ("mmlu", "C. 1", "B", False),
        ("mmlu", "A. Smith", "D", True),
        ("mmlu", "A. Smith", "A", False),
        ("mmlu", "1", "1", True),  # a gold answer may be given by its text as well
        ("mmlu", "B", "1", True),
        ("mmlu", "", "A", False),
        ("mmlu", None, "A", False),
    ],
)
def test_each_task_has_its_rule(task, prediction, gold, right):
    assert score(task, prediction, gold, OPTIONS if task == "mmlu" else ()) is right


def test_mmlu_without_options_compares_letters():
    assert score("mmlu", "(a)", "A")
    assert not score("mmlu", "an apple", "A")
    assert not score("mmlu", "an apple", "an apple")


@pytest.mark.parametrize("ask", [lambda: score("trivia", "a", "a"), lambda: find_task("trivia")])
def test_an_unknown_task_is_named(ask):
    with pytest.raises(FireActError, match="'trivia'.*hotpotqa"):
        ask()


def test_a_task_is_asked_with_the_prompts_of_one_of_its_form():
    for name, task in TASKS.items():
        assert task.name == name and find_task(name) is task
        assert find_task(task.prompts).form == task.form
    assert {name for name, task in TASKS.items() if task.prompts != name} == {"bamboogle"}


@given(st.text(), st.sampled_from(list(TASKS)))
def test_score_never_raises(prediction, task):
    score(task, prediction, "A", OPTIONS)


# -- files --------------------------------------------------------------------------------------


def test_questions_come_back(tmp_path):
    questions = [
        Question("h:1", "Who\u2028was “Ō”?", "x\ny", "hotpotqa", "dev", "bridge", head=True),
        Question("m:1", "Which?\nA. 1", "A", "mmlu", "test", options=("1", "2"), meta={"x": [1]}),
    ]
    save_questions(tmp_path / "new" / "q.jsonl", questions)
    assert load_questions(tmp_path / "new" / "q.jsonl") == questions
    assert len(set(questions)) == 2  # hashable, for use as keys


CHOICE = Question("m:1", "Which?\nA. 1\nB. 2", "A", "mmlu", "test", "year", True, ("1", "2"))


def test_a_question_keeps_the_shape_of_which_keys_and_hashes_were_taken():
    """The two keys were computed when options still stood in `meta`."""
    plain = Question("h:1", "Who?", "Ada", "hotpotqa", "dev")
    assert plain.to_dict()["meta"] == {} and CHOICE.to_dict()["meta"] == {"options": ["1", "2"]}
    keys = [content_key(question.to_dict()) for question in (CHOICE, plain)]
    assert keys == [
        "ad3540cc2e5acaa6ecf18e6b43dffa7d77e65faf6dc0f3533d47e1a032c7e144",
        "e9e69c2efcf5032ab24cdb6cb3e5edbfad679a34f826d850c988c9e8b254f62d",
    ]


def test_options_are_read_from_meta_and_from_beside_it():
    row = CHOICE.to_dict()
    assert Question.from_dict(row) == Question.from_dict({**row, "meta": {}, "options": ["1", "2"]})
    assert Question.from_dict(row) == CHOICE and CHOICE.meta == {}
    assert row["meta"] == {"options": ["1", "2"]}, "the row itself is left as it was"


GOOD = {"id": "1", "question": "q", "answer": "a", "task": "hotpotqa", "split": "dev"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{}", "'id'"),
        (json.dumps(GOOD | {"answer": 3}), "'answer'"),
        (json.dumps(GOOD | {"answer": ""}), "'answer'"),
        (json.dumps(GOOD | {"anser": "x"}), "'anser'"),
        (json.dumps(GOOD | {"task": "trivia"}), "'trivia'"),
        (json.dumps(GOOD | {"head": "yes"}), "'head'"),
        (json.dumps(GOOD | {"options": "AB"}), "'options'"),
        (json.dumps(GOOD | {"meta": {"options": [1, 2]}}), "'options'"),
        (json.dumps(GOOD), "repeats"),
        (json.dumps(GOOD)[:-20], "breaks off"),
        ("[1]", "object"),
        ("hello", "not whole JSON"),
        ("[" * 100_000, "not whole JSON"),
    ],
)
def test_a_broken_question_is_named_by_line(tmp_path, line, says):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line, encoding="utf-8")
    with pytest.raises(FireActError, match="line 3") as error:
        load_questions(path)
    assert says in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("load", [load_questions])
@pytest.mark.parametrize("content", QUESTIONS)
def test_a_missing_or_broken_file_is_named(tmp_path, load, content):
    assert_named(load, tmp_path / "data.file", content)
    with pytest.raises(FireActError, match="folder"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "q.jsonl"
    save_questions(path, [Question(**GOOD)])
    before = path.read_bytes()
    with pytest.raises(FireActError, match="surrogate"):
        save_questions(path, [Question(**GOOD | {"answer": "half \ud83d"})])
    assert path.read_bytes() == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(FireActError, match="not written"):
        save_questions(tmp_path / "file" / "q.jsonl", [])
    (tmp_path / "folder").mkdir()
    with pytest.raises(FireActError, match="not written"):
        save_questions(tmp_path / "folder", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "q.jsonl"]
