"""The shipped data: where each artifact lies, what it was made from, and whether it is whole.

The manifest (`data/manifest.json`) chains world, tokenizer, weights, trajectories and outcomes:
each entry holds the hash of its files, the hashes of its inputs and the command that makes it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path

from .errors import FireActError
from .files import file_state, read_json, write_file
from .hub import NAME, split_name

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
DRIVE = Path("/content/drive/MyDrive")  # where Colab mounts what outlives a disconnect


def find_runs(drive: Path = DRIVE) -> Path:
    """Where the learner's results go: FIREACT_RUNS, else a mounted Drive, else the checkout."""
    if given := os.environ.get("FIREACT_RUNS"):
        return Path(given).absolute()
    return drive / "fireact-runs" if drive.is_dir() else ROOT / "runs"


# What the learner makes; never committed. The one place that says where: commands, kernels and the
# study all write here. Absolute, for a notebook's kernel stands in another folder than its command.
RUNS = find_runs()


@dataclass(frozen=True)
class Artifact:
    """One link of the chain. `inputs` maps an earlier artifact to its hash when this was made."""

    path: str
    sha256: str
    inputs: dict[str, str]
    command: str


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a folder's file names and contents in order."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()


def read_manifest(folder: Path = DATA) -> dict[str, Artifact]:
    """All links by name. Raises FireActError when there is no readable manifest."""
    path = folder / "manifest.json"
    return dict(_parse_manifest(path, file_state(path)))  # its own, for `register` adds to it


@lru_cache(maxsize=16)
def _parse_manifest(path: Path, state: tuple[int, ...] | None) -> dict[str, Artifact]:
    """Asked at every door, so read once a process for each state of the file."""
    return {name: Artifact(**entry) for name, entry in read_json(path, dict).items()}


def register(
    name: str, path: Path, inputs: Sequence[str], command: str, folder: Path = DATA
) -> None:
    """Enter or renew one artifact in the manifest, with the present hashes of its inputs."""
    manifest = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    manifest[name] = Artifact(
        path=path.relative_to(folder).as_posix(),
        sha256=hash_path(path),
        inputs={i: manifest[i].sha256 for i in inputs},
        command=command,
    )
    content = {name: asdict(artifact) for name, artifact in sorted(manifest.items())}
    write_file(folder / "manifest.json", json.dumps(content, indent=1) + "\n")
    _check.cache_clear()


def stale_links(folder: Path = DATA) -> list[str]:
    """What is wrong with the chain, in words; empty when every link holds."""
    problems = []
    manifest = read_manifest(folder)
    for name, artifact in manifest.items():
        path = folder / artifact.path
        if not path.exists():
            problems.append(f"{name}: {artifact.path} is missing; remake it by {artifact.command}")
        elif hash_path(path) != artifact.sha256:
            problems.append(f"{name}: {artifact.path} has changed since {artifact.command}")
        for source, sha256 in artifact.inputs.items():
            if source not in manifest:
                problems.append(f"{name}: its input {source} is not in the manifest")
            elif manifest[source].sha256 != sha256:
                problems.append(f"{name}: made from an earlier {source}; run {artifact.command}")
    return problems


def shipped(name: str, folder: Path = DATA) -> Path:
    """The path of a shipped artifact, checked against its hash once a process.

    Raises FireActError when it is unknown, missing or not what the manifest says.
    """
    manifest = read_manifest(folder)
    if name not in manifest:
        raise FireActError(
            f"There is no shipped artifact {name!r}. There are: {', '.join(manifest)}."
        )
    return _check(name, folder / manifest[name].path, manifest[name].sha256)


@cache
def _check(name: str, path: Path, sha256: str) -> Path:
    if not path.exists() or hash_path(path) != sha256:  # an error is not kept: it may be restored
        state = "has been changed" if path.exists() else "is missing"
        raise FireActError(
            f"The shipped artifact {name!r} ({path}) {state}. Restore it with `git checkout data`."
        )
    return path


def provenance(name: str) -> str:
    """How a shipped artifact is to be labelled: its hash and its command."""
    artifact = read_manifest()[name]
    return f"shipped ({artifact.sha256[:8]}, {artifact.command})"


@dataclass(frozen=True)
class Origin:
    """A file a notebook starts from; `label` is its provenance, `hint` how to make one's own.

    `own` says that the learner made it.
    """

    path: Path
    label: str
    hint: str = ""
    own: bool = False

    def __str__(self) -> str:
        return self.label + (f"; for your own, run: {self.hint}" if self.hint else "")


def find_origin(name: str, own: str, command: str = "") -> Origin:
    """The learner's own file runs/`own` where there is one, else the shipped artifact `name`.

    `command` is how the learner would make their own; printing a shipped origin tells it.
    """
    return next(iter(find_own(own)), find_shipped(name, command))


def find_shipped(name: str, command: str = "") -> Origin:
    """The shipped artifact `name`; `command` is how the learner would make their own."""
    return Origin(shipped(name), provenance(name), command)


def find_own(*names: str) -> list[Origin]:
    """Those of the named files that the learner has made in the runs folder, in this order."""
    return [
        Origin(RUNS / name, f"your own run ({RUNS.name}/{name})", own=True)
        for name in names
        if (RUNS / name).exists()
    ]


def find_model(name: str) -> Path | str:
    """Where a model lies: a shipped one by its name, a folder, or a name of the hub as it is."""
    artifact = read_manifest().get(name)
    if artifact is not None and artifact.path.startswith("models/"):
        return shipped(name)
    on_hub = NAME.fullmatch(split_name(name)[0]) and not Path(name).parent.exists()
    return name if on_hub else Path(name)
