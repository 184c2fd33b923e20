"""Canvas: one column filled in the instructor's own export, every other byte as it was.

Canvas makes a new assignment of a header that it does not know, and overwrites what a file holds. So nothing is
written but the values of one column that is there already, in rows whose student handed something in.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

ID_COLUMNS = ("SIS Login ID", "SIS User ID", "ID", "Student")  # what a submission may be called after, best first
ASSIGNMENT = re.compile(r"^(?P<title>.*) \((?P<number>\d+)\)$", re.DOTALL)
BOM = "\ufeff"


class CanvasError(ValueError):
    """The export cannot be filled in safely; the message says what is there."""


@dataclass(frozen=True)
class Filled:
    """The export, filled in; and who is in only one of the two."""

    data: bytes
    num_filled: int
    without_student: tuple[str, ...]  # submissions that no row is about
    without_score: tuple[str, ...] = ()  # students, as the export calls them, whose cell was left as it was
    points_possible: float | None = None  # of the assignment, as Canvas has it; None where the export does not say


@dataclass
class _Field:
    """One cell as it stands in the file, quotes and all."""

    raw: str

    @property
    def value(self) -> str:
        return next(csv.reader(io.StringIO(self.raw, newline=""), strict=True), [""])[0] if self.raw else ""


def fill(data: bytes, column: str, scores: Mapping[str, float]) -> Filled:
    """Canvas's own export with one column filled.

    Args:
        data: the file as it was downloaded.
        column: the assignment's header, `Lab 01 (123)`, its title, or its number.
        scores: by submission; a name is looked for in the columns of `ID_COLUMNS`, in that order.

    Raises:
        CanvasError: not Canvas's export, the column is not there or there twice, or a name means two students.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CanvasError(
            "expected Canvas's export in UTF-8: download it again, and do not save it in between"
        ) from error
    bom = BOM if text.startswith(BOM) else ""
    records = _records(text.removeprefix(BOM))
    header = [field.value for field in records[0][0]] if records else []
    if "Student" not in header or "Section" not in header:
        raise CanvasError(f"expected Canvas's gradebook export, with columns Student and Section; found {header[:6]}")
    index = _find_column(header, column)
    rows = [record for record in records[1:] if len(record[0]) == len(header)]
    used: set[str] = set()
    without_score: list[str] = []
    points_possible: float | None = None
    num_filled = 0
    for fields, _ in rows:
        row = dict(zip(header, (field.value for field in fields), strict=True))
        if row["Student"].strip() == "Points Possible":
            points_possible = _number(fields[index].value)
        name = _submission_of(row, scores)
        if name is None:
            without_score += [row["Student"]] if row.get("ID", "").strip() else []
            continue
        if name in used:
            raise CanvasError(f"two students are meant by {name!r}: name submissions after the SIS Login ID")
        used.add(name)
        fields[index].raw = f"{scores[name]:g}"
        num_filled += 1
    body = "".join(",".join(field.raw for field in fields) + end for fields, end in records)
    without_student = tuple(sorted(set(scores) - used))
    return Filled((bom + body).encode(), num_filled, without_student, tuple(without_score), points_possible)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _find_column(header: list[str], wanted: str) -> int:
    known = [(index, name, match) for index, name in enumerate(header) if (match := ASSIGNMENT.match(name))]
    found = [index for index, name, match in known if wanted in (name, match.group("title"), match.group("number"))]
    if len(found) != 1:
        there = ", ".join(repr(name) for _, name, _ in known) or "none"
        count = "no" if not found else "more than one"
        raise CanvasError(
            f"{count} assignment {wanted!r} in the export: Canvas would make a new one. There are: {there}."
            " Make the assignment in Canvas first, then download the export again"
        )
    return found[0]


def _submission_of(row: Mapping[str, str], scores: Mapping[str, float]) -> str | None:
    """The submission of a student; None for the rows above the first one ("Points Possible") and the test student."""
    if not row.get("ID", "").strip():
        return None
    for column in ID_COLUMNS:
        value = row.get(column, "").strip()
        if value and value in scores:
            return value
    return None


def _records(text: str) -> list[tuple[list[_Field], str]]:
    """The rows of a CSV file as written: each row's cells, raw, and the end of its line."""
    records: list[tuple[list[_Field], str]] = []
    fields: list[_Field] = []
    start, quoted, position = 0, False, 0
    while position < len(text):
        character = text[position]
        if character == '"':
            quoted = not quoted
        elif not quoted and character == ",":
            fields.append(_Field(text[start:position]))
            start = position + 1
        elif not quoted and character in "\r\n":
            end = "\r\n" if text.startswith("\r\n", position) else character
            records.append(([*fields, _Field(text[start:position])], end))
            fields, position = [], position + len(end) - 1
            start = position + 1
        position += 1
    if quoted:
        raise CanvasError("a quote is not closed in the export: download it again")
    if fields or start < len(text):
        records.append(([*fields, _Field(text[start:])], ""))
    return records
