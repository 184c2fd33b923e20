"""`labkit lab`: JupyterLab on the start page, with one line to click."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import click

from labkit.course.paths import ROOT

FIRST_PORT = 8888
THIS_MACHINE = "127.0.0.1"
START_PAGE = "labs/00_start_here.ipynb"
READY_LIMIT_S = 60
# No news pop-up on the first start: the setting, since the command-line switch does not remove it.
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": False,
    }
}


@click.command()
@click.option("--port", type=int, help=f"Use this port and no other (default: the first free one from {FIRST_PORT}).")
@click.option("--browser/--no-browser", default=True, help="Open a browser where there is one.")
@click.option("--ip", default=THIS_MACHINE, show_default=True, help="Who may ask: 0.0.0.0 is for a container.")
@click.option("--prepare", is_flag=True, help="Write this environment's settings and start nothing (for an image).")
def lab(port: int | None, browser: bool, ip: str, prepare: bool) -> None:
    """Open JupyterLab on the start page; Ctrl-C ends it."""
    if not (ROOT / START_PAGE).exists():
        raise click.ClickException(f"{START_PAGE} is not there: run this from a clone of the repository.")
    write_settings()
    if prepare:
        return
    chosen = _free_port(port)
    token = secrets.token_hex(16)
    address = f"http://{THIS_MACHINE}:{chosen}/lab/tree/{START_PAGE}?token={token}"
    server = subprocess.Popen(_command(chosen, ip), cwd=ROOT, env={**os.environ, "JUPYTER_TOKEN": token})
    signal.signal(signal.SIGTERM, _as_interrupt)  # whoever ends this ends the server too
    try:
        _wait_until_ready(server, chosen)
        print(f"\n  JupyterLab is ready: {address}\n\n  Ctrl-C here ends it.\n", flush=True)
        if browser:
            _open_browser(address)
        sys.exit(server.wait())
    except KeyboardInterrupt:
        pass
    finally:
        _end(server)


def _free_port(wanted: int | None) -> int:
    ports = [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + 50)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    if wanted:
        raise click.ClickException(f"Port {wanted} is taken: choose another one (make lab PORT=…), or give none.")
    raise click.ClickException(f"No free port from {FIRST_PORT} on: end a JupyterLab that you no longer need.")


def write_settings() -> None:
    """Defaults for every user of this environment; what a learner sets themselves wins."""
    path = Path(sys.prefix) / "share/jupyter/lab/settings/overrides.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(SETTINGS, indent=1), encoding="utf-8")


def _command(port: int, ip: str) -> list[str]:
    options = {
        "ServerApp.ip": ip,
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": ROOT,
        "Application.log_level": "ERROR",
        "LabApp.default_url": f"/lab/tree/{START_PAGE}",
        "LabApp.extension_manager": "readonly",
    }
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [sys.executable, "-m", "jupyterlab", *root, *(f"--{name}={value}" for name, value in options.items())]


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise click.ClickException("JupyterLab ended while starting; the reason stands above.")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise click.ClickException(f"JupyterLab did not answer within {READY_LIMIT_S} s; the reason may stand above.")


def _open_browser(address: str) -> None:
    # A text browser in the terminal would hide the address and show nothing of use.
    graphical = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if graphical:
        webbrowser.open(address)


def _as_interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
