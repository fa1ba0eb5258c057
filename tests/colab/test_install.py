"""What the first cell does to Colab's packages as recorded: it adds, and renews torchao alone.

pip itself runs in benchmarks/colab.py; here its calls are read.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fireact_nb.artifacts import DRIVE, ROOT, find_runs

LIST = (Path(__file__).parent / "packages.txt").read_text(encoding="utf-8")
RECORDED = dict(line.split("==") for line in LIST.splitlines() if line and line[0] != "#")
# On no list of Colab's, or not on the part that was recorded.
MISSING = {"bitsandbytes", "bm25s"}
UNKNOWN = {"tqdm", "psutil", "tenacity", "filelock", "pydantic", "packaging", "jinja2"}
NEEDED = [
    Requirement(line)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
]
PIP = """import sys
open("calls", "a").write("pip " + " ".join(sys.argv[1:]) + "\\n")
if "-c" in sys.argv:
    open("held", "w").write(open(sys.argv[sys.argv.index("-c") + 1]).read())
"""


def test_the_record_says_when_and_whence_it_is() -> None:
    assert "recorded 2026-08-19" in LIST and "backend-info" in LIST
    assert {"torch", "torchao", "peft", "transformers", "numpy"} <= RECORDED.keys()


@pytest.mark.parametrize("need", NEEDED, ids=str)
def test_what_colab_has_is_new_enough(need: Requirement) -> None:
    """Else the first cell would replace it under a running notebook."""
    name = need.name
    found = RECORDED.get(name) or RECORDED.get(name.replace("-", "_"))
    if found is None:
        assert canonicalize_name(name) in MISSING | UNKNOWN
    else:
        assert need.specifier.contains(found)


def install(folder: Path, packages: dict[str, str]) -> tuple[list[str], dict[str, str], str]:
    """Pip's calls, the versions it was told to keep, and what was said, among such packages."""
    for name, version in packages.items():
        made = folder / f"{name}-{version}.dist-info"
        made.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (made / "METADATA").write_text(text, encoding="utf-8")
    (folder / "pip.py").write_text(PIP, encoding="utf-8")
    # -S: nothing that is installed here may be seen, but packaging, which Colab has.
    import packaging

    link = folder / "packaging"
    if not link.exists():
        link.symlink_to(Path(packaging.__file__).parent, target_is_directory=True)
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "fireact_nb/course/colab.py")],
        cwd=folder, env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    held = (folder / "held").read_text(encoding="utf-8").split()
    return (
        (folder / "calls").read_text(encoding="utf-8").splitlines(),
        dict(line.split("==") for line in held),
        done.stdout,
    )


posix = pytest.mark.skipif(sys.platform == "win32", reason="links, and a Linux PATH")


@posix
def test_every_package_is_held_and_torchao_is_mended(tmp_path: Path) -> None:
    calls, held, said = install(tmp_path, RECORDED)
    assert len(calls) == 2
    assert calls[0].startswith("pip install -q -c ") and calls[0].endswith(f"-e {ROOT}")
    assert calls[1] == "pip install -q --no-deps -U torchao>=0.16"
    kept = {canonicalize_name(name): version for name, version in RECORDED.items()}
    del kept["torchao"]
    assert held == kept
    assert re.match(r"\d+ s\. Changed: nothing\.", said)  # this pip does nothing


@posix
def test_a_torchao_that_is_new_enough_or_missing_is_let_alone(tmp_path: Path) -> None:
    new = {**RECORDED, "torchao": "0.16.0+cu128"}
    assert len(install(tmp_path, new)[0]) == 1
    (other := tmp_path / "none").mkdir()
    assert len(install(other, {"numpy": "2.1.3"})[0]) == 1


@posix
def test_only_what_is_too_old_may_be_renewed(tmp_path: Path) -> None:
    _, held, _ = install(tmp_path, {**RECORDED, "peft": "0.17.0"})
    assert "peft" not in held and held["torch"] == RECORDED["torch"]


def test_results_go_to_a_mounted_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIREACT_RUNS", raising=False)
    assert find_runs(tmp_path) == tmp_path / "fireact-runs"
    assert find_runs(tmp_path / "nowhere") == ROOT / "runs"
    monkeypatch.setenv("FIREACT_RUNS", str(tmp_path / "mine"))
    assert find_runs(tmp_path) == tmp_path / "mine"
    assert DRIVE.as_posix() == "/content/drive/MyDrive"
