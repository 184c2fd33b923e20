"""A real JupyterLab in a real Chromium: every test in this folder is marked `ui`, and all run in one worker.

    def test_something(lab):
        lab.open_notebook(["import labkit", "1 + 1"])  # code cells, or the path of an .ipynb file, which is copied
        lab.run_all()
        assert lab.errors() == [] and lab.toasts() == []
        lab.page.get_by_role("spinbutton", name="kernel").fill("2")

One server and one browser for the whole run, one page for each test. After each test the fixture `lab` fails it if the
page asked any host but this machine for anything: that is how we know that a lab works offline. When a test fails, a
screenshot and the server's log are in build/browser/.

Skipped with a reason where Playwright or Chromium is missing. LABKIT_CHROMIUM names a Chromium that is not on the PATH.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest

REPORTS = Path(__file__).resolve().parents[2] / "build" / "browser"
START_SECONDS = 60
WAIT_MS = 60_000
HERE = ("127.0.0.1", "localhost")

# The server ends when the pipe from pytest does, so that no run, however it ended, leaves a server behind. It is asked
# first, which also ends its kernels; while it starts up it does not always hear that, so its own group is ended then.
SERVE = """
import os, signal, sys, threading, time

def follow_parent():
    sys.stdin.buffer.read()
    print("The test run is gone: stopping.", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    os.killpg(os.getpgid(0), signal.SIGKILL)

threading.Thread(target=follow_parent, daemon=True).start()
from jupyterlab.labapp import main
main()
"""

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")

# Without --no-sandbox Chromium refuses to run as root, as it does in a container. The resolver rule keeps the
# browser offline on a machine that is not.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

# Ready means the application's promises: the idle light comes on before the kernel can be asked anything.
NOTEBOOK_READY = """async () => {
  await window.jupyterapp.restored;
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""

UNFINISHED_CELLS = """() => window.jupyterapp.shell.currentWidget.model.sharedModel.cells
  .filter(cell => cell.cell_type === "code" && (cell.execution_count === null || cell.executionState === "running"))
  .map(cell => cell.getSource())"""

# JupyterLab asks newcomers about news; a toast would lie over the pictures.
NEWS = "@jupyterlab/apputils-extension:notification"
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}
NO_BUILD = {"buildCheck": False, "buildAvailable": False}  # or each page starts a Node process that checks a build


@dataclass(frozen=True)
class Server:
    """A JupyterLab server of the test run's own."""

    url: str
    root: Path
    log: Path
    token: str = ""


class Lab:
    """What a test does with JupyterLab in the browser; `page` is Playwright's."""

    def __init__(self, page: Any, server: Server, name: str) -> None:
        self.page = page
        self.name = name
        self.requests: list[str] = []
        self.console: list[str] = []  # what the page said to its developers
        self._server = server
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))

    def open_notebook(self, source: Path | list[str], quick: bool = False) -> None:
        """Copies the notebook, or one made of these code cells, to the server; its kernel is ready on return.

        With `quick` its parameter QUICK is True, as papermill would set it: every cell, smaller measurements.
        """
        target = self._server.root / f"{self.name}.ipynb"
        notebook = nbformat.read(source, as_version=4) if isinstance(source, Path) else _notebook(source)
        if quick:
            (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
            parameters.source = parameters.source.replace("QUICK = False", "QUICK = True")
        nbformat.write(notebook, target)
        self.page.goto(f"{self._server.url}/lab/workspaces/{self.name}/tree/{target.name}?reset")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self.page.evaluate(NOTEBOOK_READY)

    def run_all(self) -> None:
        """Runs all cells, and waits until the last one has."""
        self.command("notebook:run-all-cells")

    def write_answer(self, text: str, source: str) -> None:
        """Replaces the first code cell with this text as a learner would, and runs it and the check below it."""
        editor = self.page.locator(".jp-Notebook .jp-CodeCell").filter(has_text=text).first.locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source.strip())
        self.command("notebook:run-cell-and-select-next")
        self.command("notebook:run-cell-and-select-next")

    def command(self, name: str, **arguments: Any) -> None:
        """One of JupyterLab's commands, awaited."""
        self.page.evaluate(
            "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)", [name, arguments]
        )

    def use_theme(self, name: str) -> None:
        """Changes to "JupyterLab Dark" or "JupyterLab Light"."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)

    def cell_outputs_text(self) -> list[str]:
        """What a reader reads in the outputs, one string for each cell that has any."""
        areas = self.page.locator(".jp-Cell-outputArea").all()
        return ["\n".join(area.locator(".jp-OutputArea-output").all_inner_texts()) for area in areas]

    @staticmethod
    def read(found: Any) -> str:
        """The text of an element as one line: where a verdict is wrapped does not matter."""
        return " ".join((found.text_content() or "").split())

    def errors(self) -> list[str]:
        """Outputs that are a traceback or lie in the red of stderr, and widgets that could not be drawn."""
        red = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]'
        error = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]'
        broken = ".jupyter-widgets-error-widget, .jupyter-widgets:has-text('Error displaying widget')"
        return [found.inner_text() for found in self.page.locator(f"{red}, {error}, {broken}").all()]

    def unfinished_cells(self) -> list[str]:
        """The source of each code cell that was not reached, or is not done: asked of the notebook, not of the page."""
        found: list[str] = self.page.evaluate(UNFINISHED_CELLS)
        return found

    def console_errors(self) -> list[str]:
        """Exceptions in the page's JavaScript; a widget's are told here and nowhere else."""
        return [said for said in self.console if said.startswith(("uncaught:", "error: Error", "error: [anywidget]"))]

    def toasts(self) -> list[str]:
        """What pops up in front of the notebook: notifications and dialogs."""
        return [found.inner_text() for found in self.page.locator(".Toastify__toast, .jp-Dialog").all()]

    def foreign_requests(self) -> list[str]:
        """Everything that the page wanted from another machine."""
        return [url for url in self.requests if urlsplit(url).hostname not in (*HERE, None)]

    def screenshot(self, name: str = "") -> Path:
        """A picture of the page in build/browser/, for people to look at."""
        path = REPORTS / f"{self.name}{name and '-' + name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
        return path


def _notebook(sources: list[str]) -> nbformat.NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups; after it, each worker has a browser of its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ui)
            item.add_marker(pytest.mark.xdist_group("browser"))  # one server, one browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    item.stash.setdefault(_failed, []).append(report.failed)
    return report


_failed = pytest.StashKey[list[bool]]()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # An empty token is for this server on 127.0.0.1 in a test, never for learners.
    with _serving(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def server_under_base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second server as JupyterHub runs it: behind a prefix, with a token. Or one that runs already, in an image."""
    if url := os.environ.get("LABKIT_JUPYTER_URL"):
        root = Path(os.environ["LABKIT_JUPYTER_ROOT"])
        server = Server(url, root, root / "server.log", os.environ["LABKIT_JUPYTER_TOKEN"])
        _wait_until_up(server, lambda: True)
        yield server
        return
    with _serving(tmp_path_factory.mktemp("hub"), base_url="/user/ana/", token="only-in-this-test") as server:
        yield server


@contextmanager
def _serving(home: Path, base_url: str = "/", token: str = "") -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}{base_url.rstrip('/')}", home / "root", home / "server.log", token)
    server.root.mkdir()
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            _server_command(port, server.root, base_url, token),
            env=_isolated_environment(home),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, so that only it is signalled
        )
    try:
        _wait_until_up(server, lambda: process.poll() is None)
        yield server
    finally:
        _stop(process)


def _server_command(port: int, root: Path, base_url: str, token: str) -> list[str]:
    return [
        *(sys.executable, "-c", SERVE),
        *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.base_url={base_url}", f"--IdentityProvider.token={token}"),
        *([] if token else ["--ServerApp.disable_check_xsrf=True"]),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
        f"--ServerApp.root_dir={root}",
    ]


def _isolated_environment(home: Path) -> dict[str, str]:
    """New folders for everything that Jupyter reads or writes: nobody's settings decide about a test."""
    variables = (
        *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
        *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR", "HOME"),
    )
    folders = {variable: home / variable.lower() for variable in variables}
    for folder in folders.values():
        folder.mkdir()
    package, plugin = NEWS.split(":")
    settings = folders["JUPYTERLAB_SETTINGS_DIR"] / package / f"{plugin}.jupyterlab-settings"
    page = folders["JUPYTER_CONFIG_DIR"] / "labconfig" / "page_config.json"
    for file, content in ((settings, NO_NEWS), (page, NO_BUILD)):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content))
    return {**os.environ, **{variable: str(folder) for variable, folder in folders.items()}}


def _wait_until_up(server: Server, runs: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and runs():
        try:
            with urllib.request.urlopen(f"{server.url}/api/status?token={server.token}", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start within {START_SECONDS} s:\n{_log(server)[-3000:]}")


def _log(server: Server) -> str:
    """What the server said, where it writes to a file of ours."""
    return server.log.read_text() if server.log.exists() else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)  # the server then ends its kernels
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.stdin
    process.stdin.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install labkit[dev]")
    executable = os.environ.get("LABKIT_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if not executable:
        pytest.skip("Chromium is missing: install it, or name one in LABKIT_CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser: Any) -> Iterator[Any]:
    # One for all tests: the files of JupyterLab stay in its cache, which saves a second for each.
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def lab(request: pytest.FixtureRequest, context: Any, lab_server: Server) -> Iterator[Lab]:
    yield from _one_page(request, context, lab_server)


@pytest.fixture
def lab_under_base_url(request: pytest.FixtureRequest, context: Any, server_under_base_url: Server) -> Iterator[Lab]:
    """The same behind `/user/ana/`, logged in with the token."""
    yield from _one_page(request, context, server_under_base_url)


def _one_page(request: pytest.FixtureRequest, context: Any, server: Server) -> Iterator[Lab]:
    page = context.new_page()
    lab = Lab(page, server, request.node.name)
    if server.token:
        page.goto(f"{server.url}/lab?token={server.token}")  # logs in
    yield lab
    foreign = lab.foreign_requests()
    if foreign or any(request.node.stash.get(_failed, [])):
        lab.screenshot("failed")
        (REPORTS / f"{lab.name}-server.log").write_text(_log(server))
        (REPORTS / f"{lab.name}-console.log").write_text("\n".join(lab.console))
    page.evaluate("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown()")
    page.close()
    assert not foreign, f"the page asked other machines: {foreign}"
