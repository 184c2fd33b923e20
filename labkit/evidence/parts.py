"""The parts of `make gpu`: everything of tier gpu, which lab it belongs to, and how its figures are told."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part; `labkit.evidence.<name>` has its `run(place)`. `told` is filled with the figures."""

    name: str
    lab: str
    title: str
    told: str
    limit_s: float = 180

    def sentence(self, figures: Mapping[str, float | str]) -> str:
        """The figures in words."""
        return self.told.format_map(figures)


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part(
            "matmul",
            "01_gemm_im2col",
            "the tiled product in Triton, against cuBLAS and the roofline",
            "{size:.0f}³ in fp16: the tiled product {triton_tflops_per_s:.0f} TFLOP/s, cuBLAS "
            "{cublas_tflops_per_s:.0f}, so {share_of_cublas:.0%} of cuBLAS and "
            "{share_of_roof:.0%} of the measured roof",
        ),
        Part(
            "attention",
            "05_token_attention",
            "allocator and gather attention in one kernel, on the device",
            "{num_requests:.0f} requests, {num_tokens:.0f} tokens scattered by the allocator: one kernel "
            "{kernel_ms:.3f} ms, gather and then attend {gather_ms:.3f} ms; keys and values read at "
            "{kernel_gb_per_s:.0f} GB/s of {copy_gb_per_s:.0f}",
        ),
        Part(
            "provider",
            "02_onnx_export",
            "ONNX Runtime's CUDA provider against its CPU provider",
            "batch {batch:.0f} on {provider}: {device_ms:.2f} ms, on the CPU {cpu_ms:.2f} ms, largest difference "
            "{max_error:.1e} of the output's scale",
        ),
        Part(
            "plans",
            "04_tensorrt_build",
            "TensorRT plans: built, run, compared with ONNX Runtime and timed",
            "{flavour}: fp32 plan {fp32_ms:.3f} ms, fp16 plan {fp16_ms:.3f} ms at batch {batch:.0f}, largest "
            "differences {fp32_max_error:.1e} and {fp16_max_error:.1e} of the output's scale",
        ),
        Part(
            "zero",
            "07_zero_memory",
            "one training step of FSDP2 on the device, its bytes against the formula",
            "{num_params:.0f} parameters, {ranks:.0f} rank: states by formula {formula_bytes:.0f} bytes, held "
            "{observed_bytes:.0f}, the device's own count {allocated_bytes:.0f}",
        ),
        Part(
            "distillation",
            "08_distillation",
            "a teacher and its students trained on the device, and what the teacher is worth there",
            "a teacher trained in {teacher_s:.1f} s ({teacher_cpu_s:.1f} s on that machine's CPU), "
            "{teacher_accuracy:.1%} right; {students:.0f} students on 50 labelled images in {students_s:.1f} s "
            "({students_cpu_s:.1f} s): {labels_only_accuracy:.1%} by labels, {distilled_accuracy:.1%} by the teacher, "
            "{gain_points:+.1f} points ({cpu_gain_points:+.1f} on the CPU)",
        ),
    )
}


def parts_of(lab: str) -> list[Part]:
    """The parts that belong to a lab."""
    return [part for part in PARTS.values() if part.lab == lab]
