"""Everything that people read of a class, made from its results; made again as often as one likes."""

from collections.abc import Sequence
from pathlib import Path

from labkit.course.lab_spec import LabSpec
from labkit.grading.feedback import feedback_notebook, feedback_page
from labkit.grading.file_names import file_names
from labkit.grading.gradebook import gradebook
from labkit.grading.report import report_markdown, report_page
from labkit.grading.result import Result
from labkit.grading.store import write_atomically


def write_pages(out: Path, spec: LabSpec, results: Sequence[Result], passed_over: Sequence[str] = ()) -> None:
    """Gradebook, the class's report, and one page and one notebook of feedback for each submission."""
    stems = file_names(each.submission for each in results)
    for each in results:
        stem = stems[each.submission]
        write_atomically(out / "feedback" / f"{stem}.html", feedback_page(spec, each), durable=False)
        if each.answers:
            write_atomically(out / "feedback" / f"{stem}.ipynb", feedback_notebook(spec, each), durable=False)
    write_atomically(out / "report.html", report_page(spec, results, passed_over), durable=False)
    write_atomically(out / "report.md", report_markdown(spec, results, passed_over), durable=False)
    write_atomically(out / "gradebook.csv", gradebook(spec, results))
