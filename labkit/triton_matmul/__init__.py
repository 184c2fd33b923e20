"""A tiled matrix product in Triton: compiled on a GPU, interpreted (slowly, step by step) on any CPU."""

from labkit.triton_matmul.launch import TritonUnavailable, jit, matmul, unavailable_reason

__all__ = ["TritonUnavailable", "jit", "matmul", "unavailable_reason"]
