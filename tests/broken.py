"""Files that are no files of rows, and what every reader must say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireact_nb.errors import FireActError

# None is a file that is not there.
ROWS = (
    None, "", "\n", "[" * 100_000, "no json", '[{"instruction": "a', "[]", "{}", "[1]", '{"1": 2}',
)  # fmt: skip
QUESTIONS = (None, b"", b" \n", b"\xff\xfe", b'{"question": "wh', b"a,b\n")


def assert_named(read: Callable[[Path], Any], path: Path, content: str | bytes | None) -> None:
    """Reading a file of this content is refused, and the file is named."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FireActError) as error:
        read(path)
    assert str(path) in str(error.value)
