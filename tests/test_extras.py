"""The routes of installation agree: pyproject.toml, constraints.txt, environment.yml and the set-up script.

onnxruntime and onnxruntime-gpu install one module and write over each other's files. pip cannot forbid it, so the
extras, the script and the doctor each see to it.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from labkit.course.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(each) for each in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(each) for each in needs if not each.startswith("labkit[")]
    for name, needs in PROJECT["optional-dependencies"].items()
}
PINS = {
    canonicalize_name(name): version.partition(";")[0].strip()
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    )
    if version
}
ONNX_RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}


def _names(extras: tuple[str, ...]) -> set[str]:
    return {canonicalize_name(need.name) for need in [*BASE, *itertools.chain(*(EXTRAS[extra] for extra in extras))]}


@pytest.mark.parametrize(
    "extras", [each for size in range(len(EXTRAS) + 1) for each in itertools.combinations(EXTRAS, size)], ids="+".join
)
def test_only_cpu_and_gpu_together_bring_two_onnx_runtimes(extras: tuple[str, ...]) -> None:
    both = {"cpu", "gpu"} <= set(extras)
    assert (_names(extras) >= ONNX_RUNTIMES) == both
    assert bool(ONNX_RUNTIMES & _names(extras)) == bool({"cpu", "gpu"} & set(extras))


def test_there_are_the_extras_that_people_are_told_of() -> None:
    assert {"cpu", "gpu", "hub", "verify", "dev"} <= set(EXTRAS)
    assert {"onnxruntime-gpu", "tensorrt"} <= _names(("gpu",))


def test_whatever_is_asked_for_is_pinned_at_a_version_that_is_allowed() -> None:
    asked = [*BASE, *itertools.chain(*EXTRAS.values())]
    assert len(asked) > 30
    for need in asked:
        pin = PINS.get(canonicalize_name(need.name))
        assert pin, f"{need.name} has no pin in constraints.txt"
        assert need.specifier.contains(pin), f"{need} does not allow the pinned {pin}"


def test_every_pin_allows_the_oldest_python_that_is_promised() -> None:
    """Incident: soupsieve 4 wants 3.11.5, and with it Debian 12's own Python, 3.11.2, could install nothing at all."""
    (oldest,) = (each.removeprefix(">=") for each in PROJECT["requires-python"].split(","))
    looked_at, too_new = 0, []
    for name, pin in PINS.items():
        try:
            found = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        looked_at += 1
        if found["Version"].partition("+")[0] == pin and not SpecifierSet(found.get("Requires-Python", "")).contains(
            oldest
        ):
            too_new.append(f"{name}=={pin} wants Python {found.get('Requires-Python')}")
    assert looked_at > 100
    assert too_new == []


def test_triton_is_the_one_that_torchs_cuda_build_demands() -> None:
    """Incident: triton 3.9 beside torch 2.13. The CPU build demands none, so only who has a GPU could not install."""
    demanded = {"2.13.0": "3.7.1"}  # from the metadata of torch's build for CUDA on Linux
    assert PINS["triton"] == demanded[PINS["torch"]]


# --- environment.yml ---------------------------------------------------------------------------------------
# Checked here and by no solver: conda's channels were out of reach where this was written.

CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
BY_CONDA = [each for each in CONDA["dependencies"] if isinstance(each, str)]
BY_PIP = next(each["pip"] for each in CONDA["dependencies"] if isinstance(each, dict))


def test_conda_and_pip_bring_different_packages() -> None:
    names = {re.split(r"[=<>! ]", each)[0] for each in BY_CONDA}
    assert {"python", "pip", "git", "make"} == names
    assert not (names - {"pip"}) & {*PINS, *_names(tuple(EXTRAS))}


def test_condas_python_is_one_that_labkit_allows() -> None:
    (python,) = (each.removeprefix("python=") for each in BY_CONDA if each.startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(Version(python))
    assert python == "3.11", "the tests run on this one"


def test_pip_installs_the_clone_with_one_runtime_at_the_tested_versions() -> None:
    assert "--constraint constraints.txt" in BY_PIP
    (clone,) = (each for each in BY_PIP if each.startswith("--editable "))
    extras = re.fullmatch(r"--editable \.\[(.+)\]", clone)
    assert extras
    assert set(extras[1].split(",")) <= set(EXTRAS)
    assert len(ONNX_RUNTIMES & _names(tuple(extras[1].split(",")))) == 1
    assert len(BY_PIP) == 2, "everything else follows from pyproject.toml and constraints.txt"


def test_pip_reads_its_part_as_conda_hands_it_over(tmp_path: Path) -> None:
    """conda writes the pip part to a requirements file beside environment.yml; pip itself says whether it holds."""
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "labkit"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "requirements.txt").write_text("\n".join(BY_PIP))
    # Without dependencies and in this environment, which has what a build needs: no index is asked.
    options = ["--dry-run", "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "-r", "requirements.txt"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Would install labkit-{PROJECT['version']}" in done.stdout


def test_the_gpu_variant_is_told_where_it_is_needed() -> None:
    assert "[gpu] in place of [cpu]" in (ROOT / "environment.yml").read_text(encoding="utf-8")


# --- the set-up script -------------------------------------------------------------------------------------

# Stands in for .venv/bin/python: knows which distributions are there, and writes down what pip is asked.
STAND_IN = """#!/bin/sh
case "$2" in
  *"version('onnxruntime-gpu')"*) grep -qx onnxruntime-gpu .venv/installed; exit ;;
  *"version('onnxruntime')"*) grep -qx onnxruntime .venv/installed; exit ;;
esac
[ "$1 $2" = "-m pip" ] && shift 2 && echo "$*" >> .venv/asked
exit 0
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is missing")
@pytest.mark.parametrize(
    ("there", "gpu", "extras", "taken_away", "installed"),
    [
        ("", "", "", False, ".[cpu]"),
        ("", "", "dev,hub", False, ".[cpu,dev,hub]"),
        ("", "1", "", False, ".[gpu]"),
        ("onnxruntime", "", "dev", False, ".[cpu,dev]"),
        ("onnxruntime", "1", "dev", True, ".[gpu,dev]"),
        ("onnxruntime-gpu", "", "", False, ".[gpu]"),  # chosen once, kept
        ("onnxruntime-gpu\nonnxruntime", "", "", True, ".[gpu]"),  # the accident is mended
    ],
)
def test_the_script_installs_one_runtime_and_takes_the_other_away(
    there: str, gpu: str, extras: str, taken_away: bool, installed: str, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "setup_environment.sh", tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/installed").write_text(f"{there}\n")
    python = tmp_path / ".venv/bin/python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    subprocess.run(
        ["bash", "setup_environment.sh", *([extras] if extras else [])],
        cwd=tmp_path, env={**os.environ, "GPU": gpu}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    asked = (tmp_path / ".venv/asked").read_text().splitlines()
    assert ("uninstall -y onnxruntime onnxruntime-gpu" in asked) == taken_away
    assert asked[-1] == f"install -c constraints.txt -e {installed}"
