"""What a class's results say: how each exercise went, which mistakes were common, what is worth discussing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from labkit.course.lab_spec import LabSpec
from labkit.grading.marking import ALL_OUTCOMES
from labkit.grading.page import bar, page, plain, table, text
from labkit.grading.result import Result

COMMON = 5  # misconceptions that the report lists for the whole class


@dataclass(frozen=True)
class ExerciseSummary:
    """How one exercise went."""

    name: str
    outcomes: dict[str, int]
    misconceptions: tuple[tuple[str, str, int], ...]  # name, sentence, how many

    @property
    def share_right(self) -> float:
        """Of those who answered and were graded; 0 where nobody was."""
        answered = sum(
            count
            for name, count in self.outcomes.items()
            if name not in ("not-answered", "malformed", "infrastructure")
        )
        return self.outcomes.get("pass", 0) / answered if answered else 0.0


@dataclass(frozen=True)
class Summary:
    """A class in numbers."""

    spec: LabSpec
    num_submissions: int
    scores: tuple[int, ...]  # of those that were graded
    outcomes: dict[str, int]
    exercises: tuple[ExerciseSummary, ...]
    to_look_at: tuple[tuple[str, str], ...]  # submission, why a person should look
    same_file: tuple[tuple[str, ...], ...]  # names that handed in the very same file, with points in it


def summarise(spec: LabSpec, results: Sequence[Result]) -> Summary:
    """The numbers of a class."""
    graded = [each for each in results if each.is_graded]
    return Summary(
        spec,
        len(results),
        tuple(each.score for each in graded),
        _in_order(Counter(each.outcome for each in results)),
        tuple(_exercise(spec, results, each.name) for each in spec.exercises),
        tuple((each.submission, "; ".join(each.notes)) for each in results if each.notes),
        _same_file(graded),
    )


def _exercise(spec: LabSpec, results: Sequence[Result], name: str) -> ExerciseSummary:
    marks = [each for result in results for each in result.marks if each.exercise == name]
    sentences = {wrong.name: wrong.sentence for wrong in spec.exercise(name).wrong_answers}
    counts = Counter(each.misconception for each in marks if each.misconception)
    common = tuple((known, sentences.get(known, ""), count) for known, count in counts.most_common())
    return ExerciseSummary(name, _in_order(Counter(each.outcome for each in marks)), common)


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in ALL_OUTCOMES if counts[name]}


def _same_file(results: Sequence[Result]) -> tuple[tuple[str, ...], ...]:
    by_file: dict[str, list[str]] = {}
    for each in results:
        if each.score:
            by_file.setdefault(str(each.provenance["source_sha256"]), []).append(each.submission)
    return tuple(tuple(names) for names in by_file.values() if len(names) > 1)


# --- what to discuss --------------------------------------------------------------------------------------


def to_discuss(summary: Summary) -> list[str]:
    """Sentences for the next meeting, the most useful first; drawn from the numbers and the banks of mistakes."""
    points = []
    shared = [
        (count, each.name, known, sentence)
        for each in summary.exercises
        for known, sentence, count in each.misconceptions
        if count > 1
    ]
    for count, name, known, sentence in sorted(shared, reverse=True)[:COMMON]:
        points.append(f"{count} answers to {name} behave like “{known}”: {sentence}")
    for each in summary.exercises:
        stopped = each.outcomes.get("timeout", 0)
        if stopped > 1:
            points.append(f"{stopped} answers to {each.name} did not end in time: what makes its loop end?")
        missing = each.outcomes.get("not-answered", 0)
        if missing * 2 > summary.num_submissions > 1:
            points.append(f"{missing} of {summary.num_submissions} left {each.name} out: was it too much, or unclear?")
    answered = [each for each in summary.exercises if set(each.outcomes) - {"not-answered", "malformed"}]
    hardest = min(answered, key=lambda each: each.share_right, default=None)
    if hardest is not None and hardest.share_right < 1.0:
        points.append(f"the hardest was {hardest.name}: {hardest.share_right:.0%} of those who answered got it right")
    return points or ["nothing stands out"]


# --- pages ------------------------------------------------------------------------------------------------


def report_page(spec: LabSpec, results: Sequence[Result]) -> str:
    """The class as a page."""
    summary = summarise(spec, results)
    body = [
        f"<h1>{text(spec.title)}: the class</h1>",
        f"<p>{text(_headline(summary))}</p>",
        bar(summary.outcomes),
        "<h2>What to discuss</h2>",
        "<ul>" + "".join(f"<li>{text(point)}</li>" for point in to_discuss(summary)) + "</ul>",
        "<h2>Exercises</h2>",
        table(
            ("exercise", "outcomes", "", "right, of those who answered"),
            (
                [f"<code>{text(each.name)}</code>", bar(each.outcomes), text(_counts(each.outcomes)), _share(each)]
                for each in summary.exercises
            ),
            numbers=(3,),
        ),
        "<h2>Commonest misconceptions</h2>",
        table(
            ("exercise", "behaves like", "what is wrong with it", "answers"),
            (
                [f"<code>{text(each.name)}</code>", text(known), text(sentence), str(count)]
                for each in summary.exercises
                for known, sentence, count in each.misconceptions
            ),
            numbers=(3,),
        ),
        "<h2>Points</h2>",
        table(("points", "submissions"), ([str(score), str(n)] for score, n in _points(summary)), numbers=(0, 1)),
        "<h2>For a person to look at</h2>",
        table(("submission", "why"), ([text(name), text(why)] for name, why in _to_look_at(summary))),
    ]
    return page(f"{spec.title}: the class", body)


def report_markdown(spec: LabSpec, results: Sequence[Result]) -> str:
    """The class as Markdown, for a wiki or a mail."""
    summary = summarise(spec, results)
    lines = [f"# {spec.title}: the class", "", _headline(summary), "", "## What to discuss", ""]
    lines += [f"- {point}" for point in to_discuss(summary)]
    lines += ["", "## Exercises", "", "| exercise | outcomes | right, of those who answered |", "|---|---|---:|"]
    lines += [f"| `{each.name}` | {_counts(each.outcomes)} | {_share(each)} |" for each in summary.exercises]
    lines += ["", "## Commonest misconceptions", "", "| exercise | behaves like | answers |", "|---|---|---:|"]
    lines += [
        f"| `{each.name}` | {known}: {sentence} | {count} |"
        for each in summary.exercises
        for known, sentence, count in each.misconceptions
    ]
    lines += ["", "## For a person to look at", ""]
    lines += [f"- {_markdown(name)}: {_markdown(why)}" for name, why in _to_look_at(summary)] or ["- nothing"]
    return "\n".join(lines) + "\n"


def _headline(summary: Summary) -> str:
    scores = summary.scores
    middle = f"median {median(scores):g} of {summary.spec.points} points" if scores else "none graded"
    noun = "submission" if summary.num_submissions == 1 else "submissions"
    return f"{summary.num_submissions} {noun}, {middle}: {_counts(summary.outcomes)}."


def _to_look_at(summary: Summary) -> list[tuple[str, str]]:
    same = [(", ".join(names), "handed in the very same file") for names in summary.same_file]
    return [*summary.to_look_at, *same]


def _points(summary: Summary) -> list[tuple[int, int]]:
    return sorted(Counter(summary.scores).items(), reverse=True)


def _counts(outcomes: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.items())


def _share(each: ExerciseSummary) -> str:
    return f"{each.share_right:.0%}"


def _markdown(value: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = plain(value).replace("\n", " ").replace("\\", "\\\\")
    for mark in "`*_[]<>|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
