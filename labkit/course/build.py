"""`labkit build`: source -> executed solution -> starter, and the README's table of labs.

Only labs that changed are built: a solution notebook remembers the hash of what it was made from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labkit.course.execute import canonical, execute
from labkit.course.exercises import all_labs
from labkit.course.house_picture import PICTURE as HOUSE
from labkit.course.house_picture import house_picture
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import ROOT, solution_path, source_path, starter_path
from labkit.course.readme import PICTURE, lab_picture, with_lab_table
from labkit.course.rules import Violation, check_executed, check_solution, check_source, check_starter
from labkit.course.source import read_source
from labkit.course.starter import make_starter
from labkit.course.syllabus import SYLLABUS, syllabus


@dataclass(frozen=True)
class Stale:
    """A committed file that is not what its source gives."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.reason}. Run `labkit build`."


class RulesBroken(ValueError):
    """A notebook that breaks the rules; the message lists every violation."""

    def __init__(self, path: Path, violations: Iterable[Violation]) -> None:
        lines = "\n".join(f"  {violation}" for violation in violations)
        super().__init__(f"{path.name} breaks the rules of labkit/course/rules.py:\n{lines}")


def build_lab(spec: LabSpec, force: bool = False) -> bool:
    """Write the solution and the starter of one lab; False when both were already up to date.

    Raises:
        SourceError, RulesBroken: the source is not what it should be; the solution is left as it was.
    """
    source = read_source(spec, source_path(spec.name))
    if not force and not list(stale_files(spec, source)):
        return False
    _obey(source_path(spec.name), check_source(source))
    starter = make_starter(source, spec)
    _obey(starter_path(spec.name), check_starter(starter, source))
    _write(starter_path(spec.name), canonical(starter))  # first: a running solution looks into its own release
    if force or not _solution_is_current(spec, source):
        executed = execute(read_source(spec, source_path(spec.name)))
        _obey(source_path(spec.name), check_executed(executed))
        text = canonical(executed)
        _obey(solution_path(spec.name), check_solution(nbformat.reads(text, as_version=4)))
        _write(solution_path(spec.name), text)
    return True


def stale_files(spec: LabSpec, source: NotebookNode | None = None) -> Iterable[Stale]:
    """The committed files of a lab that differ from what its source gives (a solution: outputs aside)."""
    source = source or read_source(spec, source_path(spec.name))
    if not _solution_is_current(spec, source):
        yield Stale(solution_path(spec.name), "not built from the source as it is now")
    starter = starter_path(spec.name)
    if not starter.exists() or starter.read_text(encoding="utf-8") != canonical(make_starter(source, spec)):
        yield Stale(starter, "differs from what the source gives")


def build_readme(check: bool = False) -> list[Stale]:
    """Write the README's table of labs, its picture, and docs' generated pages; with `check`, say what is stale."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    table, picture = with_lab_table(text, all_labs()), lab_picture()
    stale = [Stale(readme, "its table of labs differs from the labs' declarations")] if table != text else []
    pages = {SYLLABUS: syllabus(all_labs()), HOUSE: house_picture()}
    for path, page in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            stale.append(Stale(path, "differs from what the package gives"))
    if not PICTURE.exists() or PICTURE.read_bytes() != picture:
        stale.append(Stale(PICTURE, "differs from the picture in the solution"))
    if not check:
        _write(readme, table)
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(picture)
        for path, page in pages.items():
            _write(path, page)
    return stale


def _solution_is_current(spec: LabSpec, source: NotebookNode) -> bool:
    """Same cells, same metadata as the source gives, and outputs there."""
    path = solution_path(spec.name)
    if not path.exists():
        return False
    built = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    return _bare(built) == _bare(source) and any(cell.get("outputs") for cell in built.cells)


def _bare(notebook: NotebookNode) -> list[object]:
    cells = [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    return [notebook.metadata.get("labkit"), notebook.metadata.get("kernelspec"), cells]


def _obey(path: Path, violations: Iterable[Violation]) -> None:
    violations = list(violations)
    if violations:
        raise RulesBroken(path, violations)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
