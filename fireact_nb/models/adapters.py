"""LoRA adapters on their models: put on, merged, sent to the hub and fetched from it.

Knows peft's files and which model an adapter belongs to; knows neither training nor decoding.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ..errors import FireActError
from ..files import read_json
from ..hub import explain, split_name
from .quirks import beside_torchao
from .sizes import total_memory
from .weights import (
    PICKLE,
    check_numbers,
    choose_device,
    describe,
    load_base,
    locate,
    names_hub,
    say_cause,
)  # fmt: skip

_FILES = ("adapter_config.json", "adapter_model.safetensors", "recipe.json", "losses.json")


def load_model(
    model: str | Path, adapter: str | Path | None = None, merged: bool | None = None
) -> tuple[Any, Any]:
    """A model ready to answer, with its adapter put on the weights it was trained on.

    An adapter trained by QLoRA belongs on the NF4 base, which is what it saw. `merged`: whether the
    base is then dequantised and the adapter merged into it, which is faster and three to four times
    as large; by default where that fills less than half of a GPU's memory, and on a CPU, where
    bitsandbytes would round the scales of four bits once more. All others are merged.
    Raises FireActError as `load_base` does, and for an adapter that is of another model, not whole
    or a pickle.
    """
    if adapter is None:
        loaded, tokenizer = load_base(model)
        return loaded.eval(), tokenizer
    folder, recipe = Path(adapter), Path(adapter) / "recipe.json"
    if not (folder / "adapter_config.json").exists():
        raise FireActError(
            f"There is no LoRA adapter in {adapter}: adapter_config.json is missing. Train one "
            "with `fireact_nb.learning.training.fine_tune`, or check the path."
        )
    try:
        made = json.loads(recipe.read_text(encoding="utf-8")) if recipe.exists() else {}
        quantized = made.get("kind") == "qlora"
        model = find_base(model, folder)
        _check_base(model, adapter, str(made.get("base", "")))
        loaded, tokenizer = load_base(model, quantized)
        if quantized and merged is None:
            device, dtype = choose_device()
            size = loaded.num_parameters() * dtype.itemsize
            merged = device == "cpu" or size < total_memory() / 2
        keep = quantized and not merged
        loaded = _attach(loaded if keep or not quantized else loaded.dequantize(), folder, keep)
    except FireActError:
        raise  # says enough
    except Exception as error:
        raise FireActError(
            f"The adapter {adapter} could not be put on the model {model}: {say_cause(error)}. "
            "Check that its folder is whole, and use the model it was trained on (its recipe.json "
            "names it)."
        ) from error
    return loaded.eval(), tokenizer


def find_base(model: str | Path, adapter: str | Path | None) -> str | Path:
    """A hub's model at the revision its adapter was trained on, unless another one is named."""
    config = Path(adapter or "") / "adapter_config.json"
    if adapter is None or not names_hub(model) or not config.exists():
        return model
    name, revision = split_name(Path(model).as_posix())
    made = read_json(config, dict)
    if revision is None and made.get("base_model_name_or_path") == name and made.get("revision"):
        return f"{name}@{made['revision']}"
    return model


def name_base(model: str | Path) -> tuple[str, str | None]:
    """How an adapter's config names the model: by hub name and commit, so that peft finds it
    anywhere; a folder by its hash, for a path of this machine would mean nothing elsewhere.
    """
    return locate(model) if names_hub(model) else (describe(model), None)


def _check_base(model: str | Path, adapter: str | Path, base: str) -> None:
    """Refuse an adapter whose recipe names another model; by hashes, for folders are renamed.

    A commit of the hub and a hash of files cannot be compared.
    """
    here = describe(model)
    found = [name.rpartition("@") for name in (base, here) if _HASHED.search(name)]
    if len(found) == 2 and ("/" in base) == ("/" in here) and found[0][2] != found[1][2]:
        raise FireActError(
            f"The adapter {adapter} was trained on {base} and does not belong to {model}, which is "
            f"{here}. Use the model it was trained on."
        )


_HASHED = re.compile(r"@[0-9a-f]{8}$")


def _attach(loaded: Any, folder: Path, keep: bool) -> Any:
    """The model with the adapter, every tensor of which must have its place there.

    Merged in, or with `keep` beside the weights. peft by itself draws at random what a file lacks
    and leaves out what it cannot place, with a warning at most; and of a folder without weights it
    asks the hub, or unpickles.
    """
    # Only now, for load_base has quieted what they import.
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.exists() and any(folder.glob("*.bin")):
        raise FireActError(PICKLE.format(folder))
    saved = load_file(file)
    check_numbers(saved.items())
    with beside_torchao():
        network = PeftModel(loaded, PeftConfig.from_pretrained(str(folder)))
    places = get_peft_model_state_dict(network, save_embedding_layers=False)
    if lacking := places.keys() - saved.keys():
        raise ValueError(f"it lacks {min(lacking)}")
    if odd := saved.keys() - places.keys() - network.state_dict().keys():
        raise ValueError(f"the model has no place for {min(odd)}")
    set_peft_model_state_dict(network, saved)
    return network.get_base_model() if keep else network.merge_and_unload()


def merge_adapter(model: str | Path, adapter: str | Path, folder: str | Path) -> Path:
    """Write the model with its adapter merged in, for programs that know no adapters.

    In float32 on a CPU, else at the precision of `choose_device`. Raises FireActError as
    `load_model` does, and when the folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FireActError(f"{folder} holds something already. Choose another folder.")
    merged, tokenizer = load_model(model, adapter, merged=True)
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def push_adapter(folder: str | Path, name: str, private: bool = True) -> str:
    """Send an adapter to the hub as "owner/name"; its address there. Needs a token (HF_TOKEN)."""
    from huggingface_hub import HfApi

    if not (Path(folder) / "adapter_config.json").exists():
        raise FireActError(
            f"There is no adapter in {folder}: adapter_config.json is missing. Check the path."
        )
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), allow_patterns=list(_FILES))
    except Exception as error:
        raise explain(error, name) or _not_moved("sent to", name, error) from error
    return f"{api.endpoint}/{name}"


def pull_adapter(name: str, folder: str | Path) -> Path:
    """Fetch an adapter "owner/name" or "owner/name@revision" from the hub into a new folder."""
    from huggingface_hub import snapshot_download

    repo, revision = split_name(name)
    if (Path(folder) / "adapter_config.json").exists():
        raise FireActError(f"{folder} holds an adapter already. Choose another folder.")
    try:
        found = snapshot_download(repo, revision=revision, allow_patterns=list(_FILES))
    except Exception as error:
        raise explain(error, repo, revision) or _not_moved("fetched from", name, error) from error
    if not (Path(found) / "adapter_config.json").exists():
        raise FireActError(f"{name} holds no LoRA adapter: adapter_config.json is missing there.")
    shutil.copytree(found, folder, dirs_exist_ok=True)
    return Path(folder)


def _not_moved(what: str, name: str, error: Exception) -> FireActError:
    return FireActError(
        f"The adapter could not be {what} the hub as {name}: {say_cause(error)}. Check the name "
        "and the token in HF_TOKEN, which must be allowed to write there to send."
    )
