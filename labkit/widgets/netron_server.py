"""Serves Netron's installed pages, and the models to look at, to a browser on this machine.

Netron's own server asks for consent, sends telemetry, and its page stops working 180 days after it was built. Here the
page is put in the mode in which it runs from a source checkout (version 0.0.0, no date), which has none of these, and
the browser is told to allow no request to any other host.

What is reachable, and by whom: 127.0.0.1 only, on a port that the system chooses, and only under
`/<token>/`, where the token is random and new for every model. Under it are Netron's files, that one model, and the
external weight files that the model itself names. Nothing else of the disk.

Netron is by Lutz Roeder and others, MIT licence; its files are served unchanged but for the first page.
"""

from __future__ import annotations

import html
import http.server
import importlib.metadata
import os
import re
import secrets
import shutil
import socketserver
import threading
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import onnx

from labkit.onnx_file import ONE_FILE_BYTES, model_files, num_bytes

# A model up to this size is kept as it is now; a larger one is read from disk when it is looked at.
KEEP_BYTES = 64_000_000

_NOTICE = (
    "Netron, copyright Lutz Roeder and contributors, MIT licence (github.com/lutzroeder/netron). Served by labkit as "
    "from a source checkout: the version and the date on this page are blanked, nothing else is changed."
)

# Each has to be found exactly once: a page that looks otherwise is not the one whose behaviour labkit knows.
_VERSION = re.compile(r'<meta name="version" content="[^"]*">')
_DATE = re.compile(r'<meta name="date" content="[^"]*">')

_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
}

# 'unsafe-inline' for styles only: Netron sets them on the elements of the graph.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-src 'none'"
)


class ViewerError(RuntimeError):
    """Netron's page is missing, or is not the one that labkit knows how to serve."""


@dataclass(frozen=True)
class _Registered:
    """A model to look at: its name, its bytes or its file, and its external weight files by the name they go by."""

    name: str
    content: bytes | Path
    weights: dict[str, Path]


class ViewerServer:
    """Netron's pages on 127.0.0.1; `register` a model and look at `url(token)`."""

    def __init__(self) -> None:
        self._models: dict[str, _Registered] = {}
        self._page = source_mode_page()
        self._folder = netron_folder()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="labkit-netron", daemon=True).start()

    def register(self, model: str | Path | onnx.ModelProto, name: str | None = None) -> str:
        """Makes a model visible and returns its token.

        model: a file, or a model in memory. name: what Netron shows; the file's name by default.
        Raises OnnxFileError for a file that is no model, and ValueError for a model in memory of more than 1.9 GB.
        """
        token = secrets.token_urlsafe(16)
        self._models[token] = _registered(model, name)
        return token

    def url(self, token: str) -> str:
        """Where the model is seen on this machine."""
        return f"http://127.0.0.1:{self.port}/{token}/"

    def forget(self, token: str) -> None:
        """The model is no longer served."""
        self._models.pop(token, None)

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()

    def open(self, path: str) -> tuple[BinaryIO, str, int] | None:
        """(content, its type, its size in bytes) of a path, or None for everything that is not to be had."""
        parts = [unquote(part) for part in urlsplit(path).path.split("/")]
        if len(parts) < 3 or parts[0] or (model := self._models.get(parts[1])) is None:
            return None
        match parts[2:]:
            case [""]:
                return _bytes(self._index(model).encode(), _CONTENT_TYPES[".html"])
            case ["alive"]:
                return _bytes(parts[1].encode(), "text/plain")
            case ["data", "model.onnx"]:
                content = model.content
                return _bytes(content) if isinstance(content, bytes) else _file(content)
            case ["data", *rest] if "/".join(rest) in model.weights:
                return _file(model.weights["/".join(rest)])
            case [name] if Path(name).suffix in _CONTENT_TYPES and Path(name).name == name:
                return _file(self._folder / name, _CONTENT_TYPES[Path(name).suffix])
        return None

    def _index(self, model: _Registered) -> str:
        name = html.escape(model.name, quote=True)
        described = f'<meta name="file" content="data/model.onnx"><meta name="name" content="{name}">'
        described += f'<meta name="identifier" content="{name}">'
        return self._page.replace("</title>", f"</title>\n{described}", 1)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        viewer = self

        class Handler(_Handler):
            server_of = viewer

        return Handler


class _Handler(http.server.BaseHTTPRequestHandler):
    server_of: ViewerServer
    server_version = "labkit"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        found = self.server_of.open(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content, content_type, size = found
        with content:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(size))
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")  # the token is in the address
            self.send_header("Cache-Control", "no-store")
            if content_type.startswith("text/html"):
                # Consent is to telemetry, which source mode has not: the question is answered. Without a path the
                # cookie belongs to the address of this model alone, whatever prefix a proxy puts before it.
                self.send_header("Set-Cookie", "consent=0; SameSite=Lax")
            self.end_headers()
            if with_body:
                shutil.copyfileobj(content, self.wfile)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: in a notebook standard error is a red box below the cell."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a closed browser tab breaks the pipe, and that is no error."""


def netron_folder() -> Path:
    """Where Netron's files are installed, found without importing it. Raises ViewerError where they are missing."""
    try:
        found = importlib.metadata.distribution("netron").locate_file("netron")
    except importlib.metadata.PackageNotFoundError:
        raise ViewerError("the viewer needs Netron: pip install netron") from None
    folder = Path(str(found))
    if not (folder / "index.html").is_file():
        raise ViewerError(f"Netron is installed, but there is no index.html in {folder}: install it again")
    return folder


def netron_version() -> str:
    """The version of the installed Netron."""
    return importlib.metadata.version("netron")


def source_mode_page() -> str:
    """Netron's first page with the version and date of a source checkout; raises ViewerError for an unknown page."""
    page = (netron_folder() / "index.html").read_text(encoding="utf-8")
    for pattern, instead in (
        (_VERSION, '<meta name="version" content="0.0.0">'),
        (_DATE, '<meta name="date" content="">'),
    ):
        page, found = pattern.subn(instead, page)
        if found != 1:
            raise ViewerError(
                f"the page of Netron {netron_version()} has {found} tags like {instead}, and labkit knows pages with "
                "one: install the version that constraints.txt names"
            )
    if page.count("</title>") != 1:
        raise ViewerError(f"the page of Netron {netron_version()} has no title: install the version in constraints.txt")
    return page.replace("<html", f"<!-- {_NOTICE} -->\n<html", 1)


_lock = threading.Lock()
_running: tuple[int, ViewerServer] | None = None  # and the process that it runs in: a fork has no server


def viewer_server() -> ViewerServer:
    """The one server of this process, started on first use."""
    global _running
    with _lock:
        if _running is None or _running[0] != os.getpid():
            _running = (os.getpid(), ViewerServer())
        return _running[1]


def _registered(model: str | Path | onnx.ModelProto, name: str | None) -> _Registered:
    if isinstance(model, onnx.ModelProto):
        if num_bytes(model) > ONE_FILE_BYTES:
            raise ValueError(
                f"a model of {num_bytes(model) / 1e9:.1f} GB in memory cannot be shown: save it with "
                "labkit.onnx_file.save_model and show the file"
            )
        return _Registered(_onnx_name(name or model.graph.name or "model"), model.SerializeToString(), {})
    path = Path(model).resolve()
    files = model_files(path)
    keep = path.stat().st_size <= KEEP_BYTES
    weights = {file.relative_to(path.parent).as_posix(): file for file in files[1:]}
    return _Registered(_onnx_name(name or path.name), path.read_bytes() if keep else path, weights)


def _onnx_name(name: str) -> str:
    """Netron tells the format by the ending."""
    return name if name.endswith(".onnx") else f"{name}.onnx"


def _bytes(content: bytes, content_type: str = "application/octet-stream") -> tuple[BinaryIO, str, int]:
    return BytesIO(content), content_type, len(content)


def _file(path: Path, content_type: str = "application/octet-stream") -> tuple[BinaryIO, str, int] | None:
    try:
        return path.open("rb"), content_type, path.stat().st_size
    except OSError:
        return None
