"""Web services on this machine: they answer over real HTTP as the documented ones do.

`Service` answers by a function. Upon it: a model that refuses fields, OpenAI's Batch API, SerpAPI
and Wikipedia, each with the parts of its protocol that our code touches.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from loopback import Loopback
from servers import Answer, fails, says

FINISH = "Thought: I know.\nAction: finish[x]"


@dataclass(frozen=True)
class Call:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service(Loopback):
    """Answers at `url` while the `with` block runs; `seen` holds every request.

    `most_at_once` is the largest number of requests that were under way at the same time.
    """

    def __init__(self, answer: Callable[[Call], Answer]) -> None:
        self.answer = answer
        self.seen: list[Call] = []
        self.most_at_once = self._at_once = 0
        self._turn = threading.Lock()
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return self.address

    def reply(self, call: Call) -> Answer:
        with self._turn:
            self.seen.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            answer = self.answer(call)
            self.closing.wait(answer.delay)
            return answer
        finally:
            with self._turn:
                self._at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        call = Call(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        answer = self.server.double.reply(call)
        if answer.drop == "before":
            self.close_connection = True
            return
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if answer.drop == "within":
            content, self.close_connection = content[: len(content) // 2], True
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


def no_route(call: Call) -> Answer:
    return fails(404, f"Invalid URL ({call.method} {call.path})", kind="invalid_request_error")


# A reasoning model of OpenAI's


def unsupported(name: str, value: Any = None) -> Answer:
    """The 400 with which OpenAI's reasoning models refuse a field or its value."""
    if value is None:
        said, code = (
            f"Unsupported parameter: '{name}' is not supported with this model.",
            "parameter",
        )
    else:
        said = f"Unsupported value: '{name}' does not support {value} with this model. Only the "
        said, code = said + "default (1) value is supported.", "value"
    error = {"message": said, "type": "invalid_request_error", "param": name}
    return Answer({"error": {**error, "code": f"unsupported_{code}"}}, 400)


class Reasoner(Service):
    """A reasoning model: it takes no temperature but 1, no stop, no seed, no max_tokens.

    Its cap counts the `thinks` tokens that it reasons before it says `text`.
    """

    def __init__(
        self, text: str = "Thought: I know.\nAction: finish[x]", thinks: int = 200
    ) -> None:
        super().__init__(self._chat)
        self.text, self.thinks = text, thinks
        self.billed = 0

    def _chat(self, call: Call) -> Answer:
        if call.path != "/v1/chat/completions":
            return no_route(call)
        body = call.json
        if "max_tokens" in body:
            return unsupported("max_tokens")
        if body.get("temperature", 1) != 1:
            return unsupported("temperature", body["temperature"])
        for name in ("stop", "seed", "logprobs"):
            if name in body:
                return unsupported(name)
        return self.complete(body)

    def complete(self, body: dict[str, Any]) -> Answer:
        cap = body.get("max_completion_tokens", 10**6)
        self.billed += 1
        room = cap - self.thinks
        done = room >= len(self.text) // 4
        answer = says(self.text if done else "", "stop" if done else "length").body
        answer["usage"] = {
            "prompt_tokens": 50,
            "completion_tokens": self.thinks + len(self.text) // 4 if done else cap,
            "completion_tokens_details": {"reasoning_tokens": self.thinks if done else cap},
        }
        return Answer(answer)


# OpenAI's Batch API


class Batches(Reasoner):
    """Files and batches as OpenAI keeps them; `paid` counts answered requests by their messages.

    A batch goes one state on with every look at it. `fate(custom_id, place)` decides whether a
    request of it is "answered", is an "error" or has "expired"; `end` is its last state.
    """

    def __init__(self, text: str = "Answer: x") -> None:
        super().__init__(text, thinks=10)
        self.answer = self._route
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.paid: Counter[str] = Counter()
        self.fate: Callable[[str, int], str] = lambda custom_id, place: "answered"
        self.end = "completed"
        self.looks = 3
        self.after_create: Callable[[], Answer | None] = lambda: None

    def complete(self, body: dict[str, Any]) -> Answer:
        self.paid[json.dumps(body["messages"])] += 1
        return super().complete(body)

    def _route(self, call: Call) -> Answer:
        method, path = call.method, call.path.removeprefix("/v1")
        if path == "/chat/completions":
            return self._chat(call)
        if (method, path) == ("POST", "/files"):
            return self._upload(call)
        if (method, path) == ("POST", "/batches"):
            return self._create(call.json)
        if (method, path) == ("GET", "/batches"):
            rows = [self._public(b) for b in reversed(self.batches.values())]
            return Answer({"object": "list", "data": rows, "has_more": False})
        if method == "GET" and (found := re.fullmatch(r"/batches/(\w+)", path)):
            known = self.batches.get(found[1])
            return self._look(known) if known else no_route(call)
        if method == "GET" and (found := re.fullmatch(r"/files/(\w+)/content", path)):
            return Answer(self.files[found[1]], headers={"Content-Type": "application/binary"})
        return no_route(call)

    def _upload(self, call: Call) -> Answer:
        boundary = call.headers["content-type"].partition("boundary=")[2].encode()
        fields = {}
        for part in call.body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="(\w+)"', head)
            assert name
            fields[name[1].decode()] = content.removesuffix(b"\r\n")
        if fields["purpose"] != b"batch":
            return fails(400, "purpose")
        id = f"file{len(self.files)}"
        self.files[id] = fields["file"]
        size = len(fields["file"])
        return Answer(
            {"id": id, "object": "file", "bytes": size, "created_at": 0, "filename": "batch.jsonl",
             "purpose": "batch", "status": "processed"}
        )  # fmt: skip

    def _create(self, body: dict[str, Any]) -> Answer:
        assert body["endpoint"] == "/v1/chat/completions" and body["completion_window"] == "24h"
        id = f"batch{len(self.batches)}"
        self.batches[id] = {
            **body, "id": id, "object": "batch", "created_at": 0, "status": "validating", "looks": 0
        }  # fmt: skip
        return self.after_create() or Answer(self._public(self.batches[id]))

    def _public(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in batch.items() if name != "looks"}

    def _look(self, batch: dict[str, Any]) -> Answer:
        batch["looks"] += 1
        if batch["looks"] < self.looks:
            batch["status"] = "in_progress"
        elif "output_file_id" not in batch:
            self._run(batch)
        return Answer(self._public(batch))

    def _run(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.end
        batch["output_file_id"] = batch["error_file_id"] = None
        if self.end == "failed":
            batch["errors"] = {"data": [{"code": "token_limit", "message": "Enqueued token limit"}]}
            return
        output, errors = [], []
        rows = self.files[batch["input_file_id"]].decode().splitlines()
        assert len({json.loads(row)["custom_id"] for row in rows}) == len(rows)
        for place, text in enumerate(rows):
            row = json.loads(text)
            fate = self.fate(row["custom_id"], place)
            line: dict[str, Any] = {"id": f"r{place}", "custom_id": row["custom_id"]}
            if fate == "answered":
                answer = self._chat(Call("POST", row["url"], body=json.dumps(row["body"]).encode()))
                line |= {"response": {"status_code": answer.status, "body": answer.body}}
                (output if answer.status == 200 else errors).append({**line, "error": None})
            elif fate == "error":
                body = {"error": {"message": "The server had an error", "code": "server_error"}}
                errors.append({**line, "response": {"status_code": 500, "body": body}})
            else:
                error = {"code": "batch_expired", "message": "could not be executed in time"}
                errors.append({**line, "response": None, "error": error})
        output.reverse()  # the order of the lines is nowhere promised
        for name, lines in (("output", output), ("error", errors)):
            if lines:
                id = f"{name}{len(self.files)}"
                self.files[id] = "".join(json.dumps(line) + "\n" for line in lines).encode()
                batch[f"{name}_file_id"] = id


# SerpAPI


def serp(**parts: Any) -> Answer:
    """A successful answer of SerpAPI with these parts."""
    about = {"id": "1", "status": "Success", "json_endpoint": "https://serpapi.com/searches/1.json"}
    return Answer({"search_metadata": about, "search_information": {}, **parts})


NO_RESULT = serp(
    search_information={"organic_results_state": "Fully empty"},
    error="Google hasn't returned any results for this query.",
)


def serp_error(status: int, said: str, **headers: str) -> Answer:
    return Answer({"error": said}, status, headers)


class Serp(Service):
    """SerpAPI's search.json: `says(query, number)` answers; who has another key gets 401."""

    def __init__(self, key: str, says: Callable[[str, int], Answer]) -> None:
        super().__init__(self._search)
        self.key, self.says = key, says
        self.billed: Counter[str] = Counter()

    def _search(self, call: Call) -> Answer:
        if call.path != "/search.json" or call.query.get("engine") != "google":
            return serp_error(400, "Unsupported engine")
        if call.query.get("api_key") != self.key:
            return serp_error(
                401, "Invalid API key. Your API key should be here: https://serpapi.com"
            )
        if not call.query.get("q"):
            return serp_error(400, "Missing query `q` parameter.")
        answer = self.says(call.query["q"], len(self.seen) - 1)
        served = answer.status == 200 and not answer.drop and isinstance(answer.body, dict)
        self.billed[call.query["q"]] += served
        return answer


# Wikipedia


def wiki(title: str, extract: str) -> Answer:
    page = {"pageid": 1, "ns": 0, "title": title, "index": 1, "extract": extract}
    return Answer({"batchcomplete": True, "query": {"pages": [page]}})


NO_PAGE = Answer({"batchcomplete": True})
LAGGING = Answer(
    {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged.", "lag": 7}},
    headers={"Retry-After": "5"},
)


class Wiki(Service):
    """MediaWiki's action API: refuses programs that do not say who they are."""

    def __init__(self, says: Callable[[str, int], Answer]) -> None:
        super().__init__(self._query)
        self.says = says

    def _query(self, call: Call) -> Answer:
        agent = call.headers.get("user-agent", "")
        if not re.search(r"https?://|@", agent) or agent.startswith("python-"):
            return Answer(b"<html>Please set a user-agent</html>", 403)
        query = call.query
        assert query["action"] == "query" and query["format"] == "json"
        assert query["formatversion"] == "2" and int(query["maxlag"]) > 0
        return self.says(query["gsrsearch"], len(self.seen) - 1)
