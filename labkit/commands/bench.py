"""`labkit bench`: what each part costs, beside what it is compared with, measured in one run on this machine."""

from __future__ import annotations

import json
import pkgutil
import sys
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

import labkit.benchmarks

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--quick", is_flag=True, help="Fewer cases and samples: does it run, and roughly how fast?")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else there.")
def bench(names: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Run the benchmarks NAME..., or all of them, and print their tables; exit code 1 when one could not run."""
    from labkit.hardware import this_machine

    chosen = _chosen(names)
    machine = this_machine()
    reports = []
    if not as_json:
        click.echo(machine)
    for name in chosen:
        click.echo(f"benchmark {name} …", err=True)
        report = _run(name, quick, as_json)
        reports.append(report)
    if as_json:
        data = {"quick": quick, "machine": asdict(machine), "benchmarks": reports}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    sys.exit(1 if any(report["error"] for report in reports) else 0)


def benchmark_names() -> list[str]:
    """The modules in labkit/benchmarks, each with a `run(quick)` that returns tables, or yields them one by one."""
    found = (module.name for module in pkgutil.iter_modules(labkit.benchmarks.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def _chosen(names: tuple[str, ...]) -> list[str]:
    known = benchmark_names()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    return list(names) or known


def _run(name: str, quick: bool, as_json: bool) -> dict[str, Any]:
    """One benchmark's report, each table printed as it is made. One that fails says why on stderr; the others run."""
    report: dict[str, Any] = {"name": name, "error": None, "tables": []}
    try:
        for table in import_module(f"labkit.benchmarks.{name}").run(quick=quick):
            report["tables"].append(_as_data(table))
            if not as_json:
                _print(table)
    except Exception as error:
        report["error"] = f"{type(error).__name__}: {error}"
        click.echo(f"benchmark {name} could not run: {report['error']}", err=True)
    return report


def _print(table: Table) -> None:
    from rich.console import Console

    # Into a file or a pipe, no line is broken to fit a terminal that is not there.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def _as_data(table: Table) -> dict[str, Any]:
    """A table as rows of cells under its columns: lists, because two columns may have one name."""
    columns = [[_plain(cell) for cell in column.cells] for column in table.columns]
    return {
        "title": _plain(table.title),
        "caption": _plain(table.caption),
        "columns": [_plain(column.header) for column in table.columns],
        "rows": [[_number_or_text(cell) for cell in row] for row in zip(*columns, strict=True)],
    }


def _plain(cell: object) -> str:
    """The text of a cell without its markup."""
    from rich.text import Text

    if cell is None:
        return ""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain


def _number_or_text(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
