"""Files of the hub: pinned, fetched once, and each refusal told in its own words, quickly."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub import TOKEN, HubServer, Repo

from fireact_nb import hub
from fireact_nb.errors import FireActError

COMMIT = "c" * 40
NAME = "Qwen/Qwen3-4B-Instruct-2507"
MODEL = Repo({"config.json": b'{"model_type": "qwen3"}'}, COMMIT)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    repos = {
        ("model", NAME): MODEL,
        ("model", "meta-llama/Llama-2-7b-chat-hf"): Repo(MODEL.files, COMMIT, gated=True),
        ("model", "Qwen/Old-Name"): Repo(moved_to=NAME),
        ("dataset", "cais/mmlu"): Repo({"all/test.parquet": b"rows"}, COMMIT),
    }
    with HubServer(repos) as server:
        server.adopt(monkeypatch, tmp_path)
        yield server


def told(name: str, file: str = "config.json", **more: str) -> str:
    """What is said of a fetch that fails, which takes no longer than a person waits."""
    started = time.monotonic()
    with pytest.raises(FireActError) as caught:
        hub.fetch(name, file, **more)
    assert time.monotonic() - started < 10
    return str(caught.value)


def test_a_file_is_fetched_once(server: HubServer) -> None:
    first = hub.fetch("cais/mmlu", "all/test.parquet", COMMIT, "dataset")
    assert first.read_bytes() == b"rows" and server.asked
    server.asked.clear()
    assert hub.fetch("cais/mmlu", "all/test.parquet", COMMIT, "dataset") == first
    assert not server.asked


def test_the_commit_behind_a_name_is_found(server: HubServer) -> None:
    assert hub.find_revision(NAME) == hub.find_revision(NAME, COMMIT) == COMMIT


def test_a_renamed_model_is_found_under_its_old_name(server: HubServer) -> None:
    assert hub.find_revision("Qwen/Old-Name") == COMMIT


def test_a_gated_model_opens_with_a_token(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "meta-llama/Llama-2-7b-chat-hf"
    assert "gated" in told(name) and "HF_TOKEN" in told(name)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    assert "gated" in told(name) and "hf_canary" not in told(name)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.find_revision(name) == COMMIT


def test_each_refusal_has_words_of_its_own(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "misspelt": told("Qwen/Qwen3-4B-Instruct-2506"),
        "no name": told("Qwen3"),
        "revision": told(NAME, revision="v9"),
        "file": told(NAME, "tokenizer.json"),
        "gated": told("meta-llama/Llama-2-7b-chat-hf"),
    }
    assert f"Did you mean {NAME}?" in texts["misspelt"] and "owner/name" in texts["no name"]
    assert "'v9'" in texts["revision"]
    # The library is patient with a busy hub: five tries in half a minute.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    for name, status in (("token", 401), ("account", 403), ("rate", 429), ("down", 500)):
        server.failing = status
        texts[name] = told(NAME, "vocab.json")
    server.failing = 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    texts["kept offline"] = told(NAME, "vocab.json")
    assert "HF_HUB_OFFLINE" in texts["kept offline"]
    assert len(set(texts.values())) == len(texts)
    assert not [text for text in texts.values() if "git checkout" in text or "Traceback" in text]


def test_a_machine_without_a_network_says_so_at_once_and_keeps_what_it_has(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.fetch(NAME, "config.json")
    with socket.socket() as nobody:  # bound and not listening: whoever calls is turned away
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        text = told(NAME, "vocab.json")
        assert "cannot be reached" in text and url in text
        assert hub.fetch(NAME, "config.json", COMMIT).exists()
        assert hub.fetch(NAME, "config.json").exists(), "the newest that is here"


@pytest.mark.parametrize(
    ("name", "words"),
    [("meta-llama/Llama-2-7b-chat-hf", "gated"), ("nobody/nothing", "no model nobody/nothing")],
)
def test_what_transformers_wraps_is_read(server: HubServer, name: str, words: str) -> None:
    from transformers import AutoConfig

    with pytest.raises(OSError) as caught:
        AutoConfig.from_pretrained(name)
    assert words in str(hub.explain(caught.value, name))


def test_other_errors_are_not_the_hubs() -> None:
    assert hub.explain(ValueError("a shape"), NAME) is None
    full = OSError(28, "No space left on device")
    assert "disk is full" in str(hub.explain(full, NAME))
