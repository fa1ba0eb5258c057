"""The explorer in a headless Chromium: file size, load, a click, a move, a filter, a search.

    python benchmarks/explorer.py [QUESTIONS [AGENTS]]

The study is made up (tests/episodes.py): about 1.2 kB a trajectory, as the authors' released ones.
Times are taken inside the page, each from the event to the end of the layout that it caused: median
and worst of several. Beside them the CPU time of all the browser's processes for the same, on
average: on a busy machine that is what a free one would need at most. Prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browser import Browser, open_browser
from episodes import make_study

from fireact_nb.analysis.explorer import write_explorer

# From the event to the frame after it; panels and searches end when the page says so.
TIMED = """(async () => {
  const begun = performance.now();
  %s
  document.body.offsetHeight;
  return performance.now() - begun;
})()"""
FILTERS = [{"type": "bridge"}, {"type": ""}, {"chip": "mixed"}, {"chip": "only:agent 3"},
           {"chip": ""}, {"sort": "split"}, {"sort": ""}, {"popularity": "head"}]  # fmt: skip


def cpu_seconds() -> float:
    """Of everything this process has started and that still runs."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


def time_them(browser: Browser, scripts: list[str]) -> dict[str, float]:
    begun = cpu_seconds()
    took = [browser.eval(TIMED % script) for script in scripts]
    cpu = (cpu_seconds() - begun) / len(scripts)
    return {
        "median_ms": round(median(took)),
        "worst_ms": round(max(took)),
        "cpu_ms": round(1e3 * cpu),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    agents = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        made = make_study(count, agents)
        text = sum(
            len(s.text) + len(s.observation or "") for t in made.trajectories for s in t.steps
        )
        begun = time.process_time()
        write_explorer(page, made.outcomes, made.trajectories, made.questions, "Made up")
        result = {
            "questions": count, "agents": agents, "trajectories_MB": round(text / 1e6, 1),
            "page_MB": round(page.stat().st_size / 1e6, 1),
            "written_in_cpu_s": round(time.process_time() - begun, 1),
        }  # fmt: skip
        with open_browser() as browser:
            browser.resize(1366, 900)
            loads, whole, cpu = [], [], []
            for _ in range(3):
                begun = cpu_seconds()
                browser.open(page)
                loads.append(float(browser.eval("document.body.dataset.loaded")))
                whole.append(browser.eval("whole.then(() => performance.now())"))
                cpu.append(cpu_seconds() - begun)
            result["load_cpu_ms"] = [round(1e3 * x) for x in cpu]
            result["load_ms"] = [round(x) for x in loads]
            result["trajectories_there_ms"] = [round(x) for x in whole]
            places = [n * count // 12 for n in range(1, 12)]
            clicks = [
                f"cursor = {{row: {p}, column: 1}}; await openQuestion(here());" for p in places
            ]
            result["click"] = time_them(browser, clicks)
            result["move"] = time_them(
                browser, [f"moveTo({p}, {p % agents});" for p in (1, 2, 40, 3)]
            )
            result["filter"] = time_them(browser, [f"change({json.dumps(f)});" for f in FILTERS])
            search = "state.q = 'zzzz'; await searchAll('zzzz', () => {});"
            result["search_all"] = time_them(browser, [search])
            result["errors"] = browser.errors
    result["load_average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
