"""Optimization profiles: which shapes a plan must serve, and which of them it is tuned for.

A profile gives every dynamic input three shapes: {"x": (min, opt, max)}. What TensorRT itself refuses with a
reason is left to it (lab 04 reads those reasons); refused here is what it would take without a word.
"""

from collections.abc import Iterable, Mapping, Sequence

from labkit.quantities import Number, QuantityError, parse_whole_number, whole_number
from labkit.tensorrt.errors import BuildError
from labkit.tensorrt.model import ModelFile, ModelInput

Shape = tuple[int, ...]
Bounds = tuple[Shape, Shape, Shape]
Profile = Mapping[str, Sequence[Sequence[Number]]]
BOUNDS = ("min", "opt", "max")
MAX_RANK = 8
MAX_SIZE = 2**63 - 1


def canonical_profile(profile: Profile | None) -> dict[str, Bounds]:
    """The same profile as tuples of ints, inputs in the order of their names.

    >>> canonical_profile({"x": [[1, 3], (8, 3), (64, 3)]})
    {'x': ((1, 3), (8, 3), (64, 3))}

    Raises BuildError for anything but three shapes of whole numbers, none negative.
    """
    return {str(name): _bounds(str(name), shapes) for name, shapes in sorted((profile or {}).items())}


def profile_for(model: ModelFile, profile: Profile | None) -> dict[str, Bounds]:
    """A profile with only what the model leaves open: a static input that is given its own shape is dropped.

    TensorRT writes other bytes for a static input that is stated than for one that is left out, although the plan
    does the same; without this, two spellings of one request would be two plans.

    Raises BuildError for an input that the model does not have: TensorRT would ignore it, a typo included.
    """
    bounds = canonical_profile(profile)
    inputs = {each.name: each for each in model.inputs}
    if unknown := [name for name in bounds if name not in inputs]:
        raise BuildError(
            f"from {model.name}",
            [f"the profile names {_quoted(unknown)}, but the inputs of the model are {_quoted(inputs) or 'none'}."],
        )
    return {name: shapes for name, shapes in bounds.items() if not _only_restates(inputs[name], shapes)}


def profile_example(model: ModelFile) -> str:
    """A profile that the model could take, with its own names and fixed sizes; empty where nothing is free.

    >>> from pathlib import Path
    >>> x = ModelInput("x", "float32", (None, 3))
    >>> profile_example(ModelFile(Path("net.onnx"), b"", (x,), "", {}))
    "for example profile={'x': ((1, 3), (8, 3), (64, 3))}, in a shell --profile x=1x3,8x3,64x3; choose the free sizes."
    """
    free = {each.name: each.shape for each in model.inputs if each.shape and None in each.shape}
    if not free:
        return ""
    profile = {name: tuple(_filled(shape, at) for at in range(3)) for name, shape in free.items()}
    flags = (f"--profile {name}={','.join(map(format_shape, shapes))}" for name, shapes in profile.items())
    return f"for example profile={profile}, in a shell {' '.join(flags)}; choose the free sizes."


def _filled(shape: Sequence[int | None], at: int) -> Shape:
    """min, opt or max: batches of 1, 8, 64, and sizes of images or sequences behind them."""
    sizes = [(1, 8, 64)[at], *[(32, 64, 128)[at]] * (len(shape) - 1)]
    return tuple(free if size is None else size for size, free in zip(shape, sizes, strict=True))


def parse_profile(text: str) -> tuple[str, Bounds]:
    """One input's bounds as they stand on a command line.

    >>> parse_profile("x=1x3x32x32,8x3x32x32,64x3x32x32")
    ('x', ((1, 3, 32, 32), (8, 3, 32, 32), (64, 3, 32, 32)))
    >>> parse_profile("x=4x3")                                  # one shape stands for all three
    ('x', ((4, 3), (4, 3), (4, 3)))

    Raises ValueError.
    """
    name, _, shapes = text.rpartition("=")
    parts = shapes.split(",")
    if not name or len(parts) not in (1, 3):
        raise ValueError(f"expected INPUT=MIN,OPT,MAX like x=1x3x32x32,8x3x32x32,64x3x32x32, got {text!r}")
    low, opt, high = (_parse_shape(part, text) for part in (parts * 3 if len(parts) == 1 else parts))
    return name, (low, opt, high)


def format_shape(shape: Iterable[int | None]) -> str:
    """(8, 3, 32, 32) -> "8x3x32x32", a free size as "?"; a scalar's () -> "scalar", as trtexec says it."""
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _bounds(name: str, shapes: Sequence[Sequence[Number]]) -> Bounds:
    try:
        low, opt, high = (tuple(whole_number(size, "a size", at_least=0) for size in shape) for shape in shapes)
        _check_limits((low, opt, high))
    except QuantityError as error:
        raise BuildError(f"with this profile of {name!r}", [str(error)]) from error
    except (TypeError, ValueError):
        raise BuildError(
            f"with this profile of {name!r}",
            [f"expected (min, opt, max) like ((1, 3), (8, 3), (64, 3)), got {shapes!r}."],
        ) from None
    return low, opt, high


def _check_limits(bounds: Bounds) -> None:
    """What TensorRT's own shapes cannot hold: its bindings would say so in C++ types."""
    if any(len(shape) > MAX_RANK for shape in bounds):
        raise QuantityError(f"a shape has at most {MAX_RANK} sizes in TensorRT, got {max(map(len, bounds))}.")
    if (largest := max((size for shape in bounds for size in shape), default=0)) > MAX_SIZE:
        raise QuantityError(f"a size is at most {MAX_SIZE:,} in TensorRT, got {largest:,}.")


def _only_restates(given: ModelInput, shapes: Bounds) -> bool:
    # The bounds of a shape tensor are values, not a shape: (2,) may mean "the value 2".
    return not given.may_be_shape and all(shape == given.shape for shape in shapes)


def _parse_shape(text: str, whole: str) -> Shape:
    try:
        return tuple(parse_whole_number(size, "a size", at_least=0) for size in text.lower().split("x"))
    except QuantityError as error:
        raise ValueError(f"{str(error).rstrip('.')}, in {whole!r}") from None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
