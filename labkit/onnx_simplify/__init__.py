"""Making an ONNX graph smaller without changing what it computes, and telling what each tool did to one.

    simpler = fuse_conv_bn(drop_identities(fold_constants(model)))      # ModelProto in, new ModelProto out
    simpler = simplify(model)                                           # the same, until nothing changes
    count_ops(simpler)                                                  # {"Conv": 3, "Relu": 2}
    print(simplify_report("model.onnx"))                                # beside onnxsim, onnxslim, ONNX Runtime
    print(graph_text(simpler))                                          # a line for each node

To write a pass of one's own: copy_of, graphs and subgraphs, run_node, rename, add_weight, delete_nodes, tidy.

The passes leave the model that they are given untouched, look into the graphs inside If, Loop and Scan, and change
nothing that they are not sure of: a weight that a caller may override (an initializer that is also a graph input), a
weight that was left in its external file, a value that somebody else reads, the body of a local function.
"""

from labkit.onnx_file import graphs, is_external, subgraphs
from labkit.onnx_simplify.conv_bn import fuse_conv_bn
from labkit.onnx_simplify.counting import count_ops, num_nodes, op_name
from labkit.onnx_simplify.diff import GraphDiff, graph_diff
from labkit.onnx_simplify.editing import (
    add_weight,
    all_names,
    array_of,
    attribute,
    copy_of,
    count_reads,
    delete_nodes,
    fresh_name,
    graphs_with_weights,
    rename,
    tidy,
)
from labkit.onnx_simplify.folding import fold_constants
from labkit.onnx_simplify.identities import drop_identities
from labkit.onnx_simplify.listing import graph_text
from labkit.onnx_simplify.report import Outcome, SimplifyReport, simplify_report
from labkit.onnx_simplify.resolving import resolve_types_and_sizes
from labkit.onnx_simplify.simplify import drop_dead_nodes, simplify
from labkit.onnx_simplify.single_node import RANDOM_OPS, run_node
from labkit.onnx_simplify.tools import TOOLS, ToolError

__all__ = [
    "RANDOM_OPS",
    "TOOLS",
    "GraphDiff",
    "Outcome",
    "SimplifyReport",
    "ToolError",
    "add_weight",
    "all_names",
    "array_of",
    "attribute",
    "copy_of",
    "count_ops",
    "count_reads",
    "delete_nodes",
    "drop_dead_nodes",
    "drop_identities",
    "fold_constants",
    "fresh_name",
    "fuse_conv_bn",
    "graph_diff",
    "graph_text",
    "graphs",
    "graphs_with_weights",
    "is_external",
    "num_nodes",
    "op_name",
    "rename",
    "resolve_types_and_sizes",
    "run_node",
    "simplify",
    "simplify_report",
    "subgraphs",
    "tidy",
]
