"""A class from end to end: find the submissions, grade those without a result, write what people read."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from labkit import __version__
from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.grading.crew import Task
from labkit.grading.handed_in import HandedIn
from labkit.grading.marking import ALL_OUTCOMES, lab_version
from labkit.grading.result import Result, key_of
from labkit.grading.store import ClassRun, Store, StoreError
from labkit.quantities import counted

Seen = Callable[[Result], None]
GradedBy = Callable[[Sequence[Task]], Generator[tuple[Task, Result], None, None]]


@dataclass(frozen=True)
class Plan:
    """What there is to do: everything that has no result yet."""

    run: ClassRun
    tasks: tuple[Task, ...]
    done: tuple[Result, ...]


def plan(
    submissions: Path, handed_in: HandedIn, spec: LabSpec, seed: int, wall_s: float, store: Store | None, resume: bool
) -> Plan:
    """What has a result already, and what is to be graded.

    Raises:
        StoreError: the folder cannot hold the results, or holds those of another lab.
    """
    if store is not None:
        store.prepare(len(handed_in.submissions))
        if store.manifest_path.exists() and (there := store.run()).lab != spec.name:
            raise StoreError(f"{store.out} holds results of {there.lab}, not of {spec.name}: choose another --out")
    run = ClassRun(spec.name, lab_version(spec), seed, __version__, str(submissions.resolve()), wall_s)
    run.notes, run.passed_over = dict(handed_in.notes), list(handed_in.passed_over)
    tasks: dict[str, Task] = {}
    done: list[Result] = []
    for name, path in handed_in.submissions:
        key, task = _key(Task(name, path), spec, seed)
        run.keys[name], run.paths[name] = key, _below(path, submissions)
        old = store.get(key) if store is not None and resume else None
        if old is not None and old.is_graded:
            done.append(run.result_of(name, old))
        else:
            tasks.setdefault(key, task)  # the same file under two names is graded once
    return Plan(run, tuple(tasks.values()), tuple(done))


def carry_out(plan: Plan, graded_by: GradedBy, store: Store | None, seen: Seen) -> list[Result]:
    """Grade what is left; each result is kept as it comes. Returns one result per submission, by name.

    `graded_by` gives each task's result as it comes: `crew.grade_all`, or `cluster.grade_on_cluster`.

    Raises:
        StoreError: a result could not be written; those before it are kept, and `--resume` does the rest.
    """
    names: dict[str, list[str]] = {}
    for name, key in plan.run.keys.items():
        names.setdefault(key, []).append(name)
    results = {each.submission: each for each in plan.done}
    for each in plan.done:
        seen(each)
    with contextlib.closing(graded_by(plan.tasks)) as graded:
        for task, result in graded:
            key = plan.run.keys[task.name]
            if store is not None:
                _keep(store, key, result)
            for name in names[key]:
                if name not in results:
                    results[name] = plan.run.result_of(name, result)
                    seen(results[name])
    return [results[name] for name in sorted(results)]


def resumed(store: Store, seed: int | None, wall_s: float | None) -> tuple[int | None, float | None]:
    """Seed and time limit of the run that is taken up again; those asked for where there is no run yet.

    Raises:
        StoreError: the run there was begun with others than asked for.
    """
    if not store.manifest_path.exists():
        return seed, wall_s
    run = store.run()
    for option, wanted, was in (("--seed", seed, run.seed), ("--timeout", wall_s, run.wall_s)):
        if wanted not in (None, was):
            begun = str(was) if isinstance(was, int) else f"{was:g}"
            raise StoreError(
                f"{store.out} was begun with {option} {begun}: leave {option} out, or choose another --out"
            )
    return run.seed, run.wall_s


def not_begun(store: Store) -> None:
    """Nothing was graded here yet: a second run would start over, and leave the pages of the first beside its own.

    Raises:
        StoreError: something was.
    """
    if store.manifest_path.exists() and (results := store.num_results()):
        raise StoreError(
            f"{store.out} holds {counted(results, 'result')} already:"
            " add --resume to grade what is left, or choose another --out"
        )


def _key(task: Task, spec: LabSpec, seed: int) -> tuple[str, Task]:
    """The key of a submission; a file that cannot be read has one of its own, so that its result is kept too."""
    try:
        key = key_of(task.path, spec, seed)
    except OSError:
        return sha256(f"unreadable {task.name}".encode(errors="replace")).hexdigest()[:40], task
    return key.name, Task(task.name, task.path, key.source_sha256)


def _keep(store: Store, key: str, result: Result) -> None:
    try:
        store.put(key, result)
    except OSError as error:
        raise StoreError(
            f"a result could not be written to {store.out} ({error.strerror or error}). Those before it are kept:"
            " make room, and run the same command with --resume"
        ) from error


def _below(path: Path, folder: Path) -> str:
    return path.name if folder.is_file() else str(path.relative_to(folder))


def spec_of(run: ClassRun) -> LabSpec:
    """The lab that a run is of."""
    return lab_spec(run.lab)


def by_outcome(results: Iterable[Result]) -> dict[str, int]:
    """How often each outcome came, in the order of `ALL_OUTCOMES`."""
    outcomes: Sequence[str] = [each.outcome for each in results]
    return {name: outcomes.count(name) for name in ALL_OUTCOMES if name in outcomes}
