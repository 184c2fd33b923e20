"""Many questions in one case: packed as bytes, asked one by one, judged from the smallest on.

A case of this lab holds the arguments of one call, or a package of hundreds of them. What a learner sees of a package
is its smallest failing question, so small packages are bytes (which weigh nothing and are shown first) and large
ones an array. Whatever stands here runs beside the learner's code: there is no oracle in it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np

from labkit.course.apart import ASKED
from labkit.course.exercise import Case

Request = tuple[int, int]  # (run, left): tokens held now, tokens still to append, one a step
Question = tuple[Any, ...]  # the arguments of one call


class Package(Case):
    """A case of many questions; what a learner reads is the one that failed."""

    def given(self) -> str:
        return f"{self.num_questions():,} questions"

    def num_questions(self) -> int:
        return len(questions_of(self))


def package(name: str, questions: Iterable[Question], small: bool) -> Case:
    """A case of many questions."""
    data = json.dumps(list(questions), separators=(",", ":")).encode()
    return Package(name, (data if small else np.frombuffer(data, np.uint8),), ("packed questions",))


def questions_of(case: Case) -> Sequence[Question]:
    """The questions of any case of this lab, requests as tuples; not to be changed."""
    packed = case.args[0]
    return _unpacked(bytes(packed)) if isinstance(packed, bytes | np.ndarray) else [case.args]


@lru_cache(maxsize=8)  # one package is asked of every known wrong answer
def _unpacked(data: bytes) -> list[Question]:
    return [tuple(map(_tuples, question)) for question in json.loads(data)]


def _tuples(value: Any) -> Any:
    """JSON has no tuples: a pair of numbers is a request, a list of pairs stays a list."""
    if not isinstance(value, list):
        return value
    return tuple(value) if value and isinstance(value[0], int) else [tuple(pair) for pair in value]


def probe(candidate: Callable[..., Any], case: Case) -> list[Any]:
    """One answer for each question of the case, in order."""
    if isinstance(case.args[0], bytes | np.ndarray):
        return [_asked(candidate, question) for question in questions_of(case)]
    return [_plain(candidate(*case.args))]


def _asked(candidate: Callable[..., Any], question: Question) -> Any:
    own = [list(value) if isinstance(value, list) else value for value in question]  # it may change them
    try:
        return _plain(candidate(*own))
    except Exception as error:
        with suppress(AttributeError):  # of an exception with slots
            setattr(error, ASKED, call_text(question))  # the package would not say which of its questions it was
        raise


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's: an answer may be either, and a thousand small arrays are slow to carry."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def call_text(question: Question) -> str:
    """A question as a learner may type it: `([(1, 0)], (1, 1), 2)`."""
    return "(" + ", ".join(map(repr, question)) + ")"


# --- sets of requests -------------------------------------------------------------------------------------


def small_sets(max_requests: int, max_tokens: int, least_run: int = 0) -> Iterator[tuple[Request, ...]]:
    """Every set of 1 to max_requests requests with run and left of up to max_tokens; the smallest first."""
    kinds = [(run, left) for run in range(least_run, max_tokens + 1) for left in range(max_tokens + 1) if run or left]
    for num_requests in range(1, max_requests + 1):
        yield from sorted(combinations_with_replacement(kinds, num_requests), key=_size)


def orders(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Every order of these requests, once."""
    return map(list, dict.fromkeys(permutations(requests)))


def random_requests(rng: np.random.Generator, num_requests: int, most: int) -> list[Request]:
    """Requests with 1 to `most` tokens held and 0 to `most` left."""
    runs, lefts = rng.integers(1, most + 1, num_requests), rng.integers(0, most + 1, num_requests)
    return list(zip(runs.tolist(), lefts.tolist(), strict=True))


def _size(requests: Sequence[Request]) -> tuple[bool, int]:
    return any(run == 0 for run, _ in requests), sum(run + left for run, left in requests)
