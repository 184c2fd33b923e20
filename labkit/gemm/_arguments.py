"""What a caller can get wrong about sizes and shapes, said so that it can be mended."""

from typing import Any

from numpy.typing import NDArray

from labkit.quantities import whole_number

Array = NDArray[Any]
IntOrPair = int | tuple[int, int]


class ShapeError(ValueError):
    """Sizes that do not fit together; the message names both sides and what to do."""


def at_least(least: int, /, **values: int) -> tuple[int, ...]:
    """The values as Python ints (NumPy's could overflow in a product); QuantityError where one is too small.

    >>> at_least(0, m=3, n=4)
    (3, 4)
    """
    return tuple(whole_number(value, name, least) for name, value in values.items())


def pair(least: int, /, **value: IntOrPair) -> tuple[int, int]:
    """The one value as (h, w), from an int for both axes or from the two.

    >>> pair(1, kernel=3)
    (3, 3)
    """
    ((name, given),) = value.items()
    axes = tuple(given) if isinstance(given, tuple | list) else (given, given)
    if len(axes) != 2:
        raise ShapeError(f"expected {name} to be an int or (h, w), got {given!r}")
    height, width = (whole_number(axis, name, least) for axis in axes)
    return height, width


def check_axes(name: str, array: Array, axes: str) -> None:
    """Raise ShapeError unless the array has as many axes as `axes` names, like "B, C, H, W"."""
    if array.ndim != len(axes.split(", ")):
        advice = "; add a batch of one with x[None]" if (name, array.ndim) == ("x", 3) else ""
        raise ShapeError(f"expected {name} of shape ({axes}), got {array.shape}{advice}")
