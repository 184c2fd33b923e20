"""TensorRT plans: built from ONNX with no GPU, kept in a cache that is never stale, run where a GPU is.

from labkit.tensorrt import PlanCache, build_plan, plan_key, trtexec_command

profile = {"x": ((1, 3, 32, 32), (8, 3, 32, 32), (64, 3, 32, 32))}       # min, opt, max
plan = build_plan("net.onnx", profile, precision="fp16", targets=("SM86",))
"""

from labkit.tensorrt.build import build_plan
from labkit.tensorrt.cache import PlanCache, Served, StoredPlan
from labkit.tensorrt.differences import difference
from labkit.tensorrt.errors import (
    ADVICE,
    BuildError,
    BuildWarning,
    CacheError,
    CacheWarning,
    GpuMissing,
    TensorrtMissing,
)
from labkit.tensorrt.flavours import Flavour, flavour
from labkit.tensorrt.old_calls import OLD_CALLS, OldCall
from labkit.tensorrt.options import PlanOptions, Precision
from labkit.tensorrt.precision import convert_precision
from labkit.tensorrt.profile import Profile, canonical_profile, parse_profile
from labkit.tensorrt.progress import BuildProgress
from labkit.tensorrt.request import PlanRequest, plan_key
from labkit.tensorrt.run import PlanRunner
from labkit.tensorrt.trtexec import converted_path, trtexec_command

__all__ = [
    "ADVICE",
    "OLD_CALLS",
    "BuildError",
    "BuildProgress",
    "BuildWarning",
    "CacheError",
    "CacheWarning",
    "Flavour",
    "GpuMissing",
    "OldCall",
    "PlanCache",
    "PlanOptions",
    "PlanRequest",
    "PlanRunner",
    "Precision",
    "Profile",
    "Served",
    "StoredPlan",
    "TensorrtMissing",
    "build_plan",
    "canonical_profile",
    "convert_precision",
    "converted_path",
    "difference",
    "flavour",
    "parse_profile",
    "plan_key",
    "trtexec_command",
]
