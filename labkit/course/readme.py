"""What the README shows of the labs: their table, made from the declarations, and a picture from a solution's run."""

import base64
from collections.abc import Sequence

import nbformat

from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT, solution_path
from labkit.evidence.shown import lab_status

PICTURE = ROOT / "docs" / "im2col_stepper.png"
PICTURE_FROM = ("01_gemm_im2col", "im2col_stepper(im2col)")  # the lab, and the call whose picture it is

BEGIN, END = "<!-- labs: made by `labkit build` -->", "<!-- /labs -->"


def lab_table(labs: Sequence[LabSpec]) -> str:
    """A markdown table, a row for each lab."""
    rows = ["| lab | what you build | minutes | exercises | points | runs on |", "|---|---|---|---|---|---|"]
    rows += [
        f"| [{spec.name}](solutions/{spec.name}.ipynb) · {spec.title} | {spec.summary} | {spec.minutes}"
        f" | {len(spec.exercises)} | {spec.points} | {_runs_on(spec)} |"
        for spec in labs
    ]
    return "\n".join(rows)


def _runs_on(spec: LabSpec) -> str:
    """The hardware, and for what a GPU adds whether it was seen on one: by the evidence, never by hand."""
    status = lab_status(spec.name)
    return f"{spec.hardware} ({status})" if status else spec.hardware


def with_lab_table(text: str, labs: Sequence[LabSpec]) -> str:
    """The text with the table between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs the marks {BEGIN} and {END} around its table of labs")
    return f"{before}{BEGIN}\n{lab_table(labs)}\n{END}{after}"


def lab_picture() -> bytes:
    """The PNG that stands in the executed solution below the call named in `PICTURE_FROM`.

    Raises:
        LookupError: no cell with that call has a picture.
    """
    lab, called = PICTURE_FROM
    for cell in nbformat.read(solution_path(lab), as_version=4).cells:
        for output in cell.get("outputs", ()) if called in cell.source else ():
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output.data["image/png"])
    raise LookupError(f"{solution_path(lab).name} shows no picture below {called}")
