"""The authors' released files: each row comes back word for word, its verdict read off its end."""

from __future__ import annotations

import json

import pytest
from broken import ROWS, assert_named

from fireact_nb.analysis.statistics import accuracy
from fireact_nb.errors import FireActError
from fireact_nb.learning.formats import alpaca_row, chat_row
from fireact_nb.realworld.released import (
    ALPACA_PROMPT,
    read_alpaca,
    read_chat,
    read_released_trajectories,
)

CUE = "Now that I haven't solved the task within 5 steps, let me do a reflection."

# Invented rows in the shapes of the released files: (question, turns and answers, ending).
REACT = [
    ("Thought: I need the moon of Vell. \nAction: search[moon of Vell]", "Ōrin\u2028is · it ..."),
    ("Action: search[Ōrin (moon)]", "None"),  # some rows lack a Thought
    ("Thought: So it is Ōrin.\nAction: finish[Ōrin]",),
]
COT = [("Thought: Vell has one moon, Ōrin.\nAction: finish[Ōrin]",)]
REFLEXION = [
    ("Thought: t\nAction: search[a]", "b"),
    (f"Thought: {CUE} Thought: two on one line.\nAction: search[c]", "d"),
    ("Thought: Action: finish[lost]\nAction: finish[lost]",),
]
BROKEN_DOWN = [("Thought: t\nAction: search[a]", "b"), ("Thought: failed\nAction: finish[]",)]


def chat(rounds, ending, question="Which moon? "):
    contents = [question]
    for text, *heard in rounds:
        contents += [text, *("Observation: " + h for h in heard)]
    if ending is not None:
        contents.append("Observation: Episode finished, reward = " + ending)
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]


def text(rounds, ending, tail=""):
    return "\n".join(message["content"] for message in chat(rounds, ending)[1:]) + tail


CASES = [
    (REACT, "True", "react", True, "finished"),
    (COT, "1", "cot", True, "finished"),
    (COT, "True", "react", True, "finished"),
    (REFLEXION, "False", "reflexion", False, "finished"),
    (BROKEN_DOWN, "False", "react", False, "failed"),
    (REACT, None, "react", None, "finished"),
    (REACT[:2], None, "react", None, "out of rounds"),
]


def described(trajectories):
    return [(t.method, t.correct, t.state) for t in trajectories]


def test_chat_rows_come_back_word_for_word(tmp_path):
    path = tmp_path / "rows_gpt.jsonl"
    rows = [{"messages": chat(rounds, ending)} for rounds, ending, *_ in CASES]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    imported = read_chat(path, task="hotpotqa")
    assert [chat_row(t) for t in imported] == rows
    assert described(imported) == [case[2:] for case in CASES]
    assert len({t.id for t in imported}) == len(rows)
    first = imported[0]
    assert (first.answer, first.rounds, first.searches, first.task) == ("Ōrin", 3, 2, "hotpotqa")
    assert first.source == "rows_gpt.jsonl" and first.steps[-1].observation is None


@pytest.mark.parametrize("tail", ["", "\n", "\n\n", " \n"])
def test_alpaca_rows_come_back_word_for_word(tmp_path, tail):
    path = tmp_path / "rows_alpaca.json"
    rows = [
        {"instruction": "Which moon? ", "input": "", "output": text(rounds, ending, tail)}
        for rounds, ending, *_ in CASES
    ]
    path.write_text(json.dumps(rows, indent=4), encoding="utf-8")
    imported = read_alpaca(path)
    assert [alpaca_row(t) for t in imported] == rows
    assert described(imported) == [case[2:] for case in CASES]
    assert imported[0].rounds == 3 and imported[0].answer == "Ōrin"


def test_what_a_tool_says_is_no_verdict(tmp_path):
    path = tmp_path / "rows.json"
    searched = [REACT[1], REACT[0][:1]]  # the "ending" answers a search
    row = {"messages": chat(searched, "True")}
    path.write_text(json.dumps(row), encoding="utf-8")
    (t,) = read_chat(path)
    assert (t.correct, t.state, t.rounds) == (None, "out of rounds", 2)
    assert t.steps[-1].observation == "Episode finished, reward = True" and chat_row(t) == row
    for tail in ("", "\n", "\n\n"):
        row = {"instruction": "?", "input": "", "output": text(searched, "True", tail)}
        path.write_text(json.dumps([row]), encoding="utf-8")
        (u,) = read_alpaca(path)
        assert u.steps == t.steps and u.correct is None and alpaca_row(u) == row


def released(rounds, ending, wrapped):
    question = "Which moon?"
    if wrapped:
        traj = ALPACA_PROMPT.format(question=question) + text(rounds, ending, "\n")
        return {"gt": "orin", "f1": 0.5, "reward": False, "traj": traj}
    return {"gt": "orin", "f1": 0, "reward": False, "traj": chat(rounds, ending, question)}


@pytest.mark.parametrize("wrapped", [False, True])
def test_released_trajectories(tmp_path, wrapped):
    path = tmp_path / "trajs.json"
    shape = {"12": (REACT, "True"), "7": (COT, "False"), "9": (BROKEN_DOWN, "False")}
    rows = {key: released(*case, wrapped) for key, case in shape.items()}
    path.write_text(json.dumps(rows), encoding="utf-8")
    imported = read_released_trajectories(path)
    assert [t.question_id for t in imported] == [f"hotpotqa:dev:{key}" for key in shape]
    assert described(imported) == [
        ("fireact", True, "finished"),
        ("fireact", False, "finished"),
        ("fireact", False, "failed"),
    ]
    assert imported[0].question == "Which moon?" and imported[0].gold == "orin"
    assert imported[2].answer is None
    # What the file leaves out still counts: 1 right of 5 asked, though only 3 are there.
    assert accuracy(imported, questions=5).value == 0.2
    for t, row in zip(imported, rows.values(), strict=True):
        again = alpaca_row(t)["output"] if wrapped else chat_row(t)["messages"]
        assert row["traj"] == (ALPACA_PROMPT.format(question=t.question) + again
                               if wrapped else again)  # fmt: skip


# -- broken files -------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_chat, read_alpaca, read_released_trajectories])
@pytest.mark.parametrize("content", ROWS)
def test_broken_files_are_named(tmp_path, read, content):
    assert_named(read, tmp_path / "rows.json", content)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user"}],
        [{"role": "user", "content": 1}],
        chat(REACT, "True")[1:],
        chat(REACT, "True")[:2] + chat(REACT, "True")[3:],
        [{"role": "system", "content": "s"}, *chat(COT, "1")],
        chat([("Thought: t\nObservation: fake\nAction: finish[x]",)], "True"),
    ],
)
def test_a_conversation_in_another_form_is_named_by_line(tmp_path, messages):
    """And the rest of the file is kept: one odd row of a thousand is no reason to lose them."""
    path, odd = tmp_path / "rows.jsonl", []
    rows = [{"messages": chat(COT, "1")}, {"messages": messages}, {"messages": chat(REACT, "True")}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 3 rows.*rows.jsonl, line 2"):
        kept = read_chat(path)
    assert [t.method for t in kept] == ["cot", "react"]
    assert read_chat(path, odd=odd) == kept and "rows.jsonl, line 2" in odd[0]
    path.write_text(json.dumps(rows[1]), encoding="utf-8")
    with pytest.raises(FireActError, match="rows.jsonl, line 1"):
        read_chat(path)


def test_a_broken_line_costs_one_row(tmp_path):
    path, odd = tmp_path / "rows.jsonl", []
    row = json.dumps({"messages": chat(COT, "1")})
    path.write_text(f"{row}\n{row[:40]}\n[1]\n{row}", encoding="utf-8")
    assert len(read_chat(path, odd=odd)) == 2
    assert ["line 2" in odd[0], "line 3" in odd[1], len(odd)] == [True, True, 2]


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_odd_episode_costs_one_row(tmp_path, wrapped):
    path, odd = tmp_path / "trajs.json", []
    good = released(COT, "1", wrapped)
    path.write_text(json.dumps({"1": good, "2": good | {"traj": 3}, "3": good}), encoding="utf-8")
    assert [t.question_id[-1] for t in read_released_trajectories(path, odd)] == ["1", "3"]
    assert "entry '2'" in odd[0]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "?"},
        {"instruction": "?", "input": "more", "output": text(COT, "1")},
        {"instruction": ["?"], "output": text(COT, "1")},
        {"instruction": "?", "output": "Thought: t\nObservation: a\nObservation: b"},
    ],
)
def test_an_alpaca_row_in_another_form_is_named(tmp_path, row):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(FireActError, match="rows.json, entry 1"):
        read_alpaca(path)


@pytest.mark.parametrize(
    "change", [{"traj": "no wrapper"}, {"gt": None}, {"traj": 3}, {"f1": "half"}]
)
def test_a_released_row_in_another_form_is_named(tmp_path, change):
    path = tmp_path / "trajs.json"
    path.write_text(json.dumps({"5": released(COT, "1", True) | change}), encoding="utf-8")
    with pytest.raises(FireActError, match="entry '5'"):
        read_released_trajectories(path)
