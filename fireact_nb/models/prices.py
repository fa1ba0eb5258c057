"""What a model's tokens cost: a dated table, under which a reader may put lines of their own.

Knows prices by endpoint and model; a price that nobody wrote down is unknown, never zero.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import read_text

TABLE = Path(__file__).with_name("prices.toml")
_SNAPSHOT = re.compile(r"-\d{4}-\d\d-\d\d$")


@dataclass(frozen=True)
class Price:
    """US dollars for a million prompt and completion tokens, read on a day at a source.

    `batch` is the share of it that a batch takes.
    """

    prompt: float
    completion: float
    batch: float = 1.0
    as_of: date | None = None
    source: str = "given by you"

    def __str__(self) -> str:
        day = f", {self.as_of}" if self.as_of else ""
        return (
            f"${self.prompt:g} and ${self.completion:g} for a million prompt and completion tokens "
            f"({self.source}{day})"
        )


def find_price(model: str, endpoint: str, file: str | Path | None = None) -> Price | None:
    """The price of a model, or of the one its dated snapshot belongs to; None where it is unknown.

    The reader's `file` (FIREACT_PRICES) goes before the package's table. Raises FireActError, with
    file and entry, for what cannot be read.
    """
    own = file or os.environ.get("FIREACT_PRICES")
    for path in [Path(own), TABLE] if own else [TABLE]:
        prices = _read(path).get(endpoint.rstrip("/"), {})
        for name in (model, _SNAPSHOT.sub("", model)):
            if name in prices:
                return _price(prices[name], f"{path}, [{endpoint!r}.{name!r}]")
    return None


def newest_day() -> date:
    """The day on which the last line of the package's table was read."""
    entries = [entry for models in _read(TABLE).values() for entry in models.values()]
    return max(entry["as_of"] for entry in entries)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise FireActError(
            f"{path} is not TOML ({error}). Mend that line; {TABLE} shows the form."
        ) from error


def _price(entry: Any, where: str) -> Price:
    try:
        prompt, completion = float(entry["prompt"]), float(entry["completion"])
        batch = float(entry.get("batch", 1.0))
        if not all(0 <= number < 1e6 for number in (prompt, completion, batch)):
            raise ValueError
        source = str(entry.get("source", "your file"))
        return Price(prompt, completion, batch, entry.get("as_of"), source)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise FireActError(
            f"{where} is no price. Give `prompt` and `completion` in US dollars for a million "
            f"tokens, as {TABLE} does."
        ) from error
