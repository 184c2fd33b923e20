"""Is the file the same function as the model? Fresh random inputs, several shapes, float64 as the reference.

A difference is judged relative to the output's own scale, and against what eager PyTorch itself loses to rounding:
a graph that is as far from float64 as eager is has nothing wrong with it, whatever the last digits say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.onnx_export.export import evaluating, named_outputs
from labkit.onnx_export.inputs import (
    Dynamic,
    Shapes,
    check_dynamic,
    named_example,
    random_like,
    shapes_to_try,
)
from labkit.onnx_export.session import Session, open_session

if TYPE_CHECKING:
    import torch
    from rich.table import Table

# Relative to the output's scale: what another order of summation may change. A sum of k products of random sign is
# off by about sqrt(k) units in the last place (Higham, Accuracy and Stability, 2nd ed., section 2.8), layers add up.
_TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
_TIMES_EAGER = 10  # and this many times eager's own distance from float64

_SHOWN = 5  # failing shapes in the printed report; the table has all

SAME = "same"
DIFFERS = "differs"
SHAPE = "another shape"
REFUSED = "ONNX Runtime refuses"
NOT_VALID = "the model refuses"  # no failure of the graph: the model itself cannot take this shape


@dataclass(frozen=True)
class Difference:
    """The largest difference of two arrays: absolute, relative to the expected array's scale, and its place."""

    max_abs: float
    max_rel: float
    where: tuple[int, ...] = ()

    def exceeds(self, other: Difference) -> bool:
        return (self.max_rel, self.max_abs) > (other.max_rel, other.max_abs)


@dataclass(frozen=True)
class Parity:
    """One shape of a parity check.

    shapes: {input: shape}. max_abs, max_rel: graph against reference, relative to the output's largest magnitude.
    where: the output and the place of the largest difference, as "logits[3, 7]". eager_rel: how far eager PyTorch
    is from float64 in the same measure, 0 where it is the reference. tolerance: what max_rel may be.
    """

    shapes: Shapes
    status: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    where: str = ""
    eager_rel: float = 0.0
    tolerance: float = 0.0
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.status in (SAME, NOT_VALID)

    def __str__(self) -> str:
        said = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.shapes.items())
        if self.status in (SAME, DIFFERS):
            return (
                f"{said}: {self.status}, off by {self.max_abs:.1e} ({self.max_rel:.1e} of the output's scale) at "
                f"{self.where}; eager is off by {self.eager_rel:.1e}, allowed {self.tolerance:.1e}"
            )
        return f"{said}: {self.status}: {self.reason}"


@dataclass(frozen=True)
class ParityReport:
    """The rows of a parity check, the example's own shape first; `passed` when no row fails and one at least ran."""

    rows: tuple[Parity, ...]
    reference: str  # "float64" or "eager"

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows) and any(row.status == SAME for row in self.rows)

    @property
    def failures(self) -> tuple[Parity, ...]:
        return tuple(row for row in self.rows if not row.passed)

    def __str__(self) -> str:
        ran = sum(row.status == SAME for row in self.rows)
        if self.passed:
            worst = max((row for row in self.rows if row.status == SAME), key=lambda row: row.max_rel)
            return f"same function at {ran} of {len(self.rows)} shapes tried; the worst is {worst}"
        if not self.failures:
            return "nothing was compared: the model itself refuses every shape"
        lines = [f"{len(self.failures)} of {len(self.rows)} shapes fail:", *map(str, self.failures[:_SHOWN])]
        more = len(self.failures) - _SHOWN
        return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)

    def table(self) -> Table:
        """The report for a terminal or a notebook."""
        from rich.table import Table

        table = Table("shapes", "verdict", "max abs", "max rel", "where", "eager rel", "allowed", title="Parity")
        for row in self.rows:
            said = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in row.shapes.items())
            compared = row.status in (SAME, DIFFERS)
            numbers = [f"{n:.1e}" for n in (row.max_abs, row.max_rel)] if compared else ["", ""]
            rest = [row.where, f"{row.eager_rel:.1e}", f"{row.tolerance:.1e}"] if compared else [row.reason, "", ""]
            color = "green" if row.status == SAME else "dim" if row.passed else "red"
            table.add_row(said, f"[{color}]{row.status}[/]", *numbers, *rest)
        return table


def max_error(model: torch.nn.Module, path: str | Path, inputs: Any) -> float:
    """The largest absolute difference between model and the ONNX file over all outputs, for these inputs.

    inputs: one tensor, a tuple, or a dict by input name; the model runs in evaluation mode, the file on the CPU.
    Raises ValueError when an output has another shape than the model's.
    """
    named = named_example(model, inputs)
    with evaluating(model):
        expected = _arrays(model(**named))
    got = run_session(open_session(path, "cpu"), named)
    worst = 0.0
    for at, (ours, theirs) in enumerate(zip(expected, got, strict=True)):
        if ours.shape != theirs.shape:
            raise ValueError(f"output {at} has shape {theirs.shape} in {Path(path).name}, {ours.shape} in the model")
        worst = max(worst, difference(ours, theirs).max_abs)
    return worst


def check_parity(
    model: torch.nn.Module,
    path: str | Path,
    example: Any,
    dynamic: Dynamic | None = None,
    *,
    shapes: Sequence[Shapes] | None = None,
    seed: int = 0,
) -> ParityReport:
    """Compares model and file at shapes on both sides of what could have been baked in, on fresh random inputs.

    shapes: those to try instead of `shapes_to_try(example, dynamic)`. The reference is a float64 copy of the model
    where it runs in float64, else eager PyTorch. Two draws at one shape are different: nothing captured from the
    example can pass.
    """
    named = named_example(model, example)
    checked = check_dynamic(dynamic, named)
    session = open_session(path, "cpu")
    generator = np.random.default_rng(seed)
    double = _double(model, named)
    tried = list(shapes) if shapes is not None else shapes_to_try(named, checked)
    with evaluating(model):
        rows = tuple(_parity(model, double, session, random_like(named, at, generator), at) for at in tried)
    return ParityReport(rows, reference="float64" if double is not None else "eager")


def compare_outputs(
    names: Sequence[str], expected: Sequence[np.ndarray], got: Sequence[np.ndarray]
) -> tuple[Difference, str]:
    """The largest relative difference over several outputs, and its place as "logits[3, 7]"."""
    worst, where = Difference(0.0, 0.0), ""
    for name, ours, theirs in zip(names, expected, got, strict=True):
        found = difference(ours, theirs)
        if not where or found.exceeds(worst):
            worst, where = found, f"{name}[{', '.join(map(str, found.where))}]" if found.where else name
    return worst, where


def difference(expected: np.ndarray, got: np.ndarray) -> Difference:
    """The largest difference of two arrays of one shape; infinite where only one of them is finite.

    >>> difference(np.array([2.0, 4.0]), np.array([2.0, 3.0]))
    Difference(max_abs=1.0, max_rel=0.25, where=(1,))
    """
    if expected.shape != got.shape:
        raise ValueError(f"expected shape {expected.shape}, got {got.shape}")
    if not expected.size:
        return Difference(0.0, 0.0)
    if expected.dtype == object:  # strings
        unequal = np.asarray(expected != got)
        place = tuple(int(n) for n in np.unravel_index(int(unequal.argmax()), unequal.shape))
        return Difference(float(unequal.max()), float(unequal.max()), place)
    ours, theirs = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours - theirs)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    gap = np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))
    place = tuple(int(n) for n in np.unravel_index(int(gap.argmax()), gap.shape))
    max_abs = float(gap.max())
    finite = np.abs(ours[np.isfinite(ours)])
    scale = float(finite.max()) if finite.size else 0.0
    return Difference(max_abs, max_abs / scale if scale else (np.inf if max_abs else 0.0), place)


def run_session(session: Session, inputs: Mapping[str, torch.Tensor]) -> list[np.ndarray]:
    """The outputs of a session; inputs that the graph does not have (it never read them) are left out."""
    known = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: _array(tensor) for name, tensor in inputs.items() if name in known}))


def _parity(
    model: torch.nn.Module,
    double: torch.nn.Module | None,
    session: Session,
    inputs: Mapping[str, torch.Tensor],
    shapes: Shapes,
) -> Parity:
    try:
        eager = _arrays(model(**inputs))
        reference = _arrays(double(**_doubled(inputs))) if double is not None else eager
    except Exception as error:  # whatever the model's code raises at a shape that it does not take
        return Parity(shapes, NOT_VALID, reason=_first_line(error))
    try:
        got = run_session(session, inputs)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return Parity(shapes, REFUSED, reason=_first_line(error))
    names = [value.name for value in session.get_outputs()]
    for name, ours, theirs in zip(names, reference, got, strict=True):
        if ours.shape != theirs.shape:
            return Parity(shapes, SHAPE, reason=f"{name} is {theirs.shape}, the model gives {ours.shape}")
    found, where = compare_outputs(names, reference, got)
    eager_rel = compare_outputs(names, reference, eager)[0].max_rel
    tolerance = max(_TOLERANCE.get(str(array.dtype), 0.0) for array in got) + _TIMES_EAGER * eager_rel
    status = SAME if found.max_rel <= tolerance else DIFFERS
    return Parity(shapes, status, found.max_abs, found.max_rel, where, eager_rel, tolerance)


def _double(model: torch.nn.Module, example: Mapping[str, torch.Tensor]) -> torch.nn.Module | None:
    """A float64 copy of the model in evaluation mode; None where it does not run in float64."""
    try:
        double = copy.deepcopy(model).double().eval()
        with evaluating(double):
            double(**_doubled(example))
    except Exception:  # a model that names a dtype of its own, or cannot be copied
        return None
    return double


def _doubled(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() if tensor.dtype.is_floating_point else tensor for name, tensor in inputs.items()}


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [_array(tensor) for tensor in named_outputs(outputs).values()]


def _array(tensor: torch.Tensor) -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu()
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    return f"{type(error).__name__}: {first[:200]}"
