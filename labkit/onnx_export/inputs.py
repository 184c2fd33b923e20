"""Example inputs by name, fresh random ones, and the shapes at which a parity check should look.

An *example* is what a model is called with: one tensor, a tuple of tensors, or a dict of tensors by the name of
the parameter of `forward`. *dynamic* says which of its dimensions may change: {input: {dim: name}}.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

if TYPE_CHECKING:
    import torch

Dynamic = Mapping[str, Mapping[int, str]]
Shapes = dict[str, tuple[int, ...]]


def named_example(model: torch.nn.Module, example: Any) -> dict[str, torch.Tensor]:
    """The example as {name of a parameter of forward: tensor}, in the order of the parameters.

    Raises ValueError for what is no model or no tensor, and for more tensors than forward takes.
    """
    import torch

    if not callable(getattr(model, "forward", None)):
        raise ValueError(f"the model is a {type(model).__name__}; give a torch.nn.Module")
    parameters = [
        name
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(example, torch.Tensor):
        example = (example,)
    if not isinstance(example, Mapping | list | tuple):
        raise ValueError(f"the example is a {type(example).__name__}; give a torch tensor, a tuple of them, or a dict")
    if not len(example):
        raise ValueError(
            f"the example is empty: give {type(model).__name__}.forward its inputs {', '.join(parameters)}"
        )
    if not isinstance(example, Mapping):
        if len(example) > len(parameters):
            raise ValueError(
                f"{type(model).__name__}.forward takes {len(parameters)} input(s) ({', '.join(parameters)}); "
                f"the example has {len(example)}"
            )
        example = dict(zip(parameters, example, strict=False))
    for name, tensor in example.items():
        if name not in parameters:
            raise ValueError(f"{type(model).__name__}.forward has no input {name!r}; it has {', '.join(parameters)}")
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"input {name!r} of the example is a {type(tensor).__name__}; give a torch tensor")
    return {name: example[name] for name in parameters if name in example}


def check_dynamic(dynamic: Dynamic | None, example: Mapping[str, torch.Tensor]) -> dict[str, dict[int, str]]:
    """A copy of `dynamic`, its dimensions counted from the front; ValueError for what the example does not have."""
    checked: dict[str, dict[int, str]] = {}
    for name, dims in (dynamic or {}).items():
        if name not in example:
            raise ValueError(f"dynamic names the input {name!r}; the inputs are {', '.join(example)}")
        rank = example[name].ndim
        for dim in dims:
            if not -rank <= dim < rank:
                raise ValueError(f"dynamic asks for dim {dim} of {name!r}, which has {rank} dims (0 to {rank - 1})")
        checked[name] = {dim % rank: dim_name for dim, dim_name in dims.items()}
    return checked


def shapes_to_try(example: Mapping[str, torch.Tensor], dynamic: Dynamic | None = None) -> list[Shapes]:
    """Shapes on both sides of what an export can have baked in, the example's own first.

    One dynamic dimension is moved at a time (all dims of the same name together), then all at once: to 1, 2 and 3,
    to just below and above the example's, to its half, its double and four times it. A size that was frozen, a
    branch on a size, and a size that must divide all show at one of them.
    """
    own: Shapes = {name: tuple(tensor.shape) for name, tensor in example.items()}
    sizes = {dim_name: own[name][dim] for name, dims in (dynamic or {}).items() for dim, dim_name in dims.items()}
    moves = [{dim_name: size} for dim_name, n in sizes.items() for size in sizes_around(n)]
    moves += [{dim_name: change(n) for dim_name, n in sizes.items()} for change in (lambda n: n + 1, lambda n: 2 * n)]
    tried = [own, *(_moved(own, dynamic or {}, move) for move in moves)]
    return [shapes for at, shapes in enumerate(tried) if shapes not in tried[:at]]


def sizes_around(size: int) -> list[int]:
    """Sizes on both sides of a dimension's own: sizes_around(8) is [1, 2, 3, 4, 7, 9, 16, 17, 32]."""
    around = {1, 2, 3, size // 2, size - 1, size + 1, 2 * size, 2 * size + 1, 4 * size}
    return sorted(n for n in around if n > 0 and n != size)


def random_like(
    example: Mapping[str, torch.Tensor], shapes: Shapes, generator: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Fresh tensors of the given shapes, in the example's types and value ranges.

    Whole numbers (token ids) are drawn between the example's smallest and largest; floats from a normal
    distribution of the example's spread, half a spread beside its mean, because zeros and repeats hide errors.
    """
    import torch

    drawn = {}
    for name, tensor in example.items():
        shape = shapes[name]
        values: np.ndarray
        if tensor.dtype == torch.bool:
            values = generator.integers(0, 2, shape)
        elif tensor.dtype.is_floating_point:
            known = tensor.detach().double()
            mean, spread = (float(known.mean()), float(known.std(correction=0))) if known.numel() else (0.0, 0.0)
            spread = spread or 1.0
            # Half a spread away from the example: a mean that was captured from it must not fit by chance.
            middle = mean + 0.5 * spread * generator.choice((-1.0, 1.0))
            values = middle + spread * generator.standard_normal(shape)
        else:
            low, high = (int(tensor.min()), int(tensor.max())) if tensor.numel() else (0, 1)
            values = generator.integers(low, high + 1, shape)
        drawn[name] = torch.as_tensor(np.asarray(values)).to(tensor.dtype)
    return drawn


def random_inputs(
    model: onnx.ModelProto, *, dims: Mapping[str, int] | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random arrays for the inputs that an ONNX model declares.

    dims: the size of each symbolic dimension by name ({"batch": 4}); 2 for those not named. Floats are normal,
    whole numbers 0 or 1 (a token id or an index that every table has), bools random.

    Raises ValueError for an input that is no tensor, and for a name in dims that the model does not have.
    """
    generator = np.random.default_rng(seed)
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialized]
    _check_dims(inputs, dims or {})
    return {value.name: _draw(value, dims or {}, generator) for value in inputs}


def _draw(value: onnx.ValueInfoProto, dims: Mapping[str, int], generator: np.random.Generator) -> np.ndarray:
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input {value.name!r} is a {value.type.WhichOneof('value')}, not a tensor: give it yourself")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise ValueError(f"input {value.name!r} declares no shape at all: give it yourself")
    shape = [_size(dim, dims) for dim in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype == np.bool_ or np.issubdtype(dtype, np.integer):
        return np.asarray(generator.integers(0, 2, shape)).astype(dtype)
    if dtype == np.object_:
        return np.full(shape, "a", dtype=object)
    return np.asarray(generator.standard_normal(shape)).astype(dtype)


def _size(dim: onnx.TensorShapeProto.Dimension, dims: Mapping[str, int]) -> int:
    return int(dim.dim_value) if dim.HasField("dim_value") else dims.get(dim.dim_param, 2)


def _check_dims(inputs: Sequence[onnx.ValueInfoProto], dims: Mapping[str, int]) -> None:
    symbolic = {dim.dim_param for value in inputs for dim in value.type.tensor_type.shape.dim if dim.dim_param}
    for name in dims:
        if name not in symbolic:
            known = ", ".join(sorted(symbolic)) or "none: every size is fixed"
            raise ValueError(f"the model has no symbolic dimension {name!r}; it has {known}")


def _moved(own: Shapes, dynamic: Dynamic, sizes: Mapping[str, int]) -> Shapes:
    return {
        name: tuple(sizes.get(dynamic.get(name, {}).get(dim, ""), size) for dim, size in enumerate(shape))
        for name, shape in own.items()
    }
