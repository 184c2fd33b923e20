"""The report of a class, as a page and as Markdown: outcomes, misconceptions, what to discuss, whom to look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from urllib.parse import quote

from labkit.course.lab_spec import LabSpec
from labkit.grading.file_names import file_names
from labkit.grading.marking import ALL_OUTCOMES
from labkit.grading.page import bar, legend, page, plain, prose, table, text
from labkit.grading.result import Result
from labkit.grading.summary import ExerciseSummary, Names, Summary, summarise, to_discuss
from labkit.quantities import counted

MAX_NAMES = 40  # behind one number; the gradebook has them all


def report_page(spec: LabSpec, results: Sequence[Result], passed_over: Sequence[str] = ()) -> str:
    """The class as a page; every name leads to its feedback."""
    summary = summarise(spec, results)
    stems = file_names(each.submission for each in results)
    seen = {name for who in (summary.who, *(each.who for each in summary.exercises)) for name in who}
    body = [
        f"<h1>{text(spec.title)}: the class</h1>",
        f"<p>{text(_headline(summary))}</p>",
        bar(summary.outcomes),
        legend(name for name in ALL_OUTCOMES if name in seen),
        _who(summary.who, stems),
        "<h2>What to discuss</h2>",
        "<ul>" + "".join(f"<li>{text(point)}</li>" for point in to_discuss(summary)) + "</ul>",
        "<h2>Exercises</h2>",
        table(
            ("exercise", "outcomes", "", "right, of those who answered"),
            (
                [
                    f"<code>{text(each.name)}</code>",
                    bar(each.outcomes),
                    text(_counts(each)) + _who(each.who, stems),
                    _share(each),
                ]
                for each in summary.exercises
            ),
            numbers=(3,),
        ),
        "<h2>Commonest misconceptions</h2>",
        table(
            ("exercise", "behaves like", "what is wrong with it", "answers", "whose"),
            (
                [f"<code>{text(each.name)}</code>", text(known), text(sentence), str(len(names)), _links(names, stems)]
                for each in summary.exercises
                for known, sentence, names in each.misconceptions
            ),
            numbers=(3,),
        ),
        "<h2>Points</h2>",
        table(("points", "submissions"), ([str(score), str(n)] for score, n in _points(summary)), numbers=(0, 1)),
        "<h2>For a person to look at</h2>",
        table(("submission", "why"), ([_links(names, stems), prose(why)] for names, why in _to_look_at(summary))),
        *_passed_over(passed_over),
    ]
    return page(f"{spec.title}: the class", body)


def _who(who: Mapping[str, Names], stems: Mapping[str, str]) -> str:
    """The names behind a bar, folded away."""
    rows = [[text(outcome), _links(names, stems)] for outcome, names in who.items()]
    return f"<details><summary>names</summary>{table(('outcome', 'submissions'), rows)}</details>"


def _links(names: Names, stems: Mapping[str, str]) -> str:
    links = [f'<a href="feedback/{quote(stems[name])}.html">{text(name)}</a>' for name in names[:MAX_NAMES]]
    more = len(names) - len(links)
    return ", ".join(links) + (f" and {more} more, in gradebook.csv" if more else "")


def _passed_over(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return ["<h2>Passed over</h2>", "<ul>" + "".join(f"<li>{text(each)}</li>" for each in names) + "</ul>"]


def report_markdown(spec: LabSpec, results: Sequence[Result], passed_over: Sequence[str] = ()) -> str:
    """The class as Markdown, for a wiki or a mail; numbers without names, except for whom a person should look at."""
    summary = summarise(spec, results)
    lines = [f"# {spec.title}: the class", "", _headline(summary), "", "## What to discuss", ""]
    lines += [f"- {point}" for point in to_discuss(summary)]
    lines += ["", "## Exercises", "", "| exercise | outcomes | right, of those who answered |", "|---|---|---:|"]
    lines += [f"| `{each.name}` | {_counts(each)} | {_share(each)} |" for each in summary.exercises]
    lines += ["", "## Commonest misconceptions", "", "| exercise | behaves like | answers |", "|---|---|---:|"]
    lines += [
        f"| `{each.name}` | {known}: {sentence} | {len(names)} |"
        for each in summary.exercises
        for known, sentence, names in each.misconceptions
    ]
    lines += ["", "## For a person to look at", ""]
    look_at = [f"- {_markdown(', '.join(names))}: {_markdown(why)}" for names, why in _to_look_at(summary)]
    lines += look_at or ["- nothing"]
    if passed_over:
        lines += ["", "## Passed over", "", *(f"- {_markdown(each)}" for each in passed_over)]
    return "\n".join(lines) + "\n"


def _headline(summary: Summary) -> str:
    scores = summary.scores
    middle = f"median {median(scores):g} of {summary.spec.points} points" if scores else "none graded"
    return f"{counted(summary.num_submissions, 'submission')}, {middle}: {_listed(summary.outcomes)}."


def _to_look_at(summary: Summary) -> list[tuple[Names, str]]:
    same = [(names, "handed in the very same file") for names in summary.same_file]
    return [*(((name,), why) for name, why in summary.to_look_at), *same]


def _points(summary: Summary) -> list[tuple[int, int]]:
    return sorted(Counter(summary.scores).items(), reverse=True)


def _counts(each: ExerciseSummary) -> str:
    after = f"; {len(each.after_another)} after another answer" if each.after_another else ""
    return _listed(each.outcomes) + after


def _listed(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in outcomes.items())


def _share(each: ExerciseSummary) -> str:
    return f"{each.share_right:.0%}"


def _markdown(value: str) -> str:
    """Text that Markdown shows as it is."""
    escaped = plain(value).replace("\n", " ").replace("\\", "\\\\")
    for mark in "`*_[]<>|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
