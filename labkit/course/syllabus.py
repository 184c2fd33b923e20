"""docs/syllabus.md, made from the labs' declarations: order, hours, what each lab assumes and gives."""

from collections.abc import Sequence

from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT

SYLLABUS = ROOT / "docs" / "syllabus.md"
HEAD = """# Syllabus

Made by `labkit build` from the labs' declarations: change it there. The order is the order of the course; a lab assumes
what its line says, and no more. Minutes are an estimate for who meets the matter for the first time.
"""


def syllabus(labs: Sequence[LabSpec]) -> str:
    """The page: the hours of the whole, a table, and the exercises of each lab."""
    minutes, points = sum(lab.minutes for lab in labs), sum(lab.points for lab in labs)
    exercises = sum(len(lab.exercises) for lab in labs)
    whole = f"**{len(labs)} labs, {_hours(minutes)}, {exercises} exercises, {points} points.**"
    rows = ["| lab | hours | assumes | gives |", "|---|---|---|---|"]
    rows += [f"| {lab.name} · {lab.title} | {_hours(lab.minutes)} | {lab.needs} | {lab.summary} |" for lab in labs]
    return "\n".join([HEAD, whole, "", *rows, "", *(line for lab in labs for line in _exercises(lab))])


def _exercises(lab: LabSpec) -> list[str]:
    rows = [f"| `{each.name}` | {each.minutes} | {each.points} | {each.tier} | {each.goal} |" for each in lab.exercises]
    head = ["| exercise | minutes | points | tier | what it asks |", "|---|---|---|---|---|"]
    return [f"## {lab.name}", "", f"Runs on: {lab.hardware}.", "", *head, *rows, ""]


def _hours(minutes: int) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes} min"
