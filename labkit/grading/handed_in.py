"""What lies in a folder of submissions: which notebook is whose, and what was passed over."""

import re
from dataclasses import dataclass
from pathlib import Path


class NoSubmission(ValueError):
    """There is nothing to grade; the message says what was expected, and what lies there."""


@dataclass(frozen=True)
class HandedIn:
    """The submissions at a path.

    `notes` say, by name, what a person should know of how somebody handed in; `passed_over` names everything that
    lies beside the submissions and is none.
    """

    submissions: tuple[tuple[str, Path], ...]  # (name, notebook), in the order of their names
    notes: dict[str, str]
    passed_over: tuple[str, ...]
    num_folders_passed_over: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether more folders were passed over than were taken: perhaps they are of another lab."""
        return self.num_folders_passed_over > len(self.submissions)


def look(path: Path, lab: str) -> HandedIn:
    """Every submission at a path: `PATH/NAME.ipynb` and `PATH/NAME/LAB.ipynb`.

    Where a name stands twice, the second is called NAME/LAB. A folder without LAB.ipynb but with one notebook that is
    called almost so ("LAB (1).ipynb", a browser's second download) is taken, with a note.

    Raises:
        NoSubmission: there is none.
    """
    if path.is_file():
        return HandedIn(((path.stem, path),), {}, ())
    flat = {each.stem: each for each in path.glob("*.ipynb") if not each.name.startswith(".")}
    found, notes, passed_over = dict(flat), dict[str, str](), list[str]()
    num_folders = 0
    for each in sorted(path.iterdir()):
        if each.name.startswith(".") or each in flat.values():
            continue
        if not each.is_dir():
            passed_over.append(f"{each.name} (not a notebook)")
            continue
        name = f"{each.name}/{lab}" if each.name in flat else each.name
        notebook, near = _in_folder(each, lab)
        if notebook is None:
            num_folders += 1
            passed_over.append(f"{each.name}/ (no {lab}.ipynb in it{_and_near(near)})")
            continue
        found[name] = notebook
        if near:
            notes[name] = f"{notebook.name} was graded; beside it lie {', '.join(near)}"
        elif notebook.name != f"{lab}.ipynb":
            notes[name] = f"handed in as {notebook.name!r}, and taken for {lab}.ipynb"
    handed_in = HandedIn(tuple(sorted(found.items())), notes, tuple(passed_over), num_folders)
    if not found:
        raise NoSubmission(_nothing(path, lab, handed_in))
    return handed_in


def _in_folder(folder: Path, lab: str) -> tuple[Path | None, list[str]]:
    """A student's notebook, and the names of others that are called almost so; a link elsewhere is no folder."""
    if folder.is_symlink():
        return None, []
    like = re.compile(rf"{re.escape(lab)}[ _().-].*\.ipynb", re.IGNORECASE)
    near = sorted(each.name for each in folder.iterdir() if like.fullmatch(each.name) and each.name[:-6] != lab)
    if (exact := folder / f"{lab}.ipynb").exists():
        return exact, near
    return (folder / near[0], []) if len(near) == 1 else (None, near)


def _and_near(near: list[str]) -> str:
    return f", but {len(near)} called almost so: {', '.join(near)}" if near else ""


def _nothing(path: Path, lab: str, handed_in: HandedIn) -> str:
    count = handed_in.num_folders_passed_over
    noun = "folder has" if count == 1 else "folders have"
    instead = f". {count} {noun} no {lab}.ipynb: is it the right --lab?" if count else ""
    return f"no submission in {path}: expected NAME.ipynb or NAME/{lab}.ipynb{instead}"
