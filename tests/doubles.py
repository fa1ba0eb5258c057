"""Stand-ins: a language model whose words depend on what it is asked, and a study's outcomes."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from fireact_nb.agent.chat import Reply, Request, Stop
from fireact_nb.agent.tasks import Question
from fireact_nb.analysis.outcomes import Outcome
from fireact_nb.study.grid import Agent, Play, agents

QUESTIONS = [
    Question(f"d{n:02}", f"Which colour is thing {n}?", f"colour {n % 3}", "hotpotqa", "dev")
    for n in range(40)
]


class Pages:
    """A search tool whose answer depends on nothing but the query."""

    name = "pages"

    def search(self, query: str, salt: str = "") -> str:
        return f"{query} is colour {sum(map(ord, query)) % 3}."


class Dice:
    """Answers by the hash of the request; every fifth question keeps searching to the end.

    `local` decides which driver takes it. `asked` holds every request that was answered, `wait` is
    the time a call takes, `usd` what a reply costs.
    """

    name = "dice"

    def __init__(
        self, local: bool = True, batch_size: int = 8, wait: float = 0.0, usd: float = 0.0
    ) -> None:
        self.endpoint = "local" if local else "http://dice.invalid/v1"
        self.batch_size, self.wait, self.usd = batch_size, wait, usd
        self.asked: list[Request] = []
        self._turn = threading.Lock()

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]:
        time.sleep(self.wait)
        replies = []
        for place, request in enumerate(requests):
            replies.append(self.answer(request))
            with self._turn:
                self.asked.append(request)
            if done:
                done(place, replies[-1])
        return replies

    def answer(self, request: Request) -> Reply:
        content = json.dumps(asdict(request), sort_keys=True)
        dice = int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big")
        question = next(m["content"] for m in request.messages if m["role"] == "user")
        stubborn = int(question.rstrip("?").split()[-1]) % 5 == 0
        face = dice % 10
        if face == 9:
            text = "I am lost."
        elif stubborn or face < 5:
            text = f"Thought: Number {dice}.\nAction: search[thing {dice % 97}]"
        else:
            text = f"Thought: I see.\nAction: finish[colour {dice % 3}]"
        length = len(content) // 4
        return Reply(request.prefix + text, length, len(text) // 4, "stop", 0.001, self.usd)


def study_rows(
    rate: Callable[[Agent, Play], float] = lambda agent, play: 0.4, questions: int = 40
) -> list[Outcome]:
    """What the whole grid could have played: right at a `rate`, drawn by a seed of each row.

    A play of the first so many questions alone asks half of them.
    """
    return [
        _outcome(agent, play, number, sample, rate(agent, play))
        for agent in agents()
        for play in agent.plays
        for sample in range(play.samples)
        for number in range(questions if play.count is None else questions // 2)
    ]


def _outcome(agent: Agent, play: Play, number: int, sample: int, rate: float) -> Outcome:
    dice = random.Random(f"{agent.slug}/{play}/{number}/{sample}")
    correct = dice.random() < rate
    return Outcome(
        question_id=f"{play.task}-{number:03}",
        task=play.task,
        split=play.split,
        type="",
        agent=agent.name,
        model=agent.model,
        method_mix=agent.method_mix,
        condition=str(play.condition),
        seed=agent.seed,
        sample=sample,
        temperature=play.temperature,
        correct=correct,
        f1=float(correct),
        answer="Ann",
        state="finished",
        rounds=dice.randint(1, 11),
        searches=1,
        prompt_tokens=dice.randint(100, 2000),
        completion_tokens=20,
        usd=0.0,
        seconds=dice.random(),
        trajectory_id=f"{number}",
        provenance="made up",
    )
