"""Sets of requests on which a peak can go wrong: written by hand, all small ones, and random ones."""

from collections.abc import Iterator

import numpy as np

from labkit.course.exercises.efficient_router.questions import Request, orders, random_requests, small_sets

NUM_RANDOM_SETS = 400

# The last request is the candidate where one is needed.
BY_HAND: dict[str, list[Request]] = {
    "one request alone": [(5, 4)],
    "one request that appends nothing more": [(7, 0)],
    "one request that holds nothing yet": [(0, 3)],
    "the short one first": [(1, 0), (1, 1)],
    "the short one last": [(1, 1), (1, 0)],
    "nobody appends anything": [(3, 0), (4, 0), (5, 0)],
    "the peak is now": [(9, 0), (1, 2)],
    "the peak is now, at a request that ends now": [(1, 2), (9, 0)],
    "two identical requests": [(4, 3), (4, 3)],
    "three identical requests among others": [(2, 6), (4, 3), (4, 3), (9, 1), (4, 3)],
    "equal left, different run": [(2, 3), (7, 3), (1, 5)],
    "equal run, different left": [(3, 2), (3, 6), (3, 4)],
    "a dip before the peak": [(9, 1), (1, 6), (1, 7)],
    "a peak before the dip": [(1, 7), (1, 6), (9, 5)],
    "the longest comes last": [(4, 1), (3, 2), (2, 3), (1, 9)],
    "the longest comes first": [(1, 9), (2, 3), (3, 2), (4, 1)],
    "the published example": [(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)],
    "numbers of a real pool": [(14_050, 800), (1_020, 129), (2_735, 424), (4_142, 601), (1_155, 211)],
    "21 requests of (2000, 2000)": [(2_000, 2_000)] * 21,
}


def small_sets_in_every_order() -> Iterator[list[list[Request]]]:
    """For every set of up to three requests with run and left of up to 2, the smallest first: all of its orders."""
    for each in small_sets(max_requests=3, max_tokens=2):
        yield list(orders(each))


def random_sets(seed: int) -> list[list[Request]]:
    """Sets of 2 to 12 requests, the smallest first, with tokens of up to 20, 200, 1,000 and 4,000."""
    rng = np.random.default_rng(seed)
    most = (20, 200, 200, 200, 1_000, 4_000)
    sizes = np.sort(rng.integers(2, 13, NUM_RANDOM_SETS)).tolist()
    return [random_requests(rng, size, most[number % len(most)]) for number, size in enumerate(sizes)]
