"""Colab: what it lacks is installed, what it has is left as it is; its secrets.

The first cell of every notebook runs this file as a program, before the project is installed. So
nothing of the project is imported but inside `find_secret`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# peft refuses to work beside older ones, which Colab ships.
TORCHAO = "torchao>=0.16"


def install(project: Path = PROJECT) -> str:
    """Install the project and what is missing; what is there keeps its version. Tells what it did.

    Only what is older than the project can use is renewed. An old torchao, which would stop every
    training and every adapter, is renewed too, else taken away.
    """
    started, before = time.monotonic(), _installed()
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("".join(f"{name}=={before[name]}\n" for name in _kept(before, project)))
        _pip("install", "-q", "-c", str(held), "-e", str(project), check=True)
    if _is_old(before.get("torchao")) and _pip("install", "-q", "--no-deps", "-U", TORCHAO):
        _pip("uninstall", "-q", "-y", "torchao")
    after = _installed()
    changed = [
        f"{name} {before.get(name, 'new')} -> {after.get(name, 'gone')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return f"{time.monotonic() - started:.0f} s. Changed: {', '.join(changed) or 'nothing'}."


def _installed() -> dict[str, str]:
    """Versions by normal name; where a package lies twice, the first is the one imported."""
    found: dict[str, str] = {}
    for package in metadata.distributions():
        name = (package.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-")
        found.setdefault(name, package.version)
    return {name: version for name, version in found.items() if name and version}


def _kept(installed: dict[str, str], project: Path) -> list[str]:
    """The packages that must stay as they are: all but those too old for the project."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # pip will tell what does not fit
        return [name for name in installed if name != "fireact-nb"]
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    needed = map(Requirement, tomllib.loads(text)["project"]["dependencies"])
    old = {
        need.name
        for need in needed
        if need.name in installed
        and not need.specifier.contains(installed[need.name], prereleases=True)
    }
    return [name for name in installed if name not in old | {"fireact-nb", "torchao"}]


def _is_old(torchao: str | None) -> bool:
    if not torchao:
        return False
    return tuple(map(int, torchao.split("+")[0].split(".")[:2])) < (0, 16)


def _pip(*arguments: str, check: bool = False) -> int:
    return subprocess.run([sys.executable, "-m", "pip", *arguments], check=check).returncode


def find_secret(name: str, why: str = "") -> str:
    """A key: from Colab's store, else from the environment, else typed into a hidden field.

    `why` tells the person what it is for. It is hidden in all that is written from now on. Raises
    FireActError, with what every place said, when there is none.
    """
    from ..agent.secrets import Hidden, remember
    from ..errors import FireActError

    key, said = _ask_store(name)
    if not key:
        key = os.environ.get(name, "").strip()
        said = [*said, f"the environment has no {name}"]
    if not key:
        for line in said[:-1]:
            print(line)
        try:
            from getpass import getpass

            key = getpass(f"{name}{f', {why}' if why else ''} (hidden): ").strip()
        except Exception as error:  # a notebook that runs by itself has nobody to ask
            said.append(f"nobody could be asked ({type(error).__name__})")
    if not key:
        raise FireActError(
            f"There is no key {name}: {'; '.join(said)}. Set it in the environment before the "
            "notebook starts, or on Colab under the key symbol at the left."
        )
    remember(key)
    return Hidden(key)


def _ask_store(name: str) -> tuple[str, list[str]]:
    """What Colab's store holds, or why it does not."""
    if "google.colab" not in sys.modules:
        return "", []
    reasons = {
        "SecretNotFoundError": f"has no secret {name} (a copied notebook inherits none)",
        "NotebookAccessError": f"does not let this notebook see {name}; switch its access on",
        "TimeoutException": "answers in Colab's own page alone",
    }
    try:
        from google.colab import userdata  # type: ignore[import-not-found, unused-ignore]

        return (userdata.get(name) or "").strip(), []
    except Exception as error:
        kind = type(error).__name__
        return "", [f"Colab's store {reasons.get(kind, f'failed ({kind})')}"]


if __name__ == "__main__":
    print(install())
