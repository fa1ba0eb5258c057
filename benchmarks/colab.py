"""The first cell of a notebook on Colab's recorded versions: seconds, and packages that changed.

    python benchmarks/colab.py FOLDER

In FOLDER, once: python -m venv env, then in it the versions of tests/colab/packages.txt, as far as
this machine has them (another build of torch will do). The cell is then run twice in a new empty
folder there, as a notebook of Colab's would run it; this checkout stands in for the repository.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fireact_nb.artifacts import ROOT
from fireact_nb.course.series import read_source, repository, sources

NOTEBOOK = """
import sys
import google.colab
exec(sys.argv[1], {})
import fireact_nb, peft, torch, transformers
from fireact_nb.models.weights import load_base
print(peft.__version__, transformers.__version__, torch.__version__)
"""


def packages(python: Path) -> dict[str, str]:
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], check=True, capture_output=True
    )
    return {row["name"].lower(): row["version"] for row in json.loads(done.stdout)}


def _spent() -> float:
    """Seconds of CPU that programs started here took; other programs do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    base = Path(sys.argv[1]).resolve()
    python = base / "env" / "bin" / "python"
    cell = next(c.source for c in read_source(sources()[0]).cells if c.cell_type == "code")
    cell = cell.replace(repository(), ROOT.as_uri())
    folder = Path(tempfile.mkdtemp(dir=base))
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    before = packages(python)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    for number in ("first", "second"):
        started, spent = time.monotonic(), _spent()
        subprocess.run([python, "-c", NOTEBOOK, cell], cwd=folder, env=environment, check=True)
        after = packages(python)
        changed = {
            name: f"{before.get(name, 'new')} -> {after.get(name, 'gone')}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        }
        seconds, spent = time.monotonic() - started, _spent() - spent
        print(
            f"{number} run: {seconds:.0f} s ({spent:.0f} s of CPU), {changed or 'nothing changed'}"
        )
        before = after


if __name__ == "__main__":
    main()
