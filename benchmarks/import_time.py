"""How long `import fireact_nb` takes, beside a bare interpreter and beside `import torch`.

    python benchmarks/import_time.py [runs]

Each number is the fastest of several fresh interpreters (the rest is the machine's noise). Seconds
differ between machines; the ratios travel. The aim: below 0.3 s, close to the bare interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BARE, OURS, TORCH = "import json", "import fireact_nb", "import torch"


def fastest(code: str, runs: int) -> float:
    """Seconds of the fastest of `runs` fresh interpreters, after one that fills the caches."""
    # Without bytecode files every run would compile the package anew.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=env)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seconds = {
        BARE: fastest(BARE, runs),
        OURS: fastest(OURS, runs),
        TORCH: fastest(TORCH, max(1, runs // 3)),
    }
    print(f"{'':20} {'seconds':>8} {'x bare':>8} {'x torch':>8}")
    for code, taken in seconds.items():
        of_bare, of_torch = taken / seconds[BARE], taken / seconds[TORCH]
        print(f"{code:20} {taken:8.3f} {of_bare:8.2f} {of_torch:8.2f}")


if __name__ == "__main__":
    main()
