"""What one may ask of a build, in one form: defaults written out, targets sorted, arrays as the model takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from labkit.quantities import Number, QuantityError, whole_number
from labkit.tensorrt.errors import BuildError

if TYPE_CHECKING:
    import numpy as np

    Batch = Mapping[str, np.ndarray]

Precision = Literal["fp32", "fp16", "int8"]

# What people ask for in the words of an older TensorRT -> the word here.
_FORMER = {
    "fp16": "precision='fp16'",
    "int8": "precision='int8'",
    "max_workspace_size": "workspace_bytes",
    "workspace": "workspace_bytes",
    "target": "targets",
    "calibrator": "calibration",
    "calib": "calibration",
}


class PlanOptions(TypedDict, total=False):
    """The keywords that build_plan, plan_key, PlanCache and trtexec_command share.

    precision: "fp32" builds the graph as it stands; "fp16" converts it; "int8" puts Q/DQ nodes into it.
    targets: compute capabilities, like ("SM86", "SM89"); () is TensorRT-RTX's default, 8.0 and later.
    workspace_bytes: scratch memory that a layer may use; None is the builder's default.
    calibration: batches {input: array} for int8, none for a graph that carries Q/DQ nodes already.
    """

    precision: Precision
    targets: str | Sequence[str]
    workspace_bytes: Number | None
    calibration: Batch | Sequence[Batch] | None


@dataclass(frozen=True)
class BuildOptions:
    """The options of one build in one form."""

    precision: Precision = "fp32"
    targets: tuple[str, ...] = ()
    workspace_bytes: int | None = None
    calibration: tuple[Batch, ...] = ()

    @classmethod
    def of(cls, **options: Any) -> BuildOptions:
        """Accepts what PlanOptions names, in any spelling; raises BuildError for the rest."""
        if unknown := next((name for name in options if name not in cls.__dataclass_fields__), None):
            instead = _FORMER.get(unknown)
            hint = f"write {instead}" if instead else f"there are {', '.join(cls.__dataclass_fields__)}"
            raise BuildError("with these options", [f"there is no option {unknown!r}: {hint}."])
        given = cls(**{name: value for name, value in options.items() if value is not None})
        return cls(
            _precision(given.precision),
            _targets(given.targets),
            _workspace(given.workspace_bytes),
            _batches(given.calibration, given.precision),
        )


def _precision(value: str) -> Precision:
    if value not in get_args(Precision):
        raise BuildError(
            "with these options", [f"precision is one of {', '.join(get_args(Precision))}, got {value!r}."]
        )
    return value  # type: ignore[return-value]


def _targets(value: str | Iterable[str]) -> tuple[str, ...]:
    """("sm_89", "8.6", "SM86") -> ("SM86", "SM89"): a set, so its order and repetitions say nothing."""
    texts = [value] if isinstance(value, str) else list(map(str, value))
    found = [re.fullmatch(r"(?:sm_?)?(\d+)\.?(\d)", text.strip(), re.IGNORECASE) for text in texts]
    if None in found:
        bad = texts[found.index(None)]
        raise BuildError("with these options", [f"a target is a compute capability like SM86 (or 8.6), got {bad!r}."])
    return tuple(f"SM{number}" for number in sorted({int(match[1] + match[2]) for match in found if match}))


def _workspace(value: Number | None) -> int | None:
    try:
        return None if value is None else whole_number(value, "workspace_bytes", at_least=1)
    except QuantityError as error:
        raise BuildError("with these options", [str(error)]) from error


def _batches(value: Any, precision: str) -> tuple[Batch, ...]:
    batches = (value,) if isinstance(value, Mapping) else value
    if not isinstance(batches, Sequence) or not all(isinstance(batch, Mapping) for batch in batches):
        raise BuildError(
            "with these options",
            [
                "calibration is a batch {input: array} or a list of them, "
                f"got {type(value).__name__} (a generator can be read only once: make a list of it)."
            ],
        )
    if batches and precision != "int8":
        raise BuildError("with these options", [f"calibration is for precision='int8', not for {precision!r}."])
    return tuple(batches)
