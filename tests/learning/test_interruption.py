"""A training that breaks off goes on where it stopped; what it leaves is not taken for whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from books import BOOKS, LONG, RECIPE

from fireact_nb.errors import FireActError
from fireact_nb.learning.training import fine_tune
from fireact_nb.models.adapters import load_model

pytestmark = pytest.mark.slow  # whole trainings
KILLED = """
import sys
from books import BOOKS, LONG
from fireact_nb.learning.training import fine_tune
fine_tune(sys.argv[1], BOOKS, sys.argv[2], LONG, progress=False)
"""


def kill_after_a_checkpoint(base: Path, folder: Path) -> int:
    """Train in a process of its own, kill it, and return the last complete checkpoint's step."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(base), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(folder.glob("checkpoints/*/trainer_state.json")):
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    states = folder.glob("checkpoints/*/trainer_state.json")
    return max(int(state.parent.name.split("-")[1]) for state in states)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    reached = kill_after_a_checkpoint(base, tmp_path / "killed")
    assert 0 < reached < 90
    torn = tmp_path / "killed" / "checkpoints" / "checkpoint-89"
    torn.mkdir()  # as a kill in the middle of saving leaves it

    steps: list[int] = []
    step = Trainer.training_step

    def counted(self: Trainer, *arguments: Any, **options: Any) -> Any:
        steps.append(self.state.global_step)
        return step(self, *arguments, **options)

    monkeypatch.setattr(Trainer, "training_step", counted)
    done = fine_tune(base, BOOKS, tmp_path / "killed", LONG, progress=False)
    assert sorted(set(steps)) == list(range(reached, 90)), "it did not go on where it stopped"
    assert [s for s, _ in done.losses] == [1, *range(5, 91, 5)]
    assert not (tmp_path / "killed" / "checkpoints").exists()

    calm = fine_tune(base, BOOKS, tmp_path / "calm", LONG, progress=False)
    assert calm.losses == done.losses
    for name in ("adapter_model.safetensors", "losses.json", "recipe.json"):
        assert (calm.folder / name).read_bytes() == (done.folder / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_of_another_recipe_is_not_gone_on_with(base: Path, tmp_path: Path) -> None:
    kill_after_a_checkpoint(base, tmp_path / "a")
    other = replace(RECIPE, rank=2, epochs=1)
    done = fine_tune(base, BOOKS, tmp_path / "a", other, progress=False)
    fresh = fine_tune(base, BOOKS, tmp_path / "b", other, progress=False)
    assert done.losses == fresh.losses and done.losses


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_folder_that_was_not_filled_to_its_end_loads_as_nothing(
    moved: int, kind: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another result lay before, whose recipe does not belong to the new weights."""
    folder, recipe = tmp_path / "a", replace(RECIPE, kind=kind, epochs=1)
    earlier = replace(recipe, kind="qlora", seed=1) if kind == "lora" else replace(recipe, seed=1)
    fine_tune(base, BOOKS, folder, earlier, progress=False)
    move, names = os.replace, []

    def broken_off(source: Path, target: Path) -> None:
        if target.parent == folder and len(names) == moved:
            raise KeyboardInterrupt
        if target.parent == folder:
            names.append(target.name)
        move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", broken_off)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(base, BOOKS, folder, recipe, progress=False)
    assert names[:1] == ["recipe.json"][:moved]
    paths = (folder,) if kind == "full" else (base, folder)
    with pytest.raises(FireActError, match=r"config\.json"):
        load_model(*paths)
    done = fine_tune(base, BOOKS, folder, recipe, progress=False)
    fresh = fine_tune(base, BOOKS, tmp_path / "b", recipe, progress=False)
    made = [next(d.folder.glob("*model.safetensors")).read_bytes() for d in (done, fresh)]
    assert made[0] == made[1] and load_model(*paths)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_what_is_no_plain_file_is_not_replaced_and_nothing_learnt_is_lost(
    name: str, base: Path, tmp_path: Path
) -> None:
    folder, recipe = tmp_path / "a", replace(RECIPE, kind="lora", epochs=1)
    (folder / name).mkdir(parents=True)
    with pytest.raises(FireActError, match=rf"{name} was not written: .* no plain file"):
        fine_tune(base, BOOKS, folder, recipe, progress=False)
    assert (folder / name).is_dir() and not (folder / "recipe.json").exists()
    (folder / name).rmdir()
    done = fine_tune(base, BOOKS, folder, recipe, progress=False)
    assert done.seconds < 60 and load_model(base, folder)
