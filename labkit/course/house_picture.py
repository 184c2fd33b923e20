"""docs/architecture.svg: the rooms of labkit and who imports whom, read from the source and drawn as plain SVG.

Text, so that two machines draw the same bytes and `labkit build --check` can tell a picture that is out of date.
"""

import ast
from pathlib import Path

from labkit.course.paths import ROOT

PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGE = ROOT / "labkit"
# From above to below: data flows down, and nothing imports upwards (tests/test_architecture.py).
ROWS: tuple[tuple[str, ...], ...] = (
    ("commands",),
    ("grading", "doctor", "", ""),
    ("course", "", "widgets", "benchmarks"),
    ("evidence", "", "", ""),
)
DOMAIN = "one module per idea"
WIDTH, ROW_HEIGHT, BOX_HEIGHT, GAP, MARGIN = 860, 110, 52, 24, 20
NOTES = {
    "commands": "the labkit command",
    "grading": "rebuild, run apart, judge outside",
    "doctor": "the known traps",
    "evidence": "what was seen on a GPU",
    "benchmarks": "what each part costs",
    "course": "labs, exercises, checks, building",
    "widgets": "one module per picture",
}


def house_picture(package: Path = PACKAGE) -> str:
    """The picture as SVG text."""
    edges = imports(package)
    domain = sorted(rooms(package) - set(NOTES))
    boxes = {
        room: _box(number, len(row), level) for level, row in enumerate(ROWS) for number, room in enumerate(row) if room
    }
    boxes[DOMAIN] = (MARGIN, MARGIN + len(ROWS) * ROW_HEIGHT, WIDTH - 2 * MARGIN)
    shown = _direct({(one, other if other in NOTES else DOMAIN) for one, other in edges if one in NOTES})
    height = 2 * MARGIN + len(ROWS) * ROW_HEIGHT + BOX_HEIGHT + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" role="img">',
        f"<title>{len(NOTES)} rooms over {len(domain)} modules of the domain; an arrow says: imports</title>",
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#546e7a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(_arrow(boxes[one], boxes[other]) for one, other in sorted(shown)),
        *(_drawn(boxes[room], room, NOTES[room], "#e3f2fd") for room in NOTES),
        _drawn(boxes[DOMAIN], DOMAIN, ", ".join(domain), "#fff8e1"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def rooms(package: Path = PACKAGE) -> set[str]:
    """The folders and modules right under labkit/; `cli` is only the door to `commands`."""
    modules = {path.stem for path in package.glob("*.py") if not path.name.startswith("__")}
    return modules - {"cli"} | {path.parent.name for path in package.glob("*/*.py")}


def imports(package: Path = PACKAGE) -> set[tuple[str, str]]:
    """(room, imported room), for every two that differ."""
    edges: set[tuple[str, str]] = set()
    known = rooms(package)
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        imported = {module.split(".")[1] for module in _imported(path) if module.startswith("labkit.")}
        if room in known:
            edges.update((room, other) for other in imported & known - {room})
    return edges


def _imported(path: Path) -> set[str]:
    """Every module that a file imports; for `from labkit import gemm` that is labkit.gemm."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _direct(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without those that follow from others: who imports `grading` has what `grading` imports below it."""

    def below(room: str) -> set[str]:
        found = {other for one, other in edges if one == room}
        return found | {deeper for each in found for deeper in below(each)}

    return {
        (one, other)
        for one, other in edges
        if not any(between != other and other in below(between) for start, between in edges if start == one)
    }


def _box(number: int, of: int, level: int) -> tuple[float, float, float]:
    """(x, y, width) of the box in its row."""
    width = (WIDTH - 2 * MARGIN - (of - 1) * GAP) / of
    return MARGIN + number * (width + GAP), MARGIN + level * ROW_HEIGHT, width


def _drawn(box: tuple[float, float, float], name: str, note: str, colour: str) -> str:
    x, y, width = box
    lines = _wrapped(note, int(width / 6.2))
    height = BOX_HEIGHT + 13 * (len(lines) - 1)
    text = "".join(
        f'<text x="{x + 10:.0f}" y="{y + 40 + 13 * row:.0f}" font-size="11" fill="#37474f">{line}</text>'
        for row, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height}" rx="6" fill="{colour}" stroke="#546e7a"/>'
        f'<text x="{x + 10:.0f}" y="{y + 22:.0f}" font-size="15" font-weight="bold">{name}</text>{text}'
    )


def _wrapped(text: str, most: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _arrow(one: tuple[float, float, float], other: tuple[float, float, float]) -> str:
    """Between rows from below to above the box; within a row from side to side."""
    (x, y, width), (to_x, to_y, to_width) = one, other
    if y == to_y:
        right = to_x > x
        start, end = (x + width if right else x), (to_x if right else to_x + to_width)
        points = (start, y + BOX_HEIGHT / 2, end, to_y + BOX_HEIGHT / 2)
    else:
        target = min(max(x + width / 2, to_x + 20), to_x + to_width - 20) if to_width > width else to_x + to_width / 2
        start = min(max(target, x + 20), x + width - 20)
        points = (start, y + BOX_HEIGHT, target, to_y)
    x1, y1, x2, y2 = points
    return f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#90a4ae" marker-end="url(#tip)"/>'
