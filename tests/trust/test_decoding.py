"""An agent says the same words, whatever shares its batch and whatever is kept between rounds.

The shipped models play the tiny world through `generate`. FIREACT_TRUST=1 plays every dev question
with the fine-tuned student and 64 few-shot episodes of the teacher; else a handful.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from fireact_nb.agent.episode import Settings
from fireact_nb.agent.rollouts import generate
from fireact_nb.artifacts import DATA, shipped
from fireact_nb.models.local import LocalChat
from fireact_nb.tinyworld import TinyWorld

LONG = os.environ.get("FIREACT_TRUST") == "1"
WORLD = TinyWorld()
# model, adapter, method, questions, of which so many also with batches of 1 and 7
PLAYERS = {"teacher": ("teacher", None, "react", 64 if LONG else 2, 16 if LONG else 1)}
if LONG:
    PLAYERS["student"] = ("student", DATA / "adapters" / "student_react_500_0", "fireact", 400, 50)


@pytest.fixture(scope="module", params=PLAYERS)
def player(request):
    model, adapter, *rest = PLAYERS[request.param]
    return (LocalChat(shipped(model), adapter), *rest)


def play(chat, method, count, temperature):
    """Trajectories without their seconds."""
    settings = Settings(temperature=temperature, max_rounds=11 if LONG else 3)
    played = generate(
        WORLD.questions("dev", count), WORLD.prompt(method), chat, WORLD.search(), settings,
        progress=False,
    )  # fmt: skip
    return [replace(t, seconds=0.0) for t in played]


@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_an_agent_says_the_same_in_slots_and_in_padded_batches_of_any_size(
    player, monkeypatch, temperature
):
    chat, method, count, few = player
    monkeypatch.setattr(chat, "keeps", False)
    expected = play(chat, method, count, temperature)
    assert len({step.text for t in expected for step in t.steps}) > count
    monkeypatch.setattr(chat, "keeps", True)
    assert play(chat, method, count, temperature) == expected
    for size in (1, 7):
        monkeypatch.setattr(chat, "batch_size", size)
        assert play(chat, method, few, temperature) == expected[:few], size
