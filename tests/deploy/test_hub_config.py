"""deploy/jupyterhub_config.py without a hub: when it refuses, what its sandbox hides and shows, where a learner begins.

tests/browser/test_hub_in_browser.py starts the same file for real.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from traitlets.config import Config

from labkit.course import paths

pytest.importorskip("jupyterhub", reason="JupyterHub is missing: pip install labkit[hub]")
CONFIG = paths.ROOT / "deploy/jupyterhub_config.py"
PAGE = (paths.ROOT / "docs/deploy.md").read_text(encoding="utf-8")
Load = Callable[..., dict[str, Any]]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of an account for hubs: a key, a clone with grades in it, a class's data."""
    home = tmp_path / "account"
    for file in (".ssh/id", "labkit/class/gradebook.csv", "labkit/labs/00_start_here.ipynb", "labkit/README.md"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text("secret")
    (home / "labkit/solutions").mkdir()
    monkeypatch.setattr(paths, "ROOT", home / "labkit")
    monkeypatch.setattr("labkit.commands.lab.write_settings", lambda: None)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith("LABKIT_HUB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LABKIT_HUB_PASSWORD", "long enough")
    return home


@pytest.fixture
def load(account: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The file as JupyterHub reads it, with these settings; bubblewrap's trial ends as it is told."""

    def load(trial: int = 0, **settings: str) -> dict[str, Any]:
        for name, value in settings.items():
            monkeypatch.setenv(f"LABKIT_HUB_{name}", value)
        with monkeypatch.context() as patch:
            done = subprocess.CompletedProcess([], trial, "", "bwrap: setting up uid map: Permission denied\n")
            patch.setattr(subprocess, "run", lambda *arguments, **options: done)
            return runpy.run_path(str(CONFIG), {"get_config": Config})

    return load


@pytest.mark.parametrize("password", ["", "1234567"])
def test_a_class_without_a_password_is_refused_at_once(load: Load, password: str) -> None:
    with pytest.raises(SystemExit, match="at least 8 characters, in LABKIT_HUB_PASSWORD"):
        load(PASSWORD=password)
    assert load(PASSWORD=password, AUTHENTICATOR="dummy")["c"]


def test_without_names_it_lets_nobody_in(load: Load) -> None:
    config = load()["c"]
    assert config.Authenticator.allow_all is False
    assert config.Authenticator.allowed_users == set()


def test_names_may_stand_with_spaces_between_them(load: Load) -> None:
    assert load(USERS="ana, bo,")["c"].Authenticator.allowed_users == {"ana", "bo"}


def test_root_is_refused_at_once(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every learner's server would end after it started, and each learner would wait a minute for nothing."""
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(SystemExit, match="an account of its own"):
        load()


def test_a_bubblewrap_that_may_not_work_is_refused_at_once(load: Load) -> None:
    with pytest.raises(SystemExit, match=r"uid map: Permission denied\).*sysctl -w kernel\.apparmor_restrict"):
        load(trial=1)


def test_no_bubblewrap_is_refused_at_once(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="apt-get install bubblewrap"):
        load()


def test_data_around_the_clone_is_refused(load: Load, account: Path) -> None:
    with pytest.raises(SystemExit, match="must not hold the clone"):
        load(DATA=str(account))


@pytest.mark.parametrize("data", ["labkit-hub", "labkit/build/hub"])
def test_a_learner_sees_the_clone_and_nothing_of_the_account(load: Load, account: Path, data: str) -> None:
    """Also where the data of the class lie inside the clone."""
    bwrap = os.environ["PATH"].split(os.pathsep)
    if not any((Path(folder) / "bwrap").exists() for folder in bwrap):
        pytest.skip("bubblewrap is missing")
    hub = load(DATA=str(account / data))
    for name in ("ana", "bo"):
        hub["prepare_home"](hub["LEARNERS"] / name)
        (hub["LEARNERS"] / name / "mine.txt").write_text(name)
    ana = hub["LEARNERS"] / "ana"
    wanted = [".ssh/id", "labkit/class/gradebook.csv", f"{data}/learners/bo/mine.txt", f"{data}/learners/ana/mine.txt"]
    wanted += ["labkit/labs/00_start_here.ipynb", f"{data}/learners/ana/README.md"]
    looks = f"import pathlib; print([pathlib.Path({str(account)!r}, each).exists() for each in {wanted!r}])"
    done = subprocess.run([*hub["sandbox"](ana), sys.executable, "-c", looks], capture_output=True, text=True)
    if "Permission denied" in done.stderr or "not permitted" in done.stderr:
        pytest.skip("bubblewrap may not make a sandbox here")
    assert done.stdout.strip() == "[False, False, False, True, True, True]", done.stderr


def test_the_gpu_is_seen_in_the_sandbox(load: Load, tmp_path: Path) -> None:
    """bubblewrap's own /dev has none: a class on a GPU machine would have met a CPU."""
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "null", "sda"):
        (tmp_path / name).touch()
    found = load()["gpu_devices"](tmp_path)
    names = ("nvidia-uvm", "nvidia0", "nvidiactl")
    assert found == [part for name in names for part in ("--dev-bind", *[str(tmp_path / name)] * 2)]


def test_a_home_is_given_what_is_missing_and_keeps_what_is_there(load: Load, tmp_path: Path, account: Path) -> None:
    prepare, home = load()["prepare_home"], tmp_path / "home"
    prepare(home)
    assert (home / "labs/00_start_here.ipynb").read_text() == "secret"
    assert (home / "solutions").resolve() == account / "labkit/solutions"
    (home / "labs/00_start_here.ipynb").write_text("mine")
    (home / "README.md").unlink()
    (home / "README.md").write_text("mine too")
    prepare(home)
    assert (home / "labs/00_start_here.ipynb").read_text() == "mine"
    assert (home / "README.md").read_text() == "mine too"


def test_a_learner_begins_on_the_start_page(load: Load, tmp_path: Path) -> None:
    assert load()["c"].Spawner.default_url == "/lab/tree/labs/00_start_here.ipynb"
    hub = load(REPOSITORY="https://git.example/labkit?a=b&c")
    link = urlsplit(hub["c"].Spawner.default_url)
    assert link.path == "/git-pull"
    assert parse_qs(link.query) == {
        "repo": ["https://git.example/labkit?a=b&c"],
        "branch": ["main"],
        "targetPath": ["labkit"],
        "urlpath": ["lab/tree/labkit/labs/00_start_here.ipynb"],
    }
    hub["prepare_home"](tmp_path / "home")
    assert list((tmp_path / "home").iterdir()) == []  # nothing beside what is pulled


def test_the_proxy_of_the_page_is_the_one_that_the_browser_test_starts() -> None:
    """The newest one may ask for a Node that a department does not have."""
    tried = (paths.ROOT / "tests/browser/test_hub_in_browser.py").read_text(encoding="utf-8")
    told = [re.search(r"configurable-http-proxy@[\d.]+", text) for text in (tried, CONFIG.read_text("utf-8"), PAGE)]
    assert len({found and found[0] for found in told}) == 1


def test_every_setting_is_on_the_page() -> None:
    read = set(re.findall(r"environ\.get\(\"(LABKIT_HUB_\w+)\"", CONFIG.read_text("utf-8")))
    assert len(read) > 4
    assert {name for name in read if f"`{name}`" not in PAGE} == {"LABKIT_HUB_AUTHENTICATOR"}  # for tests


def test_a_hub_of_containers_is_told_what_the_image_has() -> None:
    block = re.search(r"```python\n(c\.JupyterHub\.spawner_class.*?)```", PAGE, re.DOTALL)
    assert block
    config = Config()
    exec(block[1], {"c": config})
    dockerfile = (paths.ROOT / "Dockerfile").read_text(encoding="utf-8")
    root = config.DockerSpawner.notebook_dir
    assert f"WORKDIR {root}\n" in dockerfile
    assert list(config.DockerSpawner.volumes.values()) == [f"{root}/labs"]
    assert (paths.ROOT / config.Spawner.default_url.removeprefix("/lab/tree/")).exists()
