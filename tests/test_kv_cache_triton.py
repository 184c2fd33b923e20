"""The Triton kernel under its interpreter, and compiled ahead of time for GPUs that are not here.

Each runs in a process of its own: whether kernels are interpreted is decided when Triton is imported.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed (it comes for Linux on x86-64)"
)

SAME_AS_NUMPY = """
import numpy as np, torch
from labkit.kv_cache import TokenAllocator, TokenTable, alloc_any, token_attention
from labkit.kv_cache import triton_attention as gpu

rng = np.random.default_rng(0)
num_slots = 400
for num_heads, head_size, num_tokens in ((3, 40, 200), (1, 64, 1), (2, 16, 64), (4, 8, 65)):
    shape = (num_slots, num_heads, head_size)
    q = rng.standard_normal(shape[1:], np.float32) * 8
    k_cache, v_cache = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    slots = rng.permutation(num_slots)[:num_tokens]
    unread = np.setdiff1d(np.arange(num_slots), slots)
    k_cache[unread] = v_cache[unread] = np.nan
    expected = token_attention(q, k_cache, v_cache, slots)
    out = gpu.token_attention(*(torch.from_numpy(array) for array in (q, k_cache, v_cache, slots)))
    np.testing.assert_allclose(out, expected, rtol=2e-4, atol=2e-5)

# A batch of unequal lengths, read from a table whose rows are longer than the requests.
table = TokenTable(4, 150, TokenAllocator(num_slots), take=alloc_any)
rows = [table.start(length) for length in (130, 1, 70)]
shape = (num_slots, 2, 16)
q = rng.standard_normal((3, 2, 16)).astype(np.float16)
k_cache, v_cache = rng.standard_normal(shape).astype(np.float16), rng.standard_normal(shape).astype(np.float16)
out = gpu.batch_attention(*(torch.from_numpy(array) for array in (q, k_cache, v_cache, *table.batch(rows))))
assert out.dtype == torch.float16
for i, row in enumerate(rows):
    np.testing.assert_allclose(out[i], token_attention(q[i], k_cache, v_cache, table.slots(row)), rtol=2e-3, atol=1e-3)
print("same")
"""

COMPILES = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from labkit.kv_cache.triton_attention import TILE_TOKENS, gather_attention_kernel

constants = {"HEAD_SIZE": 80, "HEAD_TILE": 128, "TOKEN_TILE": TILE_TOKENS}
types = {name: "constexpr" for name in constants} | {"scale": "fp32", "max_len": "i32", "num_heads": "i32"}
types |= {"table_pointer": "*i32", "lengths_pointer": "*i32"}
types |= {name: "*fp16" for name in ("q_pointer", "k_pointer", "v_pointer", "out_pointer")}
types = {name: types[name] for name in gather_attention_kernel.arg_names}
compiled = triton.compile(ASTSource(gather_attention_kernel, types, constants), target=GPUTarget("cuda", 80, 32))
assert ".target sm_80" in compiled.asm["ptx"]
assert compiled.asm["cubin"]
print("compiled")

import torch  # and on the CPU that is here, it says what to do
from labkit.kv_cache.triton_attention import token_attention
token_attention(torch.zeros(1, 16), torch.zeros(4, 1, 16), torch.zeros(4, 1, 16), torch.tensor([0]))
"""


def run_alone(script: str, cache_dir: os.PathLike, interpret: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(cache_dir)} | ({"TRITON_INTERPRET": "1"} if interpret else {})
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_the_kernel_equals_numpy_under_the_interpreter(tmp_path) -> None:
    done = run_alone(SAME_AS_NUMPY, tmp_path, interpret=True)
    assert done.stdout == "same\n", done.stderr


def test_the_kernel_compiles_for_a_gpu_that_is_not_here_and_says_how_to_run_without(tmp_path) -> None:
    done = run_alone(COMPILES, tmp_path, interpret=False)
    assert done.stdout == "compiled\n", done.stderr
    assert "set TRITON_INTERPRET=1 before Python starts" in done.stderr


def test_without_triton_the_error_names_the_way_round(tmp_path) -> None:
    script = "import sys; sys.modules['triton'] = None; import labkit.kv_cache.triton_attention"
    done = run_alone(script, tmp_path, interpret=False)
    assert "labkit.kv_cache.token_attention computes the same with NumPy" in done.stderr


def test_the_package_itself_is_light(tmp_path) -> None:
    script = "import sys, labkit.kv_cache; print({'torch', 'triton', 'matplotlib', 'rich'} & set(sys.modules))"
    assert run_alone(script, tmp_path, interpret=False).stdout == "set()\n"
