"""Small ONNX models, made on the spot, and a stand-in for the builder where building is not the point."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from labkit.tensorrt.build import Built

PROFILE = {"x": ((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))}


def write_net(
    path: Path,
    *,
    batch: int | str = "N",
    channels: tuple[int, ...] = (3, 8, 8),
    seed: int = 0,
    external: str | None = None,
    size: int = 8,
) -> Path:
    """Conv-ReLU stages, a pool and a MatMul: x (batch, 3, size, size) -> y (batch, 10)."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for stage, (c_in, c_out) in enumerate(pairwise(channels)):
        scale = (9 * c_in) ** -0.5
        weights += [
            numpy_helper.from_array(rng.normal(0, scale, (c_out, c_in, 3, 3)).astype(np.float32), f"w{stage}"),
            numpy_helper.from_array(rng.normal(0, 0.1, c_out).astype(np.float32), f"b{stage}"),
        ]
        conv = helper.make_node("Conv", [last, f"w{stage}", f"b{stage}"], [f"c{stage}"], f"conv{stage}", pads=[1] * 4)
        nodes += [conv, helper.make_node("Relu", [f"c{stage}"], [f"r{stage}"], f"relu{stage}")]
        last = f"r{stage}"
    weights.append(numpy_helper.from_array(rng.normal(0, 1, (channels[-1], 10)).astype(np.float32), "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], "flatten"),
        helper.make_node("MatMul", ["features", "head"], ["y"], "matmul"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels[0], size, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])
    return save(path, nodes, [x], [y], weights, external=external)


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: Any = (),
    *,
    external: str | None = None,
) -> Path:
    graph = helper.make_graph(nodes, "net", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if external:
        (path.parent / external).unlink(missing_ok=True)  # onnx appends
        onnx.save_model(model, path, save_as_external_data=True, location=external, size_threshold=0)
    else:
        onnx.save_model(model, path)
    return path


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that no test writes to."""
    return write_net(tmp_path_factory.mktemp("net") / "net.onnx")


@pytest.fixture
def make_net(tmp_path: Path) -> Callable[..., Path]:
    return lambda name="net.onnx", **how: write_net(tmp_path / name, **how)


@pytest.fixture
def make_graph(tmp_path: Path) -> Callable[..., Path]:
    return lambda *parts, name="graph.onnx", **how: save(tmp_path / name, *parts, **how)


@pytest.fixture(scope="session")
def profile() -> dict[str, Any]:
    return dict(PROFILE)


@pytest.fixture
def fake_build(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the builder under the cache; the plan is its key, repeated. Returns the keys built so far."""
    built: list[str] = []

    def build(request: Any, on_progress: Any = None) -> Built:
        built.append(request.key)
        return Built(request.key.encode() * 10)

    monkeypatch.setattr("labkit.tensorrt.cache.build", build)
    return built
