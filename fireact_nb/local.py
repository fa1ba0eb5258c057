"""A local language model behind the chat protocol, answered in batches on CPU or one GPU.

Knows weights, tokens and decoding; knows nothing of agents, tools or questions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .agent.chat import Reply, Request
from .errors import FireActError

if TYPE_CHECKING:
    import torch

_ROOM_AHEAD = 128  # tokens a cache can grow by before it is copied
_SHARED_PREFIX = 32  # tokens; a shorter common beginning is not worth a cache
_ROOM = 16  # tokens; what is left of the context counts in such steps, so that batches stay large
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class LocalChat:
    """A causal LM with a chat template, with or without a LoRA adapter.

    `name` carries a hash of the weights and of the adapter, so a journal never mixes two models up.
    Decoding is greedy at temperature 0; otherwise each request draws its own noise from its seed
    and sample, whatever else is in the batch. The few-shot examples at the beginning of all prompts
    of a batch are read once (prefix cache).
    """

    endpoint = "local"

    def __init__(
        self,
        model: str | Path | Any,
        adapter: str | Path | None = None,
        *,
        tokenizer: Any = None,
        name: str | None = None,
        batch: int = 64,
    ) -> None:
        """`model` is a folder or hub name, or a loaded model (then give `tokenizer` and `name`).

        Raises FireActError when a folder has no usable weights or no chat template.
        """
        self.batch = batch
        if isinstance(model, (str, Path)):
            self.model, self.tokenizer = load_model(model, adapter)
            self.name = name or describe(model, adapter)
        else:
            if tokenizer is None or name is None:
                raise ValueError("a loaded model needs its tokenizer and a name")
            self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        if not self.tokenizer.chat_template:
            raise FireActError(
                f"{self.name} has no chat template, so messages cannot be put to it. Use an "
                "instruct or chat model, or set tokenizer.chat_template before handing it over."
            )
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.context = self.model.config.max_position_embeddings
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        # A chat template may end a turn with another token than the one the model names, or both.
        self.ends = sorted({*ends, self.tokenizer.eos_token_id} - {None})

    def reply(
        self, requests: Sequence[Request], done: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answer all requests, in order; `done(place, reply)` is called as each batch ends."""
        replies: list[Reply | None] = [None] * len(requests)
        prompts = [self.encode(r) for r in requests]
        # Alike settings and lengths share a batch: little is padded, and no reply is cut short by
        # another's long prompt.
        settings = [
            (r.temperature, self._limit(r, p), r.stop)
            for r, p in zip(requests, prompts, strict=True)
        ]
        order = sorted(range(len(requests)), key=lambda i: (settings[i], len(prompts[i]), i))
        for group in _groups(order, settings, self.batch):
            limit = settings[group[0]][1]
            answers = self._generate(
                [requests[i] for i in group], [prompts[i] for i in group], limit
            )
            for place, answer in zip(group, answers, strict=True):
                replies[place] = answer
                if done:
                    done(place, answer)
        return [r for r in replies if r is not None]

    def encode(self, request: Request) -> list[int]:
        """The token ids of a request: chat template, opening of the answer, prefix."""
        text = self.tokenizer.apply_chat_template(
            list(request.messages), tokenize=False, add_generation_prompt=True
        )
        ids = self.tokenizer(text + request.prefix, add_special_tokens=False)["input_ids"]
        return list(ids)

    def _limit(self, request: Request, prompt: list[int]) -> int:
        """How many tokens the reply may have; 0 when the prompt fills the context."""
        return min(request.max_tokens, max(0, self.context - len(prompt)) // _ROOM * _ROOM)

    def _generate(
        self, requests: list[Request], prompts: list[list[int]], limit: int
    ) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList

        if limit < 1:
            return [Reply("", len(p), 0, "context full", 0.0) for p in prompts]
        started = time.monotonic()
        first = requests[0]
        inputs = self._share_prefix(prompts)
        processors = LogitsProcessorList()
        if first.temperature > 0:
            processors.append(_OwnNoise(requests))
        with torch.inference_mode():
            out = self.model.generate(
                **inputs,
                max_new_tokens=limit,
                # Plain decoding, whatever the model's generation_config.json asks for.
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,
                logits_processor=processors,
                stop_strings=list(first.stop) or None,
                tokenizer=self.tokenizer,
                eos_token_id=self.ends,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        rows = out[:, inputs["input_ids"].shape[1] :].tolist()
        seconds = (time.monotonic() - started) / len(requests)
        replies = []
        for request, prompt, row in zip(requests, prompts, rows, strict=True):
            text, count, finish = self._decode(row, request, limit)
            replies.append(Reply(request.prefix + text, len(prompt), count, finish, seconds))  # type: ignore[arg-type]
        return replies

    def _share_prefix(self, prompts: list[list[int]]) -> dict[str, Any]:
        """Left-padded inputs; the beginning that all prompts share is read once for the batch."""
        import torch

        device = self.model.device
        cache = _make_cache(self.model.config)
        shared = 0
        # A sliding window would count the padding behind the prefix as if it were text.
        if len(prompts) > 1 and not any(cache.is_sliding):
            shortest = min(map(len, prompts)) - 1
            while shared < shortest and len({p[shared] for p in prompts}) == 1:
                shared += 1
        if shared < _SHARED_PREFIX:
            shared = 0
        longest = max(map(len, prompts)) - shared
        pad = self.tokenizer.pad_token_id
        rows, mask = [], []
        for prompt in prompts:
            gap = longest - (len(prompt) - shared)
            rows.append(prompt[:shared] + [pad] * gap + prompt[shared:])
            mask.append([1] * shared + [0] * gap + [1] * (len(prompt) - shared))
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor(rows, device=device),
            "attention_mask": torch.tensor(mask, device=device),
        }
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=device)
            with torch.inference_mode():
                self.model(
                    input_ids=prefix, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
            cache.batch_repeat_interleave(len(prompts))
        if not any(cache.is_sliding):
            inputs["past_key_values"] = cache
        return inputs

    def _decode(self, row: list[int], request: Request, limit: int) -> tuple[str, int, str]:
        """Text, tokens and finish reason. A row that ended before others is padded."""
        over = {*self.ends, self.tokenizer.pad_token_id}
        count = next((i for i, token in enumerate(row) if token in over), len(row))
        text = self.tokenizer.decode(row[:count], skip_special_tokens=True)
        cuts = [text.index(stop) for stop in request.stop if stop in text]
        if cuts:
            return text[: min(cuts)], count, "stop"
        # The end token is one the model wrote, the padding is not.
        wrote = count + (count < len(row) and row[count] in self.ends)
        return text, wrote, "length" if count == limit else "stop"


def _make_cache(config: Any) -> Any:
    """A dynamic cache that leaves room to grow.

    transformers' own copies all keys and values for every token: with few-shot prompts that was 57%
    of the time of a batch on CPU.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):
        rooms: tuple[Any, Any] | None = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            end = start + key_states.shape[-2]
            if not self._fits(key_states, end):
                shape = (*key_states.shape[:-2], end + _ROOM_AHEAD, key_states.shape[-1])
                self.rooms = (key_states.new_empty(shape), value_states.new_empty(shape))
                if start:
                    self.rooms[0][..., :start, :] = self.keys
                    self.rooms[1][..., :start, :] = self.values
            keys, values = self.rooms
            keys[..., start:end, :] = key_states
            values[..., start:end, :] = value_states
            self.keys, self.values = keys[..., :end, :], values[..., :end, :]
            return self.keys, self.values

        def _fits(self, key_states: Any, end: int) -> bool:
            """Whether the room is long enough and what is cached so far lies in it."""
            if self.rooms is None or self.rooms[0].shape[-2] < end:
                return False
            here = self.keys.untyped_storage().data_ptr()
            return here == self.rooms[0].untyped_storage().data_ptr()

    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(x) is DynamicLayer else x for x in cache.layers]
    return cache


class _OwnNoise:
    """Sampling as greedy decoding over Gumbel noise, drawn per request and step.

    argmax(logits + T * Gumbel) samples softmax(logits / T); noise seeded by the request makes a
    reply independent of what shares its batch, so an interrupted run can be repeated exactly.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        import torch

        self.temperature = requests[0].temperature
        self.generators = []
        for request in requests:
            key = f"{request.seed}/{request.sample}/{request.prefix}/{request.messages}"
            seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
            self.generators.append(torch.Generator().manual_seed(seed))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        noise = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=g) for g in self.generators]
        )
        return scores.float() - self.temperature * noise.log().to(scores.device)


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


def _mend_nf4() -> None:
    """Let bitsandbytes' CPU kernel give every block of 64 weights its own scale.

    With AVX-512, bitsandbytes 0.50.2 looks scales up as if each row were whole blocks. The tiny
    student's rows of 96 weights came back with their neighbours' scales: off by a quarter of their
    size instead of a tenth, and only on such processors. Handed over as one row they come back
    right. GPUs are not concerned.
    """
    from bitsandbytes.cextension import lib

    def mend(kernel: Any) -> Any:
        def whole(weights: Any, scales: Any, out: Any, block: Any, rows: Any, columns: Any) -> None:
            if columns.value % block.value:
                rows, columns = type(rows)(1), type(columns)(rows.value * columns.value)
            kernel(weights, scales, out, block, rows, columns)

        return whole

    for dtype in ("fp32", "fp16", "bf16"):
        name = f"cdequantize_blockwise_cpu_nf4_{dtype}"
        kernel = getattr(lib, name, None)  # older releases have none
        if kernel is not None and name not in vars(lib):  # once a process
            setattr(lib, name, mend(kernel))


def _leave_room() -> None:
    """Take half of the cores, unless OMP_NUM_THREADS says otherwise.

    PyTorch takes them all. Its threads wait for each other after every small product, so that with
    one other busy program on two cores the tiny models ran 5 to 50 times slower. Alone, one thread
    of two costs a third.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (cores or 1) // 2)))


def load_base(model: str | Path, quantized: bool = False) -> tuple[Any, Any]:
    """A causal LM and its tokenizer; float32 on CPU, bfloat16 or float16 on GPU by capability.

    `quantized` loads the linear layers in NF4 with double quantisation (QLoRA, arXiv 2305.14314).
    Raises FireActError when the folder is missing or broken. Never runs code from a model folder.
    """
    if not Path(model).exists() and (isinstance(model, Path) or not _HUB_NAME.fullmatch(model)):
        raise FireActError(
            f"There is no model folder {model}. Check the path; `git checkout data` restores the "
            "shipped ones."
        )
    quiet_libraries()  # before the libraries, some of which warn while they are imported
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    _leave_room()
    device, dtype = "cpu", torch.float32
    if torch.cuda.is_available():  # a T4 (7.5) has no real bfloat16, whatever torch reports
        device = "cuda"
        dtype = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16
    config = None
    if quantized:
        if device == "cpu":
            _mend_nf4()
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        loaded, report = AutoModelForCausalLM.from_pretrained(
            model,
            dtype=dtype,
            use_safetensors=True,
            quantization_config=config,
            device_map={"": device},
            output_loading_info=True,
        )
        if report["missing_keys"]:  # transformers would draw them at random, and only warn
            raise ValueError(f"the weights lack {min(report['missing_keys'])}")
    except Exception as error:  # safetensors and the hub client raise types of their own
        raise FireActError(
            f"The model {model} could not be loaded: {_cause(error)}. Check that the "
            "folder exists and holds config.json, model.safetensors and tokenizer.json; "
            "`git checkout data` restores the shipped ones."
        ) from error
    return loaded, tokenizer


def load_model(model: str | Path, adapter: str | Path | None = None) -> tuple[Any, Any]:
    """A model ready to answer, its adapter merged into the weights it was trained on.

    An adapter trained by QLoRA is merged into the dequantised NF4 base, which is what it saw.
    """
    if adapter is None:
        loaded, tokenizer = load_base(model)
        return loaded.eval(), tokenizer
    folder, recipe = Path(adapter), Path(adapter) / "recipe.json"
    if not (folder / "adapter_config.json").exists():
        raise FireActError(
            f"There is no LoRA adapter in {adapter}: adapter_config.json is missing. Train one "
            "with `fireact_nb.training.fine_tune`, or check the path."
        )
    try:
        kind = json.loads(recipe.read_text(encoding="utf-8"))["kind"] if recipe.exists() else ""
        loaded, tokenizer = load_base(model, kind == "qlora")
        from peft import PeftModel  # only now, for load_base has quieted what it imports

        if kind == "qlora":
            loaded = loaded.dequantize()
        loaded = PeftModel.from_pretrained(loaded, str(folder)).merge_and_unload()
    except FireActError:
        raise  # the model's own trouble
    except Exception as error:
        raise FireActError(
            f"The adapter {adapter} could not be put on the model {model}: {_cause(error)}. Check "
            "that its folder is whole, and use the model it was trained on (its recipe.json names "
            "it)."
        ) from error
    return loaded.eval(), tokenizer


def describe(model: str | Path, adapter: str | Path | None = None) -> str:
    """A short name with a hash of the weights: "student@1a2b3c4d+react@5e6f7081"."""
    parts = []
    for path, weights in ((model, "model.safetensors"), (adapter, "adapter_model.safetensors")):
        if path is None:
            continue
        file = Path(path) / weights
        if file.exists():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
            parts.append(f"{Path(path).name}@{digest}")
        else:
            parts.append(str(path))
    return "+".join(parts)


def _cause(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(" .:!")


def _groups(order: list[int], settings: list[tuple[Any, ...]], size: int) -> list[list[int]]:
    groups: list[list[int]] = []
    for i in order:
        if groups and settings[groups[-1][0]] == settings[i] and len(groups[-1]) < size:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
