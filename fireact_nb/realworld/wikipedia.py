"""Wikipedia's own search: free, without a key, asked politely.

Knows the parameters and answers of MediaWiki's API, and its manners: a User-Agent that says who
asks, one request at a time, and waits when the servers lag.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from ..agent.chat import Exhausted
from ..errors import FireActError
from .web import Service, words

URL = "https://en.wikipedia.org/w/api.php"
_LONGEST = 300  # bytes that the search takes as a query
_PASSING = ("maxlag", "ratelimited", "readonly", "internal_api_error")
_LAG = "5"  # seconds that the servers may lag behind; beyond that, bots are to wait


class Wikipedia:
    """The opening of the page that Wikipedia's search finds first.

    `find` raises Unavailable for what may pass, Exhausted for a query that the service refuses,
    FireActError if it wants nothing to do with us.
    """

    name = "wikipedia"
    may_cost = False

    def __init__(self, url: str = URL) -> None:
        self._service = Service("Wikipedia", url)
        self._turn = Lock()  # they ask for requests in series, not side by side

    def find(self, query: str) -> dict[str, Any]:
        """Title and opening of the first page; empty if there is none."""
        query = query.encode("utf-8", "ignore")[:_LONGEST].decode("utf-8", "ignore")
        with self._turn:
            answer = self._service.get(
                {"action": "query", "format": "json", "formatversion": "2", "maxlag": _LAG,
                 "generator": "search", "gsrsearch": query, "gsrlimit": "1", "redirects": "1",
                 "prop": "extracts", "exintro": "1", "explaintext": "1", "exlimit": "1"}
            )  # fmt: skip
        body = answer.json
        if answer.status == 403:
            raise FireActError(
                "Wikipedia refuses to answer this program (403). It wants a User-Agent with an "
                "address: see https://meta.wikimedia.org/wiki/User-Agent_policy, and that this "
                "network is not blocked."
            )
        if answer.status != 200 or not isinstance(body, dict):
            raise self._service.busy(answer)
        if error := body.get("error"):
            code = str(error.get("code")) if isinstance(error, dict) else ""
            if code.startswith(_PASSING):
                raise self._service.busy(answer)
            raise Exhausted(f"Wikipedia refuses the query {query[:60]!r}: {words(body)}.")
        found = body.get("query")
        pages = found.get("pages") if isinstance(found, dict) else None
        page = pages[0] if isinstance(pages, list) and pages else None
        page = page if isinstance(page, dict) else {}
        return {part: page[part] for part in ("title", "extract") if part in page}

    def read(self, found: dict[str, Any]) -> tuple[str, str]:
        """The page's title and its opening."""
        title, opening = (found.get(part) for part in ("title", "extract"))
        return str(title or ""), str(opening or "").strip()
