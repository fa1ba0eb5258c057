"""Runs on a mounted Drive: no locks, slow flushes, and a runtime that is gone in the middle."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import filelock
import pytest
from doubles import QUESTIONS, Dice, Pages

from fireact_nb.agent.journal import Journal
from fireact_nb.agent.prompting import Prompt
from fireact_nb.agent.rollouts import generate


class Gone(Exception):
    """The runtime was taken away."""


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that behaves as a Drive does: it knows no locks, and flushing takes time."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    flush = os.fsync
    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    monkeypatch.setattr(os, "fsync", lambda file: time.sleep(0.005) or flush(file))
    return tmp_path / "fireact-runs"


@pytest.mark.filterwarnings("ignore:.*without locks")
def test_what_was_asked_before_a_disconnect_is_not_asked_again(drive: Path) -> None:
    prompt = Prompt("fireact", "bare")
    whole = Dice()
    expected = generate(QUESTIONS[:12], prompt, whole, Pages(), progress=False)
    first = Dice(batch_size=4)
    answer = first.answer

    def vanish(request):
        if len(first.asked) >= len(whole.asked) // 2:
            raise Gone
        return answer(request)

    first.answer = vanish
    with Journal(drive / "react.journal") as journal, pytest.raises(Gone):
        generate(QUESTIONS[:12], prompt, first, Pages(), journal=journal, progress=False)
    again = Dice()
    with Journal(drive / "react.journal") as journal:
        resumed = generate(QUESTIONS[:12], prompt, again, Pages(), journal=journal, progress=False)
    assert [t.steps for t in resumed] == [t.steps for t in expected]
    assert first.asked and len(first.asked) + len(again.asked) <= len(whole.asked) + 4
    assert len(again.asked) < len(whole.asked)
