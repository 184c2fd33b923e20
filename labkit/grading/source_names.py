"""Which names a text of Python defines and uses; read, never run, whoever wrote it."""

import ast
import re
import symtable
import warnings
from functools import lru_cache

from labkit.course.leaning import defined_names


@lru_cache(maxsize=256)  # most cells are those of the release, the same for everybody
def used_names(source: str) -> frozenset[str]:
    """The names that a cell takes from elsewhere in the notebook, at any depth; its functions' own variables not.

    All of its words, where it is not Python.

    >>> sorted(used_names("def f(x):\\n    rows = g(x)\\n    return rows + n"))
    ['g', 'n']
    """
    if not parse(source).body:
        return frozenset(re.findall(r"\w+", source))
    try:
        todo = [symtable.symtable(source, "cell", "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset(re.findall(r"\w+", source))
    found: set[str] = set()
    while todo:
        table = todo.pop()
        todo.extend(table.get_children())
        symbols = [symbol for symbol in table.get_symbols() if symbol.is_referenced()]
        found.update(symbol.get_name() for symbol in symbols if symbol.is_global() or table.get_type() == "module")
    return frozenset(found)


@lru_cache(maxsize=256)
def names_defined(source: str) -> frozenset[str]:
    """`defined_names`, for text that anybody may have written."""
    return frozenset(defined_names(source)) if parse(source).body else frozenset()


def parse(source: str) -> ast.Module:
    """The tree of a text that anybody may have written; an empty one where it is not Python, or too deep for it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])
