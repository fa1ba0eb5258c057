"""Is this machine ready for the series, and how long will each notebook take on it?

Knows what the notebooks need and what they took where they were built; not what they teach.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from ..agent.rollouts import generate
from ..agent.trajectory import Trajectory
from ..artifacts import DATA, ROOT, RUNS, shipped, stale_links
from ..errors import FireActError
from ..files import read_json, read_text, write_file
from ..lab import open_lab
from ..models.prices import newest_day
from ..models.weights import quiet_libraries
from ..study.grid import MAIN, tuned
from ..study.runner import BARE_BATCH
from .series import NOTEBOOKS, sources

TIMES = NOTEBOOKS / "times.json"
MARKS = {"ok": "+", "warning": "!", "problem": "x"}
MEMORY = 4.0  # GB, what the series may take
DISK, DISK_LEAST = 3.0, 0.5  # GB: with an environment still to be made, and without
ERROR = 0.15  # relative, of arithmetic that works: NF4 has 0.09, half precision far less
LONGEST = 120  # seconds a notebook should take


Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What one check found; a "problem" would stop the series."""

    name: str
    level: Level
    text: str


Check = Callable[[], Iterable[Finding]]


def examine(checks: Iterable[Check] | None = None) -> list[Finding]:
    """Everything there is to say about this machine. A check that crashes is a warning."""
    found: list[Finding] = []
    for check in CHECKS if checks is None else checks:
        try:
            found += check()
        except Exception as error:
            found.append(Finding(check.__name__[6:], "warning", f"not checked: {_reason(error)}"))
    return found


def render(findings: Sequence[Finding]) -> str:
    """One line a finding, then one that sums up."""
    width = max(len(f.name) for f in findings)
    lines = [f"{MARKS[f.level]} {f.level:<7}  {f.name:<{width}}  {f.text}" for f in findings]
    problems, others = (sum(f.level == w for f in findings) for w in ("problem", "warning"))
    end = "The series would not run as it is." if problems else "The series can run here."
    return "\n".join([*lines, f"Problems: {problems}, warnings: {others}. {end}"])


def check_python(
    version: tuple[int, ...] = sys.version_info[:3],
    own: bool = sys.prefix != sys.base_prefix or (Path(sys.prefix) / "conda-meta").exists(),
) -> Iterator[Finding]:
    """Is Python new enough, and are its packages its `own` (a virtual environment)?"""
    text = f"{'.'.join(map(str, version))}, in {'a' if own else 'no'} virtual environment"
    stop = version < (3, 11) and "Needed is 3.11 or newer: make PY=/path/to/python3.12"
    hint = not own and "Fine on Colab or in a container; else use the one that `make run` makes"
    yield _judge("Python", text, stop, hint)


def check_packages(version_of: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """The packages beside the ranges of pyproject.toml; imports none of them but `packaging`."""
    project = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    install = "Install: python -m pip install --upgrade "
    try:
        from packaging.requirements import Requirement
        from packaging.version import Version
    except ImportError:  # then hardly anything is there, and nothing can be compared
        every = " ".join(f'"{line}"' for line in needed)
        yield Finding("packages", "problem", f"packaging is missing. {install}{every}")
        return

    def installed(name: str) -> Version | None:
        try:
            return Version(version_of(name))
        except metadata.PackageNotFoundError:
            return None

    pins = read_text(ROOT / "constraints.txt").lower().splitlines()  # pip writes Jinja2
    bad, other = {}, []
    for need in map(Requirement, needed):
        version = installed(need.name)
        # The base version: a candidate for 0.18, or a build for CUDA, has what 0.18 has.
        if not version or version.base_version not in need.specifier:
            bad[str(need)] = f"{need.name} {f'{version} is too old' if version else 'is missing'}"
        elif f"{need.name}=={version.public}" not in pins:
            other.append(f"{need.name} {version.public}")
    text = f"all {len(needed)} are there and new enough, "
    text += f"other than in constraints.txt: {', '.join(other)}" if other else "as tested"
    stop = bad and install + " ".join(f'"{line}"' for line in bad)
    yield _judge("packages", ", ".join(bad.values()) or text, stop)
    # Hosted notebooks bring it along. Nothing here needs it, but peft from 0.19 on looks for it,
    # and refuses to add an adapter beside an older one.
    if (torchao := installed("torchao")) and torchao < Version("0.16"):
        cure = 'python -m pip install --no-deps -U "torchao>=0.16"'
        text = f"{torchao} is too old to stand beside peft"
        yield _judge("torchao", text, f"Update it: {cure}, or: python -m pip uninstall torchao")


def check_machine(
    disk_usage: Callable[[Path], Any] = shutil.disk_usage, monitor: Any = None
) -> Iterator[Finding]:
    """Room on the disk, memory and processor; `monitor` measures as psutil does."""
    free = disk_usage(ROOT).free / 1e9
    need = f"A new environment takes {DISK:.0f} GB, runs {DISK_LEAST} GB: free some space"
    yield _judge("disk", f"{free:.1f} GB free", free < DISK_LEAST and need, free < DISK and need)
    monitor = monitor or import_module("psutil")
    memory = monitor.virtual_memory()
    free, total = memory.available / 1e9, memory.total / 1e9
    text = f"{free:.1f} GB free of {total:.1f} GB; the series needs {MEMORY:.0f} GB"
    stop = total < MEMORY and "Use a larger machine or a hosted notebook"
    yield _judge("memory", text, stop, free < MEMORY and "Close other programs")
    busy = monitor.cpu_percent(interval=0.5)
    hint = busy > 25 and f"Other programs take {busy:.0f}% of it: close them, they slow all down"
    yield _judge("CPU", "{cores} usable cores, {cpu}".format(**processor()), hint=hint)


def check_data(folder: Path = DATA) -> Iterator[Finding]:
    try:
        wrong = "; ".join(stale_links(folder))
    except FireActError as error:
        wrong = _reason(error)
    yield _judge("data", wrong or "whole, hash by hash", wrong and "Restore: git checkout data")


def open_loopback() -> None:
    """This machine connects with itself once. Raises OSError where that is refused."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def find_kernels() -> Iterable[str]:
    """The names of the kernels that Jupyter would start."""
    from jupyter_client.kernelspec import KernelSpecManager

    return KernelSpecManager().find_kernel_specs()


def check_kernel(
    connect: Callable[[], None] = open_loopback,
    temp: Path | None = None,
    runs: Path = RUNS,
    kernels: Callable[[], Iterable[str]] = find_kernels,
) -> Iterator[Finding]:
    """A kernel talks to its notebook through sockets of this machine, and writes files.

    `temp` is where (None: the system's folder), and `runs`.
    """

    def write(folder: Path | None) -> None:
        tempfile.TemporaryDirectory(dir=folder).cleanup()

    yield _attempt("loopback", "sockets work", "Allow 127.0.0.1 in the firewall", connect)
    # Runs that are not there yet are made when needed, if the nearest folder above can be written.
    above = next(p for p in (runs, *runs.parents) if p.exists())
    for name, folder, variable in (("temp", temp, "TMPDIR"), ("runs", above, "FIREACT_RUNS")):
        advice = f"Set {variable} to a folder that can be written"
        yield _attempt(f"{name} folder", "can be written", advice, write, folder)
    there = "python3" in kernels()
    text = f"JupyterLab {metadata.version('jupyterlab')}, {'and' if there else 'no'} kernel python3"
    yield _judge("Jupyter", text, not there and "Do: python -m ipykernel install --sys-prefix")


def processor() -> dict[str, Any]:
    """The cores this process may use, and their model."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8") if info.exists() else ""
    model = re.search(r"^model name\s*: (.+)", lines, re.MULTILINE)
    return {"cores": cores, "cpu": model[1] if model else platform.processor()}


def measure_error(device: str, kind: str) -> float:
    """The relative error of a small matrix kept as "NF4", or of its square in "float16" etc."""
    quiet_libraries()
    import torch

    matrix = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    if kind == "NF4":
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        exact, got = matrix, dequantize_4bit(*quantize_4bit(matrix.to(device), quant_type="nf4"))
    else:
        half = matrix.to(device, getattr(torch, kind))
        exact, got = matrix @ matrix, half @ half
    return float((got.float().cpu() - exact).norm() / exact.norm())


def check_gpu(
    torch: Any = None, measure: Callable[[str, str], float] = measure_error
) -> Iterator[Finding]:
    """What CPU and GPU can truly do: by compute capability, and by doing it."""
    advice = "Install it anew: python -m pip install --force-reinstall --no-deps bitsandbytes"
    yield _attempt("NF4 on CPU", "works", advice, measure, "cpu", "NF4")
    torch = torch or import_module("torch")
    if not torch.cuda.is_available():
        apple = " (the Apple GPU is not used)" if torch.backends.mps.is_available() else ""
        yield Finding("GPU", "ok", f"none: all notebooks run on the CPU{apple}")
        return
    major, minor = torch.cuda.get_device_capability()
    free, total = (size / 1e9 for size in torch.cuda.mem_get_info())
    # Older ones only emulate bfloat16, whatever torch reports.
    kind, more = ("bfloat16", "") if major >= 8 else ("float16", "; no bfloat16 (from 8.0 on)")
    text = f"{torch.cuda.get_device_name()}, {free:.1f} GB free of {total:.1f} GB, compute "
    yield Finding("GPU", "ok", f"{text}capability {major}.{minor}: trains in {kind}{more}")
    advice = "Update the driver, or set CUDA_VISIBLE_DEVICES=-1 to run on the CPU"
    for name in (kind, "NF4"):
        yield _attempt(f"{name} on GPU", "works", advice, measure, "cuda", name)


def check_keys(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether keys are set. Nothing of a key is shown, its length neither."""
    names = ("OPENAI_API_KEY", "SERPAPI_API_KEY", "HF_TOKEN")
    said = ", ".join(f"{name} {'is' if environment.get(name) else 'not'} set" for name in names)
    yield Finding("keys", "ok", f"{said}; none is needed")
    day = newest_day()
    age = (date.today() - day).days
    yield Finding("prices", "ok", f"those of paid teachers were last read on {day}, {age} days ago")
    yield Finding("network", "ok", "not needed once everything is installed; not tested")


def play_yardstick() -> list[Trajectory]:
    """A real piece of the notebooks' work: a shipped student plays some dev questions."""
    lab = open_lab("tiny")
    chat = lab.chat(shipped(tuned(MAIN, "react").slug), batch_size=BARE_BATCH)
    questions, prompt = lab.questions("dev", 96), lab.prompt("fireact")
    return generate(questions, prompt, chat, lab.search(), progress=False)


def run_yardstick(work: Callable[[], Any] = play_yardstick) -> float:
    """Seconds that the work takes here, the better of two tries unless it is very slow."""
    took: list[float] = []
    while len(took) < 2 and sum(took) < 15:
        started = time.monotonic()
        work()
        took.append(time.monotonic() - started)
    return min(took)


def check_time(
    path: Path = TIMES, yardstick: Callable[[], float] = run_yardstick
) -> Iterator[Finding]:
    stems = [source.stem for source in sources()]
    yield from forecast_notebooks(read_json(path, dict), yardstick(), stems)


def forecast_notebooks(
    times: Mapping[str, Any], yardstick: float, stems: Iterable[str]
) -> Iterator[Finding]:
    """How long the notebooks will take on a machine that takes `yardstick` seconds for ours."""
    total = 0.0
    for stem in stems:
        seconds = times["seconds"].get(stem, 0) * yardstick / times["yardstick_seconds"]
        total += seconds
        text = f"{stem}: {f'about {seconds:.0f} s' if seconds else 'not known'}"
        hint = not seconds and f"Nobody timed it yet: fireact-nb build {stem[:2]}"
        slow = seconds > LONGEST and f"Over {LONGEST} s: set its parameter quick, or share machines"
        yield _judge("time", text, hint=hint or slow)
    text = f"about {total / 60:.1f} minutes for {len(times['seconds'])} notebooks. A piece of it: "
    text += f"{yardstick:.1f} s here, {times['yardstick_seconds']:.1f} s where they were built "
    yield Finding("time in all", "ok", text + "({cores} cores, {cpu})".format(**times))


def record_times(
    seconds: Mapping[str, float], path: Path = TIMES, yardstick: Callable[[], float] = run_yardstick
) -> None:
    """Enter what notebooks took here, with this machine's yardstick; other entries are kept."""
    known = read_json(path, dict)["seconds"] if path.exists() else {}
    known |= {stem: round(took, 1) for stem, took in seconds.items()}
    there = {s.stem: known[s.stem] for s in sources() if s.stem in known}
    times = {**processor(), "seconds": there, "yardstick_seconds": round(yardstick(), 2)}
    write_file(path, json.dumps(times, indent=1, sort_keys=True) + "\n")


def _judge(name: str, text: str, stop: Any = None, hint: Any = None) -> Finding:
    """A problem where `stop` says what to do, a warning where `hint` does, else all is well."""
    level: Level = "problem" if stop else "warning" if hint else "ok"
    return Finding(name, level, f"{text}. {stop or hint}" if stop or hint else text)


def _attempt(name: str, text: str, advice: str, do: Callable, *arguments: Any) -> Finding:
    """Whether a small real thing can be done; `do` may return its relative error."""
    try:
        error = do(*arguments) or 0.0
    except Exception as reason:
        return Finding(name, "problem", f"{_reason(reason)}. {advice}")
    text = f"{text} (relative error {error:.2g})" if error else text
    return _judge(name, text, not error < ERROR and f"That is too much. {advice}")


def _reason(error: Exception) -> str:
    # Whatever a library says ends up on one line of a plain console.
    text = str(error).strip().partition("\n")[0][:200].rstrip(".")
    return text if isinstance(error, FireActError) else f"{type(error).__name__}: {text}"


CHECKS = (
    check_python, check_packages, check_machine, check_data, check_kernel, check_gpu, check_keys,
    check_time,
)  # fmt: skip
