"""A JupyterHub for a small class on one machine: one server per learner, in a sandbox that shows its own files only.

    ./setup_environment.sh hub && source .venv/bin/activate
    npm install -g --prefix .venv configurable-http-proxy@5.3.0
    LABKIT_HUB_USERS=ana,bo LABKIT_HUB_PASSWORD=… jupyterhub -f deploy/jupyterhub_config.py

Start it from an account of its own, not as root: a learner's server runs under that account, and the sandbox hides what
is not theirs: the account's home, the others' homes, the hub's database and its secrets, `class/` with its grades. It
does not limit memory or processors. For accounts of your own (LDAP, OAuth, LTI) change `authenticator_class`; for
containers change `spawner_class` and give it the image of the Dockerfile. What speaks https stands in front of it.

Settings: LABKIT_HUB_DATA (where everything is kept), LABKIT_HUB_URL, LABKIT_HUB_USERS, LABKIT_HUB_PASSWORD (one for the
class, at least 8 characters: whoever knows it can log in by any of these names), LABKIT_HUB_REPOSITORY (labs are pulled
from there at each login; without it, copied once from this clone), LABKIT_HUB_AUTHENTICATOR (`shared-password`; `dummy`
is for tests). docs/deploy.md says more.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

from jupyterhub.spawner import SimpleLocalProcessSpawner

from labkit.commands.lab import write_settings
from labkit.course.paths import ROOT

c = get_config()  # noqa: F821  # JupyterHub puts it there

ACCOUNT = Path.home().resolve()
DATA = Path(os.environ.get("LABKIT_HUB_DATA", ACCOUNT / "labkit-hub")).resolve()
LEARNERS = DATA / "learners"
START_PAGE = "labs/00_start_here.ipynb"
PROGRAMS = Path(sys.executable).parent
AUTHENTICATOR = os.environ.get("LABKIT_HUB_AUTHENTICATOR", "shared-password")
PASSWORD = os.environ.get("LABKIT_HUB_PASSWORD", "")
REPOSITORY = os.environ.get("LABKIT_HUB_REPOSITORY", "")
TMP_BYTES = 2 * 2**30  # /tmp of a server lies in memory
UBUNTU = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
HOUR_S = 3600


def why_not() -> str:
    """What would keep every learner's server from starting, found now; empty when nothing does."""
    if os.getuid() == 0 and AUTHENTICATOR != "dummy":
        return "A learner's server does not run as root: start this hub from an account of its own."
    if AUTHENTICATOR == "shared-password" and len(PASSWORD) < 8:
        return "Nobody could log in: give the class a password of at least 8 characters, in LABKIT_HUB_PASSWORD."
    if not shutil.which("bwrap"):
        return "This hub keeps learners apart with bubblewrap: apt-get install bubblewrap, then start it again."
    if DATA == ROOT or DATA in ROOT.parents:
        return f"LABKIT_HUB_DATA is hidden from learners, and must not hold the clone {ROOT}: name another folder."
    trial = subprocess.run(["bwrap", "--unshare-pid", "--ro-bind", "/", "/", "true"], capture_output=True, text=True)
    if trial.returncode:
        return f"bubblewrap may not make a sandbox here ({trial.stderr.strip()}). On Ubuntu 24.04: {UBUNTU}"
    return ""


if reason := why_not():
    raise SystemExit(reason)
LEARNERS.mkdir(parents=True, exist_ok=True)
DATA.chmod(0o700)
write_settings()  # no news pop-ups


class SandboxedSpawner(SimpleLocalProcessSpawner):
    """A server that sees the machine read-only, no process but its own, and of the class's data its own home."""

    home_dir_template = str(LEARNERS / "{username}")

    async def start(self) -> tuple[str, int]:
        home = Path(self.home_dir)
        if home.parent != LEARNERS or home.name.startswith("."):
            raise ValueError(f"{self.user.name!r} is no name for a folder")
        prepare_home(home)
        self.cmd = [*sandbox(home), str(PROGRAMS / "jupyterhub-singleuser")]
        address: tuple[str, int] = await super().start()
        return address


def sandbox(home: Path) -> list[str]:
    """bubblewrap's arguments; later ones lie over earlier ones."""
    return [
        *("bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *gpu_devices(Path("/dev"))),
        *("--size", str(TMP_BYTES), "--tmpfs", "/tmp", *hide(ACCOUNT)),
        # The clone and its Python may lie there, and have to be seen all the same.
        *(part for path in (sys.base_prefix, sys.prefix, str(ROOT)) for part in ("--ro-bind", path, path)),
        *(*hide(DATA), *hide(ROOT / "class"), "--bind", str(home), str(home), "--chdir", str(home), "--"),
    ]


def hide(folder: Path) -> tuple[str, ...]:
    """An empty folder in place of this one, where it is there."""
    return ("--tmpfs", str(folder)) if folder.is_dir() and folder != Path("/") else ()


def gpu_devices(devices: Path) -> list[str]:
    """NVIDIA's devices (under Windows' Linux: dxg), which bubblewrap's own /dev does not have."""
    found = sorted([*devices.glob("nvidia*"), *devices.glob("dxg")])
    return [part for device in found for part in ("--dev-bind", str(device), str(device))]


def prepare_home(home: Path) -> None:
    """The labs of this release, where the learner has none; what is written there is never touched.

    The table of labs and the solutions, which the start page names, are links into the clone.
    """
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    if REPOSITORY:
        return
    labs = home / "labs"
    labs.mkdir(exist_ok=True)
    for lab in (ROOT / "labs").glob("*.ipynb"):
        if not (labs / lab.name).exists():
            shutil.copyfile(lab, labs / lab.name)
    for name in ("README.md", "solutions"):
        link = home / name
        if link.is_symlink():
            link.unlink()  # the clone may have moved
        if not link.exists():
            link.symlink_to(ROOT / name)


def first_page() -> str:
    """The start page; with a repository by way of nbgitpuller, which brings new labs and keeps what is written."""
    if not REPOSITORY:
        return f"/lab/tree/{START_PAGE}"
    page = {"repo": REPOSITORY, "branch": "main", "targetPath": "labkit", "urlpath": f"lab/tree/labkit/{START_PAGE}"}
    return f"/git-pull?{urlencode(page)}"


c.JupyterHub.bind_url = os.environ.get("LABKIT_HUB_URL", "http://127.0.0.1:8000")
c.JupyterHub.db_url = f"sqlite:///{DATA}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(DATA / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(DATA / "proxy.pid")
c.JupyterHub.authenticator_class = AUTHENTICATOR
c.SharedPasswordAuthenticator.user_password = PASSWORD
c.Authenticator.allow_all = False
c.Authenticator.allowed_users = set(filter(None, map(str.strip, os.environ.get("LABKIT_HUB_USERS", "").split(","))))
c.Authenticator.username_pattern = "^[a-z][a-z0-9-]{0,31}$"
c.JupyterHub.spawner_class = SandboxedSpawner
c.Spawner.default_url = first_page()
c.Spawner.args = [
    "--LabApp.extension_manager=readonly",
    # A class shares the memory: what nobody looks at ends, and starts again when it is asked for.
    f"--MappingKernelManager.cull_idle_timeout={HOUR_S}",
    f"--ServerApp.shutdown_no_activity_timeout={2 * HOUR_S}",
]
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL"]  # nothing of the hub's own settings, the password among them
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}  # a class shares the cores
c.Spawner.http_timeout = 60
