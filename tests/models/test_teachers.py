"""Teachers that refuse fields, think aloud and cost money, over real HTTP."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTIONS, Dice, Pages
from servers import Answer, ChatServer, fails, says
from services import FINISH, Reasoner

from fireact_nb.agent.asking import SEVERAL, call_key
from fireact_nb.agent.chat import Reply, Request
from fireact_nb.agent.episode import Settings
from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import forecast, generate
from fireact_nb.errors import FireActError
from fireact_nb.models.api import OpenAIChat
from fireact_nb.models.dialect import split_thinking
from fireact_nb.models.prices import TABLE, Price, find_price

BARE = Prompt("react", "test")
COT = Prompt("cot", "test")


def ask(text: str, **settings: Any) -> Request:
    return Request(({"role": "user", "content": text},), **settings)


def chat_at(url: str, **settings: Any) -> OpenAIChat:
    return OpenAIChat("double", f"{url}/v1", **{"retries": 0, **settings})


# Fields that a model refuses


def test_what_a_reasoning_model_refuses_is_left_out_said_once_and_done_here() -> None:
    with Reasoner("Thought: a\nObservation: b\nAction: finish[c]") as model:
        chat = chat_at(model.url)
        request = ask("Who?", max_tokens=400, temperature=0.7, stop=("\nObservation",), seed=3)
        with pytest.warns(UserWarning) as told:
            first = chat.reply([request])[0]
            again = chat.reply([request])[0]
            other = chat_at(model.url).reply([request])[0]  # remembered for the model
    assert first.text == again.text == other.text == "Thought: a"
    ours = [str(w.message) for w in told if w.category is UserWarning]  # not Python's of a socket
    assert [message.split("takes no ")[1].split(",")[0] for message in ours] == [
        "'max_tokens'", "'temperature'", "'stop'", "'seed'",
    ]  # fmt: skip
    sent = [sorted(call.json.keys() - {"messages", "model"}) for call in model.seen]
    assert len(sent) == 4 + 3 and sent[4:] == [["max_completion_tokens"]] * 3
    assert model.billed == 3
    assert (first.reasoning_tokens, first.finish_reason) == (200, "stop")


REFUSALS = {
    "openai": {"error": {"message": "Unsupported parameter: 'seed' is not supported with this "
                         "model.", "param": "seed", "code": "unsupported_parameter"}},
    "no param": {"error": {"message": "Unknown parameter: 'seed'.", "code": None}},
    "litellm": {"error": {"message": "UnsupportedParamsError: x does not support parameters: "
                          "['seed']", "type": None, "param": None, "code": "400"}},
    "groq": {"error": {"message": "property 'seed' is unsupported, did you mean 'n'?"}},
    "xai": {"error": "Argument not supported on this model: seed"},
    "mistral": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                            "msg": "Extra inputs are not permitted", "input": 3}]},
    "gemini": [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name "
                          "\"seed\": Cannot find field.", "status": "INVALID_ARGUMENT"}}],
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSALS)
def test_a_refusal_is_read_in_the_words_of_many_servers(how: str) -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        status = 422 if how == "mistral" else 400
        return Answer(REFUSALS[how], status) if "seed" in request else says("yes")

    with ChatServer(script) as server, pytest.warns(UserWarning, match="'seed'"):
        chat = OpenAIChat("double", server.url, retries=0)
        assert chat.reply([ask("x", temperature=0.5, stop=("\n",))])[0].text == "yes"
    assert len(server.seen) == 2
    assert server.seen[1].json.keys() == {
        "model", "messages", "temperature", "max_tokens", "stop",
    }  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "temperature must be below 2",
        "max_tokens is too large: 64000. This model supports at most 16384 completion tokens",
        "The model `double` is not supported",
        "Please stop: this region is not supported",
    ],
)
def test_another_complaint_is_no_refusal(said: str) -> None:
    with ChatServer([fails(400, said)]) as server:
        chat = OpenAIChat("double", server.url, retries=0)
        with pytest.raises(FireActError, match="refused the request"):
            chat.reply([ask("x", stop=("\n",))])
    assert len(server.seen) == 1 and not chat.dialect.refused


@pytest.mark.parametrize(
    "said",
    [
        "System role not supported",
        "Only user and assistant roles are supported: role 'system' is not",
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ],
)
def test_a_model_without_a_system_role_is_told_in_the_first_question(said: str) -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        roles = [m["role"] for m in request["messages"]]
        return fails(400, said) if "system" in roles else says("yes")

    messages = [("system", "Be brief."), ("user", "Q"), ("assistant", "A"), ("user", "R")]
    request = Request(tuple({"role": r, "content": c} for r, c in messages))
    with ChatServer(script) as server, pytest.warns(UserWarning, match="'system'"):
        chat = OpenAIChat("double", server.url, retries=0)
        assert [chat.reply([request])[0].text for _ in range(2)] == ["yes", "yes"]
    assert len(server.seen) == 3
    assert [m["content"] for m in server.seen[2].json["messages"]] == ["Be brief.\n\nQ", "A", "R"]


def test_a_long_reply_is_waited_for_as_long_as_it_may_take(monkeypatch: Any) -> None:
    monkeypatch.setattr("fireact_nb.models.api.PATIENCE", 0.2)
    with ChatServer([says("late", delay=0.6)]) as server:
        chat = OpenAIChat("double", server.url, retries=0)
        assert chat.reply([ask("x", max_tokens=400)])[0].text == "late"
        with pytest.raises(FireActError, match="did not answer within 0.2 s"):
            chat.reply([ask("x", max_tokens=2)])
        with pytest.raises(FireActError, match="within 0.1 s"):
            OpenAIChat("double", server.url, retries=0, timeout=0.1).reply([ask("x")])


def test_an_effort_is_sent_and_one_that_does_not_exist_is_no_silent_default() -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        if request["reasoning_effort"] == "none":
            words = "Unsupported value: 'reasoning_effort' does not support 'none'. Use 'low'."
            return fails(400, words, "unsupported_value")
        return says("yes")

    with ChatServer(script) as server:
        low, none = (OpenAIChat("m", server.url, reasoning_effort=e) for e in ("low", "none"))
        assert low.reply([ask("x")])[0].text == "yes"
        assert server.seen[0].json["model"] == "m"
        assert call_key(ask("x"), low) != call_key(ask("x"), OpenAIChat("m", server.url))
        with pytest.raises(FireActError, match="Use 'low'"):
            none.reply([ask("x")])


def test_a_reply_that_spent_its_cap_on_thinking_is_named_and_soon_ends_the_run(
    tmp_path: Path,
) -> None:
    with Reasoner(thinks=500) as model, Journal(tmp_path / "j") as journal:
        chat, few = chat_at(model.url, concurrency=1, prices=(1, 1)), Settings(max_tokens=96)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(FireActError, match="cap of 96 tokens, 96 of them.*max_tokens"):
                generate(QUESTIONS, BARE, chat, Pages(), few, journal, yes=True, progress=False)
            assert model.billed == len(journal.keys("call")) == SEVERAL
            played = generate(
                QUESTIONS[:3], BARE, chat, Pages(), replace(few, max_tokens=900), journal,
                yes=True, progress=False,
            )  # fmt: skip
    assert [t.state for t in played] == ["finished"] * 3
    assert played[0].meta == {"reasoning_tokens": 500}


def test_one_such_reply_ends_its_episode_alone() -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        tired = "thing 1?" in request["messages"][0]["content"]
        return says("", "length") if tired else says(FINISH)

    with ChatServer(script) as server, pytest.warns(UserWarning, match="1 of 3 .* out of tokens"):
        chat = OpenAIChat("double", server.url, concurrency=1)
        played = generate(QUESTIONS[:3], BARE, chat, Pages(), progress=False)
    assert [t.state for t in played] == ["finished", "out of tokens", "finished"]


# Thinking aloud


@pytest.mark.parametrize(
    ("written", "thinking", "said", "broken"),
    [
        ("<think>\nHm.\n</think>\n\nYes", "Hm.", "Yes", False),
        ("Hm, so\n</think>\nYes", "Hm, so", "Yes", False),
        ("<think></think>Yes", "", "Yes", False),
        ("<think>Hm, and", "Hm, and", "", True),
        ("Yes <think>or</think>no", "", "Yes no", False),
        ("<think>a</think>Yes<think>b</think>", "a", "Yes", False),
        ("I think <b> so", "", "I think <b> so", False),
    ],
)
def test_thinking_is_told_from_the_answer(
    written: str, thinking: str, said: str, broken: bool
) -> None:
    assert split_thinking(written) == (thinking, said, broken)


def test_thinking_reaches_neither_the_turn_nor_the_next_request(tmp_path: Path) -> None:
    thought = "<think>Action: finish[wrong]\nObservation: no</think>\n"

    def script(request: dict[str, Any], number: int) -> Answer:
        text = FINISH if number else "Thought: t\nAction: search[y]"
        answer = says(thought + text)
        answer.body["choices"][0]["message"]["reasoning_content"] = "And more."
        return answer

    with ChatServer(script) as server, Journal(tmp_path / "j") as journal:
        chat = OpenAIChat("double", server.url)
        [played] = generate(QUESTIONS[:1], BARE, chat, Pages(), journal=journal, progress=False)
        kept = [journal.get(key, "call") for key in journal.keys("call")]
    assert (played.rounds, played.answer) == (2, "x")
    assert "think" not in json.dumps(server.seen[1].json)
    assert [k and k["thinking"].startswith("And more.\nAction") for k in kept] == [True, True]


def test_a_stop_that_cuts_the_thinking_is_sent_no_more() -> None:
    def script(request: dict[str, Any], number: int) -> Answer:
        return says("<think>Then comes" if "stop" in request else "<think>x</think>Yes")

    with ChatServer(script) as server, pytest.warns(UserWarning, match="'stop'"):
        chat = OpenAIChat("double", server.url)
        texts = [chat.reply([ask("x", stop=("\nObservation",))])[0].text for _ in range(2)]
    assert texts == ["", "Yes"]


def test_a_journal_of_replies_without_thinking_is_as_before() -> None:
    fields = {
        "text": "t", "prompt_tokens": 1, "completion_tokens": 2, "finish_reason": "stop",
        "seconds": 0.5, "usd": 0.0,
    }  # fmt: skip
    assert Reply.from_dict(fields).to_dict() == fields
    thought = Reply("t", 1, 2, "stop", 0.5, 0.0, 1, "hm")
    assert Reply.from_dict(thought.to_dict()) == thought


# Money


def test_a_price_is_found_by_endpoint_and_model_and_has_a_date(tmp_path: Path) -> None:
    openai = "https://api.openai.com/v1"
    known = find_price("gpt-6-luna", openai)
    assert known and (known.prompt, known.completion, known.batch) == (0.1, 0.5, 0.5)
    assert known.as_of and known.as_of >= date(2026, 1, 1) and str(known.as_of) in str(known)
    assert find_price("gpt-4o-mini-2024-07-18", openai) == find_price("gpt-4o-mini", openai)
    assert find_price("gpt-6-luna", "https://elsewhere/v1") is None
    assert find_price("gpt-6-nova", openai) is None
    own = tmp_path / "prices.toml"
    own.write_text('["https://api.openai.com/v1".gpt-6-luna]\nprompt = 3\ncompletion = 4\n')
    mine = find_price("gpt-6-luna", openai, own)
    assert mine and (mine.prompt, mine.completion, mine.as_of) == (3.0, 4.0, None)
    assert find_price("gpt-4.1", openai, own) == find_price("gpt-4.1", openai)


@pytest.mark.parametrize("entry", ["prompt = 1", "prompt = -1\ncompletion = 1", "prompt = 'x'"])
def test_a_readers_price_that_is_none_is_named(entry: str, tmp_path: Path) -> None:
    own = tmp_path / "prices.toml"
    own.write_text(f'["http://a/v1".m]\n{entry}\n')
    with pytest.raises(FireActError, match="prices.toml.*'m'.*is no price"):
        find_price("m", "http://a/v1", own)
    own.write_text("[[[")
    with pytest.raises(FireActError, match="is not TOML"):
        find_price("m", "http://a/v1", own)


def test_every_price_of_the_package_says_when_and_where_it_was_read() -> None:
    import tomllib

    for endpoint, models in tomllib.loads(TABLE.read_text("utf-8")).items():
        assert endpoint.startswith("https://")
        for model in models:
            price = find_price(model, endpoint)
            assert price and price.as_of and price.source and price.prompt <= price.completion


def test_a_chat_knows_its_price(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def facts(**settings: Any) -> tuple:
        chat = OpenAIChat("gpt-6-luna", api_key="sk-0123456789", **settings)
        return chat.prices, chat.may_cost

    assert facts() == ((0.1, 0.5), True)
    assert facts(prices=(1, 2)) == ((1, 2), True)
    assert facts(prices=(0, 0)) == ((0, 0), False)
    assert facts(base_url="https://x.example/v1") == (None, True)
    assert facts(base_url="http://localhost:8000/v1") == (None, False)
    (tmp_path / "p").write_text('["https://x.example/v1".gpt-6-luna]\nprompt=1\ncompletion=1\n')
    monkeypatch.setenv("FIREACT_PRICES", str(tmp_path / "p"))
    assert facts(base_url="https://x.example/v1") == ((1.0, 1.0), True)
    assert str(Price(1, 2)) == "$1 and $2 for a million prompt and completion tokens (given by you)"


class Paid(Dice):
    """What costs, and says so."""

    may_cost = True
    prices: tuple[float, float] | None = (10.0, 100.0)


def test_nothing_paid_is_asked_without_a_yes(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        chat = Paid(local=False)
        few = QUESTIONS[:4]
        with pytest.raises(FireActError, match=r"may cost money, for dice.*4 episodes.*\$.*yes=Tr"):
            generate(few, BARE, chat, Pages(), journal=journal, progress=False)
        assert not chat.asked and not len(journal)
        done = generate(few, BARE, chat, Pages(), journal=journal, yes=True, progress=False)
        # What the journal holds costs nothing, so nobody need agree to it.
        assert (
            generate(few, BARE, Paid(local=False), Pages(), journal=journal, progress=False) == done
        )


def test_a_search_that_costs_needs_a_yes_too_but_not_for_a_method_that_does_not_search() -> None:
    class PaidPages(Pages):
        may_cost = True

    with pytest.raises(FireActError, match="may cost money, for pages may"):
        generate(QUESTIONS[:2], BARE, Dice(), PaidPages(), progress=False)
    assert generate(QUESTIONS[:2], COT, Dice(), PaidPages(), progress=False)


def test_a_cap_on_an_unknown_price_is_refused() -> None:
    chat = Paid(local=False)
    chat.prices = None
    with pytest.raises(FireActError, match="price of dice is unknown"):
        generate(QUESTIONS[:2], BARE, chat, Pages(), max_usd=1.0, yes=True, progress=False)
    assert not chat.asked


def test_a_forecast_tells_the_most_a_thinking_model_may_take() -> None:
    few, many = (
        forecast(QUESTIONS, COT, (1.0, 10.0), settings=Settings(max_tokens=n)) for n in (45, 2045)
    )
    assert few.usd == few.most_usd == many.usd
    assert many.most_usd is not None and many.usd is not None
    assert many.most_usd - many.usd == pytest.approx(40 * 2000 * 10 / 1e6)
