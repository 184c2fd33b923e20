"""Submissions that nobody handed in: for the demonstration, the benchmark and the tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import source_path
from labkit.course.release import released_lab
from labkit.course.source import read_source


def submission(spec: LabSpec, answers: Mapping[str, str]) -> dict[str, Any]:
    """The released lab with these answers in it, as a notebook's JSON; the other exercises are still stubs."""
    notebook: dict[str, Any] = json.loads(nbformat.writes(released_lab(spec)))
    for cell in notebook["cells"]:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        exercise = grade_id.removeprefix("answer-")
        if grade_id.startswith("answer-") and exercise in answers:
            cell["source"] = answers[exercise]
    return notebook


def solutions(spec: LabSpec) -> dict[str, str]:
    """Our own answers, by exercise."""
    notebook = read_source(lab_spec(spec.name), source_path(spec.name))
    ids = {f"answer-{each.name}": each.name for each in spec.exercises}
    grade_ids = {id(cell): cell.metadata.get("nbgrader", {}).get("grade_id", "") for cell in notebook.cells}
    return {ids[name]: cell.source for cell in notebook.cells if (name := grade_ids[id(cell)]) in ids}


def write(folder: Path, name: str, notebook: Mapping[str, Any]) -> Path:
    """Hand it in."""
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
    return path


# --- a class for the demonstration ------------------------------------------------------------------------

DEMO_LAB = "01_gemm_im2col"
DEMO: dict[str, dict[str, str] | None] = {  # name -> what differs from our answers; None: handed in as released
    "ada": {},
    "ben": {"gemm_flops": "def gemm_flops(m, n, k):\n    return m * n * k"},
    "cleo": {
        "gemm_flops": "def gemm_flops(m, n, k):\n    return m * n * k  # one multiplication each",
        "conv_output_size": "def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):\n"
        "    return (size - kernel + 2 * padding) // stride + 1",
    },
    "dan": {"gemm_min_bytes": "def gemm_min_bytes(m, n, k, itemsize):\n    return (m * k + k * n) * itemsize"},
    "eve": {"gemm_flops": "def gemm_flops(m, n, k):\n    while True:\n        pass"},
    "fay": {"gemm_flops": "def gemm_flops(m, n, k):\n    return undefined_name"},
    "gus": None,
    "hana": {"gemm_flops": "import sys\n\ndef gemm_flops(m, n, k):\n    sys.exit(0)"},
    "ivan": {
        "gemm_flops": "import warnings\n\ndef gemm_flops(m, n, k):\n"
        "    warnings.warn('careful')\n    return m * n * k * 2"
    },
    "kai": {"im2col": "def im2col(x, kernel, stride=1, padding=0, dilation=1):\n    return x.reshape(len(x), -1)"},
    "lena": {"gemm_flops": "def gemm_flops(m, n, k):\n    return m * n * k"},
    # Not only honest work comes in; each of these earns what its other answers are worth, and no more.
    "mallory": {
        "gemm_flops": "import labkit.course.compare as c\nc.compare_count = lambda *a: None\n\n"
        "def gemm_flops(m, n, k):\n    return 0"
    },
    "nils": {"gemm_flops": "import os\nwhile True:\n    os.fork()"},
    "olga": {"gemm_flops": "def gemm_flops(m, n, k):\n    return bytearray(2**38)"},
    "pia": {
        "gemm_flops": "import urllib.request\n\ndef gemm_flops(m, n, k):\n"
        "    return int(urllib.request.urlopen('http://example.org').read())"
    },
    "quin": {"gemm_flops": "def gemm_flops(m, n, k):\n    raise ValueError('<script>alert(1)</script>')"},
}
CANVAS_COLUMN = "Lab 01 (123)"


def write_demo(folder: Path, spec: LabSpec) -> int:
    """Hand in the class of the demonstration, and one file that is not a notebook; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = solutions(spec)
    for name, different in DEMO.items():
        write(folder, name, submission(spec, {} if different is None else {**ours, **different}))
    (folder / "jo.ipynb").write_text("<html>please sign in</html>", encoding="utf-8")
    return len(DEMO) + 1


def write_canvas_export(path: Path, spec: LabSpec) -> None:
    """The class's gradebook as Canvas would export it."""
    lines = [
        f"Student,ID,SIS User ID,SIS Login ID,Section,{CANVAS_COLUMN},Final Score",
        f"    Points Possible,,,,,{spec.points},(read only)",
        *(f'"Student, {name.title()}",{n},u{n},{name},A,,' for n, name in enumerate((*DEMO, "jo"), start=1)),
    ]
    path.write_text("".join(f"{line}\r\n" for line in lines), encoding="utf-8", newline="")
