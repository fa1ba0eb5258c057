"""Google by SerpAPI: the search tool of the paper.

Knows the service's parameters and answers, and which piece of an answer the paper shows its agent;
how it is asked over the web stands in `web`, what is kept of it in `cache`.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ..agent.chat import Exhausted
from ..agent.secrets import Hidden, remember
from ..errors import FireActError
from .web import Service, words

URL = "https://serpapi.com/search.json"
_KEPT = ("answer_box", "organic_results")  # of the answer, which is long
_SPENT = re.compile(r"run out|out of searches|searches for the month|plan|quota", re.IGNORECASE)
_LONGEST = 400  # characters of a query; a longer one is a model that rambles


class SerpApi:
    """Google's first answer by SerpAPI. Costs one search of your plan for each new query.

    `key` defaults to SERPAPI_API_KEY. `find` raises Unavailable for what may pass, Exhausted for a
    query that the service refuses, FireActError for a key that is missing, wrong or spent.
    """

    name = "google by serpapi"
    may_cost = True

    def __init__(self, key: str | None = None, url: str = "") -> None:
        given = (key or os.environ.get("SERPAPI_API_KEY") or "").strip()
        if not re.fullmatch(r"[!-~]+", given):
            raise FireActError(
                "There is no key for SerpAPI, or it holds a space: set the environment variable "
                "SERPAPI_API_KEY to the key from https://serpapi.com/manage-api-key, or search "
                "elsewhere: Wikipedia and BM25 need no key."
            )
        remember(given)
        self._key = Hidden(given)
        self._service = Service("SerpAPI", url or URL)

    def find(self, query: str) -> dict[str, Any]:
        """Those parts of the service's answer that `read` looks at."""
        answer = self._service.get(
            {"engine": "google", "q": query[:_LONGEST], "google_domain": "google.com", "gl": "us",
             "hl": "en", "api_key": self._key}
        )  # fmt: skip
        body = answer.json
        if answer.status in (401, 403):
            raise FireActError(
                f"SerpAPI does not accept the key ({words(body)}). Check SERPAPI_API_KEY against "
                "https://serpapi.com/manage-api-key; the searches before this one are kept."
            )
        if answer.status == 429 and _SPENT.search(words(body)):
            raise FireActError(
                f"SerpAPI has no searches left for this key ({words(body)}). Waiting does not "
                "help before your plan renews: raise it, or search Wikipedia. The searches "
                "before this one are kept and cost nothing again."
            )
        if answer.status in (400, 414, 422):
            raise Exhausted(f"SerpAPI refuses the query {query[:60]!r}: {words(body)}.")
        if answer.status != 200 or not isinstance(body, dict) or _failed(body):
            raise self._service.busy(answer)
        # An `error` beside status 200 says that there was no result, and was paid as one.
        return {part: body[part] for part in _KEPT if part in body}

    def read(self, found: dict[str, Any]) -> tuple[str, str]:
        """No title, and the first there is, as in the paper: the answer box's answer, its snippet,
        its highlighted words, the first result's snippet."""
        box = found.get("answer_box")
        box = box if isinstance(box, dict) else {}
        for part in ("answer", "snippet", "snippet_highlighted_words"):
            if said := _line(box.get(part)):
                return "", said
        results = found.get("organic_results")
        first = results[0] if isinstance(results, list) and results else None
        return "", _line(first.get("snippet")) if isinstance(first, dict) else ""


def _failed(body: dict[str, Any]) -> bool:
    about = body.get("search_metadata")
    return isinstance(about, dict) and about.get("status") in ("Error", "Processing", "Queued")


def _line(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else ""
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
