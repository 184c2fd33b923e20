"""Numbers to compute with, and how exactly they must come back.

The random arrays hold small multiples of an eighth, none of them zero. Their sums of products are exact in
float32, in whatever order an answer adds them: a known mistake is then recognised by its numbers, also when a
learner writes it differently.
"""

from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_arrays

TOLERANCE = {"float32": 1e-5, "float64": 1e-9}  # for answers that do not add products at all, like an FFT


def eighths(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> np.ndarray:
    """A random array of nonzero multiples of 1/8 between -12.375 and 12.375."""
    magnitude = rng.integers(1, 100, size=shape)
    sign = rng.choice([-1, 1], size=shape)
    return (sign * magnitude / 8).astype(dtype)


def compare_floats(expected: np.ndarray, value: Any, dtype: np.dtype[Any]) -> Difference | None:
    """Nothing when the value has this dtype and is the expected array, up to this dtype's rounding."""
    tolerance = TOLERANCE[dtype.name]
    return compare_arrays(expected.astype(dtype), value, relative=tolerance, absolute=tolerance)
