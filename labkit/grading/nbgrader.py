"""nbgrader beside labkit: a course folder of its own, run by an nbgrader that lives in an environment of its own.

nbgrader reads labkit's solution notebooks as source versions as they are. It is heavy and pins much, so labkit never
imports it; the tests and the benchmark call its command.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.course.paths import ROOT

HOME = Path(os.environ.get("LABKIT_NBGRADER", ROOT / ".venv-nbgrader"))  # an environment with nbgrader in it
LIMIT_S = 600.0


class NbgraderFailed(RuntimeError):
    """nbgrader's command failed; the message ends with what it said last."""


class NbgraderCourse:
    """A course folder with source, release, submitted and autograded versions."""

    def __init__(self, folder: Path, environment: Path = HOME) -> None:
        self.folder = folder
        self.environment = environment
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'labkit'\n")
        self._kernel()

    @staticmethod
    def is_there(environment: Path = HOME) -> bool:
        """Whether there is an nbgrader to call."""
        return (environment / "bin" / "nbgrader").exists()

    def release(self, lab: str, source: Path) -> dict[str, Any]:
        """The student version that nbgrader makes of a source notebook."""
        self._put(self.folder / "source" / lab, lab, json.loads(source.read_text(encoding="utf-8")))
        self._call("generate_assignment", lab, "--force")
        released = self.folder / "release" / lab / f"{lab}.ipynb"
        notebook: dict[str, Any] = json.loads(released.read_text(encoding="utf-8"))
        return notebook

    def submit(self, lab: str, student: str, notebook: Mapping[str, Any]) -> None:
        """Hand a notebook in."""
        self._put(self.folder / "submitted" / student / lab, lab, notebook)

    def autograde(self, lab: str) -> dict[str, tuple[float, float]]:
        """Run nbgrader's autograder: (score, max_score) by student."""
        self._call("autograde", lab, "--force")
        table = self.folder / "grades.csv"
        self._call("export", "--to", str(table))
        with table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["assignment"] == lab]
        return {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows}

    def _put(self, folder: Path, lab: str, notebook: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{lab}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    def _kernel(self) -> None:
        """A kernel of this Python, which has labkit, in place of the one of nbgrader's environment."""
        place = self.folder / "jupyter" / "kernels" / "python3"
        place.mkdir(parents=True, exist_ok=True)
        arguments = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (place / "kernel.json").write_text(
            json.dumps({"argv": arguments, "display_name": "Python 3", "language": "python"})
        )

    def _call(self, *arguments: str) -> None:
        environment = {
            **os.environ,
            "JUPYTER_PATH": str(self.folder / "jupyter"),
            "PATH": f"{self.environment / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",  # it calls alembic by name
            "PYTHONPATH": "",
            "MPLBACKEND": "agg",
        }
        environment["JUPYTER_CONFIG_DIR"] = environment["JUPYTER_DATA_DIR"] = str(self.folder / "jupyter")
        run = subprocess.run(
            [str(self.environment / "bin" / "nbgrader"), *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        if run.returncode:
            raise NbgraderFailed(f"nbgrader {' '.join(arguments)}: {run.stderr[-2000:]}")
