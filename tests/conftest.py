"""Every test runs offline, without keys, on few threads; so does every process a test starts.

All of it happens while pytest loads this file, before any test module is collected: libraries read
these variables when they are imported.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

OFFLINE = Path(__file__).parent / "offline"
CLIENTS = ("openai", "httpx", "httpcore", "httpx2", "httpcore2")  # what may log a request

for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[name] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("MPLBACKEND", "Agg")
# The number of threads moves the last digits of a sum, and more stall on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A key in the developer's shell must not change what is tested.
for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SERPAPI_API_KEY", "HF_TOKEN"):
    os.environ.pop(name, None)

paths = [str(OFFLINE), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))

# A fresh pytest finds the system's sitecustomize, if any, already imported: ours takes its place.
if Path(getattr(sys.modules.get("sitecustomize"), "__file__", "") or "").parent != OFFLINE:
    sys.modules.pop("sitecustomize", None)
    sys.path.insert(0, str(OFFLINE))
    import sitecustomize  # noqa: F401

# Timings belong in benchmarks/, and a test that fails must fail again.
settings.register_profile("fireact", deadline=None, derandomize=True)
settings.load_profile("fireact")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that any library logs, at DEBUG."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in CLIENTS]
    before = [logger.level for logger in loggers]
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    for logger, was in zip(loggers, before, strict=True):
        logger.setLevel(was)
