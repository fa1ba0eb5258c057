"""Native tool calls: the same trajectory goes there and comes back, whatever stands in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import ANY, TRAJECTORIES

from fireact_nb.agent.native import (
    TOOLS,
    canonical,
    from_native,
    parse_native,
    render_native,
    to_native,
    write_turn,
)
from fireact_nb.agent.prompting import load_prompt
from fireact_nb.agent.trajectory import Step, Trajectory, read_trajectories, render_messages
from fireact_nb.artifacts import shipped

BOOK = Trajectory(
    "q", "Who wrote it?",
    (
        Step("Thought: I look up the book.\nAction: search[the book]", "The book: by Ann."),
        Step("Thought: Ann, then.\nAction: finish[Ann]"),
    ),
    answer="Ann",
)  # fmt: skip


def test_a_round_is_a_call_and_its_result() -> None:
    question, call, result, end = render_native(BOOK)
    assert question == {"role": "user", "content": "Who wrote it?"}
    assert call["content"] == "I look up the book."
    function = {"name": "search", "arguments": {"query": "the book"}}
    assert call["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]
    assert result == {"role": "tool", "tool_call_id": "call_1", "name": "search",
                      "content": "The book: by Ann."}  # fmt: skip
    assert end["tool_calls"][0]["function"] == {"name": "finish", "arguments": {"answer": "Ann"}}


def test_every_call_is_one_of_the_tools_with_their_arguments() -> None:
    known = {t["function"]["name"]: t["function"]["parameters"]["properties"] for t in TOOLS}
    calls = [c["function"] for m in render_native(BOOK) for c in m.get("tool_calls", [])]
    assert calls and all(call["arguments"].keys() == known[call["name"]].keys() for call in calls)


@given(TRAJECTORIES)
@settings(max_examples=150)
def test_any_trajectory_comes_back(trajectory: Trajectory) -> None:
    known = {"answer": trajectory.answer, "state": trajectory.state}
    back = parse_native(render_native(trajectory), **known)
    expected = canonical(trajectory)
    assert (back.question, back.steps) == (expected.question, expected.steps)
    assert canonical(expected) == expected
    assert render_native(expected) == render_native(trajectory)
    # As JSON writes arguments for OpenAI it comes back, too.
    messages = render_native(trajectory)
    for message in messages:
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    assert parse_native(messages, **known) == back


@given(TRAJECTORIES)
@settings(max_examples=150)
def test_what_an_agent_did_is_read_alike_in_both_forms(trajectory: Trajectory) -> None:
    for before, after in zip(trajectory.steps, canonical(trajectory).steps, strict=True):
        assert after.observation == before.observation
        assert after.turn.action == before.turn.action
        assert after.turn.thought == before.turn.thought
        brackets = str.maketrans("[]", "()")
        read = after.turn.argument.translate(brackets)
        assert read == " ".join(before.turn.argument.split()).translate(brackets)


@given(thought=ANY, argument=ANY, action=st.sampled_from(["search", "finish"]))
@settings(max_examples=150)
@example(thought="", argument="a]b", action="finish")
def test_whatever_a_model_calls_is_one_action_at_most(thought, argument, action) -> None:
    """Words of a native call cannot become a second action or an observation."""
    text = write_turn(thought, action, argument)
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]
    native = to_native(messages)
    assert len(native[-1].get("tool_calls", [])) <= 1


def test_shipped_trajectories_come_back_word_for_word() -> None:
    played = read_trajectories(shipped("teacher_hotpotqa_react"))[:200]
    finished = [t for t in played if t.state == "finished"]
    same = [parse_native(render_native(t)).steps == t.steps for t in finished]
    assert len(same) > 100 and all(same)


def test_a_few_shot_prompt_has_a_native_form_and_comes_back() -> None:
    prompt = load_prompt("react").ask("Who?")
    native = to_native(prompt)
    heard = [m["content"] for m in prompt if m["content"].startswith("Observation: ")]
    assert [f"Observation: {m['content']}" for m in native if m["role"] == "tool"] == heard != []
    assert from_native(native) == prompt


def test_a_turn_without_an_action_stays_text() -> None:
    lost = Trajectory("q", "?", (Step("I am lost.", "Not understood: no action."),), state="failed")
    assert [m["role"] for m in render_native(lost)] == ["user", "assistant", "user"]
    assert parse_native(render_native(lost), state="failed", question_id="q") == lost


CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": {"query": "a"}}}


@pytest.mark.parametrize(
    ("calls", "named"),
    [
        ([CALL, CALL], "2 tools"),
        ([{"function": {"name": "lookup", "arguments": {"query": "a"}}}], "lookup"),
        ([{"function": {"name": "search", "arguments": {"q": "a"}}}], "'q'"),
        ([{"function": {"name": "search", "arguments": "{"}}], "message 1"),
        ([{"function": {"name": "search"}}], "message 1"),
        ([{"function": {"name": "search", "arguments": {"query": 7}}}], "search"),
        ([7], "message 1"),
    ],
)
def test_calls_of_other_agents_are_named(calls, named) -> None:
    messages = [{"role": "user", "content": "?"},
                {"role": "assistant", "content": None, "tool_calls": calls}]  # fmt: skip
    with pytest.raises(ValueError, match=named):
        parse_native(messages)


def test_render_agrees_with_the_text_form() -> None:
    assert from_native(render_native(BOOK)) == render_messages(BOOK)
