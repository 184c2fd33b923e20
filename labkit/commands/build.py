"""`labkit build`: everything that follows from a lab's source."""

import sys

import click

from labkit.course.exercises import all_labs, lab_spec
from labkit.course.source import SourceError


@click.command()
@click.argument("labs", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; fail when a committed file differs from its source.")
@click.option("--force", is_flag=True, help="Build also what is up to date (new outputs).")
def build(labs: tuple[str, ...], check: bool, force: bool) -> None:
    """Build LABS (all of them by default): source -> executed solution -> starter. Takes only what changed."""
    from labkit.course.build import RulesBroken, build_lab, build_readme, stale_files

    try:
        specs = [lab_spec(lab) for lab in labs] or list(all_labs())
        if check:
            stale = [each for spec in specs for each in stale_files(spec)] + build_readme(check=True)
            print("\n".join(map(str, stale)) or f"{len(specs)} labs are what their sources give.")
            sys.exit(1 if stale else 0)
        for spec in specs:
            print(f"{spec.name}: {'built' if build_lab(spec, force) else 'up to date'}", flush=True)
        build_readme()
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    except (SourceError, RulesBroken) as error:
        raise click.ClickException(str(error)) from error
