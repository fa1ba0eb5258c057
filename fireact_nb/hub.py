"""The model hub: a file at a pinned revision, and what the hub's refusals mean.

Knows names, revisions and errors; knows neither what a file holds nor how weights are loaded.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .errors import FireActError

Kind = Literal["model", "dataset"]
NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
_CONNECT = 3.0  # seconds in which a machine with a network gets through to the hub
_ANSWER = 10.0  # seconds in which the hub says what a file is
# What people misspell: the names that the profiles and the notebooks use.
_KNOWN = (
    "Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct",
    "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-360M-Instruct",
    "meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-13b-chat-hf",
    "codellama/CodeLlama-7b-Instruct-hf", "codellama/CodeLlama-13b-Instruct-hf",
    "codellama/CodeLlama-34b-Instruct-hf", "hotpotqa/hotpot_qa", "ChilleD/StrategyQA",
    "cais/mmlu", "chiayewken/bamboogle",
)  # fmt: skip


def split_name(model: str) -> tuple[str, str | None]:
    """ "owner/name@revision" as its two parts; the revision is None where none is named."""
    name, _, revision = model.partition("@")
    return name, revision or None


def fetch(repo: str, file: str, revision: str | None = None, kind: Kind = "model") -> Path:
    """Where a file of a repository lies on this machine; what was fetched before is not again.

    Raises FireActError that tells a machine without a network, a gated, a missing or misspelt
    repository, a wrong revision, a wrong token and a full disk from each other.
    """
    warnings.filterwarnings("ignore", "IProgress not found")  # a notebook without widgets
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if not NAME.fullmatch(repo):
        raise _misspelt(repo, kind)
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):  # a commit never changes
        here = try_to_load_from_cache(repo, file, revision=revision, repo_type=kind)
        if isinstance(here, str):
            return Path(here)
    unreachable = _find_obstacle()
    try:
        path = hf_hub_download(
            repo, file, revision=revision, repo_type=kind, etag_timeout=_ANSWER,
            local_files_only=unreachable is not None,
        )  # fmt: skip
    except Exception as error:
        if unreachable is not None:
            raise _offline(repo, kind, unreachable) from error
        told = explain(error, repo, revision, kind)
        if told is None:
            raise
        raise told from error
    return Path(path)


def find_revision(repo: str, revision: str | None = None) -> str:
    """The commit behind a model's name, by its config.json alone. Raises as `fetch` does."""
    return fetch(repo, "config.json", revision).parent.name  # .../snapshots/<commit>/config.json


def explain(
    error: BaseException, repo: str, revision: str | None = None, kind: Kind = "model"
) -> FireActError | None:
    """What the hub's error means and what to do; None for an error that is none of the hub's.

    Reads what other libraries wrapped, for transformers says the same of a missing model, a gated
    one and a machine without a network.
    """
    from huggingface_hub import errors

    at = f"{repo}@{revision}" if revision else repo
    page = f"{_endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    for cause in _causes(error):
        match cause:
            case errors.GatedRepoError():
                return FireActError(
                    f"The {kind} {repo} is gated: its owner wants a licence accepted first. Open "
                    f"{page} in a browser, accept it there, and put a token of that account into "
                    "HF_TOKEN; or take one that is open to all, such as "
                    "Qwen/Qwen3-4B-Instruct-2507."
                )
            case errors.RevisionNotFoundError():
                return FireActError(
                    f"The {kind} {repo} has no revision {revision!r}. Check it on {page}/commits, "
                    "or leave the revision out to take the newest."
                )
            case errors.RepositoryNotFoundError():
                return _misspelt(repo, kind)
            case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
                continue  # what lies beneath says why
            case errors.EntryNotFoundError():
                return FireActError(
                    f"The {kind} {at} lacks a file that is needed ({_last_line(cause)}). It may "
                    f"have been changed or be of another sort: look at {page}/tree."
                )
            case errors.HfHubHTTPError():
                return _refused(cause, at, kind)
            case errors.HFValidationError():
                return _misspelt(repo, kind)
            case OSError(errno=errno.ENOSPC):
                return FireActError(
                    f"The disk is full, so {at} was not fetched whole. Free some space and run it "
                    "again: what arrived is kept. HF_HOME says where it is put."
                )
    if any(isinstance(e, errors.LocalEntryNotFoundError | OSError) and _is_lost(e)
           for e in _causes(error)):  # fmt: skip
        return _offline(repo, kind, "it cannot be reached, or the connection broke off")
    return None


def _refused(error: Exception, at: str, kind: Kind) -> FireActError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return FireActError(
            "The hub refuses the token in HF_TOKEN as invalid. Make a new one on "
            f"{_endpoint()}/settings/tokens, or unset HF_TOKEN: an open {kind} needs none."
        )
    if status == 403:
        return FireActError(
            f"The hub does not let this account read {at}. Give the token in HF_TOKEN the "
            "permission to read it, or ask its owner."
        )
    if status == 429:
        return FireActError(
            f"The hub says that too much was asked of it ({at}). Wait some minutes and run it "
            "again; with a token in HF_TOKEN one may ask more."
        )
    return FireActError(
        f"The hub failed while {at} was fetched (status {status}). Run it again in some minutes; "
        "what arrived is kept."
    )


def _misspelt(repo: str, kind: Kind) -> FireActError:
    near = get_close_matches(repo, _KNOWN, n=1, cutoff=0.6)
    guess = f" Did you mean {near[0]}?" if near and near[0] != repo else ""
    form = "" if NAME.fullmatch(repo) else " A name there has two parts: owner/name."
    return FireActError(
        f"The hub has no {kind} {repo}, or a private one.{form}{guess} Check the spelling; for a "
        "private one put a token that may read it into HF_TOKEN."
    )


def _offline(repo: str, kind: Kind, why: str) -> FireActError:
    return FireActError(
        f"The {kind} {repo} is not on this machine and cannot be had from {_endpoint()}: {why}. "
        "Connect this machine, or fetch it on another one and copy its folder (HF_HOME); profile "
        "'tiny' needs no network."
    )


def _find_obstacle() -> str | None:
    """Why the hub cannot be asked, found in seconds; None where it can, as far as is known.

    Without this look the libraries try again and again, for most of a minute.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"the environment variable {name} keeps the libraries offline"
    if any(os.environ.get(f"{p}_proxy") or os.environ.get(f"{p}_PROXY".upper())
           for p in ("http", "https", "all")):  # fmt: skip
        return None  # the way leads through somebody else, who is not asked here
    address = urlsplit(_endpoint())
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_CONNECT).close()
    except OSError as error:
        return f"it cannot be reached ({error.strerror or error})"
    return None


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT).rstrip("/")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the first cause last."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield at
        at = at.__cause__ or at.__context__


def _is_lost(error: BaseException) -> bool:
    lost = ("ConnectError", "ConnectTimeout", "ReadTimeout", "LocalEntryNotFoundError",
            "OfflineModeIsEnabled", "RemoteProtocolError", "ReadError")  # fmt: skip
    return any(type(cause).__name__ in lost for cause in _causes(error))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:160].rstrip(". ")
