"""One submission from end to end: read, rebuild, run apart, judge here, result."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import nbformat

from labkit.course.answers import encode
from labkit.course.exercise import Case
from labkit.course.lab_spec import LabSpec
from labkit.grading.given import given_modules
from labkit.grading.marking import PUBLIC_SEED, Asked, Mark, mark, read_answers
from labkit.grading.outside import leans_outside, note_on
from labkit.grading.reaching import APART, reaches_for, starts_programs, wants_network
from labkit.grading.replay import Job
from labkit.grading.result import ATTEMPTS, Key, Result, infrastructure, key_of, overall
from labkit.grading.sandbox import Ended, GraderFault, Sandbox
from labkit.grading.submission import Malformed, Submission, read_submission, rebuild


@dataclass(frozen=True)
class _Drawn:
    """The cases of a seed, by exercise, and the same as they travel."""

    seed: int
    cases: dict[str, tuple[Case, ...]]
    inputs: dict[str, bytes]

    @classmethod
    def of(cls, spec: LabSpec, seed: int) -> "_Drawn":
        cases = {each.name: each.make_cases(seed, each.tier) for each in spec.exercises}
        return cls(seed, cases, {name: _inputs(each) for name, each in cases.items()})


@dataclass
class Grader:
    """Grades submissions of one lab with one seed, one after the other, in one sandbox."""

    spec: LabSpec
    seed: int
    sandbox: Sandbox

    def __post_init__(self) -> None:
        self.hidden = _Drawn.of(self.spec, self.seed)
        self._shown = lru_cache(maxsize=4)(partial(_Drawn.of, self.spec))  # most notebooks have the seed of the release

    def grade(self, path: Path, name: str | None = None) -> Result:
        """The result of one file; never raises for anything that stands in it."""
        started = time.monotonic()
        name = name or path.stem
        try:
            key = self._no_key()
            key = key_of(path, self.spec, self.seed)
            submission = read_submission(path, self.spec, name)
        except Malformed as error:
            result = self._malformed(name, key, str(error))
        except OSError as error:
            result = infrastructure(name, self.spec, self._no_key(), f"cannot be read: {error.strerror or error}")
        else:
            result = self._grade(submission, key)
        run = {
            "isolation": self.sandbox.isolation.label,
            "elapsed_s": round(time.monotonic() - started, 3),
            **result.run,
        }
        return replace(result, run=run)

    def _malformed(self, name: str, key: Key, why: str) -> Result:
        marks = tuple(
            Mark(each.name, 0, each.points, "malformed", f"✗ {each.name}: {why}") for each in self.spec.exercises
        )
        return Result(name, self.spec.name, 0, self.spec.points, "malformed", marks, (why,), key.provenance(name))

    def _no_key(self) -> Key:
        return Key("", self.spec.name, "", "cpu", self.seed)

    def _grade(self, submission: Submission, key: Key) -> Result:
        faults: list[str] = []
        while len(faults) < ATTEMPTS:
            try:
                marks, notes = self._run_and_mark(submission)
            except GraderFault as fault:
                faults.append(str(fault))
                continue
            return Result(
                submission.name,
                self.spec.name,
                sum(each.score for each in marks),
                self.spec.points,
                overall(marks),
                marks,
                submission.notes + notes + self._notes_on(submission, marks),
                key.provenance(submission.name),
                submission.answers,
                {"attempts": len(faults) + 1},
            )
        return infrastructure(submission.name, self.spec, key, f"tried {ATTEMPTS} times: {faults[-1]}")

    def _notes_on(self, submission: Submission, marks: Sequence[Mark]) -> tuple[str, ...]:
        """What a person should know of the answers themselves."""
        found = []
        for each in marks:
            answer = submission.answers.get(each.exercise, "")
            if reached := reaches_for(answer):
                found.append(f"`{each.exercise}` reaches for {reached}, where the checks are; nothing there is graded")
            if each.outcome != "pass":
                leans = leans_outside(each.exercise, submission.answers, submission.outside, self.spec)
                found += [note_on(each.exercise, leans)] if leans else []
            if called := starts_programs(answer):
                found.append(f"`{each.exercise}` has the line `{called}`: {APART}")
            elif each.outcome != "pass" and wants_network(each.feedback):
                found.append(f"`{each.exercise}` asks for something over the network: {APART}")
        return tuple(found)

    def _drawn_for(self, submission: Submission) -> _Drawn:
        """The cases that the learner's own `lab.check` had; those of the release where its seed gives none."""
        try:
            return self._shown(PUBLIC_SEED if submission.seed is None else submission.seed)
        except Exception:  # a number of theirs is no fault of ours
            return self._shown(PUBLIC_SEED)

    def _run_and_mark(self, submission: Submission) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
        """All answers in one run; if that run did not end well, each answer in a run of its own.

        One answer that exits, crashes or never ends would otherwise cost the others too.
        """
        names = [each.name for each in self.spec.exercises]
        wall_s = self.sandbox.limits.wall_s
        marks, ended = self._one_run(submission, names, wall_s)
        if ended.well and (late := self._late_without_working(marks, ended)):
            for name in late:
                marks.update(self._one_run(submission, [name], wall_s)[0])
        if not ended.well and len(names) > 1:
            for name in names[len(ended.hidden) :]:  # those before it were answered
                marks.update(self._one_run(submission, [name], min(wall_s, max(10.0, wall_s / len(names))))[0])
            return tuple(marks[name] for name in names), (
                f"was run one exercise at a time, since the whole run {ended.detail}",
            )
        return tuple(marks[name] for name in names), ((f"the run {ended.detail}",) if ended.reason else ())

    def _late_without_working(self, marks: dict[str, Mark], ended: Ended) -> list[str]:
        """The answers that were not there in time though they hardly computed: asleep, or was it the machine?

        A machine that stood still or had other work to do is no fault of theirs, so they get a second run.
        """
        late = [name for name, each in marks.items() if each.outcome == "timeout"]
        waited_s = sum(self.sandbox.limits.of_exercise_s(self.spec.exercise(name).limit_s) for name in late)
        return late if ended.cpu_s < 0.5 * waited_s else []

    def _one_run(self, submission: Submission, names: Sequence[str], wall_s: float) -> tuple[dict[str, Mark], Ended]:
        rebuilt = rebuild(self.spec, submission, tuple(names))
        limits = replace(self.sandbox.limits, wall_s=wall_s)
        shown = self._drawn_for(submission)
        public, hidden = ({name: each.inputs[name] for name in names} for each in (shown, self.hidden))
        given = given_modules(self.spec, rebuilt)
        ended = self.sandbox.run(Job(self.spec.name, nbformat.writes(rebuilt), public, given, limits), hidden)
        came = [dict(zip(names, answers, strict=False)) for answers in (ended.public, ended.hidden)]
        return {name: self._mark(name, shown, came[0].get(name), came[1].get(name), ended) for name in names}, ended

    def _mark(self, name: str, drawn: _Drawn, public: bytes | None, hidden: bytes | None, ended: Ended) -> Mark:
        shown, secret = drawn.cases[name], self.hidden.cases[name]
        marked = mark(
            self.spec.exercise(name),
            Asked(self.seed, secret, read_answers(hidden, len(secret))),
            Asked(drawn.seed, shown, read_answers(public, len(shown))),
        )
        if hidden is None and marked.outcome == "killed" and ended.reason:  # called by what ended the run
            feedback = f"✗ {name}: no answer, since the run {ended.detail}."
            return replace(marked, outcome=ended.reason, feedback=feedback)
        return marked


def _inputs(cases: Sequence[Case]) -> bytes:
    return encode([[each.name, each.args, each.names] for each in cases])


def new_seed() -> int:
    """A seed that nobody knows yet: the only secret of a grading run."""
    return 1 + secrets.randbelow(2**31 - 1)
