"""Transformer arithmetic: parameters, FLOPs, activations and KV cache, exactly.

The formulas need nothing but Python. `labkit.transformer.models` and `labkit.transformer.measured` build
the same transformers on PyTorch's meta device and count there what the formulas say.

Not in here: biases in some layers only, heads whose size is not hidden / heads, mixtures of experts.
"""

from labkit.quantities import QuantityError
from labkit.transformer.activations import (
    SavedTensor,
    activation_bytes,
    saved_outside_layers,
    saved_tensors,
)
from labkit.transformer.flops import RECOMPUTE, transformer_flops
from labkit.transformer.kv_cache import kv_cache_bytes
from labkit.transformer.parameters import transformer_params
from labkit.transformer.shape import PRESETS, TransformerShape, find_shape

__all__ = [
    "PRESETS",
    "RECOMPUTE",
    "QuantityError",
    "SavedTensor",
    "TransformerShape",
    "activation_bytes",
    "find_shape",
    "kv_cache_bytes",
    "saved_outside_layers",
    "saved_tensors",
    "transformer_flops",
    "transformer_params",
]
