"""`labkit grade`: submissions in, results out; the judge never shares a process with an answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from labkit.course.lab_spec import LabSpec
    from labkit.grading.classroom import GradedBy
    from labkit.grading.crew import Setting
    from labkit.grading.result import Result
    from labkit.grading.store import ClassRun, Store

WALL_S = 120.0
KEYS = ("submission", "score", "max_score", "outcome")


@click.command()
@click.argument("submissions", type=click.Path(exists=True, path_type=Path))
@click.option("--lab", required=True, help="The lab that they are of, such as 01_gemm_im2col.")
@click.option("--out", type=click.Path(path_type=Path), help="Write results, gradebook, feedback and report here.")
@click.option("--seed", type=int, help="Seed of the hidden cases (default: a fresh one, recorded in each result).")
@click.option("--timeout", "wall_s", type=click.FloatRange(min=1), help=f"Seconds for each one (default: {WALL_S:g}).")
@click.option("--jobs", type=click.IntRange(min=1), help="Submissions at a time (default: one per core).")
@click.option("--isolation", help="podman, docker, bubblewrap or limits-only (default: the strongest that works).")
@click.option("--cluster", metavar="ADDRESS", help="Spread over the Dask cluster whose scheduler is at ADDRESS.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out: only what has no result yet.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of results as JSON, and nothing else on stdout.")
def grade(
    submissions: Path,
    lab: str,
    out: Path | None,
    seed: int | None,
    wall_s: float | None,
    jobs: int | None,
    isolation: str | None,
    cluster: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Grade SUBMISSIONS: a notebook, or a folder with NAME.ipynb or NAME/LAB.ipynb in it.

    Exit code 0 when every submission has a result, whatever its score; 1 when the grader could not do its part for
    some of them; 2 when nothing could be graded at all.
    """
    from labkit.commands.grading_progress import progress, tell_passed_over
    from labkit.grading.classroom import carry_out, not_begun, plan, resumed
    from labkit.grading.crew import Setting
    from labkit.grading.grade import new_seed
    from labkit.grading.handed_in import look
    from labkit.grading.limits import Limits
    from labkit.grading.store import Store

    _refuse_options(submissions, out, jobs, cluster, resume)
    spec = _spec(lab)
    store = Store(out) if out is not None else None
    with refusals(out):
        handed_in = look(submissions, lab)
    with refusals(out), store.locked() if store else nullcontext():
        if store is not None and resume:
            seed, wall_s = resumed(store, seed, wall_s)
        seed = new_seed() if seed is None else seed
        setting = Setting(lab, seed, isolation, Limits(wall_s=wall_s or WALL_S))
        with graders(setting, jobs, cluster) as (graded_by, wall):
            work = plan(submissions, handed_in, spec, seed, setting.limits.wall_s, store, resume)
            if store is not None and not resume:
                not_begun(store)
            tell_passed_over(handed_in, lab)
            if store is not None:
                store.begin(work.run)
            with progress(len(work.run.keys), wall) as seen:
                results = carry_out(work, graded_by, store, seen)
        if store is not None:
            write_pages(store, spec, work.run, results)
    _print(results, spec, out, as_json)
    sys.exit(0 if all(each.is_graded for each in results) else 1)


def _refuse_options(submissions: Path, out: Path | None, jobs: int | None, cluster: str | None, resume: bool) -> None:
    """What cannot be meant, before anything is written."""
    if resume and out is None:
        raise click.UsageError("--resume goes on with the run in a folder: name it with --out")
    if cluster and jobs:
        raise click.UsageError("--jobs is for this machine; on a cluster, each worker grades one at a time")
    if out is not None and submissions.is_dir() and out.resolve().is_relative_to(submissions.resolve()):
        raise click.UsageError(f"--out {out} lies in the submissions: choose a folder outside of {submissions}")


@contextmanager
def refusals(out: Path | None) -> Iterator[None]:
    """What cannot be done as one sentence; and what Ctrl-C leaves."""
    from labkit.grading.cluster import NoCluster
    from labkit.grading.handed_in import NoSubmission
    from labkit.grading.isolation import NoIsolation
    from labkit.grading.store import StoreError

    try:
        yield
    except (NoIsolation, NoCluster, StoreError, NoSubmission) as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("stopped" + (f"; what is graded is kept: --out {out} --resume goes on" if out else ""), err=True)
        sys.exit(130)


@contextmanager
def graders(setting: Setting, jobs: int | None, cluster: str | None) -> Iterator[tuple[GradedBy, str]]:
    """Who grades: this machine's cores, or a cluster's workers; and behind which wall, in words.

    Raises:
        NoIsolation: no wall works here, or not the one asked for. A cluster's workers look for themselves.
        NoCluster: the cluster cannot be used.
    """
    from labkit.grading.cluster import connect, grade_on_cluster
    from labkit.grading.crew import grade_all
    from labkit.grading.isolation import choose

    if cluster:
        with connect(cluster, say=partial(click.echo, err=True)) as client:
            yield partial(grade_on_cluster, setting, client=client), setting.isolation or "each worker's strongest"
        return
    wall = choose(setting.isolation)
    yield partial(grade_all, replace(setting, isolation=wall.name), num_workers=jobs or num_cores()), wall.label


def _spec(lab: str) -> LabSpec:
    from labkit.course.exercises import lab_spec

    try:
        return lab_spec(lab)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_pages(store: Store, spec: LabSpec, run: ClassRun, results: list[Result]) -> None:
    from labkit.grading.pages import write_pages

    try:
        write_pages(store.out, spec, results, run.passed_over)
    except OSError as error:
        raise click.UsageError(
            f"the results are kept, but the pages could not be written to {store.out} ({error.strerror or error}):"
            " make room, and run the same command with --resume"
        ) from error


def _print(results: list[Result], spec: LabSpec, out: Path | None, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{key: getattr(each, key) for key in KEYS} for each in results], indent=1))
        return
    for each in results:
        print(f"{each.submission}: {each.score} of {each.max_score} ({each.outcome})")
        if len(results) == 1:
            for one in each.marks:
                print(f"  {one.exercise}: {one.score} of {one.max_score} ({one.outcome})")
        for note in each.notes:
            print(f"  note: {note}")
    if out is not None:
        print(f"gradebook, report and feedback: {out}")
