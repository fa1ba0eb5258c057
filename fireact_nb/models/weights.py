"""Weights of language models on this machine: loading, adapters, names with a hash.

Knows files, precision and devices; knows nothing of decoding.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FireActError
from ..files import file_state
from .quirks import repair_nf4

if TYPE_CHECKING:
    import torch

_HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")


def quiet_libraries() -> None:
    """Silence what the libraries say on every run and no reader can act on."""
    warnings.filterwarnings("ignore", "IProgress not found")  # a notebook without widgets
    # peft 0.21 asks transformers 5 by a deprecated name.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
    # On CPU bitsandbytes looks for an optional kernel package and reports that it goes without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _leave_room() -> None:
    """Take half of the cores, unless OMP_NUM_THREADS says otherwise.

    PyTorch takes them all. Its threads wait for each other after every small product, so that with
    one other busy program on two cores the tiny models ran 5 to 50 times slower. Alone, one thread
    of two costs a third.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        # Only Linux tells which cores this process may use; a container may have fewer than all.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        # Never more than now: the caller may have asked for fewer, as the study's workers do.
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or 1) // 2)))


def choose_device() -> tuple[str, torch.dtype]:
    """Where models run and at which precision: float32 on a CPU; on a GPU what it computes fast."""
    import torch

    if not torch.cuda.is_available():
        # Half precision is slow on most CPUs, and the tiny models were measured in float32.
        return "cpu", torch.float32
    # bfloat16 has float32's range, so nothing overflows; a T4 (7.5) only imitates it, slowly,
    # whatever torch.cuda.is_bf16_supported() says. The real ones begin with capability 8.
    big = torch.cuda.get_device_capability()[0] >= 8
    return "cuda", torch.bfloat16 if big else torch.float16


def load_tokenizer(model: str | Path) -> Any:
    """The tokenizer of a model folder or hub name, ready to pad. No code of the folder runs."""
    local = _is_local(model)
    from transformers import AutoTokenizer

    with _told(model):
        # Never left out: transformers would ask on standard input and obey a "y", also of a pipe.
        return let_pad(
            AutoTokenizer.from_pretrained(model, trust_remote_code=False, local_files_only=local)
        )


def let_pad(tokenizer: Any) -> Any:
    """The tokenizer with a padding token: Llama, CodeLlama and Mistral come without one.

    The end-of-turn token stands in. Nothing is lost by it: padding is known by the attention mask
    and by labels of -100, so that the true ends of turns still carry loss.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(model: str | Path, quantized: bool = False) -> tuple[Any, Any]:
    """A causal LM and its tokenizer; float32 on CPU, bfloat16 or float16 on GPU by capability.

    `quantized` loads the linear layers in NF4 with double quantisation (QLoRA, arXiv 2305.14314).
    Raises FireActError when the folder is missing or broken, or holds numbers that are none. Never
    runs code from a model folder, unpickles nothing and asks no hub about a folder that is here.
    """
    local = _is_local(model)
    quiet_libraries()  # before the libraries, some of which warn while they are imported
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    _leave_room()
    device, dtype = choose_device()
    config = None
    if quantized:
        if device == "cpu":
            repair_nf4()
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    with _told(model):
        tokenizer = load_tokenizer(model)
        # Any: by its annotation it returns one thing, with the last option it returns two.
        both: Any = AutoModelForCausalLM.from_pretrained(
            model,
            trust_remote_code=False,
            local_files_only=local,
            dtype=dtype,
            use_safetensors=True,
            quantization_config=config,
            device_map={"": device},
            output_loading_info=True,
        )
        loaded, report = both
        if report["missing_keys"]:  # transformers would draw them at random, and only warn
            raise ValueError(f"the weights lack {min(report['missing_keys'])}")
        _check_numbers(loaded.named_parameters())
    return loaded, tokenizer


def _is_local(model: str | Path) -> bool:
    """Whether it is a folder here, or else a hub's "owner/name"; raises FireActError for neither.

    A hub is asked about nothing that can be a misspelt folder: where it cannot be reached, that
    takes a minute to fail, and where it can, a stranger may own the name.
    """
    folder = Path(model)
    if not (str(model) and folder.is_dir()):
        named = isinstance(model, str) and _HUB_NAME.fullmatch(model)
        if named and not folder.parent.exists():
            return False
        raise FireActError(
            f"There is no model folder {model}. Check the path; `git checkout data` restores the "
            "shipped ones. A model of the Hugging Face hub has two names: owner/model."
        )
    if (folder / "adapter_config.json").exists():  # transformers would go and find its base
        raise FireActError(
            f"{model} holds an adapter, not a model. Name the model that the adapter was trained "
            "on (its recipe.json tells), and this folder as the adapter."
        )
    index = folder / "model.safetensors.index.json"  # the list of a big model's files
    pickled = index.read_bytes().count(b'.bin"') if index.exists() else any(folder.glob("*.bin"))
    if pickled and not (folder / "model.safetensors").exists():
        raise FireActError(_PICKLE.format(model))
    return True


_PICKLE = (
    "{} holds its weights as a pickle (.bin), which could run any code when it is opened, and is "
    "not. Use weights saved as .safetensors."
)


def _check_numbers(weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """ValueError where a weight is not a finite number."""
    for name, weight in weights:
        # Of one in four bits, the mean of the scales: a NaN in any block is one there.
        state = getattr(weight, "quant_state", None)
        numbers = state.offset if state is not None and state.nested else weight
        if numbers.is_floating_point() and not numbers.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite numbers (NaN)")


@contextmanager
def _told(model: str | Path) -> Iterator[None]:
    """Any error of the loading inside as one that says what to do."""
    try:
        yield
    except FireActError:
        raise
    except Exception as error:  # safetensors and the hub client raise types of their own
        if "trust_remote_code" in str(error):  # what transformers advises here
            raise FireActError(
                f"The model {model} brings code of its own (auto_map in config.json or "
                "tokenizer_config.json), which is never run here, for it could do anything. Use a "
                "model of a kind that transformers knows."
            ) from error
        raise FireActError(
            f"The model {model} could not be loaded: {_cause(error)}. Check that the "
            "folder exists and holds config.json, model.safetensors and tokenizer.json; "
            "`git checkout data` restores the shipped ones."
        ) from error


def load_model(model: str | Path, adapter: str | Path | None = None) -> tuple[Any, Any]:
    """A model ready to answer, its adapter merged into the weights it was trained on.

    An adapter trained by QLoRA is merged into the dequantised NF4 base, which is what it saw.
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
        _check_base(model, adapter, str(made.get("base", "")))
        loaded, tokenizer = load_base(model, quantized)
        loaded = _attach(loaded.dequantize() if quantized else loaded, folder)
    except FireActError:
        raise  # says enough
    except Exception as error:
        raise FireActError(
            f"The adapter {adapter} could not be put on the model {model}: {_cause(error)}. Check "
            "that its folder is whole, and use the model it was trained on (its recipe.json names "
            "it)."
        ) from error
    return loaded.eval(), tokenizer


def _check_base(model: str | Path, adapter: str | Path, base: str) -> None:
    """Refuse an adapter whose recipe names another model; by hashes, for folders are renamed."""
    here = describe(model)
    hashes = [name.rpartition("@")[2] for name in (base, here) if _HASHED.search(name)]
    if len(set(hashes)) == 2:
        raise FireActError(
            f"The adapter {adapter} was trained on {base} and does not belong to {model}, which is "
            f"{here}. Use the model it was trained on."
        )


_HASHED = re.compile(r"@[0-9a-f]{8}$")


def _attach(loaded: Any, folder: Path) -> Any:
    """The model with the adapter merged in, every tensor of which must have its place there.

    peft by itself draws at random what a file lacks and leaves out what it cannot place, with a
    warning at most; and of a folder without weights it asks the hub, or unpickles.
    """
    # Only now, for load_base has quieted what they import.
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    file = folder / "adapter_model.safetensors"
    if not file.exists() and any(folder.glob("*.bin")):
        raise FireActError(_PICKLE.format(folder))
    saved = load_file(file)
    _check_numbers(saved.items())
    network = PeftModel(loaded, PeftConfig.from_pretrained(str(folder)))
    places = get_peft_model_state_dict(network, save_embedding_layers=False)
    if lacking := places.keys() - saved.keys():
        raise ValueError(f"it lacks {min(lacking)}")
    if odd := saved.keys() - places.keys() - network.state_dict().keys():
        raise ValueError(f"the model has no place for {min(odd)}")
    set_peft_model_state_dict(network, saved)
    return network.merge_and_unload()


def describe(model: str | Path, adapter: str | Path | None = None) -> str:
    """A short name with a hash of the weights: "student@1a2b3c4d+react@5e6f7081"."""
    parts = []
    for path, weights in ((model, "model.safetensors"), (adapter, "adapter_model.safetensors")):
        if path is None:
            continue
        file = Path(path) / weights
        state = file_state(file)
        parts.append(f"{Path(path).name}@{_digest(file, state)}" if state else str(path))
    return "+".join(parts)


@lru_cache(maxsize=64)
def _digest(file: Path, state: tuple[int, ...]) -> str:
    """Eight digits of the hash, made once a process: the weights may be 15 GB."""
    with file.open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:8]


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(" .:!")
