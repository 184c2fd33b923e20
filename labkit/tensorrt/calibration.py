"""Calibration data: what a model sees in use, from which the ranges of int8 are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.tensorrt.errors import BuildError
from labkit.tensorrt.model import ModelFile
from labkit.tensorrt.profile import format_shape

if TYPE_CHECKING:
    import numpy as np

    Batch = Mapping[str, np.ndarray]


def batches_for(model: ModelFile, batches: Sequence[Batch]) -> tuple[dict[str, np.ndarray], ...]:
    """The batches as the model takes them: its own inputs, its own dtypes, contiguous.

    Raises BuildError for a batch that lacks an input or has one too many, for shapes that the model does not take,
    and for values that are not finite.
    """
    import numpy as np

    wanted = {each.name: each.dtype for each in model.inputs}
    fitting = []
    for number, batch in enumerate(batches):
        if set(batch) != set(wanted):
            raise BuildError(
                f"from {model.name}",
                [f"calibration batch {number} holds {sorted(batch)}, the inputs of the model are {sorted(wanted)}."],
            )
        try:
            arrays = {name: np.ascontiguousarray(batch[name], dtype) for name, dtype in sorted(wanted.items())}
        except (TypeError, ValueError) as error:
            raise BuildError(
                f"from {model.name}", [f"calibration batch {number} does not fit the inputs: {error}."]
            ) from error
        for each in model.inputs:
            if not _fits(arrays[each.name].shape, each.shape):
                came, takes = format_shape(arrays[each.name].shape), format_shape(each.shape or ())
                raise BuildError(
                    f"from {model.name}",
                    [f"calibration batch {number} of {each.name!r} is {came}, the model takes {takes}."],
                )
        if bad := [name for name, array in arrays.items() if not _finite(array)]:
            raise BuildError(f"from {model.name}", [f"calibration batch {number} of {bad[0]!r} holds NaN or infinity."])
        fitting.append(arrays)
    return tuple(fitting)


def digest(batches: Iterable[Batch]) -> str | None:
    """SHA-256 of all arrays with their names, dtypes and shapes; None for no batches."""
    sha256 = hashlib.sha256()
    empty = True
    for batch in batches:
        for name, array in sorted(batch.items()):
            sha256.update(f"{name!r} {array.dtype.str} {array.shape};".encode())
            sha256.update(array.tobytes())
        sha256.update(b"end of batch;")
        empty = False
    return None if empty else sha256.hexdigest()


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...] | None) -> bool:
    """Whether the model takes this shape: its rank, its fixed sizes, and at least 1 where it is free."""
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        size == fixed if fixed is not None else size > 0 for size, fixed in zip(shape, wanted, strict=True)
    )


def _finite(array: np.ndarray) -> bool:
    import numpy as np

    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
