"""`labkit export`: a graded class in the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labkit.quantities import counted

if TYPE_CHECKING:
    from labkit.course.lab_spec import LabSpec
    from labkit.grading.result import Result

FORMATS = ("csv", "gradescope", "canvas", "junit")


@click.command()
@click.argument("grades", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True)
@click.option("--to", type=click.Path(path_type=Path), help="File to write; for gradescope, a folder.")
@click.option("--roster", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Canvas: your own export.")
@click.option("--column", help="Canvas: the assignment, as 'Lab 01 (123)', its title or its number.")
def export(grades: Path, kind: str, to: Path | None, roster: Path | None, column: str | None) -> None:
    """Write the results in GRADES, a folder made by `labkit grade --out`, in another format."""
    from labkit.grading.classroom import spec_of
    from labkit.grading.export import gradescope_json, junit
    from labkit.grading.file_names import file_names
    from labkit.grading.gradebook import gradebook
    from labkit.grading.store import Store, StoreError

    store = Store(grades)
    try:
        run = store.run()
    except StoreError as error:
        raise click.UsageError(str(error)) from error
    spec, results = spec_of(run), store.results(run)
    if len(results) < len(run.keys):
        click.echo(
            f"{len(run.keys) - len(results)} of {len(run.keys)} have no result yet: grade with --resume", err=True
        )
    if kind == "canvas":
        _canvas(spec, results, roster, column, to)
    elif kind == "gradescope":
        folder = to or grades / "gradescope"
        graded = [each for each in results if each.is_graded]
        names = file_names(run.keys)
        for each in graded:
            _write(folder / names[each.submission] / "results.json", gradescope_json(spec, each), folder)
        click.echo(f"{len(graded)} files results.json below {folder}")
        for each in results:
            if not each.is_graded:  # no file, no score: Gradescope says that there is none, instead of giving 0
                click.echo(f"{each.submission} could not be graded yet: no results.json", err=True)
    else:
        text = gradebook(spec, results) if kind == "csv" else junit(spec, results)
        if to is None:
            click.echo(text, nl=False)
        else:
            _write(to, text, to)
            click.echo(f"{counted(len(results), 'submission')} written to {to}")


def _write(path: Path, text: str, to: Path) -> None:
    """Write below what was given as --to, or say in a sentence why not."""
    from labkit.grading.store import write_atomically

    try:
        write_atomically(path, text)
    except OSError as error:
        there = f"a folder is expected, and {to} is a file" if path != to and to.is_file() else _reason(error)
        raise click.UsageError(f"--to {to} cannot be written to ({there}): choose another") from error


def _reason(error: OSError) -> str:
    return str(error.strerror or error)


def _canvas(spec: LabSpec, results: list[Result], roster: Path | None, column: str | None, to: Path | None) -> None:
    from labkit.grading.canvas import CanvasError, fill

    if roster is None or column is None or to is None:
        raise click.UsageError(
            "Canvas needs your own export of its gradebook, the assignment's column in it, and a file to write:"
            " --roster export.csv --column 'Lab 01 (123)' --to import.csv"
        )
    scores = {each.submission: float(each.score) for each in results if each.is_graded}
    try:
        filled = fill(roster.read_bytes(), column, scores)
    except CanvasError as error:
        raise click.UsageError(str(error)) from error
    if to.exists() and to.samefile(roster):
        raise click.UsageError("--to is the export itself: choose another file, and keep the export")
    _write(to, filled.data.decode(), to)
    click.echo(f"{filled.num_filled} students filled in; the other columns and rows are as they were")
    if filled.points_possible not in (None, spec.points):
        click.echo(
            f"Points Possible is {filled.points_possible:g} in Canvas, and {spec.name} gives {spec.points}:"
            " change the assignment, or its scores mean something else",
            err=True,
        )
    for name in filled.without_student:
        click.echo(f"no student for submission {name}", err=True)
    for name in filled.without_score:
        click.echo(f"no score for student {name}", err=True)
