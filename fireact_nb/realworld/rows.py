"""A row of somebody else's file as a typed value, and what is wrong with it in words.

Knows how a row is checked; the layouts stand with their readers.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import FireActError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Row = TypeVar("Row", bound=Hashable)


def typed(kind: type[Row], row: Any, where: str, cure: str) -> Row:
    """`row` as a `kind`, a dataclass of the fields that are needed; more of them are ignored.

    Raises FireActError that names `where`, the field, what it holds, and ends with the `cure`.
    """
    from pydantic import ValidationError

    if not isinstance(row, Mapping):
        raise FireActError(f"{where} should be a JSON object, not {str(row)[:40]!r}. {cure}")
    try:
        return _adapter(kind).validate_python(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        got = "" if first["type"] == "missing" else f", not {str(first['input'])[:40]!r}"
        raise FireActError(f"{where}, field {field!r}: {first['msg']}{got}. {cure}") from error


@cache  # a validator takes milliseconds to build, a row microseconds to check
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
