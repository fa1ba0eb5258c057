"""A model that costs, asked once for each request: its replies are kept on the disk, within a cap.

For notebooks, whose cells are run again and whose kernels die: what was paid for stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..agent.asking import Budget, Desk
from ..agent.chat import Chat, Reply, Request, Stop
from ..agent.journal import Journal
from ..agent.rollouts import check_cap


class KeptChat:
    """`chat`, whose replies lie in the journal at `path`; `max_usd` caps what this process spends.

    Raises FireActError where the cap is reached or would hold nothing back, as the price is
    unknown, and where another kernel holds the journal.
    """

    may_cost = False  # the cap is the yes that was given

    def __init__(self, chat: Chat, path: str | Path, max_usd: float) -> None:
        check_cap(chat, max_usd)
        self.chat, self.name, self.endpoint = chat, chat.name, chat.endpoint
        self.batch_size = chat.batch_size
        self.prices: tuple[float, float] | None = getattr(chat, "prices", None)
        self._budget = Budget(max_usd, self.prices)
        self._journal = Journal(path)

    def reply(
        self,
        requests: Sequence[Request],
        done: Callable[[int, Reply], None] | None = None,
        stop: Stop | None = None,
    ) -> list[Reply]:
        desk = Desk(self.chat, self._journal, self._budget, stop or Stop())
        replies = desk.ask(requests)
        for place, reply in enumerate(replies):
            if done:
                done(place, reply)
        return replies
