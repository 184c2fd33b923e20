"""What an answer finds in the sandbox: third-party libraries, and of labkit what the lab itself gives.

labkit holds an implementation of most of what learners are asked to write, and each exercise a bank of right
answers. Neither is secret, both are published; but an answer that only calls them is not an answer. So the banks
are dropped from the warm interpreter, and of labkit's modules those that the lab's own cells import are imported
before the package's folder is emptied for the child. An answer may use NumPy, torch, the standard library, the
learner's other answers, and what the released lab gives.
"""

import ast
import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from nbformat import NotebookNode

from labkit.course.exercises import lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.paths import source_path
from labkit.grading.source_names import parse

BANKS = "labkit.course.exercises."


def imported_modules(source: str) -> set[str]:
    """Every module that a text of Python imports, at any depth; nothing where it is not Python.

    >>> sorted(imported_modules("import numpy as np\\nfrom labkit.gemm import im2col"))
    ['labkit.gemm', 'numpy']
    """
    found: set[str] = set()
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            if node.module.partition(".")[0] == "labkit":  # from labkit import gemm
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_labkit(module: str) -> bool:
    """Whether a module is ours."""
    return module.partition(".")[0] == "labkit"


# --- on the grader's side ---------------------------------------------------------------------------------


def given_modules(spec: LabSpec, rebuilt: NotebookNode) -> tuple[str, ...]:
    """The modules of labkit that a run is given: what the cells kept of the release import, and our own answers."""
    kept = {
        module
        for cell in rebuilt.cells
        if not _grade_id(cell).startswith("answer-")
        for module in imported_modules(cell.source)
        if is_labkit(module)
    }
    return tuple(sorted(kept | _of_our_answers(spec.name)))


def libraries(spec: LabSpec) -> tuple[str, ...]:
    """The third-party modules that a lab's code cells import, or our answers; imported before the first submission."""
    modules = {module for cell in _our_cells(spec.name) for module in imported_modules(cell.source)}
    return tuple(sorted({module for module in modules if not is_labkit(module)} | {"numpy"}))


def given_to_all(spec: LabSpec) -> tuple[str, ...]:
    """The modules of labkit that a run of our own answers is given, and so nearly every run; imported once, for all."""
    from labkit.grading.submission import ANSWER, Submission, rebuild

    ours = {_grade_id(cell).removeprefix(ANSWER): cell.source for cell in _our_answers(spec.name)}
    return given_modules(spec, rebuild(spec, Submission("ours", ours)))


@cache
def _of_our_answers(lab: str) -> frozenset[str]:
    """The modules of labkit that our own answers import."""
    modules = {module for cell in _our_answers(lab) for module in imported_modules(cell.source)}
    return frozenset(filter(is_labkit, modules))


def _our_answers(lab: str) -> list[NotebookNode]:
    return [cell for cell in _our_cells(lab) if _grade_id(cell).startswith("answer-")]


@cache
def _our_cells(lab: str) -> tuple[NotebookNode, ...]:
    from labkit.course.source import read_source

    notebook = read_source(lab_spec(lab), source_path(lab))
    return tuple(cell for cell in notebook.cells if cell.cell_type == "code")


def _grade_id(cell: NotebookNode) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


# --- in the sandbox ---------------------------------------------------------------------------------------


def import_libraries(modules: Iterable[str]) -> None:
    """Import what a lab needs; a library that is missing here is left out."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # OpenMP's threads would not survive the fork


def import_given(modules: Iterable[str]) -> None:
    """Import these modules of labkit, and what they would import of it later."""
    todo, done = list(modules), set()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        with contextlib.suppress(ImportError):  # a name that is no module, from `from labkit.gemm import im2col`
            path = getattr(importlib.import_module(name), "__file__", None)
            if path and not name.startswith("labkit.course"):
                text = Path(path).read_text(encoding="utf-8")
                todo.extend(module for module in imported_modules(text) if is_labkit(module))


def forget_banks(spec: LabSpec) -> tuple[str, ...]:
    """Drop every wrong and right answer, oracle and case of a lab, and labkit's own implementations.

    The probes stay, with what they use. Returns the modules of labkit that they import when they are called.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith(BANKS)]
    used, imported = _reachable([each.probe for each in spec.exercises])
    for each in spec.exercises:
        each.wrong_answers, each.right_answers, each.note = [], [], None
        each.cases, each.judge_case = _gone, _gone
    for module in modules:
        for name, value in list(vars(module).items()):
            if id(value) not in used and _is_ours(value):
                delattr(module, name)
    for name in [name for name in sys.modules if is_labkit(name) and not _is_machinery(name)]:
        above, _, last = name.rpartition(".")
        vars(sys.modules.get(above, sys)).pop(last, None)
        del sys.modules[name]
    gc.collect()
    return tuple(sorted(imported))


def _is_machinery(module: str) -> bool:
    """Whether a module is of the course engine or the grader, which hold no answers."""
    return module == "labkit" or module.startswith(("labkit.course", "labkit.grading"))


def _is_ours(value: Any) -> bool:
    """Whether a value is a function, class or module of a bank, or of what labkit implements."""
    if isinstance(value, ModuleType):
        return is_labkit(value.__name__) and not _is_machinery(value.__name__)
    home = _home(value)
    callable_here = isinstance(value, FunctionType | type)
    return callable_here and is_labkit(home) and (home.startswith(BANKS) or not _is_machinery(home))


def _gone(*arguments: Any) -> Any:
    raise NotImplementedError("cases and oracles are with the judge, in another process")


def _reachable(functions: Sequence[Any]) -> tuple[set[int], set[str]]:
    """The ids of everything of ours that the functions use, directly or not; and what of labkit they import."""
    seen: set[int] = set()
    imported: set[str] = set()
    todo = list(functions)
    while todo:
        value = todo.pop()
        if isinstance(value, dict | list | tuple):  # a table of ours: what stands in it is used by its key
            todo.extend(value.values() if isinstance(value, dict) else value)
            continue
        if hasattr(value, "__wrapped__"):  # behind a cache or a decorator
            todo.append(value.__wrapped__)
        if id(value) in seen or not _is_ours(value):
            continue
        seen.add(id(value))
        if isinstance(value, type):
            todo.extend([*value.__mro__, *vars(value).values()])
        if isinstance(value, FunctionType):
            names = _names(value.__code__)
            imported.update(name for name in names if is_labkit(name) and "." in name)
            todo.extend(value.__globals__[name] for name in names if name in value.__globals__)
            todo.extend(cell.cell_contents for cell in value.__closure__ or ())
    return seen, imported


def _home(value: Any) -> str:
    return str(getattr(value, "__module__", ""))


def _names(code: CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


class _Hidden(importlib.abc.MetaPathFinder):
    """Says why a module of labkit cannot be imported, in place of "no module named"."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if is_labkit(fullname):
            raise ImportError(
                f"{fullname} is not there when an answer is graded: an answer stands on its own, on NumPy, torch,"
                " the standard library, your other answers, and what the lab's own cells import"
            )


def say_why_hidden() -> None:
    """Install the reason. The mount space hides the files themselves; without one, this is what keeps to the rule."""
    sys.meta_path.insert(0, _Hidden())
