"""The README's table of labs, made from the labs' declarations."""

from collections.abc import Sequence

from labkit.course.lab_spec import LabSpec

BEGIN, END = "<!-- labs: made by `labkit build` -->", "<!-- /labs -->"


def lab_table(labs: Sequence[LabSpec]) -> str:
    """A markdown table, a row for each lab."""
    rows = ["| lab | what you build | minutes | exercises | points | runs on |", "|---|---|---|---|---|---|"]
    rows += [
        f"| [{spec.name}](solutions/{spec.name}.ipynb) · {spec.title} | {spec.summary} | {spec.minutes}"
        f" | {len(spec.exercises)} | {spec.points} | {spec.hardware} |"
        for spec in labs
    ]
    return "\n".join(rows)


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
