"""A convolution and the batch normalization behind it are one convolution with other weights.

With x = conv(input, W) + b and y = gamma * (x - mean) / sqrt(var + epsilon) + beta (Ioffe and Szegedy 2015,
arXiv 1502.03167, algorithm 2, at inference), y = conv(input, W') + b' where, for each output channel m,

    factor[m] = gamma[m] / sqrt(var[m] + epsilon)
    W'[m] = W[m] * factor[m]
    b'[m] = (b[m] - mean[m]) * factor[m] + beta[m]

Axes: M output channels, C input channels, G groups, K… kernel. A Conv's weight is (M, C/G, K…); a ConvTranspose's is
(C, M/G, K…), where output channel m belongs to group m // (M/G).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from labkit.onnx_simplify.counting import is_standard
from labkit.onnx_simplify.editing import (
    Scope,
    all_names,
    array_of,
    attribute,
    copy_of,
    count_reads,
    delete_nodes,
    fresh_name,
    tidy,
)


@dataclass(frozen=True)
class _Pair:
    conv: onnx.NodeProto
    norm: onnx.NodeProto
    norm_position: int
    weights: dict[str, np.ndarray]  # of the convolution that is both: weight, bias


def fuse_conv_bn(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model in which Conv and ConvTranspose have taken in the BatchNormalization behind them.

    A pair is fused when nobody else reads the convolution's output, the normalization is at inference, all their
    weights are known before the model runs, and the new weights are finite in the weights' own type. Weights that
    are shared with other nodes are not changed: the convolution gets weights of its own.
    """
    result = copy_of(model)
    _fuse(Scope.of(result), all_names(result))
    return tidy(result)


def _fuse(scope: Scope, taken: set[str]) -> None:
    while pairs := _pairs(scope, count_reads(scope.graph)):  # again: two normalizations may stand in a row
        for pair in pairs:
            for at, (role, array) in enumerate(pair.weights.items(), start=1):
                old = pair.conv.input[at] if at < len(pair.conv.input) else ""
                new = fresh_name(f"{old or pair.conv.output[0] + '.' + role}.fused", taken)
                scope.add_constant(numpy_helper.from_array(array, new))
                _set_input(pair.conv, at, new)
            pair.conv.output[0] = pair.norm.output[0]
        delete_nodes(scope.graph, [pair.norm_position for pair in pairs])
    for inner in scope.inner():
        _fuse(inner, taken)


def _pairs(scope: Scope, reads: Mapping[str, int]) -> list[_Pair]:
    convs = {
        node.output[0]: node
        for node in scope.graph.node
        if is_standard(node) and node.op_type in ("Conv", "ConvTranspose")
    }
    pairs = []
    for position, norm in enumerate(scope.graph.node):
        conv = convs.get(norm.input[0]) if norm.op_type == "BatchNormalization" and is_standard(norm) else None
        if conv is None or reads[norm.input[0]] > 1 or not _at_inference(norm, scope.opset, reads):
            continue
        weights = _fused_weights(conv, norm, scope)
        if weights is not None:
            pairs.append(_Pair(conv, norm, position, weights))
    return pairs


def _at_inference(norm: onnx.NodeProto, opset: int, reads: Mapping[str, int]) -> bool:
    """Whether a BatchNormalization uses the statistics that it is given, one of each per channel."""
    if any(reads.get(name) for name in norm.output[1:] if name):
        return False  # the statistics of the batch, which only training has
    if opset < 7 and not attribute(norm, "is_test", 0):
        return False
    return not attribute(norm, "training_mode", 0) and bool(attribute(norm, "spatial", 1))


def _fused_weights(conv: onnx.NodeProto, norm: onnx.NodeProto, scope: Scope) -> dict[str, np.ndarray] | None:
    """{"weight", "bias"} of the convolution that is both; None when one is not known or the product not finite."""
    conv_names = [name for name in conv.input[1:] if name]
    if any(name not in scope.constants for name in [*conv_names, *norm.input[1:5]]):
        return None
    weight, *biases = (array_of(scope.constants[name]) for name in conv_names)
    gamma, beta, mean, var = (array_of(scope.constants[name]).astype(np.float64) for name in norm.input[1:5])
    channels = weight.shape[0] if conv.op_type == "Conv" else weight.shape[1] * attribute(conv, "group", 1)
    if any(array.shape != (channels,) for array in (gamma, beta, mean, var)):
        return None
    with np.errstate(all="ignore"):  # what comes of a negative variance or of fp16's range is caught below
        factor = gamma / np.sqrt(var + attribute(norm, "epsilon", 1e-5))
        bias = biases[0].astype(np.float64) if biases else 0.0
        fused = {
            "weight": _scaled(conv, weight.astype(np.float64), factor).astype(weight.dtype),
            "bias": ((bias - mean) * factor + beta).astype(weight.dtype),
        }
    finite = all(np.isfinite(array.astype(np.float64)).all() for array in fused.values())
    return fused if finite else None


def _scaled(conv: onnx.NodeProto, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weight with each output channel multiplied by its factor. factor: (M,)."""
    if conv.op_type == "Conv":
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    groups = attribute(conv, "group", 1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])  # (G, C/G, M/G, K…)
    factor = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))  # (G, 1, M/G, 1…)
    return (grouped * factor).reshape(weight.shape)


def _set_input(node: onnx.NodeProto, at: int, name: str) -> None:
    while len(node.input) <= at:
        node.input.append("")
    node.input[at] = name
