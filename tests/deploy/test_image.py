"""The container's files by their rules, and, when asked for, the image for real (minutes; see deploy/try_image.py).

`LABKIT_TRY_IMAGE=1 pytest tests/deploy/test_image.py` builds it with buildah on a base made by debootstrap, as root.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from labkit.course.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
WORKFLOW = ROOT / ".github/workflows/ci.yml"


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if not found:
        pytest.skip(f"{name} is missing: pip install labkit[dev]")
    return found


def test_the_dockerfile_has_no_finding_of_hadolint() -> None:
    done = subprocess.run([_program("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_workflow_fits_its_schema_and_says_what_it_must() -> None:
    command = [_program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    # Ubuntu 24.04 forbids bubblewrap's user namespaces: installed and not allowed, its tests are skipped all the same.
    assert any("apparmor_restrict_unprivileged_userns=0" in step.get("run", "") for step in jobs["test"]["steps"])
    assert "gpu" in jobs["gpu"]["runs-on"]
    assert "make gpu GPU=1" in [step.get("run") for step in jobs["gpu"]["steps"]]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.search(r"@[0-9a-f]{40}$", each) for each in used), "an action is pinned by its commit"


def test_one_file_makes_both_variants_as_a_user_without_rights() -> None:
    lines = DOCKERFILE.splitlines()
    assert "ARG BASE=python:3.11-slim-bookworm" in lines
    assert "FROM ${BASE}" in lines
    assert "ARG RUNTIME=cpu" in lines
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER ${UID}"]
    assert lines.index("USER ${UID}") < min(number for number, line in enumerate(lines) if line.startswith("COPY"))
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert all(line.startswith("RUN set -eu;") for line in lines if line.startswith("RUN"))


def test_what_is_needed_is_installed_before_the_sources_are_copied() -> None:
    copies = re.findall(r"^COPY --chown=\$\{UID\} (.+) \./?$", DOCKERFILE, re.MULTILINE)
    assert copies[0].split() == ["pyproject.toml", "constraints.txt", "setup_environment.sh", "LICENSE"]
    assert copies[1] == "."
    assert DOCKERFILE.index("setup_environment.sh hub,verify") < DOCKERFILE.index("} . .")


@pytest.mark.parametrize(
    "secret", [".env", "id_rsa", "token.txt", "pip.conf", ".git/config", ".venv/x", "grades/a.json"]
)
def test_what_nobody_named_stays_out_of_the_image(secret: str) -> None:
    assert IGNORED[1] == "*"
    kept = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    top = secret.split("/")[0]
    assert not any(fnmatch.fnmatch(top, each) for each in kept)


def test_everything_that_is_named_is_there() -> None:
    kept = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    assert [each for each in kept if not (ROOT / each).exists()] == []


@pytest.mark.skipif(not os.environ.get("LABKIT_TRY_IMAGE"), reason="takes minutes: LABKIT_TRY_IMAGE=1 tries the image")
@pytest.mark.timeout(3600)
def test_the_image_for_real(tmp_path: Path) -> None:
    record = tmp_path / "container.json"
    flags = os.environ.get("LABKIT_IMAGE_FLAGS", "").split()
    subprocess.run([ROOT / "deploy/try_image.py", "--record", record, *flags], check=True, timeout=3500)
    steps = json.loads(record.read_text())["steps"]
    assert {"the Dockerfile", "the doctor", "the server and its healthcheck"} <= {step["step"] for step in steps}
    assert all(step["exit_code"] == 0 for step in steps)


def test_the_record_of_the_last_try_says_what_it_was_and_was_not() -> None:
    path = ROOT / "evidence/container.json"
    if not path.exists():
        pytest.skip("the image was not tried yet: deploy/try_image.py")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert "buildah" in record["how"]
    assert "a CUDA base image" in record["not_tried"]
    assert all(step["exit_code"] == 0 for step in record["steps"])
