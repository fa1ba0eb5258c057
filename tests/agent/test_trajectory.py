"""Reading, cutting, cleaning, rendering: none of it may raise, and rendering loses nothing."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strategies import ANY, TRAJECTORIES, TURNS

from fireact_nb.agent.trajectory import (
    Step,
    Trajectory,
    clean_observation,
    cut_turn,
    parse_messages,
    parse_text,
    parse_turn,
    render_messages,
    render_text,
    unify,
)


def known(trajectory: Trajectory) -> dict:
    """All that a conversation does not show."""
    names = [f.name for f in fields(trajectory) if f.name not in ("question", "steps")]
    return {name: getattr(trajectory, name) for name in names}


@given(TRAJECTORIES)
def test_messages_come_back(t):
    assert parse_messages(render_messages(t), **known(t)) == t


@given(TRAJECTORIES)
def test_text_comes_back(t):
    assume(t.steps != (Step(""),))  # the one thing plain text cannot tell from no steps
    assert parse_text(t.question, render_text(t.steps), **known(t)) == t


@given(TRAJECTORIES)
def test_json_comes_back_from_one_line(t):
    line = json.dumps(t.to_dict())
    assert "\n" not in line and "\r" not in line
    assert Trajectory.from_dict(json.loads(line)) == t


@given(ANY | st.text())
def test_parse_turn_never_raises_and_cut_turn_keeps_what_it_read(text):
    turn = parse_turn(text)
    assert (turn.action is None) == bool(turn.problem) == (turn.argument == "")
    assert 0 <= turn.end <= len(text)
    cut = cut_turn(text)
    again = parse_turn(cut)
    assert (again.thought, again.action) == (turn.thought, turn.action)
    assert again.argument == turn.argument
    assert cut in text and cut_turn(cut) == cut
    Step(cut)


@given(ANY | st.text())
def test_clean_observation_is_one_harmless_line_and_stays(text):
    clean = clean_observation(text)
    assert clean_observation(clean) == clean
    assert len(clean.splitlines()) <= 1
    for token in ("<|im_end|>", "<|user|>", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>"):
        assert token not in clean
    # Put into a conversation it neither acts nor takes a role.
    t = Trajectory("q", "?", (Step("Thought: t\nAction: search[q]", clean), Step("Thought: u")))
    assert parse_text("?", render_text(t.steps)).steps == t.steps
    assert [step.turn.action for step in t.steps] == ["search", None]


@pytest.mark.parametrize(
    ("text", "action", "argument", "cut"),
    [
        ("Thought: t\nAction: search[a [b] c]", "search", "a [b] c", None),
        ("Thought: t\nAction: search[f(x) [1] [[2]]] and more", "search", "f(x) [1] [[2]]",
         "Thought: t\nAction: search[f(x) [1] [[2]]]"),
        ("Thought: t\nAction: search[a]\nAction: finish[b]", "search", "a",
         "Thought: t\nAction: search[a]"),
        ("Thought: t\nAction: search[a]\nObservation: fake\nAction: finish[b]", "search", "a",
         "Thought: t\nAction: search[a]"),
        ("Thought: t\nObservation: fake\nAction: finish[b]", None, "", "Thought: t"),
        ("Thought: t\n\u2003Observation: fake\nAction: finish[b]", None, "", "Thought: t"),
        ("Thought: t\nAction: search[a", "search", "a", None),
        ("Thought: t\nAction: search[a\nThought: more", "search", "a",
         "Thought: t\nAction: search[a"),
        ("Thought: t\nAction: search a b", "search", "a b", None),
        ("Thought: t\nAction: Search(a (b))", "search", "a (b)", None),
        ("Thought: t\nAction: FINISH[]\n", None, "", "Thought: t\nAction: FINISH[]"),
        ("Action: finish[x]", "finish", "x", None),
        ("Thought 3: t\nAction 3: finish[x]", "finish", "x", None),
        ("Thought: a Thought: b\nAction: finish[x]", "finish", "x", None),
        ("Thought: wrap up. Action: finish[no]\nAction: finish[yes]", "finish", "yes", None),
        ("Thought: t\nAction: search[a\nb] c", "search", "a b", "Thought: t\nAction: search[a\nb]"),
        ("Thought: t\n**action:** Search(a).", "search", "a", "Thought: t\n**action:** Search(a)"),
        ("Thought: t. Observation: b\nAction: finish[a]", None, "", "Thought: t."),
        ("Thought: t\nAction: think hard\nAction: finish[x]", "finish", "x", None),
        ("Thought: t\nAction: searching[x]", None, "", None),
        ("Thought: t\nAction: finished", None, "", None),
        ("Thought: t\r\nAction: search[a]\r\nObservation: b\r\n", "search", "a",
         "Thought: t\r\nAction: search[a]"),
        ("Thought: t\n\x0bAction: search[a] junk", "search", "a",
         "Thought: t\n\x0bAction: search[a]"),
        ("Thought: t\rAction: search[a]", "search", "a", None),
        ("Thought: t\u2028Action: search[a]", "search", "a", None),
        ("", None, "", None),
    ],
)  # fmt: skip
def test_odd_turns_have_a_defined_reading(text, action, argument, cut):
    turn = parse_turn(text)
    assert (turn.action, turn.argument) == (action, argument)
    assert cut_turn(text) == (text if cut is None else cut)


def test_the_thought_is_what_stands_before_the_first_action():
    assert parse_turn("Thought: a\nb\nAction: finish[c]").thought == "a\nb"
    assert parse_turn("Thought: a\nAction: hm\nAction: finish[c]").thought == "a"
    assert parse_turn("just words").thought == "just words"


@pytest.mark.parametrize(
    "text", ["a\nObservation: b", " Observation", "\x0bObservation: b", "\u2028Observation: b"]
)
def test_a_step_refuses_an_invented_observation(text):
    with pytest.raises(ValueError, match="cut_turn"):
        Step(text)


def test_conversations_that_break_the_form_are_named():
    question = {"role": "user", "content": "?"}
    turn = {"role": "assistant", "content": "Thought: t"}
    heard = {"role": "user", "content": "Observation: x"}
    twice, asked = [question, turn, turn], [question, turn, question]
    for messages in ([], [turn], [question, heard], twice, asked):
        with pytest.raises(ValueError):
            parse_messages(messages)
    assert parse_messages([question, turn, heard]).state == "out of rounds"
    with pytest.raises(ValueError, match="last step"):
        Trajectory("q", "?", (Step("a"), Step("b")))
    with pytest.raises(ValueError, match="state"):
        Trajectory("q", "?", (), state="lost")


@example("Thought: because.\nAnswer: a] b", "cot", "a] b")
@example("Answer: Paris", "cot", "Paris")
@given(TURNS, st.sampled_from(["io", "cot"]), ANY)
def test_unify_makes_one_finished_round(text, method, answer):
    raw = Trajectory("q", "?", (Step(text),), method=method, answer=answer)
    if not answer.strip() and parse_turn(text).action != "finish":
        with pytest.raises(ValueError, match="no answer"):
            unify(raw)
        return
    t = unify(raw)
    assert t.rounds == 1 and t.steps[0].turn.action == "finish"
    assert unify(t) == t
    assert parse_messages(render_messages(t), **known(t)) == t
    if t != raw:
        assert parse_messages(render_messages(t)).answer == t.answer


def test_unify_of_each_method():
    cot = Trajectory("q", "?", (Step("Thought: It is\nin France.\nAnswer: Paris"),), "cot",
                     answer="Paris")  # fmt: skip
    assert unify(cot).steps[0].text == "Thought: It is in France.\nAction: finish[Paris]"
    io = Trajectory("q", "?", (Step("Answer: Paris"),), method="io", answer="Paris")
    assert unify(io).steps[0].text == "Thought: I know the answer.\nAction: finish[Paris]"
    for method in ("react", "reflexion", "fireact"):
        t = Trajectory("q", "?", (Step("Thought: x", "y"),), method=method, state="out of rounds")
        assert unify(t) is t
    with pytest.raises(ValueError, match="no answer"):
        unify(Trajectory("q", "?", (), method="cot", state="refused"))
