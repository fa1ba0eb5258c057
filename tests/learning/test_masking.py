"""The loss falls on the agent's words alone, whatever the trajectory, template or tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from books import BOOKS
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ANY, STEPS

from fireact_nb.agent.trajectory import Step, Trajectory
from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.masking import Example, TooLong, encode, features, make_collator
from fireact_nb.models.templating import make_breaker
from fireact_nb.models.weights import let_pad, load_tokenizer


def learnt(example: Example, tokenizer: Any) -> list[str]:
    """The stretches of text that carry loss."""
    runs: list[list[int]] = [[]]
    for token, label in zip(example.input_ids, example.labels, strict=True):
        if label == -100:
            runs.append([])
        else:
            assert label == token
            runs[-1].append(token)
    return [tokenizer.decode(run) for run in runs if run]


def test_only_turns_of_the_agent_carry_loss(tokenizer: Any) -> None:
    assert learnt(encode(BOOKS[3], tokenizer), tokenizer) == [
        "Thought: I look up book 3.\nAction: search[book 3]<|end|>",
        "Thought: The author is Ann.\nAction: finish[Ann]<|end|>",
    ]


def test_masks_of_the_ablations(tokenizer: Any) -> None:
    assert learnt(encode(BOOKS[3], tokenizer, "all turns"), tokenizer) == [
        "Thought: I look up book 3.\nAction: search[book 3]<|end|>"
        "<|user|>Observation: Book: Novel by Ann.<|end|>",
        "Thought: The author is Ann.\nAction: finish[Ann]<|end|>",
    ]
    whole = encode(BOOKS[3], tokenizer, "off")
    assert whole.labels == whole.input_ids
    assert "Who wrote book 3?" in tokenizer.decode(whole.labels)
    with pytest.raises(ValueError, match="'agent', 'all turns' or 'off'"):
        encode(BOOKS[3], tokenizer, "everything")


@given(question=ANY, steps=STEPS.filter(bool), ended=st.booleans())
@settings(max_examples=60)
def test_no_trajectory_leaks_loss_to_question_or_tool(
    tokenizer: Any, question: str, steps: tuple[Step, ...], ended: bool
) -> None:
    if ended:
        steps = (*steps[:-1], Step(steps[-1].text, "Episode finished, reward = True"))
    trajectory = Trajectory("q", question, steps)
    expected, told = [], []
    whole = make_breaker(tokenizer)  # special tokens in contents are broken before all else
    for step in [Step(whole(s.text), s.observation and whole(s.observation)) for s in steps]:
        expected.append(f"{step.text}<|end|>")
        heard = step.observation is not None and not step.observation.startswith("Episode finished")
        told.append(
            expected[-1] + (f"<|user|>Observation: {step.observation}<|end|>" if heard else "")
        )
    assert learnt(encode(trajectory, tokenizer, "agent", 10**6), tokenizer) == expected
    assert learnt(encode(trajectory, tokenizer, "all turns", 10**6), tokenizer) == told


def test_a_trajectory_without_turns_has_nothing_to_learn(tokenizer: Any) -> None:
    for mask in ("agent", "all turns"):
        with pytest.raises(ValueError, match=r"q9/react.*no token carries loss"):
            encode(Trajectory("q9", "Who?", ()), tokenizer, mask)


def test_a_long_conversation_is_never_cut_in_silence(tokenizer: Any) -> None:
    tokens = len(encode(BOOKS[0], tokenizer).input_ids)
    assert encode(BOOKS[0], tokenizer, max_length=tokens)
    with pytest.raises(TooLong, match=f"q0/react.*has {tokens} tokens, and {tokens - 1} are") as it:
        encode(BOOKS[0], tokenizer, max_length=tokens - 1)
    assert isinstance(it.value, FireActError)
    with pytest.raises(ValueError, match="within 5 tokens"):
        encode(BOOKS[0], tokenizer, max_length=5)


@pytest.fixture
def other_template(tokenizer: Any) -> Any:
    """The shipped tokenizer, its template free to be changed."""
    kept = tokenizer.chat_template
    yield tokenizer
    tokenizer.chat_template = kept


def test_another_template_teaches_the_same_words(other_template: Any) -> None:
    other_template.chat_template = (
        "<|document|>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    assert learnt(encode(BOOKS[3], other_template), other_template) == [
        f"{step.text}<|end|>" for step in BOOKS[3].steps
    ]


def test_a_template_that_rewrites_earlier_turns_is_refused(other_template: Any) -> None:
    other_template.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ m.content if loop.last else m.content.split('Action')[-1] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with pytest.raises(ValueError, match="chat template .* changes or hides the agent's words"):
        encode(BOOKS[3], other_template)


def test_padding_carries_no_loss_and_the_end_of_a_turn_does_where_they_are_one_token() -> None:
    """As with Llama, CodeLlama and Mistral, whose tokenizers know no padding."""
    tokenizer = load_tokenizer(DATA / "tokenizer")
    tokenizer.pad_token = None
    end = let_pad(tokenizer).pad_token_id
    assert end == tokenizer.eos_token_id
    short = Trajectory("s", "Who?", BOOKS[0].steps[1:])
    examples = [encode(t, tokenizer) for t in (BOOKS[0], short)]
    batch = make_collator(tokenizer)(features(examples))
    width = len(examples[0].input_ids)
    for row, (example, turns) in enumerate(zip(examples, (2, 1), strict=True)):
        length = len(example.input_ids)
        ids, labels, seen = (
            batch[n][row].tolist() for n in ("input_ids", "labels", "attention_mask")
        )
        assert ids == [*example.input_ids, *[end] * (width - length)]
        assert labels == [*example.labels, *[-100] * (width - length)]
        assert seen == [1] * length + [0] * (width - length)
        assert labels.count(end) == turns
    assert width > length, "nothing was padded"
