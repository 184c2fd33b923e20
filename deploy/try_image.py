#!/usr/bin/env python3
"""Tries the Dockerfile for real where no container engine runs, and writes what was done to evidence/container.json.

    sudo deploy/try_image.py [--browser] [--verify [LAB…]] [--record FILE] [--storage FOLDER] [--flag=--volume=…]…

debootstrap makes a plain base with the distribution's Python, buildah runs the Dockerfile's steps on it in a chroot,
and then the image is used: who am I, the doctor, the server and its healthcheck; with --browser a whole lab in a real
browser, under a base URL with a token as behind a JupyterHub (this takes Chromium and the clone's .venv, as `make test`
does); with --verify the solutions of the labs named, or of all. Needs root, `apt-get install buildah debootstrap`, and
minutes; with --storage the base and the layers are kept, and the next try is shorter. What this is not: an engine's own
isolation, a CUDA base, a GPU; the record says so.
"""

import argparse
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = "bookworm"
BASE = "localhost/labkit-base"
NOT_TRIED = ("an engine's isolation", "a CUDA base image", "the GPU variant", "docker run --gpus")
TOKEN = secrets.token_hex(16)
BROWSED = "http://127.0.0.1:8889/user/ana"
SHARED = "/home/learner/shared"
UNDER_BASE_URL = (
    *("jupyter", "lab", "--no-browser", "--port=8889", "--ServerApp.port_retries=0"),
    *("--ServerApp.base_url=/user/ana/", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={SHARED}"),
    "--LabApp.expose_app_in_browser=True",
)
SERVE = """
labkit lab --no-browser --ip 0.0.0.0 --port 8888 > /tmp/lab.log 2>&1 & server=$!
for second in $(seq 120); do {check} 2>/dev/null && break; sleep 1; done
{check}; code=$?
kill $server; cat /tmp/lab.log; exit $code
"""


class Tried:
    """The steps so far; a step that fails ends the run, and is in the record."""

    def __init__(self, record: Path) -> None:
        self.record, self.steps = record, []
        self.commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True, cwd=ROOT).strip()

    def step(self, name: str, command: Sequence[str], last_lines: int = 3) -> str:
        print(f"{name} …", flush=True)
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        said = re.sub(r"token=\w+", "token=…", done.stdout.strip() or done.stderr.strip()).splitlines()
        seconds = round(time.monotonic() - started, 1)
        self.steps.append(
            {
                "step": name,
                "seconds": seconds,
                "exit_code": done.returncode,
                "said": said[len(said) - min(last_lines, len(said)) :],
            }
        )
        print(f"  exit code {done.returncode}, {seconds} s: {' / '.join(said[-1:])[:200]}", flush=True)
        self.write()  # after each: what was done stays on record if the rest is stopped
        if done.returncode:
            sys.exit("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
        return done.stdout.strip()

    def write(self) -> None:
        data = {
            "how": f"buildah, isolation chroot, on a base made by debootstrap ({SUITE}); no container engine",
            "variant": "cpu",
            "date": datetime.now(UTC).replace(microsecond=0).isoformat(),
            "commit": self.commit,
            "not_tried": NOT_TRIED,
            "steps": self.steps,
        }
        self.record.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, default=ROOT / "evidence" / "container.json")
    parser.add_argument("--verify", nargs="*", metavar="LAB", help="Also papermill and nbval on these, or all.")
    parser.add_argument("--browser", action="store_true", help="Also a lab in a browser, under a base URL.")
    parser.add_argument("--storage", type=Path, help="Keep images and layers in this folder.")
    parser.add_argument("--flag", action="append", default=[], help="For buildah, like --flag=--volume=/etc/pip.conf:…")
    options = parser.parse_args()
    tried = Tried(options.record)
    with contextlib.ExitStack() as stack:
        folder = options.storage or stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-image-"))
        storage = ["buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/run"]
        make_base(tried, storage, Path(folder) / "base")
        chroot = ["--isolation", "chroot", *options.flag]
        build = [*storage, "bud", "--layers", "--format", "docker", *chroot, "--build-arg", f"BASE={BASE}"]
        # The commit that the record names, and nothing that came into the tree since.
        sources = stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-sources-"))
        tried.step("its sources", ["sh", "-c", 'git archive "$0" | tar -x -C "$1"', tried.commit, sources], 0)
        labelled = ["--build-arg", f"COMMIT={tried.commit}"]
        tried.step("the Dockerfile", [*build, *labelled, "-t", "labkit", sources], 1)
        container = use(tried, storage, chroot)
        if options.browser:
            browse(tried, [*storage, "run", *chroot], container)
        if options.verify is not None:
            verify = ["labkit", "verify", *options.verify] if options.verify else ["make", "verify"]
            tried.step("verified", [*storage, "run", *chroot, container, "--", *verify], 20)
    print(f"written: {options.record}")


def make_base(tried: Tried, storage: list[str], folder: Path) -> None:
    """An image of a plain system, where the storage has none yet."""
    if subprocess.run([*storage, "inspect", "--type", "image", BASE], capture_output=True).returncode == 0:
        tried.step("the base image, from an earlier try", [*storage, "images", "--quiet", BASE], 0)
        return
    include = "--include=python3,python3-venv,ca-certificates"
    tried.step("base by debootstrap", ["debootstrap", "--variant=minbase", include, SUITE, str(folder)], 1)
    empty = tried.step("an empty image", [*storage, "from", "scratch"])
    tried.step("the base in it", [*storage, "copy", "--quiet", empty, str(folder), "/"], 0)
    tried.step("the base image", [*storage, "commit", "--quiet", empty, BASE.removeprefix("localhost/")], 0)


def use(tried: Tried, storage: list[str], chroot: list[str]) -> str:
    """The image as a user meets it; the container in which it was."""
    image = json.loads(tried.step("what the image says", [*storage, "inspect", "--type", "image", "labkit"], 0))
    config = image["Docker"]["config"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    container = tried.step("a container", [*storage, "from", "localhost/labkit"])
    run = [*storage, "run", *chroot, container, "--"]
    assert tried.step("who am I", [*run, "id", "-u"]) not in ("", "0")
    # What a secret would look like: a key, a token, a home's settings; the pip settings were only mounted.
    names = " -o ".join(f"-name '{each}'" for each in (".env", "*.pem", "id_*", ".netrc", ".git"))
    hunt = f"find /opt/labkit /home {names} | grep -v site-packages"
    found = tried.step("no secrets", [*run, "sh", "-c", f"{hunt} || true"])
    assert not found, found
    tried.step("the doctor", [*run, "labkit", "doctor"])
    check = " ".join(f"'{word}'" if " " in word else word for word in config["Healthcheck"]["Test"][1:])
    check = check.replace("'import", '"import').replace("timeout=4)'", 'timeout=4)"')
    tried.step("the server and its healthcheck", [*run, "sh", "-c", SERVE.format(check=check)])
    tried.step("a hub's server is there", [*run, "jupyterhub-singleuser", "--version"])
    return container


def browse(tried: Tried, run: list[str], container: str) -> None:
    """The browser tests for a base URL, against a server that runs in the container and shares one folder with them."""
    with tempfile.TemporaryDirectory(prefix="labkit-browser-") as folder:
        os.chmod(folder, 0o777)  # the container's user writes there too
        volume = f"--volume={folder}:{SHARED}"
        quiet = subprocess.DEVNULL
        server = subprocess.Popen([*run, volume, container, "--", *UNDER_BASE_URL], stdout=quiet, stderr=quiet)
        try:
            where = {"URL": BROWSED, "TOKEN": TOKEN, "ROOT": folder}
            variables = [f"LABKIT_JUPYTER_{name}={value}" for name, value in where.items()]
            test = "umask 0; .venv/bin/python -m pytest -q -n 0 tests/browser -k under_a_base_url"
            tried.step("in a browser, under a base URL with a token", ["env", *variables, "sh", "-c", test], 6)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
