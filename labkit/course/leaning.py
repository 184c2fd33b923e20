"""Does an answer lean on a name that only a cell of the learner's own defines?

The grader takes the answer cells and nothing else from a submission. A helper function, constant or import in
a cell that the learner added works in their notebook and is missing there: `lab.check` says so in time.
"""

import ast
import builtins
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any


def leaned_names(candidate: Any, history: Sequence[str], released: set[str], exercises: Iterable[str]) -> list[str]:
    """The global names that the candidate uses and that neither the released lab nor an answer cell defines.

    Args:
        history: the source of every cell that was run, in order (IPython's `In`).
        released: the names that the released lab's own cells define.
        exercises: the names that mark a cell as an answer cell, because it defines one of them.
    """
    exercises = set(exercises)
    own: list[str] = []
    for name in sorted(_global_names(candidate)):
        if name in released or name in exercises or hasattr(builtins, name):
            continue
        cells = [names for names in map(defined_names, history) if name in names]
        if cells and not cells[-1] & exercises:
            own.append(name)
    return own


def defined_names(source: str) -> set[str]:
    """The top-level names that a cell binds: definitions, imports, assignments (none if it is not Python)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    collector = _Binder()
    collector.visit(tree)
    return collector.names


class _Binder(ast.NodeVisitor):
    """Collects what a cell binds at its top level; the insides of functions and classes are their own."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.names.add(node.name)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)

    visit_Import = visit_ImportFrom = _import

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.names.add(node.id)


def _global_names(candidate: Any) -> set[str]:
    return {name for code in _codes(candidate) for name in code.co_names}


def _codes(candidate: Any) -> list[CodeType]:
    """The code of a function, or of all methods of a class, with everything nested in it."""
    functions: list[Callable[..., Any]] = [candidate]
    if isinstance(candidate, type):
        functions = [getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(candidate).values()]
    todo = [code for function in functions if isinstance(code := getattr(function, "__code__", None), CodeType)]
    codes: list[CodeType] = []
    while todo:
        code = todo.pop()
        codes.append(code)
        todo.extend(const for const in code.co_consts if isinstance(const, CodeType))
    return codes
