"""A model whose template knows tools is asked in native calls and answers in the unified form."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model

from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.episode import Settings, play
from fireact_nb.agent.native import TOOLS
from fireact_nb.agent.prompting import load_prompt
from fireact_nb.agent.tasks import Question
from fireact_nb.agent.trajectory import Step, Trajectory, render_messages
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import encode
from fireact_nb.learning.recipe import Recipe
from fireact_nb.learning.training import fine_tune
from fireact_nb.models.local import LocalChat
from fireact_nb.models.native import ToolChat, check_tools

sys.path.append(str(Path(__file__).parents[1] / "learning"))
from families import make_tokenizer  # noqa: E402

KNOW = ["qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_training"]
BOOK = Trajectory(
    "q", "Who wrote it?",
    (
        Step("Thought: I look it up.\nAction: search[the book]", "The book: by <|im_end|> Ann."),
        Step("Thought: Ann, then.\nAction: finish[Ann]"),
    ),
    answer="Ann",
)  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> Any:
    return tiny_model(max_position_embeddings=2048, vocab_size=1400)


def chat_of(name: str, shipped: Any) -> ToolChat:
    model, tokenizer = shipped
    return ToolChat(model, tokenizer=make_tokenizer(name, tokenizer), name=name)


@pytest.mark.parametrize("name", KNOW)
def test_the_prompt_holds_tools_calls_and_results_and_opens_no_role(name, shipped) -> None:
    chat = chat_of(name, shipped)
    messages = render_messages(BOOK)
    ids = chat.encode(Request(tuple(messages[:3])))
    text = chat.tokenizer.decode(ids)
    assert TOOLS[0]["function"]["description"] in text and "<tool_response>" in text
    assert '"query": "the book"' in text and "Action:" not in text and "Observation:" not in text
    assert "by <| im_end|> Ann." in text
    assert text.rstrip().endswith(("assistant", "</think>"))
    assert chat.name == f"{name}+tools"


@pytest.mark.parametrize("name", KNOW)
def test_thoughts_and_calls_carry_loss_and_results_none(name, shipped) -> None:
    tokenizer = chat_of(name, shipped).tokenizer
    example = encode(BOOK, tokenizer, max_length=9999, tools=True)
    learnt = tokenizer.decode([label for label in example.labels if label != -100])
    calls = ('{"name": "search", "arguments": {"query": "the book"}}', '"answer": "Ann"')
    for said in ("I look it up.", "Ann, then.", *calls):
        assert said in learnt
    assert learnt.count("<|im_end|>") == 2 and "by" not in learnt and "Who" not in learnt


class Scripted(ToolChat):
    """The real prompts, but the words are given."""

    def __init__(self, chat: ToolChat, words: list[str]) -> None:
        self.__dict__ |= chat.__dict__
        self.words, self.prompts = words, list[str]()


def test_an_episode_of_native_calls_is_one_of_the_unified_form(shipped, monkeypatch) -> None:
    words = [
        'I look it up.\n<tool_call>\n{"name": "search", "arguments": {"query": "the book"}}\n'
        "</tool_call>",
        ' So.\n<tool_call>\n{"name": "finish", "arguments": {"answer": "Ann"}}\n</tool_call>',
    ]
    chat = Scripted(chat_of("qwen2_5", shipped), words)

    def said(self, requests, done=None, stop=None, heard=None):
        self.prompts.append(self.tokenizer.decode(self.encode(requests[0])))
        reply = Reply(requests[0].prefix + self.words.pop(0), 9, 9, "stop", 0.0)
        if done:
            done(0, reply)
        return [reply]

    monkeypatch.setattr(LocalChat, "reply", said)

    class Pages:
        name = "pages"

        def search(self, query, salt=""):
            return f"{query}: by Ann."

    prompt = replace(load_prompt("fireact"), cues={2: "I have not solved it."})
    episode = play(Question("q", "Who?", "Ann", "hotpotqa", "dev"), prompt, Pages(), Settings())
    request = next(episode)
    told: list[Reply] = []
    try:
        while True:
            (reply,) = chat.reply([request], lambda _, r: told.append(r))
            request = episode.send(reply)
    except StopIteration as end:
        trajectory = end.value
    assert [step.text for step in trajectory.steps] == [
        "Thought: I look it up.\nAction: search[the book]",
        "Thought: I have not solved it. So.\nAction: finish[Ann]",
    ]
    assert trajectory.steps[0].observation == "the book: by Ann." and trajectory.answer == "Ann"
    assert [r.text for r in told] == [step.text for step in trajectory.steps]
    assert "<tool_response>\nthe book: by Ann.\n</tool_response>" in chat.prompts[1]
    assert chat.prompts[1].endswith("I have not solved it.")


def test_a_model_plays_and_its_words_are_its_own(shipped) -> None:
    chat = chat_of("qwen2_5", shipped)
    request = Request(tuple(render_messages(BOOK)[:1]), max_tokens=12)
    told: list[tuple[int, Reply]] = []
    replies = chat.reply([request] * 2, lambda place, reply: told.append((place, reply)))
    assert [r.text for r in replies] == [r.text for _, r in sorted(told, key=lambda t: t[0])]
    assert replies[0].completion_tokens > 0


def test_an_adapter_trained_on_native_calls_is_played(shipped, tmp_path: Path) -> None:
    model, tokenizer = shipped
    model.save_pretrained(tmp_path / "base")
    make_tokenizer("qwen2_5", tokenizer).save_pretrained(tmp_path / "base")
    recipe = Recipe(kind="lora", rank=2, epochs=1, batch_size=2, tools=True)
    assert Recipe.from_dict(recipe.to_dict()) == recipe and "tools" not in Recipe().to_dict()
    done = fine_tune(tmp_path / "base", [BOOK] * 2, tmp_path / "out", recipe, progress=False)
    text = fine_tune(
        tmp_path / "base", [BOOK] * 2, tmp_path / "text", replace(recipe, tools=False), False
    )
    assert done.tokens > text.tokens + 2 * 300, "the tools stand before each conversation"
    chat = ToolChat(tmp_path / "base", tmp_path / "out")
    (reply,) = chat.reply([Request(tuple(render_messages(BOOK)[:1]), max_tokens=4)])
    assert reply.prompt_tokens > 500 and reply.completion_tokens > 0


@pytest.mark.parametrize(
    ("name", "lacks"), [("gemma3", "no tools"), ("llama3", "no tools"), ("zephyr", "no tools"),
                        ("llama3_1", "no thought beside a call")],
)  # fmt: skip
def test_a_template_that_knows_no_tools_is_named(name, lacks, shipped) -> None:
    with pytest.raises(FireActError, match=f"{lacks}.*text form"):
        check_tools(make_tokenizer(name, shipped[1]))
