"""Small models as bytes, for the requests of plan_key: weights inside the file, and weights in files beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

WIDTH = 40  # of the weight matrices: two pages of bytes each, more than the beginning of a file


def weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The two matrices of the model."""
    return {name: rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in ("first", "second")}


def model_bytes(matrices: Mapping[str, np.ndarray], outside: Mapping[str, str] | None = None) -> bytes:
    """y = (a @ first + b) @ second, with a (N, WIDTH) and b (M, WIDTH), N and M dynamic.

    outside: the matrices that lie in other files -> the files' names.
    """
    from onnx import TensorProto, helper, numpy_helper

    stored = []
    for name, matrix in matrices.items():
        tensor = numpy_helper.from_array(matrix, name)
        if location := (outside or {}).get(name):
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            where: dict[str, Any] = {"location": location, "offset": 0, "length": matrix.nbytes}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
        stored.append(tensor)
    nodes = [
        helper.make_node("MatMul", ["a", "first"], ["hidden"]),
        helper.make_node("Add", ["hidden", "b"], ["shifted"]),
        helper.make_node("MatMul", ["shifted", "second"], ["y"]),
    ]
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in "aby")
    graph = helper.make_graph(nodes, "net", [a, b], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString(deterministic=True))


def changed_at(content: bytes, position: int) -> bytes:
    """The bytes with one bit of one byte turned."""
    spoiled = bytearray(content)
    spoiled[position] ^= 1
    return bytes(spoiled)
