"""Weights of language models: loading from a folder or from the hub, names with a hash.

A model is a folder, "owner/name" or "owner/name@revision". Knows files, precision and devices;
knows neither adapters nor decoding.
"""

from __future__ import annotations

import hashlib
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
from ..files import file_state, read_json
from ..hub import explain, find_revision, split_name
from .presets import PRESETS
from .quirks import repair_nf4

if TYPE_CHECKING:
    import torch

_HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?")


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
    name, commit = locate(model)
    from transformers import AutoTokenizer

    with _told(model):
        # Never left out: transformers would ask on standard input and obey a "y", also of a pipe.
        return let_pad(
            AutoTokenizer.from_pretrained(
                name, revision=commit, trust_remote_code=False, local_files_only=commit is None
            )
        )


def let_pad(tokenizer: Any) -> Any:
    """The tokenizer with a padding token: Llama, CodeLlama and Mistral come without one.

    The end-of-turn token stands in. Nothing is lost by it: padding is known by the attention mask
    and by labels of -100, so that the true ends of turns still carry loss.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(model: str | Path) -> Any:
    """What transformers knows of a model before its weights are there: from the hub, one file."""
    name, commit = locate(model)
    from transformers import AutoConfig

    with _told(model):
        return AutoConfig.from_pretrained(
            name, revision=commit, trust_remote_code=False, local_files_only=commit is None
        )


def load_base(model: str | Path, quantized: bool = False) -> tuple[Any, Any]:
    """A causal LM and its tokenizer; float32 on CPU, bfloat16 or float16 on GPU by capability.

    `quantized` loads the linear layers in NF4 with double quantisation (QLoRA, arXiv 2305.14314).
    Raises FireActError when the folder is missing or broken, or holds numbers that are none. Never
    runs code from a model folder, unpickles nothing and asks no hub about a folder that is here.
    """
    name, commit = locate(model)
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
            name,
            revision=commit,
            trust_remote_code=False,
            local_files_only=commit is None,
            dtype=dtype,
            use_safetensors=True,
            quantization_config=config,
            device_map={"": device},
            output_loading_info=True,
        )
        loaded, report = both
        if report["missing_keys"]:  # transformers would draw them at random, and only warn
            raise ValueError(f"the weights lack {min(report['missing_keys'])}")
        check_numbers(loaded.named_parameters())
    return loaded, tokenizer


def locate(model: str | Path) -> tuple[str, str | None]:
    """Where a model is: a folder here and None, or its name on the hub and the commit meant.

    Raises FireActError for neither, and as `hub.find_revision` does. A hub is asked about nothing
    that can be a misspelt folder: where it cannot be reached, that takes a minute to fail, and
    where it can, a stranger may own the name.
    """
    if _is_local(model):
        return str(model), None
    return _find_commit(*split_name(Path(model).as_posix()))


@lru_cache(maxsize=64)
def _find_commit(name: str, revision: str | None) -> tuple[str, str]:
    """Asked once a process, or tokenizer, weights and name could be of different days."""
    return name, find_revision(name, revision)


def names_hub(model: str | Path) -> bool:
    """Whether it is a model's name on the hub, and no folder here nor a misspelt one."""
    path = Path(model)
    name = model if isinstance(model, str) else path.as_posix()
    return bool(_HUB_NAME.fullmatch(name)) and not path.is_dir() and not path.parent.exists()


def _is_local(model: str | Path) -> bool:
    folder = Path(model)
    if names_hub(model):
        return False
    if not (str(model) and folder.is_dir()):
        raise FireActError(
            f"There is no model folder {model}. Check the path; `git checkout data` restores the "
            "shipped ones. A model of the Hugging Face hub has two names: owner/model, or with a "
            "revision owner/model@revision."
        )
    if (folder / "adapter_config.json").exists():  # transformers would go and find its base
        raise FireActError(
            f"{model} holds an adapter, not a model. Name the model that the adapter was trained "
            "on (its recipe.json tells), and this folder as the adapter."
        )
    index = folder / "model.safetensors.index.json"  # the list of a big model's files
    pickled = index.read_bytes().count(b'.bin"') if index.exists() else any(folder.glob("*.bin"))
    if pickled and not (folder / "model.safetensors").exists():
        raise FireActError(PICKLE.format(model))
    return True


_SOME = tuple(preset.model for preset in PRESETS.values() if not preset.paper)
PICKLE = (
    "{} holds its weights as a pickle (.bin), which could run any code when it is opened, and is "
    "not. Use weights saved as .safetensors."
)


def check_numbers(weights: Iterable[tuple[str, torch.Tensor]]) -> None:
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
        if names_hub(model):
            told = explain(error, *split_name(Path(model).as_posix()))
            raise told or FireActError(
                f"The model {model} could not be loaded: {say_cause(error)}. It may be of a kind "
                f"that transformers does not know yet: try one of {', '.join(_SOME)}."
            ) from error
        raise FireActError(
            f"The model {model} could not be loaded: {say_cause(error)}. Check that the "
            "folder exists and holds config.json, model.safetensors and tokenizer.json; "
            "`git checkout data` restores the shipped ones."
        ) from error


def describe(model: str | Path, adapter: str | Path | None = None) -> str:
    """A short name with a hash of the weights: "student@1a2b3c4d+react@5e6f7081".

    Of a model on the hub the beginning of its commit: "Qwen/Qwen3-4B-Instruct-2507@0a1b2c3d".
    """
    if names_hub(model):
        name, commit = locate(model)
        parts = [f"{name}@{str(commit)[:8]}"]
    else:
        parts = [_name_folder(Path(model), "model.safetensors")]
    if adapter is not None:
        parts.append(_name_folder(Path(adapter), "adapter_model.safetensors"))
    return "+".join(parts)


def _name_folder(folder: Path, weights: str) -> str:
    states = [
        (file, state) for file in weight_files(folder, weights) if (state := file_state(file))
    ]
    digests = [_digest(*found) for found in states]
    if len(digests) > 1:
        digests = [hashlib.sha256("".join(digests).encode()).hexdigest()[:8]]
    return f"{folder.name}@{digests[0]}" if digests else str(folder)


def weight_files(folder: Path, weights: str = "model.safetensors") -> list[Path]:
    """The file of weights, or those that its index names: big models come in several."""
    index = folder / f"{weights}.index.json"
    if (folder / weights).exists() or not index.exists():
        return [folder / weights]
    return [folder / name for name in sorted({*read_json(index, dict)["weight_map"].values()})]


@lru_cache(maxsize=64)
def _digest(file: Path, state: tuple[int, ...]) -> str:
    """Eight digits of the hash, made once a process: the weights may be 15 GB."""
    with file.open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:8]


def say_cause(error: Exception) -> str:
    """The first line of an error's text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(" .:!")
