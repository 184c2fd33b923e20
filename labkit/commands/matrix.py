"""`labkit matrix`: does every check reject every wrong answer by name, and accept every right one?"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from os import cpu_count

import click

from labkit.course.exercises import all_labs, exercise, lab_spec
from labkit.course.matrix import SEEDS, ExerciseMatrix, Row, try_exercise


@click.command()
@click.argument("labs", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print counts, survivors and falsely rejected ones as JSON.")
@click.option("--seeds", default=len(SEEDS), show_default=True, help="How many seeds to try.")
def matrix(labs: tuple[str, ...], as_json: bool, seeds: int) -> None:
    """Print the kill matrix of LABS (all of them by default); exit code 1 when a check is not to be trusted."""
    try:
        specs = [lab_spec(lab) for lab in labs] or list(all_labs())
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    names = [(spec.name, each.name, seeds) for spec in specs for each in spec.exercises if each.tier == "cpu"]
    tried = _try_all(names)
    if as_json:
        print(json.dumps({"exercises": [each.as_data() for each in tried]}, indent=2, ensure_ascii=False))
    else:
        _print_tables(tried, seeds)
    bad = any(each.names(which) for each in tried for which in ("survived", "misnamed", "falsely_rejected"))
    sys.exit(1 if bad or not tried else 0)


def _try_all(names: list[tuple[str, str, int]]) -> list[ExerciseMatrix]:
    from rich.console import Console
    from rich.progress import track

    with ProcessPoolExecutor(min(cpu_count() or 1, len(names))) as pool:
        results = pool.map(_try_one, names)
        return list(track(results, "trying answers", len(names), console=Console(stderr=True), transient=True))


def _try_one(name: tuple[str, str, int]) -> ExerciseMatrix:
    lab, exercise_name, num_seeds = name
    return try_exercise(exercise(lab, exercise_name), range(num_seeds))


def _print_tables(tried: list[ExerciseMatrix], num_seeds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for each in tried:
        table = Table(title=f"{each.lab} · {each.name}", title_justify="left")
        for heading in (
            "answer",
            "must be",
            *(f"seed {seed}" for seed in range(num_seeds)),
            "smallest failing case",
        ):
            table.add_column(heading)
        for row in each.rows:
            table.add_row(row.name, "rejected" if row.is_wrong else "accepted", *_cells(row), row.first_case)
        console.print(table)
    data = [each.as_data() for each in tried]
    console.print(
        f"{len(tried)} exercises, {sum(d['wrong'] for d in data)} wrong answers, {sum(d['right'] for d in data)} right"
        f" ones, {num_seeds} seeds: {sum(len(d['survivors']) for d in data)} survived,"
        f" {sum(len(d['misnamed']) for d in data)} were rejected by another name,"
        f" {sum(len(d['falsely_rejected']) for d in data)} right ones were rejected."
    )


def _cells(row: Row) -> list[str]:
    if not row.is_wrong:
        return ["rejected!" if name else "✓" for name in row.named]
    return ["survived!" if not name else "✓" if name == row.name else f"as {name}" for name in row.named]
