"""Who is asked, and what is searched, from a shell: options of `generate` and `evaluate`.

Wires options to a chat and a search tool; forecasts what may cost money, and wants a yes to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..agent.episode import Settings
from ..errors import FireActError
from .options import amount, given, positive

if TYPE_CHECKING:
    from ..agent import Chat, Journal, Prompt, Question, Search, Trajectory
    from ..lab import Lab


def add_asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base-url",
        type=given,
        help="an OpenAI-compatible server; then --model is its model's name",
    )
    parser.add_argument(
        "--prices", type=amount, nargs=2, metavar=("IN", "OUT"),
        help="US dollars for a million prompt and completion tokens (default: the dated table's)",
    )  # fmt: skip
    parser.add_argument("--max-usd", type=amount, help="stop when this much is spent")
    parser.add_argument("--yes", action="store_true", help="agree to the forecast of a paid run")
    parser.add_argument(
        "--batch", action="store_true",
        help="ask io or cot by the server's Batch API: half the price, within a day",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=positive, default=Settings.max_tokens,
        help="of a turn, a model's thinking with it (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--reasoning-effort", type=given, help="of a server's reasoning model: none, low, ... max"
    )
    parser.add_argument(
        "--search", type=given, help="wikipedia or serpapi (default: the profile's own)"
    )


def open_chat(
    options: argparse.Namespace,
    questions: Sequence[Question],
    prompt: Prompt,
    search: Search,
    settings: Settings,
) -> Chat:
    """The model that the options name; raises FireActError without a yes to what may cost money."""
    from ..agent.rollouts import ask_for_yes, forecast
    from ..artifacts import find_model
    from ..models.api import OpenAIChat, is_loopback
    from ..models.local import LocalChat
    from ..models.prices import Price, find_price

    if not options.base_url:
        _refuse_without_server(options)
        chat: Chat = LocalChat(find_model(options.model), options.adapter)
        ask_for_yes(questions, prompt, chat, search, settings, options.yes)
        return chat
    if options.adapter:
        raise FireActError(
            "--adapter is for a model on this machine; a server loads its adapters itself. Leave "
            "it out, and give --model the adapter's name at the server."
        )
    prices = tuple(options.prices) if options.prices else None
    price = Price(*prices) if prices else find_price(options.model, options.base_url)
    known = (price.prompt, price.completion) if price else None
    print(forecast(questions, prompt, known, settings=settings))
    if price:
        print(f"at {price}")
    elif options.max_usd is not None:
        raise FireActError(
            f"--max-usd has no effect, as the price of {options.model} at {options.base_url} is "
            "unknown. Add --prices, or leave --max-usd out for a model that costs nothing."
        )
    if not options.yes and (any(known) if known else not is_loopback(options.base_url)):
        raise FireActError("This run may cost money. Add --yes if you agree to the forecast above.")
    chat = OpenAIChat(
        options.model, options.base_url, prices=prices, reasoning_effort=options.reasoning_effort
    )
    ask_for_yes(questions, prompt, chat, search, settings, options.yes)
    return chat


def _refuse_without_server(options: argparse.Namespace) -> None:
    names = ("prices", "max_usd", "batch", "reasoning_effort")
    if given := [name for name in names if getattr(options, name) not in (None, False)]:
        raise FireActError(
            f"--{given[0].replace('_', '-')} has no effect on a model of this machine, which costs "
            "nothing. Add --base-url (and --prices, where the table lacks them) for a server, or "
            "leave it out."
        )


def open_tool(options: argparse.Namespace, lab: Lab) -> Search:
    """What is searched: the service that the options name, else the profile's own tool."""
    from ..realworld import open_search

    return open_search(options.search) if options.search else lab.search()


def play(
    options: argparse.Namespace,
    questions: Sequence[Question],
    prompt: Prompt,
    chat: Chat,
    search: Search,
    settings: Settings,
    journal: Journal,
) -> list[Trajectory]:
    """Play the questions, by a batch first where that is wanted."""
    from ..agent.rollouts import generate

    left = options.max_usd
    if options.batch:
        from ..models.api import OpenAIChat
        from ..models.batches import ask_in_batch

        assert isinstance(chat, OpenAIChat)  # there is no --batch without a server
        done = ask_in_batch(
            questions, prompt, chat, journal, settings, max_usd=left, yes=options.yes
        )
        print(done)
        left = None if left is None else max(0.0, left - done.usd)
    return generate(
        questions, prompt, chat, search, settings, journal, max_usd=left, yes=options.yes
    )
