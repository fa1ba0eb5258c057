"""The first cell of every notebook, run as Colab and as a bare laptop would run it, and twice.

What it has pip do beside Colab's own packages: tests/colab.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fireact_nb.artifacts import ROOT
from fireact_nb.course import series

CELLS = {s.stem: next(c for c in series.read_source(s).cells if c.cell_type == "code").source
         for s in series.sources()}  # fmt: skip
posix = pytest.mark.skipif(os.name == "nt", reason="a stand-in for git that is a shell script")
# A stand-in for git: it notes its calls, and a clone brings a package of our name, that installs.
GIT = f"""#!/bin/sh
echo "git $*" >> calls
[ "$1" = clone ] && [ -e fireact ] && exit 128
mkdir -p fireact/fireact_nb/course && touch fireact/fireact_nb/__init__.py
cp '{ROOT / "fireact_nb/course/colab.py"}' fireact/fireact_nb/course/
cp '{ROOT / "pyproject.toml"}' fireact/
"""
PIP = 'import sys; open("calls", "a").write(f"pip {sys.argv[1:]}\\n")'
# -S: nothing that is installed here may be seen.
COLAB = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
for _ in range(2):
    exec(sys.argv[1], {})
import fireact_nb
"""


def run_python(code: str, cell: str, folder: Path) -> subprocess.CompletedProcess[str]:
    for name, text in (("git", GIT), ("pip.py", PIP)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    paths = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-S", "-c", code, cell],
        cwd=folder, env={**os.environ, **paths}, capture_output=True, text=True,
    )  # fmt: skip


def test_all_notebooks_begin_alike_and_shortly():
    assert len(set(CELLS.values())) == 1
    [cell] = set(CELLS.values())
    assert len([line for line in cell.splitlines() if line.strip()]) <= 10


@posix
def test_on_colab_the_second_run_fetches_nothing(tmp_path):
    done = run_python(COLAB, next(iter(CELLS.values())), tmp_path)
    assert done.returncode == 0, done.stderr
    clone, install = (tmp_path / "calls").read_text().splitlines()
    assert clone == f"git clone --depth 1 {series.repository()} fireact"
    assert f"'-e', '{tmp_path / 'fireact'}'" in install
    assert "torch" not in install and "numpy" not in install, "Colab's own must stay"


@posix
def test_a_fetch_that_broke_off_goes_on(tmp_path):
    (tmp_path / "fireact").mkdir()
    done = run_python(COLAB, next(iter(CELLS.values())), tmp_path)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [c.split()[1] for c in calls if c.startswith("git")] == ["clone", "-C"]
    assert calls[-1].startswith("pip ")


@posix
def test_a_notebook_opened_alone_says_what_to_type(tmp_path):
    done = run_python("import sys; exec(sys.argv[1])", next(iter(CELLS.values())), tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"git clone {series.repository()}" in done.stderr and "make -C fireact" in done.stderr
    assert not (tmp_path / "calls").exists()
