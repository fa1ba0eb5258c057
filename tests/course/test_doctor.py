"""The doctor: what it says of a machine that lacks something, and that it never shows a key."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fireact_nb import cli
from fireact_nb.artifacts import ROOT, register
from fireact_nb.course import doctor, series
from fireact_nb.course.doctor import Finding
from fireact_nb.errors import FireActError
from fireact_nb.files import read_json

STEMS = ["00_a", "01_b", "02_c"]
TIMES = {
    "cores": 2,
    "cpu": "Some CPU",
    "seconds": {"00_a": 40.0, "01_b": 70.0, "02_c": 10.0},
    "yardstick_seconds": 4.0,
}
TIMED = [source.stem for source in series.sources()][:3]
KEYS = ("OPENAI_API_KEY", "SERPAPI_API_KEY", "HF_TOKEN")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of times of the first three notebooks."""
    path = tmp_path / "times.json"
    seconds = dict(zip(TIMED, (40.0, 70.0, 10.0), strict=True))
    path.write_text(json.dumps({**TIMES, "seconds": seconds}), encoding="utf-8")
    return path


def quick() -> list[doctor.Check]:
    """Every check but the one that works for half a minute."""
    return [c for c in doctor.CHECKS if c is not doctor.check_time]


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {f.name: f for f in findings}


# -- the report -----------------------------------------------------------------------------------


def test_each_line_begins_with_a_mark_and_a_word() -> None:
    findings = [
        Finding("a", "ok", "1"),
        Finding("bb", "warning", "2"),
        Finding("c", "problem", "3"),
    ]
    assert doctor.render(findings).splitlines() == [
        "+ ok       a   1",
        "! warning  bb  2",
        "x problem  c   3",
        "Problems: 1, warnings: 1. The series would not run as it is.",
    ]
    assert doctor.render(findings[:1]).endswith("The series can run here.")


@pytest.mark.slow
def test_this_machine_has_no_problem(path: Path) -> None:
    findings = doctor.examine([*quick(), lambda: doctor.check_time(path, lambda: 4.0)])
    assert [f for f in findings if f.level == "problem"] == []
    assert [f for f in findings if f.text.startswith("not checked")] == []
    names = {"Python", "packages", "memory", "disk", "data", "loopback", "temp folder", "CPU"}
    names |= {"runs folder", "Jupyter", "NF4 on CPU", "GPU", "keys", "network", "time in all"}
    assert names <= set(by_name(findings))
    text = doctor.render(findings)
    assert text.isascii() and "\x1b" not in text, "a plain console must be able to show it"
    assert len(text.splitlines()) == len(findings) + 1, "one line a check"


def test_a_check_that_crashes_is_a_warning_and_stops_no_other() -> None:
    def check_first() -> Iterable[Finding]:
        yield Finding("half", "ok", "done before the crash")
        raise RuntimeError("the sensor is on fire\nmore")

    def check_second() -> Iterable[Finding]:
        yield Finding("second", "ok", "done")

    assert doctor.examine([check_first, check_second]) == [
        Finding("half", "ok", "done before the crash"),
        Finding("first", "warning", "not checked: RuntimeError: the sensor is on fire"),
        Finding("second", "ok", "done"),
    ]


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("warning", 0), ("problem", 1)])
def test_status_1_only_if_the_series_would_be_stopped(
    level: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("the weather", level, "bad"), Finding("soup", "ok", "hot")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert cli.main(["doctor"]) == status
    said = capsys.readouterr()
    assert f"{level:<7}  the weather  bad" in said.out
    if status:
        assert said.err.startswith("fireact-nb doctor: ") and said.err.count("\n") == 1
        assert "the weather" in said.err and "soup" not in said.err
    else:
        assert said.err == ""


# -- what a machine may lack ----------------------------------------------------------------------


def machine(
    total: float = 16, available: float = 9, busy: float = 3.0, disk: float = 50
) -> dict[str, Finding]:
    """What is said of a machine with these sizes in GB."""
    memory = SimpleNamespace(total=total * 1e9, available=available * 1e9)
    monitor = SimpleNamespace(virtual_memory=lambda: memory, cpu_percent=lambda interval: busy)
    return by_name(doctor.check_machine(lambda path: SimpleNamespace(free=disk * 1e9), monitor))


@pytest.mark.parametrize(
    ("total", "free", "level", "advice"),
    [(16, 9, "ok", "9.0 GB free of 16.0 GB"), (8, 2, "warning", "Close"), (2, 1, "problem", "Use")],
)
def test_memory(total: float, free: float, level: str, advice: str) -> None:
    found = machine(total=total, available=free)["memory"]
    assert found.level == level and advice in found.text and "needs 4 GB" in found.text


@pytest.mark.parametrize(
    ("free", "level"), [(50, "ok"), (2.9, "warning"), (0.6, "warning"), (0.4, "problem")]
)
def test_disk(free: float, level: str) -> None:
    found = machine(disk=free)["disk"]
    assert found.level == level and f"{free:.1f} GB free" in found.text
    assert ("free some space" in found.text) == (level != "ok")


@pytest.mark.parametrize(("busy", "level"), [(3.0, "ok"), (60.0, "warning")])
def test_a_busy_processor_is_told(busy: float, level: str) -> None:
    found = machine(busy=busy)["CPU"]
    assert found.level == level and "usable cores" in found.text
    assert ("60%" in found.text) == (level == "warning")


def test_a_system_without_affinity_counts_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # macOS, Windows
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert doctor.processor()["cores"] == 12


def packages(**changed: str | None) -> dict[str, Finding]:
    """What is said of this machine's packages with some of their versions changed."""

    def version_of(name: str) -> str:
        found = changed[name] if name in changed else metadata.version(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    return by_name(doctor.check_packages(version_of))


def test_missing_and_old_packages_are_named_with_the_command() -> None:
    found = packages(peft="0.9.1", bm25s=None, torch="2.13.0+cu130")["packages"]
    assert found.level == "problem"
    assert "peft 0.9.1 is too old" in found.text
    assert "bm25s is missing" in found.text and "torch" not in found.text
    assert '--upgrade "peft>=0.18" "bm25s>=0.2.7"' in found.text


@pytest.mark.parametrize("version", ["0.18", "0.18.0", "0.18.0rc1", "0.100", "1.0"])
def test_other_versions_than_the_tested_ones_are_only_a_note(version: str) -> None:
    found = packages(peft=version)["packages"]
    assert found.level == "ok" and f"other than in constraints.txt: peft {version}" in found.text


def test_the_tested_versions_are_told_as_such() -> None:
    assert packages()["packages"].text.endswith("new enough, as tested")


@pytest.mark.parametrize("version", [None, "0.16.0", "0.16.0+cu126", "0.100", "1.0"])
def test_torchao_may_be_missing_or_new_enough(version: str | None) -> None:
    assert "torchao" not in packages(torchao=version)


@pytest.mark.parametrize("version", ["0.9.0", "0.10.0", "0.15.0+cpu", "0.16.0rc1"])
def test_an_old_torchao_is_a_problem_with_its_cure(version: str) -> None:
    found = packages(torchao=version)["torchao"]
    assert found.level == "problem" and version in found.text and "peft" in found.text
    assert 'python -m pip install --no-deps -U "torchao>=0.16"' in found.text
    assert "pip uninstall torchao" in found.text


def test_an_old_python_and_a_missing_environment_are_told() -> None:
    (found,) = doctor.check_python(own=False)
    assert found.level == "warning" and "no virtual environment" in found.text
    (found,) = doctor.check_python((3, 10, 4))
    assert found.level == "problem" and "3.11" in found.text and "make PY=" in found.text


def test_a_broken_artifact_is_named(tmp_path: Path) -> None:
    [gone] = doctor.check_data(tmp_path)
    assert gone.level == "problem" and "manifest.json" in gone.text
    (tmp_path / "world.txt").write_text("Northern Vomel", encoding="utf-8")
    register("world", tmp_path / "world.txt", [], "make world", folder=tmp_path)
    [whole] = doctor.check_data(tmp_path)
    assert whole.level == "ok"
    (tmp_path / "world.txt").write_text("Southern Vomel", encoding="utf-8")
    [broken] = doctor.check_data(tmp_path)
    assert broken.level == "problem" and "world.txt has changed" in broken.text
    assert "git checkout data" in broken.text


def test_a_closed_loopback_and_folders_that_cannot_be_written_are_problems(tmp_path: Path) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "no folder"
    file.touch()
    found = by_name(doctor.check_kernel(refuse, temp=file, runs=file / "runs"))
    assert {f.level for n, f in found.items() if n != "Jupyter"} == {"problem"}
    assert "firewall" in found["loopback"].text and "Permission denied" in found["loopback"].text
    assert "Set TMPDIR to" in found["temp folder"].text
    assert "Set FIREACT_RUNS to" in found["runs folder"].text
    assert found["Jupyter"].level == "ok", "one that fails stops no other"


def test_a_runs_folder_that_is_not_there_yet_is_no_problem_and_is_not_made(tmp_path: Path) -> None:
    found = by_name(doctor.check_kernel(runs=tmp_path / "deep" / "runs"))
    assert found["runs folder"].level == "ok"
    assert not (tmp_path / "deep").exists()


def test_a_missing_kernel_is_a_problem() -> None:
    found = by_name(doctor.check_kernel(kernels=lambda: {"ir": "/r"}))["Jupyter"]
    assert found.level == "problem" and "ipykernel install --sys-prefix" in found.text


def test_where_nothing_is_installed_the_rest_is_still_examined() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "from fireact_nb.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "packaging is missing" in done.stdout and '"torch>=2.4"' in done.stdout
    for word in ("ok       loopback", "ok       data", "ok       keys", "warning  machine"):
        assert word in done.stdout, done.stdout
    assert "Traceback" not in done.stderr and "packages" in done.stderr


# -- arithmetic, GPU ------------------------------------------------------------------------------


def on_cpu(device: str, kind: str) -> float:
    """What would be computed on a GPU is computed here."""
    return doctor.measure_error("cpu", kind)


def with_gpu(
    name: str, capability: tuple[int, int], measure: Callable[[str, str], float] = on_cpu
) -> dict[str, Finding]:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_name=lambda: name,
        get_device_capability=lambda: capability,
        mem_get_info=lambda: (15.5e9, 15.8e9),
    )
    return by_name(doctor.check_gpu(SimpleNamespace(cuda=cuda), measure))


@pytest.mark.parametrize(
    ("apple", "said"),
    [
        (False, "none: all notebooks run on the CPU"),
        (True, "none: all notebooks run on the CPU (the Apple GPU is not used)"),
    ],
)
def test_no_gpu(apple: bool, said: str) -> None:
    library: Any = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: False),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: apple)),
    )
    found = by_name(doctor.check_gpu(library))
    assert found["GPU"] == Finding("GPU", "ok", said)
    assert set(found) == {"NF4 on CPU", "GPU"}


def test_a_t4_has_no_bfloat16() -> None:
    found = with_gpu("Tesla T4", (7, 5))
    assert found["GPU"].text == (
        "Tesla T4, 15.5 GB free of 15.8 GB, compute capability 7.5: trains in float16; "
        "no bfloat16 (from 8.0 on)"
    )
    assert {"float16 on GPU", "NF4 on GPU"} <= set(found)
    assert "bfloat16 on GPU" not in found
    assert {f.level for f in found.values()} == {"ok"}


def test_from_capability_8_on_there_is_bfloat16() -> None:
    found = with_gpu("A100", (8, 0))
    assert found["GPU"].text.endswith("compute capability 8.0: trains in bfloat16")
    assert "works" in found["bfloat16 on GPU"].text


@pytest.mark.parametrize("error", [RuntimeError("no kernel image"), float("nan"), 0.9])
def test_a_gpu_that_cannot_compute_is_a_problem_with_a_way_out(error: Exception | float) -> None:
    def fail(device: str, kind: str) -> float:
        if isinstance(error, Exception):
            raise error
        return error

    found = with_gpu("Old GPU", (3, 5), fail)
    for name in ("float16 on GPU", "NF4 on GPU"):
        assert found[name].level == "problem" and "CUDA_VISIBLE_DEVICES=-1" in found[name].text
    assert "pip install" in found["NF4 on CPU"].text


def test_the_arithmetic_is_real() -> None:
    assert 0.05 < doctor.measure_error("cpu", "NF4") < doctor.ERROR
    assert (
        0 < doctor.measure_error("cpu", "float16") < doctor.measure_error("cpu", "bfloat16") < 0.02
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_gpu_computes() -> None:
    found = doctor.check_gpu()
    assert {f.level for f in found} == {"ok"}


# -- keys -----------------------------------------------------------------------------------------


def with_keys(value: str) -> str:
    """What is printed when every key has this value."""
    return doctor.render(list(doctor.check_keys(dict.fromkeys(KEYS, value))))


def test_keys_are_there_or_not() -> None:
    # An empty one is as good as none.
    found = by_name(doctor.check_keys({"HF_TOKEN": "", "SERPAPI_API_KEY": "x"}))["keys"]
    assert found.level == "ok"
    assert found.text == (
        "OPENAI_API_KEY not set, SERPAPI_API_KEY is set, HF_TOKEN not set; none is needed"
    )


def test_prices_are_shown_with_their_age() -> None:
    found = by_name(doctor.check_keys({}))["prices"]
    days = re.search(r"(\d{4}-\d\d-\d\d), (\d+) days ago", found.text)
    assert found.level == "ok" and days
    assert date.fromisoformat(days[1]) + timedelta(int(days[2])) == date.today()


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_what_is_said_does_not_depend_on_the_key(value: str) -> None:
    assert with_keys(value) == with_keys("another")


def test_no_piece_of_a_key_is_in_the_whole_report(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "zq7Wk-9xVb2QpLr8TdYc4HgJn"
    for name in KEYS:
        monkeypatch.setenv(name, f"{key}{name[0]}")
    said = doctor.render(doctor.examine(quick()))
    assert "OPENAI_API_KEY is set" in said
    assert not [key[i : i + 4] for i in range(len(key) - 3) if key[i : i + 4] in said]


# -- times ----------------------------------------------------------------------------------------


def test_the_forecast_is_scaled_by_the_yardstick() -> None:
    *each, total = doctor.forecast_notebooks(TIMES, 8.0, STEMS)
    assert [f.level for f in each] == ["ok", "warning", "ok"]
    assert [f.text.partition(".")[0] for f in each] == [
        "00_a: about 80 s",
        "01_b: about 140 s",
        "02_c: about 20 s",
    ]
    assert "Over 120 s" in each[1].text and "quick" in each[1].text
    assert total.text.startswith("about 4.0 minutes")
    assert "8.0 s here, 4.0 s where they were built (2 cores, Some CPU)" in total.text


def test_a_notebook_without_a_time_is_told() -> None:
    times = {**TIMES, "seconds": {"00_a": 40.0, "02_c": 20.0, "99_gone": 1000.0}}
    *each, total = doctor.forecast_notebooks(times, 4.0, STEMS)
    assert [f.level for f in each] == ["ok", "warning", "ok"]
    assert "01_b: not known" in each[1].text and "fireact-nb build 01" in each[1].text
    assert total.text.startswith("about 1.0 minutes")


def test_without_times_or_with_broken_ones_the_rest_is_still_told(path: Path) -> None:
    def check_time() -> Iterable[Finding]:
        return doctor.check_time(path, lambda: 4.0)

    for content in ("{", None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(FireActError):
            list(check_time())
        found = by_name(doctor.examine([check_time, doctor.check_keys]))
        assert found["time"].level == "warning" and "times.json" in found["time"].text
        assert found["keys"].level == "ok"


def test_building_some_notebooks_renews_their_times_and_keeps_the_others(path: Path) -> None:
    doctor.record_times({TIMED[1]: 33.333}, path, lambda: 6.0)
    kept = read_json(path, dict)
    assert kept["seconds"] == dict(zip(TIMED, (40.0, 33.3, 10.0), strict=True))
    assert kept["yardstick_seconds"] == 6.0
    assert kept["cores"] >= 1 and kept["cpu"] != "Some CPU"
    text = path.read_text(encoding="utf-8")
    assert text == json.dumps(kept, indent=1, sort_keys=True) + "\n"
    assert socket.gethostname() not in text and "/" not in text


def test_times_of_notebooks_that_are_gone_are_dropped_and_a_first_file_is_made(path: Path) -> None:
    path.write_text(json.dumps({**TIMES, "seconds": {"99_gone": 1.0}}), encoding="utf-8")
    doctor.record_times({TIMED[0]: 2.0}, path, lambda: 6.0)
    assert read_json(path, dict)["seconds"] == {TIMED[0]: 2.0}
    path.unlink()
    doctor.record_times({TIMED[2]: 3.0}, path, lambda: 6.0)
    assert read_json(path, dict)["seconds"] == {TIMED[2]: 3.0}


def test_build_records_the_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = series.Run(Path("notebooks/01_b.ipynb"), Path("p.html"), 12.0)
    recorded: dict[str, float] = {}
    monkeypatch.setattr(series, "build", lambda names: [run])
    monkeypatch.setattr(doctor, "record_times", recorded.update)
    assert cli.main(["build", "01"]) == 0
    assert recorded == {"01_b": 12.0}
    assert "01_b.ipynb" in capsys.readouterr().out


@pytest.mark.slow
def test_the_yardstick_is_real_work() -> None:
    played = doctor.play_yardstick()
    assert len(played) == 96 and sum(bool(t.correct) for t in played) > 40


def test_the_yardstick_is_the_better_of_two_tries() -> None:
    naps = iter((0.2, 0.0))
    assert 0 < doctor.run_yardstick(lambda: time.sleep(next(naps))) < 0.2
    assert not list(naps)


def test_the_shipped_times_fit_the_series() -> None:
    times = read_json(doctor.TIMES, dict)
    assert set(times) == {"cores", "cpu", "seconds", "yardstick_seconds"}
    assert set(times["seconds"]) <= {source.stem for source in series.sources()}
    assert times["yardstick_seconds"] > 0
