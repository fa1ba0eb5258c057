"""A key comes from Colab's store, the environment or a hidden prompt; each "no" has its words."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from fireact_nb.agent.secrets import hide
from fireact_nb.course.colab import find_secret
from fireact_nb.errors import FireActError

NAME, KEY = "TEACHER_API_KEY", "canary-5b1f7c2e9a"


class Store(ModuleType):
    """google.colab.userdata: it gives a key, or raises an error of the given name."""

    def __init__(self, key: str = "", fails: str = "") -> None:
        super().__init__("google.colab.userdata")
        self.key, self.fails = key, fails

    def get(self, name: str) -> str:
        if self.fails:
            raise type(self.fails, (Exception,), {})(f"secret {name}")
        return self.key


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> Any:
    def mount(store: Store) -> None:
        package, inner = ModuleType("google"), ModuleType("google.colab")
        inner.userdata = store  # type: ignore[attr-defined]
        for module in (package, inner, store):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    return mount


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", ask)
    monkeypatch.delenv(NAME, raising=False)


def test_the_store_comes_first(colab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    colab(Store(f" {KEY}\n"))
    monkeypatch.setenv(NAME, "another-key-of-the-environment")
    key = find_secret(NAME)
    assert key == KEY and KEY not in repr(key) and hide(f"at {KEY}") == "at [key]"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("SecretNotFoundError", f"no secret {NAME}"),
        ("NotebookAccessError", "switch its access on"),
        ("TimeoutException", "own page"),
        ("RuntimeError", "failed (RuntimeError)"),
    ],
)
def test_each_failure_of_the_store_is_named(
    colab: Any, monkeypatch: pytest.MonkeyPatch, error: str, words: str
) -> None:
    colab(Store(fails=error))
    with pytest.raises(FireActError) as caught:
        find_secret(NAME)
    assert words in str(caught.value) and f"environment has no {NAME}" in str(caught.value)
    monkeypatch.setenv(NAME, KEY)
    assert find_secret(NAME) == KEY


def test_a_person_is_asked_last_and_told_why(
    colab: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda text: asked.append(text) or f"{KEY} ")
    assert find_secret(NAME, "for the teacher") == KEY
    assert asked == [f"{NAME}, for the teacher (hidden): "]
    colab(Store(fails="SecretNotFoundError"))
    assert find_secret(NAME) == KEY
    told = capsys.readouterr().out
    assert f"no secret {NAME}" in told and KEY not in told


def test_an_empty_answer_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _: "  ")
    with pytest.raises(FireActError, match=f"no key {NAME}.*key symbol"):
        find_secret(NAME)
