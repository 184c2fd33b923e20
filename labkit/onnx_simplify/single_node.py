"""Running one node alone, by the reference implementation that comes with the ONNX standard."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from labkit.onnx_file import subgraphs
from labkit.onnx_simplify.counting import is_standard

# Another value every time they run: what they give is never known beforehand.
RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def run_node(
    node: onnx.NodeProto, values: Mapping[str, np.ndarray], model: onnx.ModelProto
) -> dict[str, np.ndarray] | None:
    """What one node gives for these inputs, as {output name: array}; None where that cannot be told here.

    values: arrays by name, of the node's inputs at least. model: whose operator versions count. It cannot be told
    for an operator outside the standard or without a reference implementation, for inputs that the operator does not
    take, for a node that holds graphs, and for outputs that are no tensors.

    >>> text = '<ir_version: 9, opset_import: ["": 20]> g () => (float[2] y) { y = Add(a, b) }'
    >>> model = onnx.parser.parse_model(text)
    >>> run_node(model.graph.node[0], {"a": np.array([1., 2.]), "b": np.array([3.])}, model)
    {'y': array([4., 5.])}
    """
    if not is_standard(node) or any(True for _ in subgraphs(node)):
        return None
    feeds = {name: np.asarray(values[name]) for name in node.input if name}
    names = [name for name in node.output if name]
    graph = onnx.helper.make_graph(
        [node],
        "one node",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in names],
    )
    alone = onnx.helper.make_model(graph, opset_imports=list(model.opset_import))
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(alone).run(None, feeds)
    except Exception:  # the reference implementations raise what they like
        return None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}
