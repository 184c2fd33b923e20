"""The viewer: what is served and what is not, and that Netron's page is still the one that labkit knows."""

from __future__ import annotations

import http.client
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest

from labkit.onnx_file import OnnxFileError, save_model
from labkit.widgets import netron_server
from labkit.widgets.netron_server import (
    ViewerError,
    ViewerServer,
    netron_folder,
    netron_version,
    source_mode_page,
    viewer_server,
)
from labkit.widgets.netron_viewer import compare_models, view_model


def model() -> onnx.ModelProto:
    found = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
        small (float[b, 512] x) => (float[b, 512] y) { a = Add(x, w) b = Identity(a) y = Relu(b) }""")
    found.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(512, np.float32), "w"))
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[ViewerServer]:
    server = ViewerServer()
    yield server
    server.stop()


def get(server: ViewerServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


# --- Netron's page: when one of these fails, netron was updated and the viewer has to be looked at -----------------


def test_netron_is_the_version_that_was_looked_at() -> None:
    pinned = re.search(r"^netron==(\S+)", (Path(__file__).parents[2] / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert netron_version() == pinned[1]


def test_source_mode_still_means_no_telemetry_and_no_expiry() -> None:
    """browser.js: packaged is `version !== '0.0.0'`, an empty date is today, a cookie stands for consent."""
    script = (netron_folder() / "browser.js").read_text()
    assert "packaged: this._meta.version && this._meta.version[0] !== '0.0.0'" in script
    assert "this._meta.date.length > 0 && this._meta.date[0] ? new Date(" in script
    assert ": new Date()," in script
    assert "if (this._getCookie('consent') || this._getCookie('_ga')) {\n                return;" in script
    telemetry = script[script.index("const telemetry = async") :]
    assert telemetry[: telemetry.index("\n")].endswith("{")
    assert telemetry.splitlines()[1].strip() == "if (this._environment.packaged) {"


def test_the_page_is_in_source_mode_and_otherwise_netrons_with_its_notice() -> None:
    page, original = source_mode_page(), (netron_folder() / "index.html").read_text()
    assert '<meta name="version" content="0.0.0">' in page
    assert '<meta name="date" content="">' in page
    assert "MIT licence" in page[:400]
    assert "Lutz Roeder" in original
    changed = set(page.splitlines()) ^ set(original.splitlines())
    assert len(changed) == 5  # two tags, each as it was and as it is, and the notice


@pytest.mark.parametrize("tag", ['<meta name="version" content="9">', '<meta name="date" content="2026">', "</title>"])
def test_an_unknown_page_is_an_error_and_not_a_viewer_that_phones_home(
    tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = '<html><meta name="version" content="9"><meta name="date" content="2026"><title>Netron</title></html>'
    monkeypatch.setattr(netron_server, "netron_folder", lambda: tmp_path)
    (tmp_path / "index.html").write_text(page)
    assert "0.0.0" in source_mode_page()
    (tmp_path / "index.html").write_text(page.replace(tag, ""))
    with pytest.raises(ViewerError, match=r"install the version (that constraints\.txt names|in constraints\.txt)"):
        source_mode_page()


# --- what is served, and to whom --------------------------------------------------------------------------------


def test_the_page_the_model_and_its_scripts(server: ViewerServer) -> None:
    token = server.register(model(), 'a "quoted" <name>')
    status, headers, body = get(server, f"/{token}/")
    assert status == 200
    assert b'<meta name="file" content="data/model.onnx">' in body
    assert b'content="a &quot;quoted&quot; &lt;name&gt;.onnx"' in body
    assert "consent=" in headers["set-cookie"]
    assert "path" not in headers["set-cookie"].lower()
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert get(server, f"/{token}/data/model.onnx")[2] == model().SerializeToString()
    for name in ("index.js", "browser.js", "onnx.js", "worker.js", "grapher.css", "onnx-metadata.json", "favicon.ico"):
        status, headers, body = get(server, f"/{token}/{name}")
        assert (status, body) == (200, (netron_folder() / name).read_bytes())
        assert headers["x-content-type-options"] == "nosniff"
    assert get(server, f"/{token}/alive")[2] == token.encode()
    assert get(server, f"/{token}/alive?cb=1", "HEAD")[::2] == (200, b"")


def test_every_module_that_the_page_asks_for_is_served(server: ViewerServer) -> None:
    token = server.register(model())
    modules = re.search(r"var modules = \[(.*?)\];", (netron_folder() / "index.js").read_text(), re.DOTALL)
    assert modules
    wanted = re.findall(r"'([a-z0-9]+)'", modules[1])
    assert "view" in wanted
    assert all(get(server, f"/{token}/{name}.js", "HEAD")[0] == 200 for name in wanted)


def test_nothing_else_is_served(server: ViewerServer, tmp_path: Path) -> None:
    save_model(model(), tmp_path / "net.onnx")
    (tmp_path / "secret.txt").write_text("secret")
    token = server.register(tmp_path / "net.onnx")
    for path in (
        "/",
        "/index.html",
        "/favicon.ico",
        f"/{token}",
        f"/{token[:-1]}/",
        f"/{token}/server.py",
        f"/{token}/__init__.py",
        f"/{token}/no.js",
        f"/{token}/../index.html",
        f"/{token}/..%2f..%2fpip%2f__init__.py",
        f"/{token}/%2e%2e/__init__.py",
        f"/{token}/data/secret.txt",
        f"/{token}/data/../secret.txt",
        f"/{token}/data/..%2fsecret.txt",
        f"/{token}/data//etc/passwd",
        f"/{token}/data/",
        "/x/",
    ):
        assert get(server, path)[0] == 404, path
    assert get(server, f"/{token}/", "POST")[0] == 501


def test_tokens_cannot_be_guessed_and_can_be_forgotten(server: ViewerServer) -> None:
    tokens = {server.register(model()) for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 22  # 128 bits
    token = tokens.pop()
    server.forget(token)
    assert get(server, f"/{token}/")[0] == 404


def test_only_this_machine_can_connect(server: ViewerServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"
    addresses = [
        found.address for card in psutil.net_if_addrs().values() for found in card if found.family == socket.AF_INET
    ]
    outside = [address for address in addresses if not address.startswith("127.")]
    if not outside:
        pytest.skip("this machine has no address but its loopback")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((outside[0], server.port), timeout=5)


def test_external_weights_are_served_and_only_those_the_model_names(server: ViewerServer, tmp_path: Path) -> None:
    save_model(model(), tmp_path / "net.onnx", one_file_bytes=100)
    (tmp_path / "other.data").write_bytes(b"other")
    token = server.register(tmp_path / "net.onnx")
    assert len(get(server, f"/{token}/data/net.onnx.data")[2]) >= 2048
    assert get(server, f"/{token}/data/other.data")[0] == 404
    (tmp_path / "net.onnx.data").unlink()
    assert get(server, f"/{token}/data/net.onnx.data")[0] == 404


def test_a_small_model_is_shown_as_it_was_when_the_cell_ran(server: ViewerServer, tmp_path: Path) -> None:
    save_model(model(), tmp_path / "net.onnx")
    token = server.register(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").unlink()
    assert get(server, f"/{token}/data/model.onnx")[2] == model().SerializeToString()


def test_a_closed_tab_makes_no_noise(server: ViewerServer, capfd: pytest.CaptureFixture[str]) -> None:
    token = server.register(model())
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as tab:
            tab.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset on close
            tab.sendall(f"GET /{token}/view.js HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert get(server, f"/{token}/alive")[0] == 200
    assert get(server, "/nothing")[0] == 404
    assert capfd.readouterr() == ("", "")


def test_many_tabs_at_once(server: ViewerServer) -> None:
    token, answers = server.register(model()), []
    tabs = [threading.Thread(target=lambda: answers.append(get(server, f"/{token}/view.js")[0])) for _ in range(12)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert answers == [200] * 12


def test_there_is_one_server_and_a_fork_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    first = viewer_server()
    assert viewer_server() is first
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        other = viewer_server()
        assert other.port != first.port
        other.stop()
    monkeypatch.setattr(netron_server, "_running", (os.getpid(), first))
    assert viewer_server() is first


# --- the widget -------------------------------------------------------------------------------------------------


def test_the_output_holds_the_viewer_a_drawing_and_the_counts() -> None:
    viewer = view_model(model())
    data, metadata = viewer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == viewer.sentence == "Small: 3 nodes, Add 1, Identity 1, Relu 1."
    assert metadata["image/png"]["alt"] == viewer.sentence
    assert viewer.picture.startswith(b"\x89PNG")
    (view,) = viewer.views
    assert view["name"] == "small"
    assert get(viewer_server(), f"/{view['token']}/alive")[0] == 200
    assert viewer.port == viewer_server().port
    viewer.close()
    assert get(viewer_server(), f"/{view['token']}/alive")[0] == 404


def test_a_comparison_says_what_changed_and_shows_both(tmp_path: Path) -> None:
    after = model()
    after.graph.node[2].input[0] = "a"
    del after.graph.node[1]
    save_model(after, tmp_path / "after.onnx", one_file_bytes=100)
    viewer = compare_models(model(), tmp_path / "after.onnx", names=("as exported", "simplified"))
    assert viewer.sentence == "3 nodes before, 2 after: 1 removed (Identity 1)."
    assert [view["name"] for view in viewer.views] == ["as exported", "simplified"]
    assert len({view["token"] for view in viewer.views}) == 2
    assert viewer.picture_first


def test_the_script_names_no_other_host() -> None:
    script = (Path(netron_server.__file__).parent / "netron_viewer.js").read_text()
    assert re.findall(r"https?://[a-z]", script) == []
    assert "innerHTML" not in script


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_text("no model")
    for wrong, said in ((tmp_path / "bad.onnx", "is not an ONNX model"), (tmp_path / "no.onnx", "there is no file")):
        with pytest.raises(OnnxFileError, match=said):
            view_model(wrong)
