"""What the authors released, fetched at a pinned commit: which files, and what their rows are.

Knows where the files lie, their hashes, and which row is of which task and method; how a row is
read stands in `released`.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from .. import artifacts
from ..agent.tasks import normalize_answer
from ..agent.trajectory import Trajectory
from ..errors import FireActError
from ..files import write_file
from .released import read_alpaca, read_released_trajectories

# The one place to set another commit; the hashes below are of its files.
COMMIT = "94c6189f04b10fccae6bcd97a4632d6119266899"
ADDRESS = f"https://raw.githubusercontent.com/anchen1011/FireAct/{COMMIT}"
_MIRROR = "FIREACT_RELEASE"  # another address with the same files, as the reader's own copy
_SECONDS = 20.0
_LARGEST = 50_000_000  # bytes; the files have less than three million


@dataclass(frozen=True)
class ReleasedFile:
    """A file of the release: its path there and the hash that it must have."""

    path: str
    sha256: str


_ALPACA = "data/finetune/alpaca_format"
FILES = {
    "hotpotqa": ReleasedFile(
        f"{_ALPACA}/hotpotqa_multimethod.json",
        "a478eef47c6ee5fd8ef0716cbc07d0e24cbcd27e8b669d3de787267858d32836",
    ),
    "multi-task": ReleasedFile(
        f"{_ALPACA}/multitask.json",
        "1a03d1034618ca81bbe8ff216272464f9185b1c2cc0e55c8a26b8aabf61e2839",
    ),
    "multi-task, multi-method": ReleasedFile(
        f"{_ALPACA}/multitask_multimethod.json",
        "753a05e4e85b9fed41edc0d8cebc0e2fdf7207777ce34edc320b3fd5ac97795f",
    ),
}
# Of agents that the authors fine-tuned, on the first 500 of HotpotQA's dev questions.
RUNS_ASKED = 500
RELEASED_RUNS = {
    "GPT-3.5": ReleasedFile(
        "trajs/hotpotqa_dev_0_500_ft_gpt-3.5-turbo-0613_princeton-nlp__7woQRsdi_0.0_"
        "2023-09-21-16-19-51.json",
        "17cfd4634c10446cc662827a6014c214705cf0c099db6efe423f6e8027a4ed6e",
    ),
    "Llama-2-13B, LoRA": ReleasedFile(
        "trajs/hotpotqa_dev_0_500_llama_models_lora_llama-2-13b-d_1000_0.7_2023-09-18-13-40-08.json",
        "60b157fac6a893cc555512b08cea2bdbdf08b0ea60e9e97e2fcf601d154b4594",
    ),
    "Llama-2-7B, LoRA": ReleasedFile(
        "trajs/hotpotqa_dev_0_500_llama_models_lora_llama-2-7b-d_1000_0.7_2023-09-19-00-49-36.json",
        "3cba664bbe300c3487bf663ac58877fb8387ff418124fb1542b8474f8546270b",
    ),
}


@dataclass(frozen=True)
class Imported:
    """Trajectories of the release; `odd` tells of each row that could not be read.

    `label` is their provenance.
    """

    trajectories: tuple[Trajectory, ...]
    odd: tuple[str, ...]
    label: str


def fetch_released(file: ReleasedFile) -> tuple[Path, str]:
    """Where the file lies on this machine, fetched once and checked by its hash; its provenance.

    FIREACT_RELEASE may name another address that has the files; then the label says so, and no hash
    is asked for. Raises FireActError when it cannot be reached, is not there or is another file.
    """
    mirror = os.environ.get(_MIRROR, "").rstrip("/")
    address = mirror or ADDRESS
    folder = artifacts.RUNS / "released" / hashlib.sha256(address.encode()).hexdigest()[:8]
    here = folder / Path(file.path).name
    if not here.exists():
        content = _download(f"{address}/{file.path}")
        _check(content, file, f"{address}/{file.path}", bool(mirror))
        write_file(here, content)
    content = here.read_bytes()
    _check(content, file, str(here), bool(mirror))
    digest = hashlib.sha256(content).hexdigest()[:8]
    source = mirror if mirror else f"the authors' release, commit {COMMIT[:8]}"
    return here, f"paper, as reported ({source}: {here.name}, {digest})"


def _check(content: bytes, file: ReleasedFile, where: str, mirror: bool) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256 and not mirror:
        raise FireActError(
            f"{where} is not the file that the authors released (sha256 {digest[:8]}, not "
            f"{file.sha256[:8]}). Delete it if it lies here, and run it again; if it comes out the "
            "same, something between here and the server changes it."
        )


def _download(url: str) -> bytes:
    from .. import __version__

    request = urllib.request.Request(url, headers={"User-Agent": f"fireact-nb/{__version__}"})
    advice = (
        f"Connect this machine, or set {_MIRROR} to an address of your own that has the files. "
        "Profile 'tiny' needs none of them."
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read(_LARGEST)
    except urllib.error.HTTPError as error:
        raise FireActError(f"{url} answers with status {error.code}. {advice}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise FireActError(f"{url} cannot be reached ({why}). {advice}") from error
    return content


@cache
def released_training(task: str) -> Imported:
    """What the authors trained on of a task: HotpotQA's mix, or what multi-task training adds.

    Each row knows its task and its method; failed rows are there and marked `correct=False`. A row
    that is right has its answer as `gold`, for the release names none.
    """
    if task == "hotpotqa":
        path, label = fetch_released(FILES["hotpotqa"])
        odd: list[str] = []
        rows = [replace(t, task=task) for t in read_alpaca(path, odd=odd)]
    else:
        path, label = fetch_released(FILES["multi-task, multi-method"])
        odd = []
        by_react = {(t.question, t.steps) for t in
                    read_alpaca(fetch_released(FILES["multi-task"])[0], odd=[])}  # fmt: skip
        hotpotqa = {t.question for t in released_training("hotpotqa").trajectories}
        rows = [
            _tell_method(t, (t.question, t.steps) in by_react)
            for t in read_alpaca(path, odd=odd)
            if t.question not in hotpotqa
        ]
        rows = [t for t in map(_tell_task, rows) if t.task == task]
    seen: Counter[str] = Counter()
    kept = []
    for t in rows:
        # Rows of one question share its id, whatever file they stand in.
        digest = hashlib.sha256(normalize_answer(t.question).encode("utf-8")).hexdigest()[:12]
        id, place = f"{task}:train:{digest}", f"{digest} {t.method}"
        gold = t.answer if t.correct else None
        kept.append(replace(t, question_id=id, sample=seen[place], gold=gold))
        seen[place] += 1
    return Imported(tuple(kept), tuple(odd), label)


def released_run(name: str) -> Imported:
    """The episodes of one of RELEASED_RUNS; of RUNS_ASKED questions, unfinished ones may lack."""
    path, label = fetch_released(RELEASED_RUNS[name])
    odd: list[str] = []
    return Imported(tuple(read_released_trajectories(path, odd)), tuple(odd), label)


def _tell_method(trajectory: Trajectory, by_react: bool) -> Trajectory:
    """By which file it stands in: in these rows ReAct, too, ends in "reward = 1"."""
    if trajectory.method == "reflexion":
        return trajectory
    return replace(trajectory, method="react" if by_react else "cot")


_ASKED = "Question: "
_OPTIONS = re.compile(r"((?:[A-D]\. [^\n]*\n){4})(.+)", re.DOTALL)


def _tell_task(trajectory: Trajectory) -> Trajectory:
    """The row with its task; MMLU's four options go from the first turn back into the question.

    The released rows have them at the head of the output, so that a student trained on these learns
    to write the options and never gets to read them.
    """
    if not trajectory.question.startswith(_ASKED):
        return replace(trajectory, task="strategyqa")
    first, *rest = trajectory.steps
    found = _OPTIONS.fullmatch(first.text)
    question = trajectory.question.removeprefix(_ASKED)
    if not found:
        return replace(trajectory, task="mmlu", question=question)
    return replace(
        trajectory,
        task="mmlu",
        question=f"{question}\n{found[1].rstrip()}",
        steps=(replace(first, text=found[2]), *rest),
        meta={**trajectory.meta, "moved": "the options, from the first turn into the question"},
    )
