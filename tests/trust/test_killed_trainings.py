"""Training under faults: killed at any moment, a full disk, a second training, odd folders.

`FIREACT_TRUST=1` kills at 20 moments instead of 3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from books import BOOKS, RECIPE, save_base

from fireact_nb.artifacts import DATA
from fireact_nb.errors import FireActError
from fireact_nb.learning.placing import alone_in
from fireact_nb.learning.training import fine_tune
from fireact_nb.models.weights import load_tokenizer

MOMENTS = 20 if os.environ.get("FIREACT_TRUST") == "1" else 3
SHORT = replace(RECIPE, kind="lora", epochs=3)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Loads the libraries once and forks a process for each run. A run counts what it does to files in
# its folder and dies at the moment it was given; odd moments die a little later, within a step.
ZYGOTE = """
import json, os, random, signal, sys, threading
from pathlib import Path
from books import BOOKS, RECIPE
from dataclasses import replace
from fireact_nb.learning.training import fine_tune
import peft, transformers, transformers.trainer
recipe = replace(RECIPE, kind="lora", epochs=6)
base, root, moments = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
rng = random.Random(0)

def run(folder, moment=None, delay=0.0):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    count = 0
    def hook(event, args):
        nonlocal count
        if args and str(folder) in str(args[0]):
            count += 1
            if count == moment:
                if delay:
                    signal.setitimer(signal.ITIMER_REAL, delay)  # its signal ends a process, too
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    try:
        fine_tune(base, BOOKS, folder, recipe, progress=False)
        (root / "events").write_text(str(count))
        os._exit(0)
    finally:
        os._exit(1)

def state(folder):
    files = ("recipe.json", "losses.json", "adapter_model.safetensors", "adapter_config.json")
    return {n: (folder / n).read_bytes().hex() for n in files if (folder / n).exists()}

assert run(root / "calm") == 0
events, runs = int((root / "events").read_text()), []
for n in range(moments):
    folder = root / f"killed{n}"
    moment = 1 + (events - 2) * n // max(1, moments - 1)
    later = n % 2 and moment < events // 2  # else it could come after the end
    ended = run(folder, moment, rng.uniform(0.001, 0.05) if later else 0.0)
    left = state(folder)
    resumed = run(folder)
    names = sorted(p.name for p in folder.iterdir())
    runs.append([moment, ended, left, resumed, state(folder), names])
print(json.dumps([events, state(root / "calm"), runs]))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(DATA / "tokenizer")
    return save_base(tmp_path_factory.mktemp("models") / "base", tokenizer)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_training_killed_at_any_moment_ends_as_if_it_had_not_been(
    base: Path, tmp_path: Path
) -> None:
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", ZYGOTE, str(base), str(tmp_path), str(MOMENTS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    events, calm, runs = json.loads(done.stdout.splitlines()[-1])
    assert events > 50 and len(calm) == 4 and len(runs) == MOMENTS
    for moment, ended, left, resumed, final, names in runs:
        assert ended in (9, 14), f"moment {moment} of {events}: it was not killed"
        assert "adapter_config.json" not in left or left == calm, f"moment {moment}: half a result"
        assert not left or "recipe.json" in left, f"moment {moment}: the recipe comes first"
        assert resumed == 0 and final == calm, f"moment {moment} of {events}: another result"
        assert "checkpoints" not in names and "training.lock" not in names


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs limits of file sizes")
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_full_disk_is_told_and_costs_no_finished_result(
    kind: str, base: Path, tmp_path: Path
) -> None:
    import resource

    recipe = replace(SHORT, kind=kind, epochs=1)
    earlier = fine_tune(base, BOOKS, tmp_path / "a", replace(recipe, seed=1), progress=False)
    kept = {p.name: p.read_bytes() for p in earlier.folder.iterdir()}
    weights = max(map(len, kept.values()))
    for limit in (5_000, weights + 3_000):  # at the model, at the optimizer behind it
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            with pytest.raises(FireActError, match="could not be saved in .*a.checkpoints"):
                fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert {p.name: p.read_bytes() for p in earlier.folder.glob("*.*")} == kept
    done = fine_tune(base, BOOKS, tmp_path / "a", recipe, progress=False)
    fresh = fine_tune(base, BOOKS, tmp_path / "b", recipe, progress=False)
    for file in fresh.folder.iterdir():
        assert (done.folder / file.name).read_bytes() == file.read_bytes()


def test_a_second_training_in_a_folder_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with alone_in(tmp_path / "a"), pytest.raises(FireActError, match="Another training .*a\\."):
        fine_tune(base, BOOKS, tmp_path / "a", SHORT, progress=False)
    assert list((tmp_path / "a").iterdir()) == []
    with alone_in(tmp_path / "a"):  # free again
        pass


@pytest.mark.skipif(os.name == "nt", reason="has no such files")
def test_a_folder_that_cannot_be_one_is_told_and_left_as_it_is(base: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("mine", "utf-8")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "far")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(p.name for p in tmp_path.iterdir())
    odd = [tmp_path / name for name in (*before, "file/below")]
    for path in [*odd, Path(os.devnull), Path("/proc/fireact")]:
        with pytest.raises(FireActError, match="cannot be made .* Choose a folder"):
            fine_tune(base, BOOKS, path, SHORT, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "file").read_text("utf-8") == "mine"


@pytest.mark.skipif(os.name == "nt", reason="links need a right of their own there")
def test_a_link_to_a_folder_stays_and_the_folder_is_filled(base: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far")
    fine_tune(base, BOOKS, tmp_path / "link", replace(SHORT, epochs=1), progress=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "adapter_config.json").exists()
