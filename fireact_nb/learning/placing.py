"""The folder that a training fills: one training at a time, its checkpoints, its result whole.

Knows files; knows nothing of what is trained.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import FireActError
from ..files import read_json, write_file


def check_folder(folder: Path, model: str | Path) -> None:
    """Make the folder, or say before the training, not after it, why no result can be kept there.

    model: what is trained, which must lie elsewhere.
    """
    if folder.exists() and Path(model).resolve() == folder.resolve():
        raise FireActError(
            f"{folder} holds the model to be trained, which must stay as it is for its result to "
            "mean anything. Choose another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FireActError(
            f"The folder {folder} cannot be made ({_what_is_there(folder) or error.strerror}), so "
            "the adapter could not be saved. Choose a folder that you may write to."
        ) from error
    if free < 500 * 2**20 or not os.access(folder, os.W_OK):
        raise FireActError(
            f"The adapter and its checkpoints could not be saved in {folder}: it is read-only or "
            f"its disk has only {free / 2**20:.0f} MiB free (500 are needed). Free some space or "
            "choose another folder."
        )


def _what_is_there(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "it is a link that leads nowhere"
    return "it is there and no folder" if path.exists() else ""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Refuse a second training in the folder; one that is killed loses the lock with its life."""
    import filelock

    lock = filelock.FileLock(folder / "training.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as error:
        raise FireActError(
            f"Another training is at work in {folder}. Wait for its end, stop it (or restart its "
            "kernel), or choose another folder."
        ) from error
    except (OSError, NotImplementedError):
        yield  # a file system without locks: better trained than not
        return
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held, lest another's is taken away
            (folder / "training.lock").unlink()
        lock.release()


@contextmanager
def room_in(checkpoints: Path) -> Iterator[None]:
    """Whatever stops the writing inside as an error that says what to do.

    Three libraries write there, each with an error of its own for a full disk.
    """
    try:
        yield
    except FireActError:
        raise
    except Exception as error:
        raise FireActError(
            f"The training could not be saved in {checkpoints} ({error}). Free some space or check "
            "that the folder may be written, then train again into the same folder: it goes on "
            "from the last checkpoint that is whole."
        ) from error


def put_in_place(made: Path, folder: Path) -> None:
    """Move the result into its folder in an order that shows where it broke off.

    Without its config no adapter and no model loads. So an earlier result's config goes first and
    the new one comes last: a folder with a config holds the weights and the recipe that belong to
    it. (By the recipe `load_model` knows whether to merge an adapter into the rounded base.)
    Everything was written by now, so that a full disk spoils no earlier result.
    """
    (made / "README.md").unlink(missing_ok=True)  # peft's empty model card
    names = sorted(str(f.relative_to(made)) for f in made.rglob("*") if f.is_file())
    config = "adapter_config.json" if "adapter_config.json" in names else "config.json"
    names.sort(key=lambda name: (name == config, name != "recipe.json"))
    for name in {"adapter_config.json", *names}:
        if os.path.lexists(folder / name) and not (folder / name).is_file():
            raise FireActError(
                f"{folder / name} was not written: what is there is no plain file. Move it away "
                "and train again into the same folder: what was learnt is kept there."
            )
        if (made / name).exists():
            with (made / name).open("r+b") as file:
                os.fsync(file.fileno())  # else a power cut could leave a name without its content
    for name in {"adapter_config.json", config}:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(made / name, folder / name)


def find_checkpoint(folder: Path, run: str) -> str | None:
    """The newest checkpoint of this very run that was written to its end.

    Checkpoints of another recipe, model or data in the same folder are dropped.
    """
    mark = folder / "checkpoints" / "run.txt"
    if not mark.exists() or mark.read_text(encoding="utf-8") != run:
        clear_checkpoints(folder)
        write_file(mark, run)
    newest = None
    for path in sorted(mark.parent.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])):
        try:
            read_json(path / "trainer_state.json", dict)  # written last
            newest = str(path)
        except FireActError:  # torn by a kill or a full disk, which needs the room
            shutil.rmtree(path, ignore_errors=True)
    return newest


def clear_checkpoints(folder: Path) -> None:
    with suppress(OSError):  # first: what a kill leaves of the rest must not be gone on with
        (folder / "checkpoints" / "run.txt").unlink()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
