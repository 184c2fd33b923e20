"""Workers that misbehave, for the tests of `run_ranks`: real processes import them from here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def die(rank, world_size, victim):
    """The victim is killed; the others would wait for ever."""
    if rank == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def hang(rank, world_size, pid_file):
    """Start a child, and then hang, child and all."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(child.pid))
    time.sleep(600)
