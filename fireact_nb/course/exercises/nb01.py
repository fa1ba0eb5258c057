"""Checks of the exercises in notebook 01, ReAct prompting."""

from __future__ import annotations

from typing import Any

from .checks import call, exercise, expect, reject, shorten


@exercise("01.1")
def _read_action(answer: Any) -> str:
    """Action and argument of a turn; the first action counts, brackets may be nested."""
    plain = "Thought: hm.\nAction: search[Paper Lalor]"
    if isinstance(call(answer, plain), str):
        reject("Return two texts, as in: return name, argument. Yours returned one.")
    if tuple(call(answer, plain)) == ("search", "Paper Lalor]"):
        reject("The closing bracket is still there. The argument ends before the last ].")
    expect(answer, (plain,), ("search", "Paper Lalor"))
    expect(answer, ("Thought: so\nAction: finish[1942]",), ("finish", "1942"),
           "The action may be finish, too.")  # fmt: skip
    expect(answer, ("Thought: I am lost.",), ("none", ""), "There is no line with Action: here.")
    expect(answer, ("Thought: x\nAction: search[Lalor [film]]",), ("search", "Lalor [film]"),
           "The argument goes on to the last bracket of the line, not to the first.")  # fmt: skip
    expect(answer, ("Thought: x\nAction: search[A B]\nAction: finish[C]",), ("search", "A B"),
           "Only the first action counts.")  # fmt: skip
    expect(answer, ("Thought: an Action: is a word\nAction: finish[yes]",), ("finish", "yes"),
           "Look at the beginning of a line: a Thought may mention the word.")  # fmt: skip
    expect(
        answer,
        ("Thought: I could search[Jasin] again.\nAction: finish[no]",),
        ("finish", "no"),
        "Only a line that starts with Action: acts; a Thought may mention search[...].",
    )
    expect(answer, ("Thought: after Action: search[Jasin] stop.\nAction: finish[no]",),
           ("finish", "no"), "Only the beginning of a line counts.")  # fmt: skip
    expect(answer, ("Thought: so\nsearch[Jasin]",), ("none", ""),
           "No line starts with Action: here. Look for that word.")  # fmt: skip
    expect(answer, ("Action: search[Jasin]",), ("search", "Jasin"), "A turn may lack its Thought.")
    expect(answer, ("Thought: one\ntwo\nAction: finish[x]",), ("finish", "x"),
           "A Thought may have several lines.")  # fmt: skip
    return "Five lines turn a text into something a program can do."


@exercise("01.2")
def _tokens_per_right_answer(answer: Any) -> str:
    """All tokens spent, over the number of right answers; infinity without any."""
    got = call(answer, [True, False], [100, 300])
    if got == 200:
        reject("200 is the mean over all questions. Divide by the number of RIGHT answers.")
    if got == 100:
        reject("You left out what the wrong answer cost. Its 300 tokens were read, too.")
    expect(answer, ([True, False], [100, 300]), 400.0)
    expect(answer, ([True, True, False, True], [10, 20, 30, 40]), 100 / 3)
    nothing = call(answer, [False, False], [5, 5],
                   hint='If nothing was right, return float("inf").')  # fmt: skip
    if nothing != float("inf"):
        reject(f'If nothing was right, the price is float("inf"). Yours gave {shorten(nothing)}.')
    return "A cheap method that is seldom right may be the dearest of all."


@exercise("01.3")
def _worked_example(answer: Any) -> str:
    """A ReAct example with two searches that the tool really answered so, and the right answer."""
    from ...agent.tasks import normalize_answer
    from ...agent.trajectory import parse_text
    from ...tinyworld import TinyWorld

    if not isinstance(answer, str):
        reject('Put the whole example into one text between """ and """.')
    try:
        steps = parse_text("", answer.strip()).steps
    except ValueError as error:
        reject(f"This does not read as an episode: {error}. Begin each line with Thought:, "
               "Action: or Observation:, without blanks before it.")  # fmt: skip
    turns = [step.turn for step in steps]
    for number, turn in enumerate(turns, 1):
        if turn.action is None:
            reject(f"Round {number} has no readable action: {turn.problem}.")
        if not turn.thought:
            reject(f"Round {number} has no Thought. The model copies what it sees: show one.")
    if not turns or turns[-1].action != "finish":
        reject("The last round must end with Action: finish[...]. Or it never learns to stop.")
    if len(turns) < 3:
        reject(f"It has {len(turns) - 1} search; this question needs the author and then a year.")
    for number, (step, turn) in enumerate(zip(steps[:-1], turns[:-1], strict=True), 1):
        real = TinyWorld().search().search(turn.argument)
        if step.observation is None or step.observation.strip() != real:
            reject(f"In round {number} the tool really says: {real!r}. Yours: "
                   f"{step.observation!r}.")  # fmt: skip
    if normalize_answer(turns[-1].argument) != "1942":
        reject(
            f"The answer is not {turns[-1].argument!r}. Read your own observations again: is each "
            "about the book's author, or about somebody with the same name?"
        )
    if not any("1942" in (step.observation or "") for step in steps):
        reject(
            "1942 stands in no observation: this example would teach to guess. Search once more."
        )
    return "The model can copy this form, and every observation in it is true."
