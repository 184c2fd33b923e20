"""`labkit grade`: submissions in, results out; the judge never shares a process with an answer."""

import json
import sys
from pathlib import Path

import click

from labkit.course.exercises import lab_spec


@click.command()
@click.argument("submissions", type=click.Path(exists=True, path_type=Path))
@click.option("--lab", required=True, help="The lab that they are of, such as 01_gemm_im2col.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write results and feedback here.")
@click.option("--seed", type=int, help="Seed of the hidden cases (default: a fresh one, recorded in each result).")
@click.option("--timeout", "limit_s", default=120.0, show_default=True, help="Seconds for one submission.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of results as JSON.")
def grade(submissions: Path, lab: str, out: Path | None, seed: int | None, limit_s: float, as_json: bool) -> None:
    """Grade SUBMISSIONS: a notebook, or a folder with NAME.ipynb or NAME/LAB.ipynb in it."""
    from labkit.grading.grade import grade as grade_one
    from labkit.grading.grade import new_seed, write_result

    try:
        spec = lab_spec(lab)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    files = find_submissions(submissions, lab)
    if not files:
        raise click.UsageError(f"no submission in {submissions}: expected NAME.ipynb or NAME/{lab}.ipynb")
    seed = new_seed() if seed is None else seed
    results = []
    for name, path in files:
        result, notebook = grade_one(path, spec, seed, limit_s, name)
        results.append(result)
        if out is not None:
            write_result(out, result, notebook)
        if not as_json:
            print(f"{result.submission}: {result.score} of {result.max_score} ({result.outcome})", flush=True)
            for each in result.marks:
                print(f"  {each.exercise}: {each.score} of {each.max_score} ({each.outcome})")
            for note in result.notes:
                print(f"  note: {note}")
    if as_json:
        keys = ("submission", "score", "max_score", "outcome")
        print(json.dumps([{key: each.as_data()[key] for key in keys} for each in results], indent=1))
    sys.exit(0)


def find_submissions(path: Path, lab: str) -> list[tuple[str, Path]]:
    """(name, notebook) of every submission at a path, in the order of their names."""
    if path.is_file():
        return [(path.stem, path)]
    flat = [(each.stem, each) for each in path.glob("*.ipynb")]
    foldered = [(each.parent.name, each) for each in path.glob(f"*/{lab}.ipynb")]
    return sorted(flat + foldered)
