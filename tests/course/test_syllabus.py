"""The syllabus: sums are those of the declarations, every lab and exercise has its row."""

import re

from labkit.course.exercises import all_labs, lab_spec
from labkit.course.syllabus import syllabus

LABS = all_labs()


def rows(page: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]


def test_the_first_line_adds_up_what_the_tables_say() -> None:
    page = syllabus(LABS)
    found = re.search(r"\*\*(\d+) labs, ([\d.]+) h, (\d+) exercises, (\d+) points\.\*\*", page)
    assert found
    exercises = [row for row in rows(page) if len(row) == 5 and row[0].startswith("`")]
    assert int(found[1]) == len(LABS)
    assert float(found[2]) * 60 == round(sum(lab.minutes for lab in LABS) / 6) * 6
    assert int(found[3]) == len(exercises)
    assert int(found[4]) == sum(int(row[2]) for row in exercises)


def test_each_lab_says_what_it_assumes_gives_and_runs_on() -> None:
    page = syllabus(LABS)
    for lab in LABS:
        (row,) = [row for row in rows(page) if row[0].startswith(f"{lab.name} ·")]
        assert row[2:] == [lab.needs, lab.summary]
        assert all(row)
        section = page.partition(f"## {lab.name}\n")[2].partition("\n## ")[0]
        assert f"Runs on: {lab.hardware}." in section
        assert [row[0] for row in rows(section)[1:]] == [f"`{each.name}`" for each in lab.exercises]


def test_less_than_an_hour_is_said_in_minutes() -> None:
    assert "| 20 min |" in syllabus([lab_spec("00_start_here")])
