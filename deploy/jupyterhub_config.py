"""A JupyterHub for a small class on one machine: one server per learner, in a sandbox that shows its own files only.

    pip install -c constraints.txt -e '.[cpu,hub]' && npm install -g configurable-http-proxy
    LABKIT_HUB_USERS=ana,bo LABKIT_HUB_PASSWORD=… jupyterhub -f deploy/jupyterhub_config.py

Start it from an account of its own, not as root: a learner's server runs under that account, and the sandbox hides what
belongs to others from it: homes, the hub's database and its secrets. For accounts of your own (LDAP, OAuth, LTI) change
`authenticator_class`; for containers change `spawner_class` and give it the image of the Dockerfile. Behind a proxy
that speaks https. docs/deploy.md says more.

Settings: LABKIT_HUB_DATA (where everything is kept), LABKIT_HUB_URL, LABKIT_HUB_USERS, LABKIT_HUB_PASSWORD (one for the
class, at least 8 characters), LABKIT_HUB_AUTHENTICATOR (`shared-password`; `dummy` is for tests).
"""

import os
import shutil
import sys
from pathlib import Path

from jupyterhub.spawner import SimpleLocalProcessSpawner

from labkit.commands.lab import write_settings
from labkit.course.paths import ROOT

c = get_config()  # noqa: F821  # JupyterHub puts it there

DATA = Path(os.environ.get("LABKIT_HUB_DATA", Path.home() / "labkit-hub")).resolve()
LEARNERS = DATA / "learners"
START_PAGE = "labs/00_start_here.ipynb"
PROGRAMS = Path(sys.executable).parent

if not shutil.which("bwrap"):
    raise SystemExit("This hub keeps learners apart with bubblewrap: apt-get install bubblewrap, then start it again.")
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
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp", "--tmpfs", str(DATA), "--bind", str(home), str(home)),
        # The clone may lie under /tmp, and has to be seen all the same.
        *("--ro-bind", str(ROOT), str(ROOT), "--chdir", str(home), "--"),
    ]


def prepare_home(home: Path) -> None:
    """The labs of this release, where the learner has none; nothing that is there is touched."""
    labs = home / "labs"
    labs.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    for lab in (ROOT / "labs").glob("*.ipynb"):
        if not (labs / lab.name).exists():
            shutil.copyfile(lab, labs / lab.name)


c.JupyterHub.bind_url = os.environ.get("LABKIT_HUB_URL", "http://127.0.0.1:8000")
c.JupyterHub.db_url = f"sqlite:///{DATA}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(DATA / "cookie_secret")
c.ConfigurableHTTPProxy.pid_file = str(DATA / "proxy.pid")
c.JupyterHub.authenticator_class = os.environ.get("LABKIT_HUB_AUTHENTICATOR", "shared-password")
c.SharedPasswordAuthenticator.user_password = os.environ.get("LABKIT_HUB_PASSWORD", "")
c.Authenticator.allow_all = False
c.Authenticator.allowed_users = set(filter(None, os.environ.get("LABKIT_HUB_USERS", "").split(",")))
c.Authenticator.username_pattern = "^[a-z][a-z0-9-]{0,31}$"
c.JupyterHub.spawner_class = SandboxedSpawner
c.Spawner.default_url = f"/lab/tree/{START_PAGE}"
c.Spawner.args = ["--LabApp.extension_manager=readonly"]
c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL"]  # nothing of the hub's own settings, the password among them
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}  # a class shares the cores
c.Spawner.http_timeout = 60
