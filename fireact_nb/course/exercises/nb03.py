"""Checks of the exercises in notebook 03, format unification."""

from __future__ import annotations

from numbers import Real
from typing import Any

from .checks import call, exercise, expect, reject, shorten


@exercise("03.1")
def _cot_to_react(answer: Any) -> str:
    """A CoT reply as one ReAct turn: reasoning on one line, then finish[answer]."""
    reply = "Thought: The author is Leo Kolin.\nHe was born in 1942.\nAnswer: 1942"
    wanted = "Thought: The author is Leo Kolin. He was born in 1942.\nAction: finish[1942]"
    got = call(answer, reply)
    if not isinstance(got, str):
        reject(f"Return one text of two lines. Yours gave {shorten(got)}.")
    if "Answer:" in got:
        reject("'Answer:' is still in it. The action finish[...] takes the place of that line.")
    if got.count("Thought:") > 1:
        reject("'Thought:' is in it twice: the reply has one already. Take it off first.")
    if "finish[ 1942]" in got or "finish(" in got:
        reject("The action reads finish[1942]: square brackets, and no blank inside.")
    if "Kolin.\n" in got:
        reject("The reasoning still stands on two lines. Put it on one.")
    expect(answer, (reply,), wanted)
    expect(answer, ("It is 7.\nAnswer: 7",), "Thought: It is 7.\nAction: finish[7]",
           "This reply came without 'Thought:', and the result always has it.")  # fmt: skip
    expect(answer, ("Thought: 7 is before 9.\nAnswer: Golden Jatin ",),
           "Thought: 7 is before 9.\nAction: finish[Golden Jatin]",
           "An answer may have several words, and a blank behind it.")  # fmt: skip
    expect(
        answer,
        ("Thought: The word Answer: may stand here.\nAnswer: 7",),
        "Thought: The word Answer: may stand here.\nAction: finish[7]",
        "Only a line that starts with 'Answer:' gives the answer; you split inside the reasoning.",
    )
    expect(answer, ("Thought: My Thought: is short.\nAnswer: 7",),
           "Thought: My Thought: is short.\nAction: finish[7]",
           "Take off 'Thought:' at the beginning only.")  # fmt: skip
    return "Now a student can answer in its first round, if it believes that it knows."


@exercise("03.2")
def _to_sharegpt(answer: Any) -> str:
    """A chat row in the oldest ShareGPT form: conversations, from, value."""
    turns = [("system", "Be brief."), ("user", "Who?"), ("assistant", "Action: search[x]"),
             ("user", "Observation: y"), ("assistant", "Action: finish[y]")]  # fmt: skip
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    got = call(answer, {"messages": row["messages"][1:]})
    if not isinstance(got, dict) or "conversations" not in got:
        reject("Return a dictionary with the key 'conversations'. Yours gave " + shorten(got) + ".")
    if any("role" in m or "content" in m for m in got["conversations"]):
        reject("The fields of a message are called 'from' and 'value' here.")
    if {m.get("from") for m in got["conversations"]} & {"user", "assistant"}:
        reject("The speakers are called 'human' and 'gpt' here. Translate the roles.")
    if len(got["conversations"]) != 4:
        reject(f"4 messages went in and {len(got['conversations'])} came out. The observation is a "
               "message like the others: keep it.")  # fmt: skip
    speaker = {"user": "human", "assistant": "gpt", "system": "system"}
    wanted = {"conversations": [{"from": speaker[r], "value": t} for r, t in turns]}
    if "messages" in got:
        reject("'messages' is still in the row beside 'conversations'. Return only the new list.")
    expect(answer, (row,), wanted, "A conversation may open with a message of the role 'system'.")
    return "Formats with roles say the same thing in other words."


@exercise("03.3")
def _mask_of(answer: Any) -> str:
    """Which tokens carry loss: the agent's words and its end-of-turn token, in every turn."""
    tokens = ["<|user|>", "Who", "?", "<|end|>", "<|assistant|>", "search[x]", "<|end|>"]
    tokens += ["<|user|>", "y", "<|end|>", "<|assistant|>", "finish", "[y]", "<|end|>"]
    marks = [False] * 5 + [True] * 2 + [False] * 4 + [True] * 3
    got = call(answer, tokens)
    if not isinstance(got, (list, tuple)) or len(got) != len(tokens):
        reject(f"Return a list with one True or False for each of the {len(tokens)} tokens. Yours "
               f"gave {shorten(got)}.")  # fmt: skip
    got = [bool(mark) for mark in got]
    if not any(got):
        reject("Nothing is learnt at all: an empty mask. Where does the agent's turn begin?")
    if not got[6] and not got[13]:
        reject("The agent's <|end|> is not learnt. Then nothing teaches it to stop: it would write "
               "the observation itself.")  # fmt: skip
    if got[4] or got[10]:
        reject("<|assistant|> is learnt. The program writes that mark; the agent's turn begins "
               "behind it.")  # fmt: skip
    if got[3] or got[9]:
        reject("The <|end|> behind the question or the observation is learnt. It is not the "
               "agent's.")  # fmt: skip
    if got[8]:
        reject("The observation is learnt: that is the mask 'all turns'. The tool wrote it.")
    if not got[5]:
        reject("Only the last turn is learnt. The searches are the agent's words, too.")
    if got != marks:
        place = next(i for i, (a, b) in enumerate(zip(got, marks, strict=True)) if a != b)
        reject(f"Token {place}, {tokens[place]!r}, should be {marks[place]}.")
    expect(answer, (["<|user|>", "Hm", "<|end|>"],), [False] * 3, "Here the agent says nothing.")
    expect(answer, (["<|assistant|>", "Me", "<|end|>"],), [False, True, True],
           "An agent may speak first.")  # fmt: skip
    return "Your mask teaches the agent's words, all of its turns, and when to stop."


@exercise("03.4")
def _leaks(answer: Any) -> str:
    """Trajectories that answer a held-out question, by its id or by its normalised words."""
    from ...agent.tasks import Question
    from ...agent.trajectory import Step, Trajectory

    def played(number: str, text: str) -> Trajectory:
        return Trajectory(number, text, (Step.of("So", "finish", "x"),), answer="x")

    held = [Question("dev-1", "Who made the film Jasin?", "x", "hotpotqa", "dev"),
            Question("dev-2", "Where is Hosel?", "y", "hotpotqa", "dev"),
            Question("dev-3", "Is Hosel older than Sobel?", "no", "hotpotqa", "dev")]  # fmt: skip
    by_id, by_words = played("dev-1", "Who directed Jasin?"), played("a", "Where is Hosel?")
    by_form, clean = played("b", "who made film Jasin"), played("c", "Who made the film Jasin Two?")
    got = call(answer, [by_id, clean], held)
    if isinstance(got, Real):
        reject("Return the trajectories that leak, in a list: one has to look at them.")
    got = list(got)
    if by_id not in got and clean in got:
        reject("You returned those that are clean. Wanted are those that leak.")
    if by_id not in got:
        reject("One with the id of a held-out question got through. Compare t.question_id, too.")
    found = list(call(answer, [by_words, by_form, clean], held))
    if by_words not in found:
        reject("One with an id of its own and the same words got through. Compare t.question, too.")
    if by_form not in found:
        reject("'who made film Jasin' got through. Capitals, articles and the question mark must "
               "not matter: use normalize_answer on both sides.")  # fmt: skip
    if clean in got or clean in found:
        reject("'Who made the film Jasin Two?' is another question. Compare whole questions, not "
               "parts of them.")  # fmt: skip
    other_way = played("d", "Is Sobel older than Hosel?")
    if other_way in list(call(answer, [other_way], held)):
        reject(
            "'Is Sobel older than Hosel?' has the words of a held-out question in another order "
            "and asks something else. Compare the texts, not the bags of their words."
        )
    part, tenth = played("e", "Who made the film?"), played("dev-10", "Who is Ivo?")
    if part in list(call(answer, [part], held)):
        reject("'Who made the film?' is only a part of a held-out question. Compare whole ones.")
    if tenth in list(call(answer, [tenth], held)):
        reject("'dev-10' is not 'dev-1'. Compare whole ids.")
    if len(got) != 1 or len(found) != 2:
        reject("A leak is reported twice. Ask once for each trajectory: id or words.")
    return "The check is cheap, and without it no later number means anything."
