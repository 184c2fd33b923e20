"""A class in numbers: how each exercise went, which mistakes were common, what is worth discussing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labkit.course.lab_spec import LabSpec
from labkit.grading.follow_on import stands_on
from labkit.grading.marking import ALL_OUTCOMES
from labkit.grading.result import Result

COMMON = 5  # misconceptions that the report lists for the whole class
HARD = 3  # wrong answers, not only after another one, before an exercise is called the hardest
NOT_ANSWERS = ("not-answered", "malformed", "infrastructure")

Names = tuple[str, ...]


@dataclass(frozen=True)
class ExerciseSummary:
    """How one exercise went, and for whom."""

    name: str
    who: dict[str, Names]  # outcome -> submissions
    misconceptions: tuple[tuple[str, str, Names], ...]  # name, sentence, submissions; the commonest first
    after_another: Names = ()  # that failed, and use another answer that did

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each came."""
        return {outcome: len(names) for outcome, names in self.who.items()}

    @property
    def num_answered(self) -> int:
        """Those who answered and were graded."""
        return sum(count for name, count in self.outcomes.items() if name not in NOT_ANSWERS)

    @property
    def share_right(self) -> float:
        """Of those who answered and were graded; 0 where nobody was."""
        return self.outcomes.get("pass", 0) / self.num_answered if self.num_answered else 0.0

    @property
    def num_failed_by_itself(self) -> int:
        """Wrong answers that stand on no other wrong one."""
        after = {name for outcome, names in self.who.items() if outcome not in NOT_ANSWERS for name in names}
        return self.num_answered - self.outcomes.get("pass", 0) - len(after & set(self.after_another))


@dataclass(frozen=True)
class Summary:
    """A class in numbers."""

    spec: LabSpec
    num_submissions: int
    scores: tuple[int, ...]  # of those that were graded
    who: dict[str, Names]  # outcome -> submissions
    exercises: tuple[ExerciseSummary, ...]
    to_look_at: tuple[tuple[str, str], ...]  # submission, why a person should look
    same_file: tuple[Names, ...]  # names that handed in the very same file, with points in it

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each came."""
        return {outcome: len(names) for outcome, names in self.who.items()}


def summarise(spec: LabSpec, results: Sequence[Result]) -> Summary:
    """The numbers of a class."""
    graded = [each for each in results if each.is_graded]
    return Summary(
        spec,
        len(results),
        tuple(each.score for each in graded),
        _who((each.outcome, each.submission) for each in results),
        tuple(_exercise(spec, results, each.name) for each in spec.exercises),
        tuple((each.submission, "; ".join(each.notes)) for each in results if each.notes),
        _same_file(graded),
    )


def _exercise(spec: LabSpec, results: Sequence[Result], name: str) -> ExerciseSummary:
    marks = [(result, each) for result in results for each in result.marks if each.exercise == name]
    sentences = {wrong.name: wrong.sentence for wrong in spec.exercise(name).wrong_answers}
    known: dict[str, list[str]] = {}
    for result, each in marks:
        if each.misconception:
            known.setdefault(each.misconception, []).append(result.submission)
    common = sorted(known.items(), key=lambda item: -len(item[1]))
    return ExerciseSummary(
        name,
        _who((each.outcome, result.submission) for result, each in marks),
        tuple((mistake, sentences.get(mistake, ""), tuple(names)) for mistake, names in common),
        tuple(result.submission for result, _ in marks if stands_on(result, name)),
    )


def _who(pairs: Iterable[tuple[str, str]]) -> dict[str, Names]:
    found: dict[str, list[str]] = {}
    for outcome, name in pairs:
        found.setdefault(outcome, []).append(name)
    return {outcome: tuple(found[outcome]) for outcome in ALL_OUTCOMES if outcome in found}


def _same_file(results: Sequence[Result]) -> tuple[Names, ...]:
    by_file: dict[str, list[str]] = {}
    for each in results:
        if each.score:
            by_file.setdefault(str(each.provenance["source_sha256"]), []).append(each.submission)
    return tuple(tuple(names) for names in by_file.values() if len(names) > 1)


def to_discuss(summary: Summary) -> list[str]:
    """Sentences for the next meeting, the most useful first; drawn from the numbers and the banks of mistakes."""
    points = []
    shared = [
        (len(names), each.name, known, sentence)
        for each in summary.exercises
        for known, sentence, names in each.misconceptions
        if len(names) > 1
    ]
    for count, name, known, sentence in sorted(shared, reverse=True)[:COMMON]:
        points.append(f"{count} answers to {name} behave like “{known}”: {sentence}")
    for each in summary.exercises:
        stopped = len(set(each.who.get("timeout", ())) - set(each.after_another))
        if stopped > 1:
            points.append(f"{stopped} answers to {each.name} did not end in time: what makes its loop end?")
        missing = each.outcomes.get("not-answered", 0)
        if missing * 2 > summary.num_submissions > 1:
            points.append(f"{missing} of {summary.num_submissions} left {each.name} out: was it too much, or unclear?")
    if hardest := _hardest(summary):
        points.append(f"the hardest was {hardest.name}: {hardest.share_right:.0%} of those who answered got it right")
    return points or ["nothing stands out"]


def _hardest(summary: Summary) -> ExerciseSummary | None:
    """The exercise with the most wrong answers of its own, where it has clearly the most: twice those of the next."""
    ranked = sorted(summary.exercises, key=lambda each: each.num_failed_by_itself, reverse=True)
    first, second = [*(each.num_failed_by_itself for each in ranked), 0, 0][:2]
    return ranked[0] if first >= HARD and first >= 2 * second else None
