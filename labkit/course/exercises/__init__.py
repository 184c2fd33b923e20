"""The labs of the course, by name; each lab's package is imported on first use."""

from functools import cache
from importlib import import_module

from labkit.course.exercise import Exercise
from labkit.course.lab_spec import LabSpec

# lab -> package that declares it as LAB. The order is the order of the course.
PACKAGES: dict[str, str] = {
    "00_start_here": "start_here",
    "01_gemm_im2col": "gemm_im2col",
    "02_onnx_export": "onnx_export",
    "03_onnx_simplify": "onnx_simplify",
    "04_tensorrt_build": "tensorrt_build",
    "05_token_attention": "token_attention",
    "06_efficient_router": "efficient_router",
    "07_zero_memory": "zero_memory",
    "08_distillation": "distillation",
}


@cache
def lab_spec(lab: str) -> LabSpec:
    """The declaration of a lab.

    Raises:
        KeyError: no lab has that name; the message lists those that exist.
    """
    if lab not in PACKAGES:
        raise KeyError(f"no lab {lab!r}; the labs are: {', '.join(PACKAGES)}")
    spec: LabSpec = import_module(f"labkit.course.exercises.{PACKAGES[lab]}").LAB
    return spec


def all_labs() -> tuple[LabSpec, ...]:
    """Every lab, in the order of the course."""
    return tuple(lab_spec(lab) for lab in PACKAGES)


def exercise(lab: str, name: str) -> Exercise:
    """One exercise of one lab.

    >>> exercise("01_gemm_im2col", "gemm_flops").judge(lambda m, n, k: 2 * m * n * k).passed
    True
    """
    return lab_spec(lab).exercise(name)
