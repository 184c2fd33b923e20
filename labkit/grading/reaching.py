"""What an answer reaches for that it cannot have: the checks, a network, programs. For people, never for the score."""

import re

from labkit.grading.given import imported_modules
from labkit.grading.source_names import parse

APART = "answers run without a network and without a shell; what the lab imports is there"
CHECKS = ("labkit.course.", "labkit.grading.")
_NAMED = re.compile(r"\blabkit\.(?:course|grading)\b[\w.]*")
_LINE = re.compile(r"^[ \t]*(?:!|%%?(?:pip|conda|mamba|uv|bash|sh|sx|system|script)\b).*$", re.MULTILINE)
_UNREACHED = re.compile(r"name resolution|Network is unreachable|Name or service not known|getaddrinfo failed")
MAX_CHARS = 60  # of what is shown


def reaches_for(source: str) -> str:
    """The part of the checks that an answer names; empty for nearly everybody.

    >>> reaches_for("import labkit.course.compare as c")
    'labkit.course.compare'
    """
    imported = sorted(module for module in imported_modules(source) if f"{module}.".startswith(CHECKS))
    named = imported or _NAMED.findall(source)
    return named[0][:MAX_CHARS] if named else ""


def starts_programs(source: str) -> str:
    """The first line with which IPython would start a program; empty where there is none.

    >>> starts_programs("!pip install numpy\\nimport numpy")
    '!pip install numpy'
    """
    found = None if parse(source).body else _LINE.search(source)  # such a line is not Python
    return found.group().strip()[:MAX_CHARS] if found else ""


def wants_network(feedback: str) -> bool:
    """Whether what an answer raised says that it found no network."""
    return bool(_UNREACHED.search(feedback))
