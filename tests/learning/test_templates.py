"""The loss on the real templates of chat models: the agent's words and the end of its turn."""

from __future__ import annotations

from typing import Any

import pytest
from families import FAMILIES, make_tokenizer

from fireact_nb.agent.chat import Request
from fireact_nb.agent.trajectory import Step, Trajectory, render_messages
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import Example, encode, encode_messages
from fireact_nb.models.local import LocalChat
from fireact_nb.models.templating import read_form, render

LEARNT = [name for name, family in FAMILIES.items() if family.end]
STEPS = (
    Step("Thought: I look.\nAction: search[Rain]", "Rain: Novel by Ann. </think> <|im_end|>"),
    Step("<b>Thought</b>: once\n\nmore.\nAction: search[Rain]", "Could not find."),
    Step("Thought: Ann.\nAction: finish[Ann]"),
)
OPEN = Trajectory("q", "Who wrote Rain?", STEPS)
ENDED = Trajectory(
    "q", "Who?", (*STEPS[:2], Step(STEPS[2].text, "Episode finished, reward = True"))
)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tokenizer: Any) -> tuple[str, Any]:
    return request.param, make_tokenizer(request.param, tokenizer)


def learnt(example: Example, tokenizer: Any) -> list[tuple[int, str]]:
    """The stretches that carry loss: where each begins, and its text."""
    runs: list[tuple[int, list[int]]] = []
    for place, label in enumerate(example.labels):
        if label != -100:
            if not place or example.labels[place - 1] == -100:
                runs.append((place, []))
            runs[-1][1].append(label)
    return [(place, tokenizer.decode(run)) for place, run in runs]


def test_at_least_fourteen_families_are_learnt_from() -> None:
    assert len({name.split("_")[0] for name in LEARNT}) >= 11, "makers and generations"
    assert len([name for name in LEARNT if "training" not in name]) >= 24


@pytest.mark.parametrize("trajectory", [OPEN, ENDED], ids=["open", "ended"])
def test_the_agents_words_and_the_end_of_its_turn_carry_loss_or_the_template_is_refused(
    family: tuple[str, Any], trajectory: Trajectory
) -> None:
    name, tokenizer = family
    expected = FAMILIES[name]
    if not expected.end:
        with pytest.raises(FireActError, match="template.* Use a") as caught:
            encode(trajectory, tokenizer, max_length=9999)
        assert "\n" not in str(caught.value)
        return
    example = encode(trajectory, tokenizer, max_length=9999)
    said = [text.lstrip() for _, text in learnt(example, tokenizer)]
    assert said == [f"{expected.first}{step.text}{expected.end}" for step in STEPS]


@pytest.mark.parametrize("name", LEARNT)
def test_an_answer_is_asked_for_in_the_tokens_that_were_trained(name: str, tokenizer: Any) -> None:
    """What stands before each learnt turn is the prompt, but for an empty thought."""
    family, tokenizer = FAMILIES[name], make_tokenizer(name, tokenizer)
    chat = LocalChat.__new__(LocalChat)
    chat.tokenizer = tokenizer
    example = encode(ENDED, tokenizer, max_length=9999)
    messages = render_messages(ENDED)
    begins = [place for place, _ in learnt(example, tokenizer)]
    for turn, begin in enumerate(begins):
        prompt = tokenizer.decode(chat.encode(Request(tuple(messages[: 2 * turn + 1]))))
        if family.first:  # it is learnt, and never left to the model
            prompt = prompt.removesuffix(family.first)
        assert prompt.endswith(family.scaffold)
        assert tokenizer.decode(example.input_ids[:begin]) == prompt.removesuffix(family.scaffold)
    assert len(begins) == 3


@pytest.mark.parametrize("name", LEARNT)
def test_the_end_that_was_learnt_ends_an_answer(name: str, tokenizer: Any) -> None:
    from fireact_nb.models.templating import end_tokens

    tokenizer = make_tokenizer(name, tokenizer)
    example = encode(OPEN, tokenizer, max_length=9999)
    last = [label for label in example.labels if label != -100][-1]
    assert last in end_tokens(tokenizer)


@pytest.mark.parametrize("name", LEARNT)
def test_every_turn_but_the_first_carries_loss_where_all_do(name: str, tokenizer: Any) -> None:
    tokenizer = make_tokenizer(name, tokenizer)
    narrow = encode(ENDED, tokenizer, max_length=9999)
    wide = encode(ENDED, tokenizer, "all turns", max_length=9999)
    assert wide.input_ids == narrow.input_ids
    assert all(w == n for w, n in zip(wide.labels, narrow.labels, strict=True) if n != -100)
    told = tokenizer.decode([label for label in wide.labels if label != -100])
    assert "Observation: Rain: Novel by Ann." in told and "Could not find." in told
    assert "Who?" not in told and "Episode finished" not in told


@pytest.mark.parametrize("name", LEARNT)
def test_what_the_system_says_is_heard_where_there_is_no_such_role(
    name: str, tokenizer: Any
) -> None:
    tokenizer = make_tokenizer(name, tokenizer)
    assert read_form(tokenizer).system == FAMILIES[name].system
    messages = [{"role": "system", "content": "Be short."}, *render_messages(OPEN)]
    text = render(tokenizer, messages, opening=False)
    assert text.index("Be short.") < text.index("Who wrote Rain?")
    if not FAMILIES[name].system:  # also where nobody else says anything
        assert "Be short." in render(tokenizer, messages[:1], opening=False)
    plain = encode(OPEN, tokenizer, max_length=9999)
    told = encode_messages(messages, tokenizer, max_length=9999)
    assert [t for _, t in learnt(told, tokenizer)] == [t for _, t in learnt(plain, tokenizer)]


@pytest.mark.parametrize("name", ["llama3_1", "llama3_2"])
def test_no_prompt_holds_the_date_of_today(name: str, tokenizer: Any) -> None:
    text = render(make_tokenizer(name, tokenizer), render_messages(OPEN), opening=True)
    assert "Today Date: 26 Jul 2024" in text


def test_roles_that_a_template_refuses_are_named(tokenizer: Any) -> None:
    tokenizer = make_tokenizer("mistral_v1", tokenizer)
    twice = [{"role": "user", "content": "Who?"}] * 2
    with pytest.raises(FireActError, match="refuses the conversation .*user, user.*alternate"):
        render(tokenizer, twice, opening=True)
