"""The shipped prompts hold two honest examples each, and a broken prompt file is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fireact_nb.agent.prompting import FOLDER, METHODS, Prompt, load_prompt, parse_prompt
from fireact_nb.agent.tasks import TASKS, Question, normalize_answer, score
from fireact_nb.agent.trajectory import OBSERVATION, Message, Trajectory, parse_messages
from fireact_nb.errors import FireActError
from fireact_nb.tinyworld import TinyWorld

WORLD = TinyWorld()
PROMPTED = ("io", "cot", "react", "reflexion")
# The methods of each task's prompts over the tiny world.
TINY = {"hotpotqa": PROMPTED, "strategyqa": PROMPTED[:3], "mmlu": PROMPTED[:3]}
TINY_SHIPPED = [(task, method) for task, methods in TINY.items() for method in methods]
REAL = {"hotpotqa": PROMPTED, "strategyqa": PROMPTED[:3], "mmlu": PROMPTED[:3]}  # the paper's own
SHIPPED = [(task, method) for task, methods in REAL.items() for method in methods]
SHIPPED += [(WORLD.prompt("react", task).name, method) for task, method in TINY_SHIPPED]
each_prompt = pytest.mark.parametrize(("name", "method"), SHIPPED)
each_tiny_prompt = pytest.mark.parametrize(("task", "method"), TINY_SHIPPED)
each_tiny_tool_prompt = pytest.mark.parametrize(
    ("task", "method"), [(t, m) for t, m in TINY_SHIPPED if m in ("react", "reflexion")]
)


def final_answer(trajectory: Trajectory) -> str:
    """What a worked example answers: by its action, or in its last line where there is none."""
    last = trajectory.steps[-1]
    if last.turn.action:
        return last.turn.argument
    return last.text.splitlines()[-1].removeprefix("Answer: ")


def examples(prompt: Prompt) -> list[Trajectory]:
    """The worked examples of a prompt, read back from its messages."""
    conversations: list[list[Message]] = []
    for message in prompt.messages:
        opens = message["role"] == "user" and not message["content"].startswith(OBSERVATION)
        if opens:
            conversations.append([])
        if message["role"] != "system":
            conversations[-1].append(message)
    return [parse_messages(conversation) for conversation in conversations]


def test_these_are_all_the_prompt_files():
    found = {(p.parent.name, p.stem) for p in FOLDER.rglob("*.txt")}
    assert found == set(SHIPPED)
    assert set(METHODS) == {*PROMPTED, "fireact"}


def test_the_methods_that_answer_in_one_turn():
    assert [m for m in METHODS if Prompt(m, "any").one_turn] == ["io", "cot"]


def test_every_task_has_its_set():
    assert {task: WORLD.prompt("react", task).name for task in TASKS} == {
        "hotpotqa": "tiny",
        "bamboogle": "tiny",
        "strategyqa": "tiny_strategyqa",
        "mmlu": "tiny_mmlu",
    }


@each_prompt
def test_two_examples_that_end_with_an_answer(name, method):
    prompt = load_prompt(method, name)
    assert (prompt.name, prompt.method) == (name, method)
    shown = examples(prompt)
    assert len(shown) == 2
    assert len({t.question for t in shown}) == 2
    for trajectory in shown:
        assert "?" in trajectory.question
        assert len(trajectory.steps) <= 11
        last = trajectory.steps[-1]
        assert last.observation is None
        if prompt.one_turn:
            assert trajectory.rounds == 1
            assert last.text.startswith("Answer: " if method == "io" else "Thought: ")
            assert last.text.splitlines()[-1].startswith("Answer: ")
        else:
            assert last.turn.action == "finish"
            for step in trajectory.steps[:-1]:
                assert step.turn.action == "search" and step.observation


@each_prompt
def test_instructions_come_first_or_not_at_all(name, method):
    roles = [m["role"] for m in load_prompt(method, name).messages]
    assert roles.count("system") == (name in REAL)
    assert "system" not in roles[1:]
    rest = [r for r in roles if r != "system"]
    assert rest == ["user", "assistant"] * (len(rest) // 2)


@pytest.mark.parametrize("method", REAL["mmlu"])
def test_the_options_of_a_real_question_belong_to_the_question(method):
    for trajectory in examples(load_prompt(method, "mmlu")):
        lines = trajectory.question.splitlines()
        assert [line[:3] for line in lines[1:]] == ["A. ", "B. ", "C. ", "D. "]
        assert final_answer(trajectory) in "ABCD"


def test_the_question_comes_last():
    asked = load_prompt("react").ask("Who?")
    assert asked[-1] == {"role": "user", "content": "Who?"}
    assert asked[:-1] == list(load_prompt("react").messages)
    assert load_prompt("fireact", "no such set").ask("Who?") == asked[-1:]


# -- the tiny sets against the tiny world -------------------------------------------------------


@each_tiny_prompt
def test_tiny_examples_are_training_questions_with_their_gold_answers(task, method):
    train = {q.question: q for q in WORLD.questions("train", task=task)}
    shown = examples(WORLD.prompt(method, task))
    for trajectory in shown:
        question, said = train[trajectory.question], final_answer(trajectory)
        assert score(task, said, question.answer, question.options), (said, question)
        assert said in (question.options or [question.answer])
    assert len({final_answer(t) for t in shown}) == 2, "no answer is the example of all"


@each_tiny_prompt
def test_no_held_out_question_of_any_task_is_in_a_prompt(task, method):
    """Nor, with options, what it asks before them."""
    messages = WORLD.prompt(method, task).messages
    prompt = normalize_answer("\n".join(m["content"] for m in messages))

    def shown(questions: list[Question]) -> list[str]:
        asked = [q.question.partition("(A)")[0] for q in questions]
        return [question for question in asked if normalize_answer(question) in prompt]

    assert len(shown(WORLD.questions("train", task=task))) == 2, "the check must see those shown"
    assert len(WORLD.held_out()) > 2000
    assert not shown(WORLD.held_out())


@each_tiny_tool_prompt
def test_tiny_observations_are_what_the_tool_answers(task, method):
    shown = examples(WORLD.prompt(method, task))
    steps = [step for trajectory in shown for step in trajectory.steps[:-1]]
    assert len(steps) >= 2
    for step in steps:
        assert WORLD.search().search(step.turn.argument) == step.observation


# -- reflection cues ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, method in SHIPPED if method == "reflexion"])
def test_reflexion_has_cues_at_rounds_6_and_10(name):
    prompt = load_prompt("reflexion", name)
    assert set(prompt.cues) == {6, 10}
    assert len(set(prompt.cues.values())) == 2
    for trajectory in examples(prompt):
        for place, step in enumerate(trajectory.steps, 1):
            opened = [r for r, cue in prompt.cues.items() if step.turn.thought.startswith(cue)]
            assert opened == ([place] if place in prompt.cues else [])
    assert max(t.rounds for t in examples(prompt)) >= 6, "an example shows a reflection"


@each_prompt
def test_no_other_method_has_cues(name, method):
    assert bool(load_prompt(method, name).cues) == (method == "reflexion")


def test_tiny_cues_are_those_of_the_pretraining_text():
    from fireact_nb.tinyworld.dialogues import REFLECTIONS

    assert load_prompt("reflexion", "tiny").cues == REFLECTIONS


# -- digest -------------------------------------------------------------------------------------


def test_digest_changes_with_content_alone():
    prompt = load_prompt("reflexion", "tiny")
    assert load_prompt("reflexion", "tiny").digest == prompt.digest
    assert replace(prompt, name="renamed").digest == prompt.digest
    edited = ({**prompt.messages[0], "content": "Other?"}, *prompt.messages[1:])
    changed = [
        replace(prompt, method="react"),
        replace(prompt, messages=prompt.messages[2:]),
        replace(prompt, messages=edited),
        replace(prompt, messages=prompt.messages[::-1]),
        replace(prompt, cues={**prompt.cues, 6: "Other."}),
        replace(prompt, cues={7: prompt.cues[6], 10: prompt.cues[10]}),
        replace(prompt, cues={}),
    ]
    assert len({prompt.digest, *(p.digest for p in changed)}) == len(changed) + 1
    shipped = {load_prompt(method, name).digest for name, method in SHIPPED}
    assert len(shipped) == len(SHIPPED)


# -- what goes wrong ----------------------------------------------------------------------------

EXAMPLE = "Question: Who?\nThought: I know.\nAction: finish[Ada]\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Thought: no question before me\n", "Thought: no question before me"),
        (f"{EXAMPLE}\nAction: finish[torn off by a blank line]\n", "Action: finish[torn off"),
        ("Question: Who was never answered?\n", "Question: Who was never answered?"),
        (f"{EXAMPLE}\nQuestion: Who is last?\n", "Question: Who is last?"),
        ("Question:\nAnswer: x\n", "Question:"),
        ("Cue six: think\n", "Cue six: think"),
        ("Cue 6:\n", "Cue 6:"),
        ("Instructions: misspelt\n", "Instructions: misspelt"),
        ("Instruction: one\nand a second line\n", "and a second line"),
        (f"{EXAMPLE}\nInstruction: too late\n", "Instruction: too late"),
        ("Instruction: one\n\nInstruction: two\n", "Instruction: two"),
        # An observation that follows no turn.
        ("Question: Who?\nObservation: nobody asked\n", "Observation: nobody asked"),
        (
            "Question: Who?\nAction: search[a]\nObservation: b\nObservation: twice\n",
            "Observation: twice",
        ),
    ],
)
def test_a_broken_prompt_is_an_error_that_names_the_line(text, line):
    with pytest.raises(FireActError) as caught:
        parse_prompt(text, "react", "mine")
    assert line in str(caught.value)
    assert "mine/react" in str(caught.value)


def test_comments_and_blank_lines_do_not_matter():
    text = f"# where from\n\n\nInstruction: Be brief.\n\n# more\n\n{EXAMPLE}\n\n"
    prompt = parse_prompt(text, "react", "mine")
    assert prompt == parse_prompt(f"Instruction: Be brief.\n\n{EXAMPLE}", "react", "mine")
    assert [m["role"] for m in prompt.messages] == ["system", "user", "assistant"]
    assert parse_prompt(text.replace("\n", "\r\n"), "react", "mine") == prompt


@pytest.mark.parametrize("method", ["reAct", "", "tot"])
def test_unknown_method(method):
    with pytest.raises(FireActError, match="Choose one of: io, cot, react"):
        load_prompt(method)


def test_unknown_set_names_the_sets():
    with pytest.raises(FireActError, match="'tyni'.*The sets are: hotpotqa, mmlu, "):
        load_prompt("react", "tyni")


def test_a_set_without_the_method(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "react.txt").write_text(EXAMPLE, encoding="utf-8")
    assert len(load_prompt("react", "mine", tmp_path).messages) == 2
    with pytest.raises(FireActError, match="no prompt file cot.txt in the set 'mine'"):
        load_prompt("cot", "mine", tmp_path)
