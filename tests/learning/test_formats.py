"""Files of trajectories: what goes out comes back, released shapes come back word for word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from fireact_nb.analysis.statistics import accuracy
from fireact_nb.errors import FireActError
from fireact_nb.learning.formats import (
    alpaca_row,
    chat_row,
    export_alpaca,
    export_chat,
    export_sharegpt,
)
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


# -- exports ------------------------------------------------------------------------------------

MADE = [
    Trajectory("q1", "Which\u2028moon?", (Step("Thought: t\nAction: search[a]", "Ō"),
                                          Step("Thought: u\nAction: finish[b]")), answer="b"),
    Trajectory("q2", "Who?", (Step("Thought: So.\nAnswer: c"),), method="cot", answer="c",
               meta={"ending": "Observation: Episode finished, reward = 1"}),
]  # fmt: skip
UNIFIED = [MADE[0].steps, (Step("Thought: So.\nAction: finish[c]"),)]


@pytest.mark.parametrize(
    ("export", "read", "name"),
    [(export_chat, read_chat, "t.jsonl"), (export_alpaca, read_alpaca, "t.json")],
)
def test_exports_are_unified_and_come_back(tmp_path, export, read, name):
    path = tmp_path / "made" / name
    export(MADE, path)
    back = read(path)
    assert [t.steps for t in back] == UNIFIED
    assert [(t.question, t.answer, t.state) for t in back] == [
        ("Which\u2028moon?", "b", "finished"),
        ("Who?", "c", "finished"),
    ]
    assert "Episode finished" not in path.read_text(encoding="utf-8")


def test_chat_export_ends_with_the_assistant(tmp_path):
    export_chat(MADE, tmp_path / "t.jsonl")
    for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").strip().split("\n"):
        messages = json.loads(line)["messages"]
        assert messages[-1]["role"] == "assistant" and "finish[" in messages[-1]["content"]
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2)


def test_sharegpt_export_has_its_entry_for_llama_factory(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "o.json"}}')
    export_sharegpt(MADE, tmp_path / "fireact.json")
    rows = json.loads((tmp_path / "fireact.json").read_text(encoding="utf-8"))
    assert [row["messages"][-1]["content"] for row in rows] == [s[-1].text for s in UNIFIED]
    entries = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert entries["other"] == {"file_name": "o.json"}
    # accepted by LLaMA-Factory 0.9.5 as it stands
    assert entries["fireact"] == json.loads(
        '{"file_name":"fireact.json","formatting":"sharegpt","columns":{"messages":"messages"},'
        '"tags":{"role_tag":"role","content_tag":"content","user_tag":"user",'
        '"assistant_tag":"assistant","system_tag":"system"}}'
    )


@pytest.mark.parametrize("export", [export_chat, export_alpaca, export_sharegpt])
def test_an_unfinished_trajectory_is_not_exported(tmp_path, export):
    lost = Trajectory("q3", "?", MADE[0].steps[:1], state="out of rounds")
    with pytest.raises(FireActError, match="q3.*out of rounds"):
        export([*MADE, lost], tmp_path / "t.json")
    with pytest.raises(FireActError, match="q1.*failed"):
        export([replace(MADE[0], state="failed")], tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


def test_our_own_files_keep_every_field(tmp_path):
    path = tmp_path / "t.jsonl"
    write_trajectories(path, MADE)
    assert read_trajectories(path) == MADE
    path.write_text(json.dumps(MADE[0].to_dict()) + '\n{"question": "?"}\n', encoding="utf-8")
    with pytest.raises(FireActError, match="line 2 is not a trajectory"):
        read_trajectories(path)


# -- broken files -------------------------------------------------------------------------------

READERS = [read_trajectories, read_chat, read_alpaca, read_released_trajectories]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "\n",
        "[" * 100_000,
        "no json",
        '[{"instruction": "a',
        "[]",
        "{}",
        "[1]",
        '{"1": 2}',
    ],
)
def test_broken_files_are_named(tmp_path, read, content):
    path = tmp_path / "rows.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(FireActError) as error:
        read(path)
    assert str(path) in str(error.value)


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
    path = tmp_path / "rows.jsonl"
    rows = [{"messages": chat(COT, "1")}, {"messages": messages}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(FireActError, match="rows.jsonl, line 2"):
        read_chat(path)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "?"},
        {"instruction": "?", "input": "more", "output": text(COT, "1")},
        {"instruction": "?", "output": "Thought: t\nObservation: a\nObservation: b"},
    ],
)
def test_an_alpaca_row_in_another_form_is_named(tmp_path, row):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(FireActError, match="rows.json, entry 1"):
        read_alpaca(path)


@pytest.mark.parametrize("change", [{"traj": "no wrapper"}, {"gt": None}, {"traj": 3}])
def test_a_released_row_in_another_form_is_named(tmp_path, change):
    path = tmp_path / "trajs.json"
    path.write_text(json.dumps({"5": released(COT, "1", True) | change}), encoding="utf-8")
    with pytest.raises(FireActError, match="entry '5'"):
        read_released_trajectories(path)
