"""torch.onnx.export with readable names, its warnings kept, its noise not, and what it froze said aloud."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from labkit.onnx_export.inputs import Dynamic, check_dynamic, named_example
from labkit.onnx_export.operator_tables import kept_tables
from labkit.onnx_file import ONE_FILE_BYTES, load_model, move_model

if TYPE_CHECKING:
    import onnx
    import torch

# What both exporters say on every run, whatever the model: about themselves, not about what was exported.
_NOISE = (
    "LeafSpec",
    "legacy TorchScript-based ONNX export",
    "The feature will be removed",
    "shares the same shape constraints with another axis",
)


# Where the exporter says, at every export, that torchvision's operators are missing. Nothing here has any.
_NOISY_LOGGER = "torch.onnx._internal.exporter._registration"


class ExportError(RuntimeError):
    """The exporter could not follow a model; the message holds the first reason it gave."""


class FrozenDimensionWarning(UserWarning):
    """A dimension that was asked to be dynamic has a fixed size in the graph."""


class NarrowedDimensionWarning(UserWarning):
    """The exporter knows that its graph holds for some sizes only, and the file does not say so."""


@dataclass(frozen=True)
class Exported:
    """What an export did.

    frozen: {dimension asked to be dynamic: the size it has in the graph}, as "x, dim 0 (batch)".
    ranges: {name of a dimension: (lowest, highest size)} where the exporter found a bound; None is no bound.
    warnings: what the exporter said about this model, its noise left out.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    elapsed_ms: float
    frozen: Mapping[str, int] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.path.name}: {', '.join(self.inputs)} -> {', '.join(self.outputs)}, opset {self.opset}"]
        lines += [f"frozen: {dim} is {size} for ever" for dim, size in self.frozen.items()]
        lines += [f"holds only for {_said_range(name, *bound)}" for name, bound in self.ranges.items()]
        lines += [f"the exporter warns: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def export_onnx(
    model: torch.nn.Module,
    example: Any,
    path: str | Path,
    dynamic: Dynamic | None = None,
    *,
    outputs: Sequence[str] | None = None,
    exporter: str = "dynamo",
    optimize: bool = True,
    opset: int | None = None,
) -> Exported:
    """Writes model, in evaluation mode, to an ONNX file; the model itself keeps its mode.

    example: one tensor, a tuple, or a dict by input name. dynamic: {input: {dim: name}}, as
    {"x": {0: "batch", 2: "height"}}; a dim that carries one name in two inputs has the same size in both.
    outputs: their names; else the keys of the dict that the model returns, else "output" or "output_0", …
    exporter: "dynamo" (torch.export, the current one) or "torchscript" (tracing, the old one, to compare with).
    optimize: whether the current exporter simplifies its graph. opset: None is the exporter's choice.

    Weights of more than 1.9 GB go to `NAME.data` beside the file. The file appears whole or not at all.

    Raises ValueError for an example or `dynamic` that do not fit the model, ExportError when the exporter gives up and
    where the file cannot be written.
    Warns (and keeps in the result) when a dimension was frozen or its sizes were narrowed.
    """
    import onnx

    if exporter not in ("dynamo", "torchscript"):
        raise ValueError(f"exporter is 'dynamo' or 'torchscript'; got {exporter!r}")
    named = named_example(model, example)
    checked = check_dynamic(dynamic, named)
    path = Path(path)
    with evaluating(model), _said_if_unwritable(path), _new_folder(path) as folder:
        names = list(outputs or named_outputs(model(**named)))
        partial = Path(folder) / path.name
        started = perf_counter()
        with _quiet() as said:
            write = _write_dynamo if exporter == "dynamo" else _write_torchscript
            ranges = write(model, named, partial, checked, names, opset, optimize)
        elapsed_ms = 1000 * (perf_counter() - started)
        graph = load_model(partial, weights=False)
        move_model(partial, path)
    exported = Exported(
        path=path,
        inputs=tuple(value.name for value in graph.graph.input),
        outputs=tuple(value.name for value in graph.graph.output),
        opset=next(known.version for known in graph.opset_import if known.domain in ("", onnx.defs.ONNX_DOMAIN)),
        elapsed_ms=elapsed_ms,
        frozen=_frozen(graph, checked),
        ranges=ranges,
        warnings=tuple(dict.fromkeys(said)),
    )
    _warn(exported)
    return exported


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[str]:
    """A folder beside path, on the same disk, that is gone afterwards; refused where the file could not stand."""
    if path.is_dir():
        raise ExportError(f"{path} is a folder: name the .onnx file to write in it")
    if not path.parent.is_dir():
        raise ExportError(f"there is no folder {path.parent} to write {path.name} to: make it first")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        yield folder


@contextlib.contextmanager
def _said_if_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}; nothing was left there") from error


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients; every submodule gets its own mode back."""
    import torch

    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def named_outputs(outputs: Any, name: str = "output") -> dict[str, torch.Tensor]:
    """What a model returned as {readable name: tensor}, in the order of the graph's outputs.

    A dict's keys are the names; a tuple's elements are numbered: (a, b) -> output_0, output_1.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        return {name: outputs}
    if isinstance(outputs, Mapping):
        parts = {str(key) if name == "output" else f"{name}_{key}": part for key, part in outputs.items()}
    elif isinstance(outputs, tuple | list):
        parts = {f"{name}_{at}": part for at, part in enumerate(outputs)}
    else:
        return {}  # None and plain numbers are no outputs of the graph
    return {said: tensor for key, part in parts.items() for said, tensor in named_outputs(part, key).items()}


def _write_dynamo(
    model: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    path: Path,
    dynamic: dict[str, dict[int, str]],
    outputs: list[str],
    opset: int | None,
    optimize: bool,
) -> dict[str, tuple[int, int | None]]:
    import torch

    dynamic_shapes = {name: dynamic.get(name) for name in example} if dynamic else None
    try:
        with kept_tables():
            program = torch.onnx.export(
                model,
                (),
                kwargs=dict(example),
                input_names=list(example),
                output_names=outputs,
                dynamic_shapes=dynamic_shapes,
                opset_version=opset,
                optimize=optimize,
                verbose=False,
            )
    except OSError:
        raise  # of the disk's, not of the model's
    except Exception as error:  # the exporter wraps whatever the model's code raised
        raise ExportError(f"torch.export cannot follow {type(model).__name__}: {_reason(error)}") from error
    assert program is not None
    program.save(path, external_data=_weight_bytes(model) > ONE_FILE_BYTES)
    return _ranges(program, example, dynamic)


def _write_torchscript(
    model: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    path: Path,
    dynamic: dict[str, dict[int, str]],
    outputs: list[str],
    opset: int | None,
    optimize: bool,
) -> dict[str, tuple[int, int | None]]:
    import torch

    try:
        with _silent_descriptors():
            torch.onnx.export(
                model,
                tuple(example.values()),
                str(path),
                input_names=list(example),
                output_names=outputs,
                dynamic_axes=dynamic,
                opset_version=opset,
                do_constant_folding=optimize,
                dynamo=False,
            )
    except OSError:
        raise
    except Exception as error:
        raise ExportError(f"tracing cannot follow {type(model).__name__}: {_reason(error)}") from error
    return {}  # a trace knows nothing about sizes


def _ranges(
    program: Any, example: Mapping[str, torch.Tensor], dynamic: Mapping[str, Mapping[int, str]]
) -> dict[str, tuple[int, int | None]]:
    """The bounds that torch.export found for the dimensions, by the names they were given.

    A lower bound of up to 2 says nothing: torch.export assumes at least that for every size.
    """
    exported = program.exported_program
    ranges: dict[str, tuple[int, int | None]] = {}
    placeholders = [node for node in exported.graph.nodes if node.op == "placeholder"]
    values = {node.name: node.meta.get("val") for node in placeholders}
    by_symbol = {str(symbol): bound for symbol, bound in exported.range_constraints.items()}
    for name, dims in dynamic.items():
        shape = getattr(values.get(name), "shape", ())
        for dim, dim_name in dims.items():
            bound = by_symbol.get(str(shape[dim])) if dim < len(shape) else None
            if bound is not None:
                lowest, highest = int(bound.lower), _finite(bound.upper)
                if lowest > 2 or highest is not None:
                    ranges[dim_name] = (lowest, highest)
    return ranges


def _finite(bound: Any) -> int | None:
    """A bound as an int, or None where torch.export has none (it writes int_oo)."""
    try:
        return int(bound) if int(bound) < 2**62 else None
    except (TypeError, OverflowError, ValueError, AttributeError):
        return None


def _frozen(graph: onnx.ModelProto, dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, int]:
    dims = {value.name: value.type.tensor_type.shape.dim for value in graph.graph.input}
    return {
        f"{name}, dim {dim} ({dim_name})": dims[name][dim].dim_value
        for name, wanted in dynamic.items()
        for dim, dim_name in wanted.items()
        if name in dims and dims[name][dim].HasField("dim_value")
    }


def _warn(exported: Exported) -> None:
    for dim, size in exported.frozen.items():
        warnings.warn(
            f"{dim} was asked to be dynamic and is {size} in {exported.path.name}: the model turns it into a Python "
            f"number, or the example's size is 1 or 0, which torch.export takes for a constant",
            FrozenDimensionWarning,
            stacklevel=3,
        )
    for name, bound in exported.ranges.items():
        warnings.warn(
            f"the graph in {exported.path.name} holds only for {_said_range(name, *bound)}: the model's Python code "
            "decided something by the example's size, and nothing in the file says so",
            NarrowedDimensionWarning,
            stacklevel=3,
        )


def _said_range(name: str, lowest: int, highest: int | None) -> str:
    if highest is None:
        return f"{name} >= {lowest}"
    return f"{name} <= {highest}" if lowest <= 2 else f"{lowest} <= {name} <= {highest}"


def _weight_bytes(model: torch.nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])


def _reason(error: BaseException) -> str:
    """The innermost cause on one line, and what to try, without the exporter's advice around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    fixed = re.findall(r"inferred a static shape of (\d+) for dimension inputs\['(\w+)'\]\.shape\[(\d+)\]", text)
    if fixed:
        dims = ", ".join(f"dim {dim} of {name!r} is {size}" for size, name, dim in fixed)
        return (
            f"asked to be dynamic, but fixed by the model: {dims}. Mend the model where a weight or a Python number "
            "has that size, or do not ask for these dims"
        )
    return f"{type(error).__name__}: {text[:400]}"


def quiet_exporter() -> None:
    """For the rest of this process `torch.onnx.export` says nothing about itself; what it says of a model stays."""
    logging.getLogger(_NOISY_LOGGER).setLevel(logging.ERROR)
    for noise in _NOISE:
        warnings.filterwarnings("ignore", message=f".*{re.escape(noise)}")


@contextlib.contextmanager
def _silent_descriptors() -> Iterator[None]:
    """What C++ code prints past Python goes nowhere: the tracer prints the whole graph before it raises."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


@contextlib.contextmanager
def _quiet() -> Iterator[list[str]]:
    """Collects the exporter's warnings about the model; its prints and its log lines go nowhere."""
    loggers = [logging.getLogger("torch"), logging.getLogger("onnxscript"), logging.getLogger("onnx_ir")]
    levels = [logger.level for logger in loggers]
    said: list[str] = []
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("always")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield said
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            messages = (" ".join(str(warning.message).split()) for warning in caught)
            said += [message for message in messages if not any(noise in message for noise in _NOISE)]
