"""`labkit regrade`: the same class against the checks as they are now."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click


@click.command()
@click.argument("grades", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--submissions", type=click.Path(exists=True, path_type=Path), help="Where they lie now, if they moved.")
@click.option("--jobs", type=click.IntRange(min=1), help="Submissions at a time (default: one per core).")
@click.option("--isolation", help="podman, docker, bubblewrap or limits-only (default: the strongest that works).")
@click.option("--cluster", metavar="ADDRESS", help="Spread over the Dask cluster whose scheduler is at ADDRESS.")
@click.option("--dry-run", is_flag=True, help="Say who would move, and keep the results as they are.")
@click.option("--json", "as_json", is_flag=True, help="Print the moves as JSON, and nothing else on stdout.")
def regrade(
    grades: Path,
    submissions: Path | None,
    jobs: int | None,
    isolation: str | None,
    cluster: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Grade the class in GRADES again, with the same seed, and say who moves and why.

    Exit code 0 when every submission has a result again; 1 when the grader could not do its part for some.
    """
    if not (grades / "class.json").is_file():  # said at once, before the imports, and with nothing written there
        raise click.UsageError(f"no grading run in {grades}: expected class.json there. Is it the --out folder?")
    from labkit.commands.grade import graders, refusals, write_pages
    from labkit.commands.grading_progress import progress, tell_passed_over
    from labkit.grading.classroom import carry_out, plan, spec_of
    from labkit.grading.crew import Setting
    from labkit.grading.handed_in import look
    from labkit.grading.limits import Limits
    from labkit.grading.regrade import moves, moves_csv
    from labkit.grading.store import Store, StoreError, write_atomically

    store = Store(grades)
    with refusals(None), store.locked():
        run = store.run()
        spec = spec_of(run)
        before = store.results(run)
        folder = submissions or Path(run.folder)
        if not folder.exists():
            raise StoreError(f"the submissions are no longer in {folder}: say where with --submissions")
        handed_in = look(folder, run.lab)
        keep = None if dry_run else store
        setting = Setting(run.lab, run.seed, isolation, Limits(wall_s=run.wall_s))
        with graders(setting, jobs, cluster) as (graded_by, wall):
            work = plan(folder, handed_in, spec, run.seed, run.wall_s, keep, resume=False)
            if gone := sorted(set(run.keys) - set(work.run.keys)):
                raise StoreError(f"no longer in {folder}: {', '.join(gone)}. Put them back, or their results are lost")
            tell_passed_over(handed_in, run.lab)
            with progress(len(work.run.keys), wall) as seen:
                after = carry_out(work, graded_by, keep, seen)
        found = moves(before, after)
        if not dry_run:  # last, so that one that is stopped leaves the class as it was
            store.begin(work.run)
            write_pages(store, spec, work.run, after)
            write_atomically(grades / "regrade.csv", moves_csv(found))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False))
    else:
        for each in found:
            was = "–" if each.before is None else each.before
            print(f"{each.submission}, {each.exercise}: {was} -> {each.after} ({each.why})")
        print(f"{len({each.submission for each in found})} of {len(after)} submissions move")
    sys.exit(0 if all(each.is_graded for each in after) else 1)
