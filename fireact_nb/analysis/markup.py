"""HTML from the templates beside this room; no text that goes into it is trusted.

Knows how values become markup; what they say is the callers' business.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

# Control characters but tab and line end, lone surrogates, and marks that turn text around: they
# could steer a terminal, break an encoder, or make a text read as what it is not.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with a replacement mark for each character that acts instead of being seen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def render(template: str, **values: Any) -> str:
    """The HTML of `templates/<template>`: every text among the values made visible and escaped."""
    return _environment().get_template(template).render(values)


@cache  # Jinja keeps compiled templates in its environment
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        # On every value that a template writes, before it is escaped. What a macro made is Markup,
        # a str by inheritance: it has been through here, and must not be escaped twice.
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
