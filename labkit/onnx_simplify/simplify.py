"""The passes together, until nothing changes any more."""

from __future__ import annotations

import onnx

from labkit.onnx_file import graphs, subgraphs
from labkit.onnx_simplify.conv_bn import fuse_conv_bn
from labkit.onnx_simplify.counting import num_nodes
from labkit.onnx_simplify.editing import copy_of, count_reads, delete_nodes, tidy
from labkit.onnx_simplify.folding import fold_constants
from labkit.onnx_simplify.identities import drop_identities


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model after fold_constants, drop_identities, fuse_conv_bn and drop_dead_nodes, until none finds work."""
    before = -1
    while before != num_nodes(model):
        before = num_nodes(model)
        model = drop_dead_nodes(fuse_conv_bn(drop_identities(fold_constants(model))))
    return model


def drop_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model without the nodes whose outputs nobody reads, and without those that only they read."""
    result = copy_of(model)
    for graph in graphs(result):
        reads = count_reads(graph)
        dead = []
        for position in range(len(graph.node) - 1, -1, -1):  # readers stand behind what they read
            node = graph.node[position]
            if any(reads[name] for name in node.output if name):
                continue
            dead.append(position)
            for name in node.input:
                reads[name] -= 1
            for inner in subgraphs(node):
                reads.subtract(count_reads(inner))
        delete_nodes(graph, dead)
    return tidy(result)
