"""A model hub on this machine, which answers as the real one does, for libraries as they are.

Knows the hub's addresses, headers and refusals (HF_ENDPOINT points at it); what it holds is handed
in. `holdings` makes that: a tiny model and small data sets.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from loopback import Loopback


@dataclass(frozen=True)
class Repo:
    """A repository at its one commit; `moved_to` is its new name, `gated` wants a token."""

    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = "0" * 40
    gated: bool = False
    moved_to: str = ""


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    token: str


Holdings = dict[tuple[str, str], Repo]  # by ("model" or "dataset", "owner/name")
TOKEN = "hf_accepted"  # who brings it has accepted every licence
_PATH = re.compile(
    r"/(?P<api>api/)?(?P<kind>datasets/|models/)?(?P<name>[\w.-]+/[\w.-]+?)"
    r"(?:/(?P<what>resolve|revision|tree|raw|paths-info)/(?P<revision>[^/]+)(?:/(?P<file>.*))?)?"
)


class HubServer(Loopback):
    """The hub at `url` while the block runs; `asked` holds its requests.

    `failing` is a status that every request gets, 0 for none.
    """

    def __init__(self, repos: Holdings) -> None:
        self.repos = repos
        self.asked: list[Asked] = []
        self.failing = 0
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return self.address

    def environment(self, home: Any) -> dict[str, str]:
        """What points the libraries of another process at this hub, with a cache of its own."""
        return {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip

    def adopt(self, patch: pytest.MonkeyPatch, home: Any) -> None:
        """The same for this process, whose libraries have read their environment already."""
        from huggingface_hub import constants

        for name, value in self.environment(home).items():
            patch.setenv(name, value)
        patch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        hub, url = self.server.double, urlsplit(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        hub.asked.append(Asked(self.command, url.path, token))
        found = _PATH.fullmatch(unquote(url.path))
        if hub.failing or not found:
            return self._refuse(hub.failing or 404, "", "no such page")
        kind = "dataset" if found["kind"] == "datasets/" else "model"
        repo = hub.repos.get((kind, found["name"]))
        if repo is None:  # the real one says 401 to those without an account
            return self._refuse(401 if not token else 404, "RepoNotFound", "Repository not found")
        if repo.moved_to:
            self.send_response(307)
            self.send_header("Location", self.path.replace(found["name"], repo.moved_to))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if repo.gated and token != TOKEN and found["what"] == "resolve":
            return self._refuse(
                403 if token else 401, "GatedRepo", f"Access to model {found['name']} is restricted"
            )
        if found["revision"] not in (None, "main", repo.commit):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {found['revision']}")
        if found["what"] in ("resolve", "raw"):
            return self._send_file(repo, found["file"])
        if found["what"] == "tree":
            deep = parse_qs(url.query).get("recursive", ["false"])[0].lower() in ("true", "1")
            return self._send_json(_tree(repo, found["file"] or "", deep))
        self._send_json(
            {"id": found["name"], "modelId": found["name"], "sha": repo.commit, "private": False,
             "gated": "manual" if repo.gated else False, "disabled": False, "tags": [],
             "downloads": 0, "likes": 0, "siblings": [{"rfilename": f} for f in repo.files]}
        )  # fmt: skip

    do_HEAD = do_GET  # noqa: N815

    def _send_file(self, repo: Repo, file: str | None) -> None:
        content = repo.files.get(file or "")
        if content is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit=repo.commit)
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", repo.commit)
        self._finish(content, "application/octet-stream")

    def _send_json(self, value: Any) -> None:
        self.send_response(200)
        self._finish(json.dumps(value).encode("utf-8"), "application/json")

    def _refuse(self, status: int, code: str, message: str, commit: str = "") -> None:
        self.send_response(status)
        for name, value in (("X-Error-Code", code), ("X-Error-Message", message),
                            ("X-Repo-Commit", commit)):  # fmt: skip
            if value:
                self.send_header(name, value)
        self._finish(json.dumps({"error": message}).encode("utf-8"), "application/json")

    def _finish(self, content: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _tree(repo: Repo, folder: str, deep: bool) -> list[dict[str, Any]]:
    """The files below a folder as the hub lists them; without `deep`, its folders by name alone."""
    inside = f"{folder}/" if folder else ""
    rows: dict[str, dict[str, Any]] = {}
    for path, content in repo.files.items():
        if not path.startswith(inside):
            continue
        first, slash, _ = path.removeprefix(inside).partition("/")
        oid = hashlib.sha1(content).hexdigest()
        if slash and not deep:
            rows[inside + first] = {"type": "directory", "path": inside + first, "oid": oid}
        else:
            rows[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
    return list(rows.values())
