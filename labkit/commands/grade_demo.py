"""`labkit grade-demo`: a small made-up class, graded before your eyes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click


@click.command("grade-demo")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Keep submissions and grades here (default: a new folder)."
)
@click.option("--isolation", help="As of `labkit grade`; limits-only where nothing else works: the class is made up.")
@click.pass_context
def grade_demo(context: click.Context, out: Path | None, isolation: str | None) -> None:
    """Write a small class (right, wrong, hanging, empty, broken, hostile), grade it, and say where to look."""
    from labkit.commands.grade import grade
    from labkit.course.exercises import lab_spec
    from labkit.grading.made_up import DEMO_LAB, write_canvas_export, write_demo

    folder = out or Path(tempfile.mkdtemp(prefix="labkit-grade-demo-"))
    count = write_demo(folder / "submissions", lab_spec(DEMO_LAB))
    write_canvas_export(folder / "canvas-export.csv", lab_spec(DEMO_LAB))
    command = f"labkit grade {folder / 'submissions'} --lab {DEMO_LAB} --out {folder / 'grades'} --resume"
    click.echo(f"{count} made-up submissions; the command is\n  {command}\n")
    grades = folder / "grades"
    click.echo(f"Open {grades / 'report.html'} for the class, {grades / 'feedback' / 'cleo.html'} for one learner.\n")
    context.invoke(
        grade, submissions=folder / "submissions", lab=DEMO_LAB, out=grades, seed=None, wall_s=None, jobs=None,
        isolation=isolation, cluster=None, resume=True, as_json=False,
    )  # fmt: skip
