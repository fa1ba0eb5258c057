"""Notebook 03's exercises: a right answer to each, and wrong ones with the message they get."""

from __future__ import annotations

from typing import Any

from fireact_nb.agent.tasks import normalize_answer


def cot_to_react(reply, form="Thought: {}\nAction: finish[{}]", strip=True, one_line=True):
    reasoning, _, answer = reply.partition("\nAnswer:")
    reasoning = reasoning.removeprefix("Thought:").strip()
    reasoning = " ".join(reasoning.split()) if one_line else reasoning
    return form.format(reasoning, answer.strip() if strip else answer)


def to_sharegpt(row, roles=("human", "gpt"), name="conversations", fields=("from", "value")):
    speaker = {"user": roles[0], "assistant": roles[1], "system": "system"}
    who, what = fields
    return {name: [{who: speaker[m["role"]], what: m["content"]} for m in row["messages"]]}


def no_system(row):
    speaker = {"user": "human", "assistant": "gpt"}
    return {
        "conversations": [
            {"from": speaker[m["role"]], "value": m["content"]} for m in row["messages"]
        ]
    }


def no_observation(row):
    rest = [m for m in row["messages"] if not m["content"].startswith("Observation")]
    return to_sharegpt({"messages": rest})


def mask_of(tokens, opening=False, ending=True, start="<|assistant|>"):
    mask, agent = [], False
    for token in tokens:
        mask.append((agent and (ending or token != "<|end|>")) or (opening and token == start))
        agent = (agent or token == start) and token != "<|end|>"
    return mask


def last_turn(tokens):
    last = max((i for i, t in enumerate(tokens) if t == "<|assistant|>"), default=len(tokens))
    return [i > last for i in range(len(tokens))]


def leaks(trajectories, questions):
    ids = {q.id for q in questions}
    words = {normalize_answer(q.question) for q in questions}
    return [
        t for t in trajectories if t.question_id in ids or normalize_answer(t.question) in words
    ]


RIGHT = {"03.1": cot_to_react, "03.2": to_sharegpt, "03.3": mask_of, "03.4": leaks}
WRONG: list[tuple[str, Any, str]] = [
    ("03.1", lambda reply: f"{reply}\nAction: finish[1942]", "'Answer:' is still in it"),
    ("03.1", lambda reply: cot_to_react("Thought: " + reply), "in it twice"),
    ("03.1", lambda reply: cot_to_react(reply, strip=False), "no blank inside"),
    ("03.1", lambda reply: cot_to_react(reply, "Thought: {}\nAction: finish({})"), "square brack"),
    ("03.1", lambda reply: cot_to_react(reply, one_line=False), "on two lines"),
    ("03.1", lambda reply: cot_to_react(reply, "{}\nAction: finish[{}]"), "is wanted"),
    ("03.1", lambda reply: cot_to_react("Thought: " + reply.removeprefix("Thought: "))
     if reply.startswith("Thought") else cot_to_react(reply, "{}\nAction: finish[{}]"),
     "without 'Thought:'"),
    ("03.1", lambda reply: ("Thought", "1942"), "one text"),
    ("03.2", lambda row: to_sharegpt(row, ("user", "assistant")), "'human' and 'gpt'"),
    ("03.2", lambda row: to_sharegpt(row, name="messages"), "key 'conversations'"),
    ("03.2", lambda row: to_sharegpt(row, fields=("role", "content")), "'from' and 'value'"),
    ("03.2", no_observation, "observation is a message"),
    ("03.2", no_system, "the role 'system'"),
    ("03.2", lambda row: row | to_sharegpt(row), "still in the row"),
    ("03.3", lambda tokens: mask_of(tokens, ending=False), "when to stop|teaches it to stop"),
    ("03.3", lambda tokens: mask_of(tokens, opening=True), "program writes that mark"),
    ("03.3", lambda tokens: [m or t == "<|end|>" for t, m in
                             zip(tokens, mask_of(tokens), strict=True)], "not the agent's"),
    ("03.3", last_turn, "Only the last turn"),
    ("03.3", lambda tokens: [i > 4 and t[:2] != "<|" or m for i, (t, m) in
                             enumerate(zip(tokens, mask_of(tokens), strict=True))], "'all turns'"),
    ("03.3", lambda tokens: [False] * len(tokens), "empty mask"),
    ("03.3", lambda tokens: ["search[x]", "<|end|>"], "one True or False for each"),
    ("03.4", lambda ts, qs: [t for t in ts if t.question_id in {q.id for q in qs}],
     "id of its own and the same words"),
    ("03.4", lambda ts, qs: [t for t in ts if t.question_id in {q.id for q in qs}
                             or t.question in {q.question for q in qs}], "normalize_answer"),
    ("03.4", lambda ts, qs: [t for t in ts if normalize_answer(t.question) in
                             {normalize_answer(q.question) for q in qs}], "with the id"),
    ("03.4", lambda ts, qs: [t for t in ts if t not in leaks(ts, qs)], "those that are clean"),
    ("03.4", lambda ts, qs: [t for t in ts if t.question_id in {q.id for q in qs} or any(
        normalize_answer(q.question) in normalize_answer(t.question) for q in qs)],
     "another question"),
    ("03.4", lambda ts, qs: bool(leaks(ts, qs)), "in a list"),
]  # fmt: skip
