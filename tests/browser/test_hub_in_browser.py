"""JupyterHub as deploy/jupyterhub_config.py starts it: two learners, each in an own browser, and a wall between.

What a learner meets under `/user/<name>/` is tried on the way: a check, progress, a widget that moves, the viewer. The
proxy comes from npm, once, into build/hub-proxy/; without npm, its registry or bubblewrap the test is skipped.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.paths import ROOT

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

PROXY = "configurable-http-proxy@5.3.0"
START_SECONDS = 120

pytest.importorskip("jupyterhub", reason="JupyterHub is missing: pip install labkit[hub]")

# What the test needs and a class does not: a page that can be asked when it is ready, and being root in a container.
OVERRIDES = """
load_subconfig({config!r})
c.Spawner.args = [*c.Spawner.args, "--LabApp.expose_app_in_browser=True", "--allow-root"]
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.hub_port = {hub_port}
"""


@dataclass(frozen=True)
class Hub:
    url: str
    data: Path
    log: Path


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def proxy() -> str:
    program = ROOT / "build/hub-proxy/node_modules/.bin/configurable-http-proxy"
    if program.exists():
        return str(program)
    if not shutil.which("npm"):
        pytest.skip("npm is missing, and the hub's proxy comes from there")
    folder = program.parents[2]
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PROXY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    if done.returncode:
        pytest.skip(f"the hub's proxy could not be installed by npm: {done.stderr.strip().splitlines()[-1:]}")
    return str(program)


@pytest.fixture(scope="module")
def hub(proxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    if not shutil.which("bwrap") or subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"]).returncode:
        pytest.skip("bubblewrap is missing or may not make a sandbox here")
    folder = tmp_path_factory.mktemp("hub")
    port, api_port, hub_port = free_ports(3)
    hub = Hub(f"http://127.0.0.1:{port}", folder / "data", folder / "hub.log")
    config = folder / "config.py"
    config.write_text(
        OVERRIDES.format(
            config=str(ROOT / "deploy/jupyterhub_config.py"), proxy=proxy, api_port=api_port, hub_port=hub_port
        )
    )
    settings = {"DATA": str(hub.data), "URL": hub.url, "USERS": "ana,bo", "AUTHENTICATOR": "dummy"}
    environment = {f"LABKIT_HUB_{name}": value for name, value in settings.items()}
    with hub.log.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
    try:
        wait_until_up(hub, process)
        yield hub
    finally:
        process.terminate()  # the hub then ends the learners' servers and its proxy
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)


def wait_until_up(hub: Hub, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{hub.url}/hub/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the hub did not start:\n{hub.log.read_text()[-3000:]}")


@pytest.fixture
def learners(hub: Hub, browser: Any, lab: "Lab") -> Iterator[dict[str, "Lab"]]:
    """Ana and Bo, each logged in with a browser of their own, each on the start page."""
    harness = sys.modules[type(lab).__module__]
    contexts, opened = [], {}
    for name in ("ana", "bo"):
        context = browser.new_context(viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        server = harness.Server(f"{hub.url}/user/{name}", hub.data / "learners" / name, hub.log)
        opened[name] = type(lab)(page, server, f"hub-{name}")
        page.goto(f"{hub.url}/hub/login")
        page.get_by_label("Username:").fill(name)
        page.get_by_label("Password:").fill("anything")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/user/{name}/lab/tree/labs/00_start_here.ipynb*", timeout=120_000)
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        page.evaluate(harness.NOTEBOOK_READY)
    yield opened
    for context in contexts:
        context.close()


ANSWER = """import statistics
import labkit
from pathlib import Path
lab = labkit.open_lab("00_start_here")
median = statistics.median
def median(samples_ms):
    return statistics.median(samples_ms)
lab.check(median)
Path("of-ana.txt").write_text("Ana's own")
labkit.course_progress()"""
WIDGET = """from labkit.widgets.im2col_stepper import im2col_stepper
from labkit.gemm import im2col
im2col_stepper(im2col)"""
VIEWER = """import onnx
from labkit.widgets.netron_viewer import view_model
net = '<ir_version: 9, opset_import: ["": 20]> net (float[2] x) => (float[2] y) { y = Relu(x) }'
view_model(onnx.parser.parse_model(net))"""
# As much as a curious neighbour can try from a notebook.
LOOK_AROUND = """import os
from pathlib import Path
data = Path.home().parents[1]
print("homes:", sorted(path.name for path in Path.home().parent.iterdir()))
print("data:", sorted(path.name for path in data.iterdir()))
print("found:", [str(path) for path in data.rglob("of-ana.txt")])
print("written to the labs of all:", os.access({labs!r}, os.W_OK))
seen = {{Path(f"/proc/{{pid}}/environ").read_bytes() for pid in os.listdir("/proc") if pid.isdigit()}}
print("servers seen:", sorted({{line.decode() for each in seen for line in each.split(b"\\0")
                                if line.startswith(b"JUPYTERHUB_USER=")}}))
"""


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_two_learners_work_and_cannot_see_each_other(learners: dict[str, "Lab"], hub: Hub) -> None:
    ana, bo = learners["ana"], learners["bo"]
    assert ana.toasts() == bo.toasts() == []

    ana.open_notebook([ANSWER, WIDGET, VIEWER])
    ana.run_all()
    ana.page.get_by_text("✓ median: right on all").wait_for()
    ana.page.get_by_text("1 of 1 ✓").wait_for()
    ana.page.locator("iframe[title^='Netron']").scroll_into_view_if_needed()  # it loads when it is seen
    frame = ana.page.frame_locator("iframe[title^='Netron']")
    frame.locator("body.default").wait_for()
    frame.get_by_text("Relu", exact=True).wait_for()
    assert "/user/ana/proxy/" in (ana.page.locator("iframe").get_attribute("src") or "")
    ana.screenshot("viewer")
    stepper = ana.page.locator(".labkit-flipbook svg").first
    stepper.scroll_into_view_if_needed()
    stepper.focus()
    ana.page.keyboard.press("ArrowRight")
    ana.page.get_by_role("status").get_by_text("Output row 1, column 2 is").wait_for()
    ana.screenshot("widget")
    assert ana.errors() == []

    bo.open_notebook([LOOK_AROUND.format(labs=str(ROOT / "labs")), "import labkit\nlabkit.course_progress()"])
    bo.run_all()
    seen = "\n".join(bo.cell_outputs_text())
    assert bo.errors() == []
    assert "homes: ['bo']" in seen
    assert "data: ['learners']" in seen  # neither the hub's database nor its cookie secret
    assert "found: []" in seen
    assert "written to the labs of all: False" in seen
    assert "servers seen: ['JUPYTERHUB_USER=bo']" in seen  # no token of a neighbour's is to be read
    assert "0 of 1" in seen  # Ana's progress is Ana's
    bo.screenshot("looked-around")

    answer = bo.page.request.get(f"{hub.url}/user/ana/api/contents/of-ana.txt", max_redirects=5)
    assert "Ana's own" not in answer.text()
    assert answer.status in (403, 404)
    own = ana.page.request.get(f"{hub.url}/user/ana/api/contents/of-ana.txt")
    assert json.loads(own.text())["content"] == "Ana's own"  # the control: asked like this, it is there
    assert (hub.data / "learners/ana/.labkit/00_start_here.json").exists()
    for each in (ana, bo):
        assert each.foreign_requests() == []


def test_who_is_not_in_the_class_stays_outside(hub: Hub, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{hub.url}/hub/login")
    page.get_by_label("Username:").fill("carla")
    page.get_by_label("Password:").fill("anything")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Invalid username or password").or_(page.get_by_text("not allowed")).first.wait_for()
    assert not (hub.data / "learners/carla").exists()
    context.close()
