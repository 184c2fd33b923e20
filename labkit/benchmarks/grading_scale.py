"""What one submission costs the grader, and so what a very large class needs.

CPU time is counted, not the clock, so that other work on the machine matters less.
`python -m labkit.benchmarks.grading_scale`
measures, and writes `docs/grading_at_scale.json` and the tables of `docs/grading_at_scale.md` from it; with
`--keep-figures` only the tables are written again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from labkit.course.exercises import lab_spec
from labkit.course.paths import ROOT
from labkit.grading import made_up, tree
from labkit.grading.grade import Grader
from labkit.grading.isolation import choose
from labkit.grading.limits import Limits
from labkit.grading.pages import write_pages
from labkit.grading.result import Result
from labkit.grading.sandbox import Sandbox
from labkit.grading.store import Store
from labkit.hardware import this_machine

LAB = "01_gemm_im2col"
SEED = 7
LOOP = "def gemm_flops(m, n, k):\n    while True:\n        pass"
CLASS = 100_000
SHARE_HANGING = 0.02  # assumed: one in fifty hands in a loop that never ends
CORES = (2, 64, 512)
FIGURES = ROOT / "docs" / "grading_at_scale.json"
PAGE = ROOT / "docs" / "grading_at_scale.md"
BEGIN, END = "<!-- figures: made by `python -m labkit.benchmarks.grading_scale` -->", "<!-- /figures -->"


@dataclass(frozen=True)
class Figures:
    """Of one worker: a judge and its warm sandbox, one submission after the other."""

    machine: str
    lab: str
    isolation: str
    num_submissions: int
    cpu_s_right: float  # each, all processes together
    cpu_s_hanging: float
    cpu_s_start: float  # once per worker: the imports
    memory_bytes: int  # of one worker, pages that its processes share counted once
    submission_bytes: int
    stored_bytes: int  # each: result, page and notebook of feedback


def run(quick: bool = False) -> list[Table]:
    """What one submission costs, and a class of 100,000."""
    figures = measure(3 if quick else 20)
    tables = []
    for title, rows in (("One worker", one_worker(figures)), (f"A class of {CLASS:,}", whole_class(figures))):
        table = Table(title=title)
        for name in rows[0]:
            table.add_column(name)
        for row in rows[1:]:
            table.add_row(*row)
        tables.append(table)
    return tables


# --- measuring --------------------------------------------------------------------------------------------


def measure(num_submissions: int) -> Figures:
    """Grade right answers, each a file of its own, and one loop that never ends; in this process and one sandbox."""
    spec, wall = lab_spec(LAB), choose()
    ours = made_up.solutions(spec)
    with tempfile.TemporaryDirectory(prefix="labkit-scale-") as folder, Sandbox(LAB, wall, Limits()) as sandbox:
        grader = Grader(spec, SEED, sandbox)
        before_s = _cpu_s(sandbox)
        sandbox.warm_up()
        start_s = _cpu_s(sandbox) - before_s
        first = made_up.write(Path(folder), "first", made_up.submission(spec, ours))
        grader.grade(first)  # reads the release, and imports what is imported on first use
        right = [_numbered(Path(folder), ours, number) for number in range(num_submissions)]
        results, right_s = _graded(grader, right)
        memory_bytes = _memory_bytes(sandbox)
        hanging = made_up.write(Path(folder), "loop", made_up.submission(spec, {**ours, "gemm_flops": LOOP}))
        _, hanging_s = _graded(grader, [hanging])
        stored_bytes = _stored_bytes(Path(folder) / "grades", results)
        machine = this_machine()
        return Figures(
            f"{machine.cpu_name}, {machine.num_cores} cores", LAB, wall.label, num_submissions, round(right_s, 3),
            round(hanging_s, 2), round(start_s, 2), memory_bytes, first.stat().st_size, stored_bytes,
        )  # fmt: skip


def _numbered(folder: Path, ours: dict[str, str], number: int) -> Path:
    answers = {**ours, "gemm_flops": f"{ours['gemm_flops']}\n# number {number}"}
    return made_up.write(folder, f"s{number}", made_up.submission(lab_spec(LAB), answers))


def _graded(grader: Grader, paths: list[Path]) -> tuple[list[Result], float]:
    before_s = _cpu_s(grader.sandbox)
    results = [grader.grade(path) for path in paths]
    return results, (_cpu_s(grader.sandbox) - before_s) / len(paths)


def _cpu_s(sandbox: Sandbox) -> float:
    """Of this process and everything in the sandbox, children that have ended included."""
    return time.process_time() + (tree.usage(sandbox.pid, 2**62).cpu_s if sandbox.pid else 0.0)


def _memory_bytes(sandbox: Sandbox) -> int:
    return tree.usage(sandbox.pid, 0).memory_bytes + tree.own_memory_bytes()


def _stored_bytes(out: Path, results: list[Result]) -> int:
    store = Store(out)
    for each in results:
        store.put(each.submission, each)
    write_pages(out, lab_spec(LAB), results)
    each_has = [path.stat().st_size for name in ("results", "feedback") for path in (out / name).iterdir()]
    return sum(each_has) // len(results)


# --- what follows -----------------------------------------------------------------------------------------


def one_worker(figures: Figures) -> list[list[str]]:
    """The measured figures as rows, the first of them the head."""
    return [
        ["of one worker", "measured"],
        ["CPU time for a submission with every answer right", f"{figures.cpu_s_right:.2f} s"],
        ["CPU time for one with a loop that never ends", f"{figures.cpu_s_hanging:.1f} s"],
        ["CPU time to start: the imports, once", f"{figures.cpu_s_start:.1f} s"],
        ["memory, between submissions", f"{figures.memory_bytes / 1e9:.2f} GB"],
        ["a submission, as it travels", f"{figures.submission_bytes / 1e3:.0f} kB"],
        ["what is kept of it: result, page, notebook", f"{figures.stored_bytes / 1e3:.0f} kB"],
    ]


def whole_class(figures: Figures) -> list[list[str]]:
    """What follows for the class, by the number of cores, one worker on each."""
    each_s = (1 - SHARE_HANGING) * figures.cpu_s_right + SHARE_HANGING * figures.cpu_s_hanging
    rows = [["cores", "hours", "memory", "starts, share of the time"]]
    for cores in CORES:
        busy_s = CLASS * each_s / cores
        share = figures.cpu_s_start / (busy_s + figures.cpu_s_start)
        hours = f"{(busy_s + figures.cpu_s_start) / 3600:.2f}"
        rows.append([str(cores), hours, f"{cores * figures.memory_bytes / 1e9:.0f} GB", f"{share:.1%}"])
    return rows


def in_words(figures: Figures) -> str:
    """The tables of the page, and the two figures that do not depend on the cores."""
    travels, kept = CLASS * figures.submission_bytes / 1e9, CLASS * figures.stored_bytes / 1e9
    return "\n".join(
        [
            f"Measured on {figures.machine}: {figures.num_submissions} submissions to {figures.lab}, isolation"
            f" {figures.isolation}.",
            "",
            *_markdown(one_worker(figures)),
            "",
            f"For {CLASS:,} submissions, {SHARE_HANGING:.0%} of them with a loop that never ends (assumed):",
            "",
            *_markdown(whole_class(figures)),
            "",
            f"{travels:.1f} GB travel to the workers, and {kept:.1f} GB are kept in `--out`.",
        ]
    )


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]]


def read_figures() -> Figures:
    """Those in the repository."""
    return Figures(**json.loads(FIGURES.read_text(encoding="utf-8")))


def page_with(figures: Figures, text: str) -> str:
    """The page's text with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{in_words(figures)}\n{END}{after}"


def main() -> None:
    """Measure, unless told not to, and write the tables."""
    if "--keep-figures" not in sys.argv:
        FIGURES.write_text(json.dumps(asdict(measure(20)), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page_with(read_figures(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
