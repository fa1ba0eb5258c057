"""What fine-tuning real students takes: tokens a second and peak memory beside what was computed.

    python benchmarks/students.py [--cap GIB] [--rows N] [--length N] [--out FILE] [MODEL ...]

Of each preset that is open to all (or the models named) by QLoRA, LoRA and in full, where it fits
under the cap. The weights are random numbers in the real shapes, for neither speed nor memory
depends on them: nothing is downloaded. Each case runs in a process of its own. On a GPU the peak is
its allocator's; on a CPU (Linux) it is what the process's memory grew by. The table goes to FILE
(runs/students.json) with its device and date, and to the screen.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fireact_nb.artifacts import DATA, RUNS
from fireact_nb.learning.memory import memory_needed
from fireact_nb.learning.recipe import Recipe, prepare, recipe_for
from fireact_nb.models.presets import PRESETS
from fireact_nb.models.sizes import size_of_preset
from fireact_nb.models.weights import choose_device, load_tokenizer

KINDS = ("qlora", "lora", "full")
STEPS = 3  # the first warms up


def main() -> None:
    options = read_options()
    if options.case:
        folder, kind = options.case
        print(json.dumps(measure(folder, recipe_of(folder, kind, options.rows), options)))
        return
    models = options.models or [p.model for p in PRESETS.values() if not p.gated and not p.paper]
    rows = []
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            made = False
            for kind in KINDS:
                recipe = recipe_of(model, kind, options.rows)
                size = size_of_preset(model)
                needed = memory_needed(size, recipe, options.rows, options.length) / 2**30
                row = {"model": model, "kind": kind, "computed_gib": round(needed, 2)}
                if options.cap and needed > options.cap:
                    rows.append(row | {"result": f"does not fit in {options.cap:g} GiB"})
                    continue
                if not made:
                    make_model(model, Path(folder))
                    made = True
                rows.append(row | run_case(folder, kind, options))
                print(rows[-1], flush=True)
    table = {
        "device": device_name(), "date": datetime.date.today().isoformat(), "cap_gib": options.cap,
        "rows_at_once": options.rows, "length": options.length, "rows": rows,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(show(table))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="hub names of presets")
    parser.add_argument("--cap", type=float, default=15.0, help="GiB, 0 for none (%(default)s)")
    parser.add_argument("--rows", type=int, default=4, help="conversations at once (%(default)s)")
    parser.add_argument("--length", type=int, default=512, help="tokens of each (%(default)s)")
    parser.add_argument("--out", type=Path, default=RUNS / "students.json")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def recipe_of(model: str, kind: str, rows: int) -> Recipe:
    return recipe_for(model, kind=kind, batch_size=rows, learning_rate=1e-5)


def make_model(name: str, folder: Path) -> None:
    """A model of a preset's shape with random weights in half precision."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**PRESETS[name].shape)
    device, dtype = choose_device()
    torch.set_default_dtype(torch.float16 if device == "cpu" else dtype)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(config)
    torch.set_default_dtype(torch.float32)
    network.save_pretrained(folder)
    load_tokenizer(DATA / "tokenizer").save_pretrained(folder)


def run_case(folder: str, kind: str, options: argparse.Namespace) -> dict[str, object]:
    more = ["--cap", options.cap, "--rows", options.rows, "--length", options.length]
    command = [sys.executable, __file__, "--case", folder, kind, *map(str, more)]
    # What was freed goes back at once, or a CPU's peak would be what malloc has kept.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**18)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"result": (done.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(folder: str, recipe: Recipe, options: argparse.Namespace) -> dict[str, object]:
    """Tokens a second and the peak of real steps: forward, backward and AdamW."""
    import bitsandbytes  # noqa: F401  loaded by now, or its own memory would count
    import peft  # noqa: F401
    import torch

    device, dtype = choose_device()
    gpu = device == "cuda"
    if gpu and options.cap:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.cap * 2**30 / total))
    before = 0 if gpu else resident("VmRSS")
    network, _ = prepare(folder, recipe)
    network.train()
    trained = [p for p in network.parameters() if p.requires_grad]
    # Fused, as the Trainer's: no second copy of a matrix is made.
    optimizer = torch.optim.AdamW(trained, lr=recipe.learning_rate, fused=True)
    # Ids that every vocabulary has, (rows, tokens); labels where an agent's turns might be.
    ids = torch.randint(10, 1000, (options.rows, options.length), device=device)
    loaded = forget_peak(gpu) - before
    began = 0.0
    for step in range(STEPS if gpu else 1):
        if step == (1 if gpu else 0):
            began = time.monotonic()
        with torch.autocast(device, dtype, enabled=gpu):
            loss = network(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()
    seconds = (time.monotonic() - began) / (STEPS - 1 if gpu else 1)
    peak = torch.cuda.max_memory_allocated() if gpu else resident("VmHWM") - before
    return {
        "tokens_a_second": round(ids.numel() / seconds, 1),
        "loaded_gib": round(loaded / 2**30, 2),
        "peak_gib": round(peak / 2**30, 2),
    }


def forget_peak(gpu: bool) -> int:
    """Of what loading took for a moment; the bytes that are held now."""
    import torch

    if gpu:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed while it loaded is still the process's
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def resident(name: str) -> int:
    """Bytes of this process's memory, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def device_name() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), one step, not timed alone"


def show(table: dict[str, object]) -> str:
    """The table in Markdown."""
    lines = [
        f"{table['device']}, {table['date']}: {table['rows_at_once']} conversations of "
        f"{table['length']} tokens at once, under {table['cap_gib'] or 'no'} GiB",
        "", "| model | kind | tokens/s | peak GiB | computed GiB |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in table["rows"]:  # type: ignore[attr-defined]
        told = [row.get("tokens_a_second", row.get("result", "")), row.get("peak_gib", "")]
        lines.append(f"| {row['model']} | {row['kind']} | {told[0]} | {told[1]} | "
                     f"{row['computed_gib']} |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
