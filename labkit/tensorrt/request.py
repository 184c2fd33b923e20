"""One request for a plan in one form, and its key: the digest of everything that the plan depends on.

A key that leaves one of these out serves a stale plan sooner or later (NVIDIA/TensorRT issue 564: a plan of another
GPU; 2072 and 2195: of another version). A file's name and its modification time are not among them.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

from labkit.tensorrt import calibration
from labkit.tensorrt.errors import BuildError
from labkit.tensorrt.flavours import Flavour, flavour
from labkit.tensorrt.model import ModelFile, read_model
from labkit.tensorrt.options import BuildOptions, PlanOptions
from labkit.tensorrt.profile import BOUNDS, Bounds, Profile, profile_for

# Raised whenever labkit builds another plan from the same request: other flags, another conversion.
BUILD_FORMAT = 1

# What rewrites the graph for fp16 and int8, and so is part of such a plan.
_CONVERTERS = ("onnx", "onnxruntime")


def plan_key(onnx_path: str | Path, profile: Profile | None = None, **options: Unpack[PlanOptions]) -> str:
    """SHA-256, in hex, of everything that `build_plan` with the same arguments depends on.

    It changes with the model's bytes (weights in other files included), every shape of the profile and its input
    names, precision, calibration data, targets, memory limit, the flavour and version of TensorRT, and the GPU where
    plans are bound to one. It does not change with the model's path or time, the order of inputs and targets, the
    type of the numbers, or a default that is written out. Nothing is built.

    Raises BuildError for what could not be built by any TensorRT: no model, an input that does not exist.
    """
    return PlanRequest.of(onnx_path, profile, **options).key


@dataclass(frozen=True)
class PlanRequest:
    """A model, a profile and options, each in its one form, and the TensorRT that is to build them."""

    model: ModelFile
    profile: dict[str, Bounds]
    options: BuildOptions
    flavour: Flavour

    @classmethod
    def of(cls, onnx_path: str | Path, profile: Profile | None = None, **options: Any) -> PlanRequest:
        """Reads the model and brings everything into one form; raises BuildError."""
        builder = flavour()
        wanted = BuildOptions.of(**options)
        model = read_model(onnx_path)
        _check_targets(wanted, builder)
        batches = calibration.batches_for(model, wanted.calibration)
        return cls(model, profile_for(model, profile), replace(wanted, calibration=batches), builder)

    @property
    def ingredients(self) -> dict[str, Any]:
        """Everything that the plan depends on, as plain data; what `difference` compares."""
        return {
            "labkit": BUILD_FORMAT,
            "model": {"graph": self.model.graph_sha256, "weights": self.model.weights_sha256},
            "profile": {
                name: dict(zip(BOUNDS, map(list, shapes), strict=True)) for name, shapes in self.profile.items()
            },
            "options": {
                "precision": self.options.precision,
                "targets": list(self.options.targets),
                "workspace_bytes": self.options.workspace_bytes,
                "calibration": calibration.digest(self.options.calibration),
            },
            "builder": {
                "flavour": self.flavour.name,
                "version": self.flavour.version,
                "gpu": self.flavour.device,
                "platform": f"{sys.platform} {platform.machine()}",
                "converters": self._converters,
            },
        }

    @property
    def key(self) -> str:
        return digest(self.ingredients)

    @property
    def _converters(self) -> dict[str, str] | None:
        return None if self.options.precision == "fp32" else {name: version(name) for name in _CONVERTERS}


def digest(ingredients: dict[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of its dicts."""
    canonical = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_targets(options: BuildOptions, builder: Flavour) -> None:
    unknown = [target for target in options.targets if target not in builder.known_targets]
    if not unknown:
        return
    if not builder.known_targets:
        reason = f"{builder} builds for the GPU that it runs on; targets are for TensorRT-RTX."
    else:
        reason = f"{builder} does not know the target {unknown[0]}; it knows {', '.join(builder.known_targets)}."
    raise BuildError("with these options", [reason])
