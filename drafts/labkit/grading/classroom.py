"""A class from end to end: find the submissions, grade those without a result, write what people read."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import __version__
from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.grading.crew import Setting, Task, grade_all
from labkit.grading.marking import ALL_OUTCOMES, lab_version
from labkit.grading.result import Result, key_of
from labkit.grading.store import ClassRun, Store, StoreError

Seen = Callable[[Result], None]


def find_submissions(path: Path, lab: str) -> list[tuple[str, Path]]:
    """(name, notebook) of every submission at a path, in the order of their names.

    `PATH/NAME.ipynb` and `PATH/NAME/LAB.ipynb`; where a name stands twice, the second is called NAME/LAB.
    """
    if path.is_file():
        return [(path.stem, path)]
    flat = [(each.stem, each) for each in path.glob("*.ipynb") if not each.name.startswith(".")]
    foldered = [
        (each.parent.name, each) for each in path.glob(f"*/{lab}.ipynb") if not each.parent.name.startswith(".")
    ]
    taken = {name for name, _ in flat}
    return sorted(flat + [(f"{name}/{lab}" if name in taken else name, each) for name, each in foldered])


@dataclass(frozen=True)
class Plan:
    """What there is to do: everything that has no result yet."""

    run: ClassRun
    tasks: tuple[Task, ...]
    done: tuple[Result, ...]


def plan(submissions: Path, spec: LabSpec, seed: int, wall_s: float, store: Store | None, resume: bool) -> Plan:
    """Find the submissions and the results that they have.

    Raises:
        FileNotFoundError: there is no submission at all.
        StoreError: the folder cannot hold the results, or a run of another lab is to be resumed.
    """
    found = find_submissions(submissions, spec.name)
    if not found:
        raise FileNotFoundError(f"no submission in {submissions}: expected NAME.ipynb or NAME/{spec.name}.ipynb")
    if store is not None:
        store.prepare(len(found))
    run = ClassRun(spec.name, lab_version(spec), seed, __version__, str(submissions.resolve()), wall_s)
    tasks: dict[str, Task] = {}
    done: list[Result] = []
    for name, path in found:
        task = _task(name, path)
        key, task = _key(task, spec, seed)
        run.keys[name], run.paths[name] = key, _below(path, submissions)
        old = store.get(key) if store is not None and resume else None
        if old is not None and old.is_graded:
            done.append(old.named(name))
        else:
            tasks.setdefault(key, task)  # the same file under two names is graded once
    return Plan(run, tuple(tasks.values()), tuple(done))


def carry_out(plan: Plan, setting: Setting, num_workers: int, store: Store | None, seen: Seen) -> list[Result]:
    """Grade what is left; each result is kept as it comes. Returns one result per submission, by name.

    Raises:
        StoreError: a result could not be written; those before it are kept, and `--resume` does the rest.
    """
    if store is not None:
        store.begin(plan.run)
    names: dict[str, list[str]] = {}
    for name, key in plan.run.keys.items():
        names.setdefault(key, []).append(name)
    results = {each.submission: each for each in plan.done}
    for each in plan.done:
        seen(each)
    with contextlib.closing(grade_all(setting, plan.tasks, num_workers)) as graded:  # type: ignore[type-var]
        for task, result in graded:
            key = plan.run.keys[task.name]
            if store is not None:
                _keep(store, key, result)
            for name in names[key]:
                if name not in results:
                    results[name] = result.named(name)
                    seen(results[name])
    return [results[name] for name in sorted(results)]


def resumed_seed(store: Store, lab: str, seed: int | None) -> int | None:
    """The seed of the run that is taken up again; the one asked for where there is no run yet.

    Raises:
        StoreError: the run there is of another lab, or of another seed than asked for.
    """
    if not store.manifest_path.exists():
        return seed
    run = store.run()
    if run.lab != lab:
        raise StoreError(f"{store.out} holds results of {run.lab}, not of {lab}: choose another --out")
    if seed is not None and seed != run.seed:
        raise StoreError(f"{store.out} was begun with --seed {run.seed}: leave --seed out, or choose another --out")
    return run.seed


def _task(name: str, path: Path) -> Task:
    return Task(name, path)


def _key(task: Task, spec: LabSpec, seed: int) -> tuple[str, Task]:
    """The key of a submission; a file that cannot be read has one of its own, so that its result is kept too."""
    try:
        if not task.path.is_file() or task.path.is_symlink():
            raise OSError("not a file")
        key = key_of(task.path, spec, seed)
    except OSError:
        from hashlib import sha256

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
