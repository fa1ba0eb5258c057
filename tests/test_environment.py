"""pyproject.toml says what is needed: conda's list, the pins and the running venv agree with it."""

from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import fireact_nb

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Seconds each, and loaded only inside the function that needs them.
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "datasets",
    "openai",
    "matplotlib",
    "pandas",
    "scipy",
    "sklearn",
}


def requirements() -> dict[str, Requirement]:
    """Every outside requirement of pyproject.toml, core and extras, by canonical name."""
    lines = list(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        lines += extra
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name == PROJECT["name"]:
            continue
        assert name not in found, f"pyproject.toml names {name} twice"
        found[name] = requirement
    return found


def pins() -> dict[str, str]:
    """The lines of constraints.txt that are no comment, as name -> line."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    found = {canonicalize_name(re.split(r"[^\w.-]", line)[0]): line for line in lines}
    assert len(found) == len(lines), "constraints.txt names a package twice"
    return found


def modules() -> list[str]:
    """Every module of the package, found without importing the modules themselves."""
    found = pkgutil.walk_packages(fireact_nb.__path__, "fireact_nb.")
    return ["fireact_nb", *(module.name for module in found)]


def test_conda_environment_has_the_same_requirements():
    parsed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert parsed["name"] == PROJECT["name"]
    assert parsed["channels"] == ["conda-forge"]
    *conda, pip = parsed["dependencies"]
    assert conda == ["python=3.11", "pip"]
    options = [line for line in pip["pip"] if line.startswith("-")]
    assert options == ["-c constraints.txt", "-e ."]
    listed = [Requirement(line) for line in pip["pip"] if not line.startswith("-")]
    assert sorted(map(str, listed)) == sorted(map(str, requirements().values()))


def test_python_has_a_lower_bound_and_no_upper_one():
    assert PROJECT["requires-python"] == ">=3.11"


@pytest.mark.parametrize("requirement", requirements().values(), ids=str)
def test_requirement_is_a_range_and_its_pin_lies_inside(requirement):
    assert {part.operator for part in requirement.specifier} == {">="}
    pin = Requirement(pins()[canonicalize_name(requirement.name)])
    (exact,) = pin.specifier
    assert requirement.specifier.contains(exact.version)


def test_pins_are_exact_public_versions():
    for line in pins().values():
        requirement = Requirement(line)
        (exact,) = requirement.specifier
        assert exact.operator == "==", line
        assert Version(exact.version).local is None, f"{line}: a build suffix fits one machine only"
        assert requirement.url is None and requirement.marker is None, line


def test_cuda_libraries_are_not_pinned():
    assert not [name for name in pins() if re.match("nvidia|cuda|triton", name)]


def test_extra_all_holds_every_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all"}


def test_installed_packages_agree():
    """`pip check` in the environment that runs the tests."""
    if find_spec("pip") is None:
        pytest.skip("this environment has no pip (uv?): run `uv pip check` by hand")
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_repository_has_one_address():
    (url,) = metadata.metadata(PROJECT["name"]).get_all("Project-URL")
    assert url == f"Repository, {PROJECT['urls']['Repository']}"
    assert metadata.version(PROJECT["name"]) == fireact_nb.__version__


@pytest.mark.parametrize("module", modules())
def test_import_is_light(module):
    """`benchmarks/import_time.py` measures the seconds; this finds their cause."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    loaded = HEAVY & set(json.loads(done.stdout))
    assert not loaded, f"import {module} loads {sorted(loaded)}: import them inside the function"
