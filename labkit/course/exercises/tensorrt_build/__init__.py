"""Lab 04: TensorRT plans built ahead of time: profiles, precision, targets, and a cache that is never stale."""

from labkit.course.exercises.tensorrt_build.cache_banks import plan_cache
from labkit.course.exercises.tensorrt_build.key_banks import plan_key
from labkit.course.exercises.tensorrt_build.profile_problems import profile_problems
from labkit.course.exercises.tensorrt_build.trtexec_command import trtexec_command
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="04_tensorrt_build",
    title="TensorRT plans and their cache",
    minutes=105,
    summary="build plans with no GPU, read the builder's reasons, and write a key and a cache that never serve stale",
    needs="lab 02, or what an ONNX file is; hashing and files in Python",
    hardware="any laptop with Linux or Windows; a GPU adds running the plans",
    version=2,
    exercises=(profile_problems, trtexec_command, plan_key, plan_cache),
)
