"""Nodes by type: the first picture of any graph."""

from __future__ import annotations

from collections import Counter

import onnx

from labkit.onnx_file import graphs

STANDARD = ("", "ai.onnx")  # both spellings of the domain of the ONNX standard


def count_ops(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes by operator type, the commonest first; those inside If, Loop and Scan count too.

    An operator outside the ONNX standard carries its domain: "com.microsoft::FusedConv". A call of a local function
    is one node.

    >>> count_ops(onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 20]> g (float[2] x) => (float[2] y) '
    ...                                   '{ a = Relu(x) b = Relu(a) y = Exp(b) }'))
    {'Relu': 2, 'Exp': 1}
    """
    counts = Counter(op_name(node) for graph in graphs(model) for node in graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def num_nodes(model: onnx.ModelProto) -> int:
    """Nodes of a model, those inside If, Loop and Scan included."""
    return sum(len(graph.node) for graph in graphs(model))


def op_name(node: onnx.NodeProto) -> str:
    """The operator's type, with its domain where that is not the standard one."""
    return node.op_type if is_standard(node) else f"{node.domain}::{node.op_type}"


def short_name(op: str) -> str:
    """An operator's name without most of its domain: "com.microsoft.nchwc::Conv" is "Conv (nchwc)"."""
    domain, _, name = op.rpartition("::")
    return f"{name} ({domain.split('.')[-1]})" if domain else name


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether the operator is one of the ONNX standard."""
    return node.domain in STANDARD
