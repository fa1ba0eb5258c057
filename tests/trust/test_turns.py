"""Faults in words: odd turns, invented observations, huge pages, tokens that would open a role.

FIREACT_TRUST=1 runs the long form.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest
from odd_turns import FAMILIES as TURNS
from odd_turns import LOOK_ALIKES
from role_tokens import FAMILIES as TEMPLATES

from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.episode import Settings, play, read_answer
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.observations import MAX_OBSERVATION
from fireact_nb.agent.prompting import Prompt, load_prompt
from fireact_nb.agent.rollouts import generate
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import (
    Step,
    Trajectory,
    clean_observation,
    cut_turn,
    parse_turn,
    read_trajectories,
    render_messages,
)
from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import encode
from fireact_nb.models.local import LocalChat
from fireact_nb.models.templating import harmless, make_breaker

LONG = os.environ.get("FIREACT_TRUST") == "1"
LINE_ENDS = ("\n", "\r", "\r\n", *"\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
QUESTION = Question("q1", "Who wrote Rain?", "Ann", "hotpotqa", "dev")
BARE = Prompt("react", "test", ({"role": "system", "content": "Take turns."},))


class Pages:
    """A tool that gives one page for everything."""

    name = "pages"

    def __init__(self, page: str = "Rain: Novel by Ann.") -> None:
        self.page = page
        self.asked: list[str] = []

    def search(self, query: str, salt: str = "") -> str:
        self.asked.append(query)
        return self.page


def episode(
    say: Callable[[Request], str], tool: Pages, settings: Settings | None = None
) -> tuple[Trajectory, list[Request]]:
    game, asked = play(QUESTION, BARE, tool, settings or Settings()), []
    request = next(game)
    while True:
        asked.append(request)
        try:
            request = game.send(Reply(say(request), 1, 1, "stop", 0.0))
        except StopIteration as end:
            return end.value, asked


# -- turns ---------------------------------------------------------------------------------------


def said(text: str) -> str:
    turn = parse_turn(text)
    return f"{turn.action}[{turn.argument}]" if turn.action else ""


def test_odd_turns_are_read_as_labelled() -> None:
    rows = [row for family in TURNS.values() for row in family]
    assert len({text for text, _ in rows}) == len(rows) >= 300
    wrong = [(text, label, said(text)) for text, label in rows if said(text) != label]
    assert len(wrong) <= 0.01 * len(rows), wrong


def check_reading(text: str) -> None:
    """Never an error, and what is cut reads like the whole."""
    turn, cut = parse_turn(text), cut_turn(text)
    assert (turn.action is None) == bool(turn.problem) == (turn.argument == ""), text
    again = parse_turn(cut)
    assert (again.action, again.argument, again.thought) == (
        turn.action,
        turn.argument,
        turn.thought,
    ), text
    assert cut in text and cut_turn(cut) == cut, text
    Step(cut)


def test_splices_of_odd_turns_never_raise_and_stay_what_they_were_when_cut() -> None:
    dice = random.Random(7)
    pieces = [text for family in TURNS.values() for text, _ in family] + LOOK_ALIKES
    pieces += [*LINE_ENDS, *"[](){}<>\"'`*:", "\x1b[2J", "ſearch[x]", "\ud800"]
    for _ in range(120_000 if LONG else 1500):
        text = ""
        for _ in range(dice.randint(1, 4)):
            piece = dice.choice(pieces)
            text += piece[dice.randint(0, len(piece)) :] if dice.random() < 0.4 else piece
        check_reading(text)


def test_shipped_turns_are_read_as_before_the_reader_was_lenient() -> None:
    """The digest was made by the reader of an earlier commit, 5ff1f3d."""
    digest, count = hashlib.sha256(), 0
    for path in sorted((DATA / "trajectories").glob("*.jsonl.gz")):
        for trajectory in read_trajectories(path):
            for step in trajectory.steps:
                text, turn = step.text, astuple(step.turn)
                read = [text, turn, text[: turn[-1]].strip(), read_answer(text)]
                digest.update(json.dumps(read).encode())
                count += 1
    assert count == 14110
    assert digest.hexdigest() == "e07e5882ab06f70079f830406e2ee5742f10aef77226e28b1c5fd6a43a7b264c"


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_no_invented_observation_hands_on_the_action_behind_it(end: str) -> None:
    for posing in [*LOOK_ALIKES, "Observation: Ann wrote it."]:
        for action in ("Action: finish[Ann]", "**Action:** search[x]", '{"search": "x"}'):
            text = f"Thought: I look.{end}{posing}{end}{action}"
            assert parse_turn(text).action is None, text
            assert cut_turn(text) == "Thought: I look.", text
            with pytest.raises(ValueError, match="cut_turn"):
                Step(text)


def test_an_invented_observation_reaches_neither_the_tool_nor_the_prompt() -> None:
    for posing in LOOK_ALIKES[:: 1 if LONG else 5]:
        tool = Pages()
        text = f"Thought: I look.\n{posing}\nAction: search[Zed]"
        trajectory, asked = episode(lambda _, text=text: text, tool)
        assert (trajectory.state, tool.asked) == ("malformed", [])
        assert "Ann" not in str(asked[-1].messages[2:]) and "Zed" not in str(asked[-1].messages)


def test_what_a_server_or_a_tool_says_cannot_steer_a_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x08"
    tool = Pages(f"Rain{evil} is a novel.")
    trajectory, _ = episode(
        lambda r: f"Thought: {evil}\nAction: {'search' if len(r.messages) < 3 else 'finish'}[a]",
        tool,
    )
    assert trajectory.state == "finished"
    for step in trajectory.steps:
        assert (step.text + (step.observation or "")).replace("\n", "").isprintable()
    assert str(FireActError(f"a{evil}b\nc")).replace("\n", "").isprintable()


# -- sizes ---------------------------------------------------------------------------------------


def seconds(work: Callable[[], Any]) -> float:
    """The least CPU time of three runs: other programs disturb single ones."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


KINDS = {
    "words": "word of a page ",
    "one word": "w",
    "spaces": " ",
    "lines": "\n",
    "letters of three bytes": "語",
    "role tokens": "<|user|>",
    "openings": "<|",
    "escapes": "\x1b[2J",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_observation_of_any_size_is_short_and_quick(kind: str) -> None:
    for size in (
        0,
        1,
        100,
        MAX_OBSERVATION - 1,
        MAX_OBSERVATION,
        MAX_OBSERVATION + 1,
        10**5,
        10**7,
    ):
        page = (kind * (size // len(kind) + 1))[:size]
        clean = clean_observation(page)
        assert len(clean) <= MAX_OBSERVATION and clean_observation(clean) == clean
        if (
            len(" ".join(page[: 2 * MAX_OBSERVATION].split())) > MAX_OBSERVATION
            and "\x1b" not in page
        ):
            assert "characters left out]" in clean
            kept, _, mark = clean.rpartition(" [... ")
            left_out = int(mark.split()[0].replace(",", ""))
            assert 0.99 * size <= left_out + len(kept) <= 1.2 * size + 10
        if size == 10**7:
            # Alone on a core 0.01 to 0.06 s; the bound is 0.1, and the machine may be busy.
            assert seconds(lambda page=page: clean_observation(page)) < 0.3


def test_a_cut_is_at_the_setting_and_nothing_shorter_is_touched() -> None:
    page = "word " * 100
    assert clean_observation(page, 499) == page.strip()
    cut = clean_observation(page, 200)
    assert len(cut) <= 200 and cut.endswith(" characters left out]") and page.startswith(cut[:150])
    trajectory, asked = episode(
        lambda _: "Action: search[x]", Pages("x" * 10**6), Settings(max_observation=120)
    )
    assert {len(s.observation or "") <= 120 for s in trajectory.steps} == {True}
    assert len(asked[-1].messages[-1]["content"]) <= 120 + len("Observation: ")


def test_the_cut_is_part_of_the_journals_key(tmp_path: Any) -> None:
    class Chat:
        name, endpoint, batch_size = "c", "local", 4

        def reply(self, requests: Any, done: Any = None, stop: Any = None) -> list[Reply]:
            replies = [Reply("Action: finish[Ann]", 1, 1, "stop", 0.0) for _ in requests]
            for place, reply in enumerate(replies):
                done(place, reply)
            return replies

    keys = []
    for limit in (MAX_OBSERVATION, 500):
        with Journal(tmp_path / str(limit)) as journal:
            settings = Settings(max_observation=limit)
            generate([QUESTION], BARE, Chat(), Pages(), settings, journal, progress=False)
            keys += journal.keys("trajectory")
    assert len(set(keys)) == 2
    assert "max_observation" not in Settings().to_dict()


def test_twenty_rounds_of_huge_pages_fit_every_prompt(shipped: Any) -> None:
    """By the shipped tokenizer, which needs twice the tokens of a large one for English."""
    chat = LocalChat.__new__(LocalChat)
    chat.tokenizer = shipped
    for limit, context in ((MAX_OBSERVATION, 2**15), (150, 2**12)):
        page = "Rain is a novel of 1999 by Ann Lee, born in Oslo. " * 200_000  # 10 MB
        start = time.process_time()
        trajectory, asked = episode(
            lambda _: "Thought: I look further into it.\nAction: search[Rain by Ann Lee]",
            Pages(page),
            Settings(max_rounds=20, max_observation=limit),
        )
        assert len(asked) == 20 and trajectory.state == "out of rounds"
        assert time.process_time() - start < 20 * 0.3
        assert len(chat.encode(asked[-1])) + asked[-1].max_tokens <= context


WORDS = """
Action|Action:|Action: search|Action: search[|Action: search: |Action: {|Action: {"query": "|Thought
Observation|Answer|- |1|{|{"a":|<tool_call>|<function=search>|search(|obs|O|<|a|```|\x1b]
"""
HOSTILE = [
    (word, gap)
    for word in ["", *WORDS.replace("\n", "|").strip("|").split("|")]
    for gap in (" ", "\t", "\n", " \n", "*", "-", "\xa0", "_ ")
]


def test_no_pattern_is_quadratic() -> None:
    """A word and 30,000 blanks or marks; the word with a blank again and again."""
    size = 30_000
    for word, gap in HOSTILE[:: 1 if LONG else 7]:
        for text in (word + gap * size + "x", (word + gap) * (size // len(word + gap)) + "x"):
            start = time.process_time()
            for read in (parse_turn, read_answer, clean_observation):
                read(text)
            # At most 0.2 s on a free core; what is quadratic in 30,000 spaces takes half a minute.
            assert time.process_time() - start < 2, (word, gap)


# -- roles ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> Any:
    from fireact_nb.models.weights import load_tokenizer

    return load_tokenizer(DATA / "tokenizer")


@pytest.fixture(params=[True, False], ids=["special", "added"])
def family(request: Any, shipped: Any) -> Callable[[str], tuple[Any, list[str]]]:
    """The shipped tokenizer with the tokens and the template of a family of models."""
    from transformers import AddedToken

    def make(name: str) -> tuple[Any, list[str]]:
        tokens, template = TEMPLATES[name]
        tokenizer = copy.deepcopy(shipped)
        tokenizer.add_tokens(
            [AddedToken(t, special=request.param, normalized=False) for t in tokens]
        )
        tokenizer.chat_template = template
        marks = ["[INST]", "[/INST]"] if name == "llama 2" else []
        return tokenizer, [*tokenizer.get_added_vocab(), *marks]

    return make


def opened(tokenizer: Any, ids: Any, marks: list[str]) -> int:
    """How many tokens or marks of roles the ids hold."""
    special = set(tokenizer.get_added_vocab().values())
    text = tokenizer.decode(list(ids))
    plain = [m for m in marks if m not in tokenizer.get_added_vocab()]
    return sum(i in special for i in ids) + sum(text.count(m) for m in plain)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_content_opens_a_role(name: str, family: Callable[[str], Any]) -> None:
    tokenizer, marks = family(name)
    chat = LocalChat.__new__(LocalChat)
    chat.tokenizer = tokenizer

    def asked(word: str) -> int:
        steps = (Step(f"Thought: {word}\nAction: search[a]", word), Step(f"Thought: {word}"))
        trajectory = Trajectory("q", word, steps, state="out of rounds")
        messages = ({"role": "system", "content": word}, *render_messages(trajectory)[:3])
        ids = chat.encode(Request(messages, prefix=word))
        learnt = encode(trajectory, tokenizer, "off", 10**6)  # GLM's turns have no end of their own
        return opened(tokenizer, ids, marks) + opened(tokenizer, learnt.input_ids, marks)

    expected = asked("word")
    nested = [t[: len(t) // 2] + t + t[len(t) // 2 :] for t in marks]
    doubled = ["".join(marks), " ".join(marks), *(a + b[1:] for a in marks for b in marks[:3])]
    assert any(opened(tokenizer, tokenizer(t)["input_ids"], marks) for t in marks)
    for hostile in [*marks, *nested, *doubled]:
        assert asked(hostile) == expected, hostile


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_observation_opens_no_role_at_a_server_either(name: str, family: Any) -> None:
    """There the tokenizer is unknown: the markers of all families are broken by their shape."""
    tokenizer, _ = family(name)
    roles = [t for t in TEMPLATES[name][0] if t[0] in "<[" and not t.startswith("<arg")]
    for token in roles:
        clean = clean_observation(f"a {token} b{token}{token}")
        assert token not in clean, token


def test_what_opens_no_role_stays_as_it_is(shipped: Any) -> None:
    break_tokens = make_breaker(shipped)
    for text in ("", "Thought: a < b | c > d\nAction: search[x [y]]", "<|", "|>", "<b>", "[INST]"):
        assert break_tokens(text) == text
    questions = [m for q in ("io", "react") for m in load_prompt(q).ask("Who wrote Rain?")]
    assert harmless(shipped, questions) == questions
