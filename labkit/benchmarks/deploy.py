"""What a plan costs: built, found in the cache, and missed; and what precision and targets change in time and bytes."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from labkit.measure import Comparison, compare
from labkit.tensorrt import PlanCache, build_plan, plan_key

if TYPE_CHECKING:
    import numpy as np

SIZE = 32  # height and width of the images
PROFILE = {"x": ((1, 3, SIZE, SIZE), (8, 3, SIZE, SIZE), (64, 3, SIZE, SIZE))}


def run(quick: bool = False) -> Iterator[Table]:
    """Medians, and ratios to building the fp32 plan in the same run; `quick` takes a smaller model."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        path = _write_net(Path(folder) / "net.onnx", channels=(3, 32, 32) if quick else (3, *[256] * 6))
        repeats = 3 if quick else 7
        yield cache_table(path, Path(folder), repeats)
        yield option_table(path, repeats)


def cache_table(path: Path, folder: Path, repeats: int) -> Table:
    """Building a plan beside getting it from a cache that holds others too."""
    cache = PlanCache(folder / "plans")
    never_seen = itertools.count(9)  # PROFILE is tuned for 8
    for batch in itertools.islice(never_seen, 5):
        cache.get_or_build(path, _tuned_for(batch))
    cache.get_or_build(path, PROFILE)
    calls = {
        "build_plan": lambda: build_plan(path, PROFILE),
        "get_or_build, a miss (compare, build, store)": lambda: cache.get_or_build(path, _tuned_for(next(never_seen))),
        "explain a miss": lambda: cache.explain(path, _tuned_for(1)),
        "get_or_build, a hit": lambda: cache.get_or_build(path, PROFILE),
        "plan_key (its part of a hit)": lambda: plan_key(path, PROFILE),
    }
    compared = compare(calls, repeats=repeats, warmup=1)
    table = _table(f"One plan of a model of {path.stat().st_size / 1e6:.2f} MB, {len(cache.stored())} plans stored")
    for name in calls:
        table.add_row(name, *_cells(compared, name))
    return table


def option_table(path: Path, repeats: int) -> Table:
    """What an option changes in the time of a build and in the bytes of the plan."""
    import numpy as np

    images = np.random.default_rng(0).standard_normal((8, 3, SIZE, SIZE), np.float32)
    options: dict[str, dict[str, Any]] = {
        "fp32": {},
        "fp16 (converted, then built)": {"precision": "fp16"},
        "int8 (calibrated on 8 images, then built)": {"precision": "int8", "calibration": {"x": images}},
        "fp32 for SM86 only": {"targets": "SM86"},
        "fp32 for SM80, SM86, SM89, SM120": {"targets": ("SM80", "SM86", "SM89", "SM120")},
    }
    calls = {name: _builder(path, each) for name, each in options.items()}
    num_bytes = {name: len(call()) for name, call in calls.items()}
    compared = compare(calls, repeats=repeats, warmup=0)
    table = _table(
        f"What an option costs, and what it saves; the graph has {path.stat().st_size / 1e6:.2f} MB",
        "a plan holds the weights and compiled code; each place where types change adds code, so a small model's int8 "
        "plan is the larger one",
    )
    table.add_column("plan, MB", justify="right")
    table.add_column("bytes, ratio to fp32", justify="right")
    for name in calls:
        ratio = num_bytes[name] / num_bytes["fp32"]
        table.add_row(name, *_cells(compared, name), f"{num_bytes[name] / 1e6:.3f}", f"{ratio:.2f}")
    return table


def _builder(path: Path, options: dict[str, Any]) -> Any:
    return lambda: build_plan(path, PROFILE, **options)


def _tuned_for(batch: int) -> dict[str, Any]:
    """A request that differs from every other one in the shape that it is tuned for."""
    return {"x": (PROFILE["x"][0], (batch, 3, SIZE, SIZE), PROFILE["x"][2])}


def _table(title: str, note: str = "") -> Table:
    ratio = "time ratio: the median over rounds, each of which takes a sample of every call in turn"
    table = Table(title=title, caption=f"{ratio}\n{note}".strip())
    table.add_column("what")
    table.add_column("median, ms", justify="right")
    table.add_column("spread", justify="right")
    table.add_column("time, ratio to the first", justify="right")
    return table


def _cells(compared: Comparison, name: str) -> tuple[str, str, str]:
    timing = compared[name]
    return f"{timing.median_ms:,.2f}", f"{timing.spread:.0%}", f"{compared.ratios[name]:.4f}"


def _write_net(path: Path, channels: tuple[int, ...]) -> Path:
    """Convolutions with ReLU and a linear head, random weights."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for stage, (c_in, c_out) in enumerate(itertools.pairwise(channels)):
        weights.append(_weight(rng, f"w{stage}", (c_out, c_in, 3, 3)))
        nodes.append(helper.make_node("Conv", [last, f"w{stage}"], [f"c{stage}"], f"conv{stage}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{stage}"], [f"r{stage}"], f"relu{stage}"))
        last = f"r{stage}"
    weights.append(_weight(rng, "head", (channels[-1], 10)))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], "flatten"))
    nodes.append(helper.make_node("MatMul", ["features", "head"], ["y"], "matmul"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels[0], SIZE, SIZE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _weight(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(rng.standard_normal(shape, "float32") / (shape[1] * 3), name)
