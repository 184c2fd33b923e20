"""The same build as a command line, for a machine that has NVIDIA's tools and no Python."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from labkit.tensorrt.options import BuildOptions, PlanOptions
from labkit.tensorrt.profile import BOUNDS, Bounds, Profile, canonical_profile, format_shape

MIB = 2**20


def trtexec_command(
    onnx_path: str | Path, plan_path: str | Path, profile: Profile | None = None, **options: Unpack[PlanOptions]
) -> list[str]:
    """The command, as arguments, that builds the same plan; nothing is run, and no TensorRT is needed.

    >>> trtexec_command("net.onnx", "net.plan", {"x": ((1, 3), (8, 3), (64, 3))})[:3]
    ['trtexec', '--onnx=net.onnx', '--saveEngine=net.plan']
    >>> trtexec_command("net.onnx", "net.plan", {"x": ((1, 3), (8, 3), (64, 3))})[3:]
    ['--skipInference', '--minShapes=x:1x3', '--optShapes=x:8x3', '--maxShapes=x:64x3']

    With targets the tool is `tensorrt_rtx`, which has trtexec's flags and --computeCapabilities. No flag says fp16 or
    int8 any more: the command names the converted graph (`converted_path`), which `convert_precision` writes.

    Raises BuildError for options or a profile that make no sense; the model is not read.
    """
    wanted = BuildOptions.of(**options)
    return [
        "tensorrt_rtx" if wanted.targets else "trtexec",
        f"--onnx={converted_path(onnx_path, wanted.precision)}",
        f"--saveEngine={os.fspath(plan_path)}",
        "--skipInference",
        *_shapes(canonical_profile(profile)),
        *([f"--memPoolSize=workspace:{_pool_size(wanted.workspace_bytes)}"] if wanted.workspace_bytes else []),
        *([f"--computeCapabilities={_capabilities(wanted.targets)}"] if wanted.targets else []),
    ]


def converted_path(onnx_path: str | Path, precision: str) -> str:
    """Where the graph of that precision is expected: net.onnx, net.fp16.onnx, net.int8.onnx."""
    path = Path(onnx_path)
    return str(path if precision == "fp32" else path.with_suffix(f".{precision}.onnx"))


def _shapes(profile: Mapping[str, Bounds]) -> list[str]:
    if not profile:
        return []
    named = {_quoted(name): shapes for name, shapes in profile.items()}
    return [
        f"--{bound}Shapes=" + ",".join(f"{name}:{format_shape(shapes[index])}" for name, shapes in named.items())
        for index, bound in enumerate(BOUNDS)
    ]


def _quoted(name: str) -> str:
    # trtexec splits at these unless the name stands in single quotes (part of the argument, not of the shell).
    return f"'{name}'" if set(name) & set(":,") else name


def _pool_size(num_bytes: int) -> str:
    # Without a suffix the number counts MiB.
    return str(num_bytes // MIB) if num_bytes % MIB == 0 else f"{num_bytes}B"


def _capabilities(targets: tuple[str, ...]) -> str:
    return ",".join(target.removeprefix("SM") for target in targets)
