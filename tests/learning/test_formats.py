"""Files of trajectories: what goes out comes back, released shapes come back word for word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from broken import ROWS, assert_named

from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, write_trajectories
from fireact_nb.errors import FireActError
from fireact_nb.learning.formats import export_alpaca, export_chat, export_sharegpt
from fireact_nb.realworld.released import read_alpaca, read_chat

# Invented rows in the shapes of the released files: (question, turns and answers, ending).


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


@pytest.mark.parametrize("read", [read_trajectories])
@pytest.mark.parametrize("content", ROWS)
def test_broken_files_are_named(tmp_path, read, content):
    assert_named(read, tmp_path / "rows.json", content)
