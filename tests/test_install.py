"""The newcomer's two commands: what they say when something is missing, and what `make lab` opens."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.course.paths import ROOT

SCRIPT = "setup_environment.sh"
bash = pytest.mark.skipif(not shutil.which("bash"), reason="bash is missing")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A project of the same form that needs one package which no index here has."""
    shutil.copy(ROOT / SCRIPT, tmp_path)
    (tmp_path / "constraints.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["labkit-nowhere"]\n'
    )
    return tmp_path


def _set_up(clone: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT], cwd=clone, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


@bash
def test_an_old_python_is_answered_with_one_sentence(clone: Path) -> None:
    tools = clone / "tools"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or "")
    old = tools / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.18" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = _set_up(clone, PATH=str(tools))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "labkit needs Python 3.11 or newer, and found Python 3.9.18: install it, then say which:"
        " make lab PYTHON=/path/to/python3.12"
    )


@bash
@pytest.mark.slow
def test_no_network_is_answered_with_what_to_do(clone: Path) -> None:
    closed = "http://127.0.0.1:9/simple"
    done = _set_up(
        clone, PYTHON=sys.executable, PIP_INDEX_URL=closed, PIP_EXTRA_INDEX_URL=closed, PIP_FIND_LINKS="",
        PIP_RETRIES="0", PIP_TIMEOUT="2", PIP_CONFIG_FILE=os.devnull,
    )  # fmt: skip
    assert done.returncode == 1
    assert "The packages could not be downloaded: check the network" in done.stderr
    assert (clone / ".venv" / "install.log").exists()


# --- labkit lab -------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit", "lab", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_lab_prints_an_address_that_opens_the_start_page(server: subprocess.Popen[str]) -> None:
    assert server.stdout
    started = time.monotonic()
    address = next(match[0] for line in server.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+/\S+", line)))
    assert time.monotonic() - started < 30  # a second call takes seconds; the bound allows for a busy machine
    assert "/lab/tree/labs/00_start_here.ipynb?token=" in address
    with urllib.request.urlopen(address) as page:
        assert b"JupyterLab" in page.read()
    without = address.partition("?")[0]
    with urllib.request.urlopen(without) as page:
        assert "/login" in page.url  # nobody else on this machine gets in without the token
    server.send_signal(signal.SIGINT)
    assert server.wait(15) == 0


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "labkit", "lab", "--port", str(port)], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    assert done.stderr.strip() == f"Error: Port {port} is taken: choose another one (make lab PORT=…), or give none."
