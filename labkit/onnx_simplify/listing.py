"""A graph as text that a person reads: a line for each node, weights by shape, graphs inside nodes indented."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from labkit.onnx_file import is_external, subgraphs
from labkit.onnx_simplify.counting import op_name
from labkit.onnx_simplify.editing import array_of

_FULL_ARRAY = 6  # entries; a larger weight is shown by its shape alone
_INDENT = "  "


def graph_text(model: onnx.ModelProto, max_lines: int | None = None) -> str:
    """The main graph as text: inputs and outputs, weights, then `output = Type[attribute=value](inputs)` per node.

    max_lines: with more, the middle is left out and its lines are counted.

    >>> print(graph_text(onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 20]> '
    ...     'g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {1.0, 2.0}> { a = Relu(x) y = Mul(a, w) }')))
    (float[n, 2] x) -> (float[n, 2] y)
      weight w: float[2] = [1, 2]
      a = Relu(x)
      y = Mul(a, w)
    """
    lines = list(_lines(model.graph, with_types=True))
    if max_lines is not None and len(lines) > max_lines:
        half = max_lines // 2
        lines[half : len(lines) - half] = [f"{_INDENT}… {len(lines) - 2 * half} more lines"]
    return "\n".join(lines)


def _lines(graph: onnx.GraphProto, with_types: bool) -> Iterator[str]:
    inputs, outputs = (", ".join(_value(each, with_types) for each in side) for side in (graph.input, graph.output))
    yield f"({inputs}) -> ({outputs})"
    listed = {value.name for value in graph.input}
    for tensor in graph.initializer:
        note = " (a caller may override it)" if tensor.name in listed else ""
        yield f"{_INDENT}weight {tensor.name}: {_tensor(tensor)}{note}"
    for node in graph.node:
        yield _INDENT + _node(node)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                first, *rest = _lines(inner, with_types=False)
                yield f"{2 * _INDENT}{attribute.name} {first}"
                yield from (2 * _INDENT + line for line in rest)


def _node(node: onnx.NodeProto) -> str:
    inside = [
        f"{each.name}={_attribute(each)}" for each in node.attribute if not (each.HasField("g") or len(each.graphs))
    ]
    settings = f"[{', '.join(inside)}]" if inside else ""
    holds = " holding:" if any(True for _ in subgraphs(node)) else ""
    outputs = ", ".join(name or "_" for name in node.output)
    return f"{outputs} = {op_name(node)}{settings}({', '.join(name or '_' for name in node.input)}){holds}"


def _attribute(attribute: onnx.AttributeProto) -> str:
    if attribute.HasField("t"):
        return _tensor(attribute.t)
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if isinstance(value, int) else str(list(value))


def _value(value: onnx.ValueInfoProto, with_types: bool) -> str:
    if not with_types or not value.type.HasField("tensor_type"):
        return value.name
    tensor = value.type.tensor_type
    sizes = (dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?") for dim in tensor.shape.dim)
    return f"{_kind(tensor.elem_type, *sizes)} {value.name}"


def _tensor(tensor: onnx.TensorProto) -> str:
    said = _kind(tensor.data_type, *tensor.dims)
    if is_external(tensor):
        return f"{said} in another file"
    array = array_of(tensor)
    if array.size > _FULL_ARRAY or array.dtype == np.object_:
        return said
    return f"{said} = {_entries(array.tolist())}"


def _entries(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_entries, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _kind(data_type: int, *sizes: object) -> str:
    """`float[n, 2]`; `float` alone for a scalar."""
    name = str(onnx.TensorProto.DataType.Name(data_type)).lower()
    return f"{name}[{', '.join(map(str, sizes))}]" if sizes else name
