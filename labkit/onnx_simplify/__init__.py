"""Making an ONNX graph smaller without changing what it computes, and telling what each tool did to one.

    simpler = fuse_conv_bn(drop_identities(fold_constants(model)))      # ModelProto in, new ModelProto out
    simpler = simplify(model)                                           # the same, until nothing changes
    count_ops(simpler)                                                  # {"Conv": 3, "Relu": 2}
    print(simplify_report("model.onnx"))                                # beside onnxsim, onnxslim, ONNX Runtime

The passes leave the model that they are given untouched, look into the graphs inside If, Loop and Scan, and change
nothing that they are not sure of: a weight that a caller may override (an initializer that is also a graph input), a
weight that was left in its external file, a value that somebody else reads, the body of a local function.
"""

from labkit.onnx_simplify.conv_bn import fuse_conv_bn
from labkit.onnx_simplify.counting import count_ops, num_nodes
from labkit.onnx_simplify.diff import GraphDiff, graph_diff
from labkit.onnx_simplify.folding import fold_constants
from labkit.onnx_simplify.identities import drop_identities
from labkit.onnx_simplify.report import Outcome, SimplifyReport, simplify_report
from labkit.onnx_simplify.simplify import drop_dead_nodes, simplify
from labkit.onnx_simplify.tools import TOOLS, ToolError

__all__ = [
    "TOOLS",
    "GraphDiff",
    "Outcome",
    "SimplifyReport",
    "ToolError",
    "count_ops",
    "drop_dead_nodes",
    "drop_identities",
    "fold_constants",
    "fuse_conv_bn",
    "graph_diff",
    "num_nodes",
    "simplify",
    "simplify_report",
]
