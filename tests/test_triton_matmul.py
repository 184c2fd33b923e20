"""triton_matmul: right when interpreted, compiled for GPUs that are not here, a sentence where it cannot run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.gemm import ShapeError
from labkit.triton_matmul import TritonUnavailable, jit, launch, matmul, unavailable_reason

needs_triton = pytest.mark.skipif(unavailable_reason() is not None, reason=str(unavailable_reason()))
needs_gpu = pytest.mark.gpu  # compiled Triton kernels need one to run
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")  # tl.dot is not what it is about

lengths = st.integers(1, 70)
tiles = st.tuples(*[st.sampled_from([16, 32, 64])] * 3)


def whole_numbers(rows: int, columns: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Small whole numbers: their products and sums are exact, also in 16 bits as long as they stay small."""
    return torch.randint(-2, 3, (rows, columns), generator=torch.Generator().manual_seed(seed)).to(dtype)


@needs_triton
@settings(max_examples=25, deadline=None)
@given(lengths, lengths, lengths, tiles, st.sampled_from([torch.float32, torch.float16]))
@example(48, 32, 64, (16, 16, 16), torch.float32)  # no partial tile
@example(17, 33, 65, (16, 32, 64), torch.float16)  # one more than a tile on every axis
@example(1, 1, 1, (64, 64, 64), torch.float32)
@example(16 * 11, 40, 5, (16, 16, 16), torch.float32)  # 11 rows of tiles: a group of 8 and one of 3
def test_interpreted_it_is_matmul(m: int, n: int, k: int, tile: tuple[int, int, int], dtype: torch.dtype) -> None:
    a, b = whole_numbers(m, k, dtype, 1), whole_numbers(k, n, dtype, 2)
    expected = (a.double() @ b.double()).to(dtype)
    torch.testing.assert_close(matmul(a, b, tile=tile, interpret=True), expected, rtol=0, atol=0)


@needs_triton
def test_any_strides() -> None:
    a, b = whole_numbers(40, 66, torch.float32, 1).T, whole_numbers(80, 50, torch.float32, 2)[::2, 10:]
    torch.testing.assert_close(matmul(a, b), a @ b, rtol=0, atol=0)


@needs_triton
def test_what_lies_beyond_the_edges_does_not_count() -> None:
    a, b = (torch.full((64, 64), torch.nan) for _ in "ab")
    a[:20, :33], b[:33, :40] = whole_numbers(20, 33, a.dtype, 1), whole_numbers(33, 40, b.dtype, 2)
    product = matmul(a[:20, :33], b[:33, :40], tile=(32, 32, 16))
    torch.testing.assert_close(product, a[:20, :33] @ b[:33, :40], rtol=0, atol=0)


@needs_triton
def test_bfloat16_sums_in_float32() -> None:
    # in bfloat16 a sum of ones stops at 256, where the next number is 258
    a, b = torch.ones(2, 600, dtype=torch.bfloat16), torch.ones(600, 2, dtype=torch.bfloat16)
    assert matmul(a, b).unique().tolist() == [600.0]
    a, b = torch.randn(2, 33, 33, generator=torch.Generator().manual_seed(0)).bfloat16()
    torch.testing.assert_close(matmul(a, b), (a.double() @ b.double()).bfloat16(), rtol=2**-7, atol=2**-7)


@needs_triton
def test_empty_matrices() -> None:
    assert matmul(torch.ones(0, 3), torch.ones(3, 4)).shape == (0, 4)
    torch.testing.assert_close(matmul(torch.ones(2, 0), torch.ones(0, 3)), torch.zeros(2, 3))


@needs_triton
@pytest.mark.parametrize("environment", [{}, {"TRITON_INTERPRET": "1"}])
def test_it_can_be_interpreted_though_triton_was_imported_before(environment: dict[str, str]) -> None:
    source = (
        "import os, torch, triton; before = dict(os.environ)\n"
        "from labkit.triton_matmul import matmul\n"
        "assert matmul(torch.ones(20, 20), torch.ones(20, 20)).unique().tolist() == [20.0]\n"
        "assert dict(os.environ) == before, 'the environment was changed'\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", source], check=True, env=clean | environment)


@needs_triton
def test_jit_chooses_whatever_the_environment_says() -> None:
    import triton
    from triton.runtime.interpreter import InterpretedFunction

    before = triton.knobs.runtime.interpret
    assert isinstance(jit(_doubled, interpret=True), InterpretedFunction)
    assert isinstance(jit(_doubled, interpret=False), triton.JITFunction)
    assert triton.knobs.runtime.interpret == before


@needs_triton
@pytest.mark.parametrize("stages_and_warps", [launch.CONFIGS[0][1:], launch.CONFIGS[1][1:]])
@pytest.mark.parametrize(
    ("capability", "instruction", "shared_kib"), [(80, "mma.sync", 163), (90, "wgmma.mma_async", 227)]
)
def test_the_large_tiles_compile_for_tensor_cores(
    capability: int, instruction: str, shared_kib: int, stages_and_warps: tuple[int, int], tmp_path: Path
) -> None:
    """Without a GPU the kernel cannot be timed, but its machine code can be looked at."""
    stages, warps = stages_and_warps
    binary = _compile(capability, (128, 256, 64), stages, warps, tmp_path)
    assert instruction in binary.asm["ptx"]
    assert "cp.async.cg.shared.global" in binary.asm["ptx"]  # 16 bytes a load, while the last tile is being multiplied
    assert binary.metadata.shared <= shared_kib * 1024


@needs_triton
def test_a_consumer_card_has_room_for_what_the_comment_says(tmp_path: Path) -> None:
    for tile, stages, warps in launch.CONFIGS[1:3]:
        assert _compile(86, tile, stages, warps, tmp_path).metadata.shared <= 99 * 1024


@needs_triton
def test_the_autotuned_kernel_knows_every_config_and_key() -> None:
    kernel = launch._kernel(interpret=False, autotuned=True)
    assert len(kernel.configs) == len(launch.CONFIGS)
    assert set(kernel.keys) <= set(kernel.arg_names)


@needs_triton
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(512, 512, 512), (257, 129, 65)])
def test_compiled_it_is_matmul(dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = whole_numbers(m, k, dtype, 1).cuda(), whole_numbers(k, n, dtype, 2).cuda()
    torch.testing.assert_close(matmul(a, b), a @ b, rtol=0, atol=0)
    torch.testing.assert_close(matmul(a, b, tile=(64, 64, 32)), a @ b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(2, 3), torch.ones(2, 3)), ShapeError, r"one k, got \(2, 3\) and \(2, 3\)"),
        ((torch.ones(3), torch.ones(3)), ShapeError, r"a \(m, k\) and b \(k, n\)"),
        ((torch.ones(2, 2), torch.ones(2, 2).half()), ValueError, "one type on one device, got torch.float32 on cpu"),
        ((torch.ones(2, 2).double(),) * 2, ValueError, "expected float16, bfloat16, float32, got torch.float64"),
        ((torch.ones(1, 1).expand(50_000, 1), torch.ones(1, 1).expand(1, 50_000)), ValueError, "multiply it in parts"),
    ],
)
def test_errors_say_what_was_expected_and_what_came(
    arguments: tuple[torch.Tensor, torch.Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        matmul(*arguments)


@needs_triton
def test_a_tile_that_the_kernel_cannot_take() -> None:
    for tile in [(8, 16, 16), (16, 48, 16), (16, 16)]:
        with pytest.raises(ShapeError, match=r"powers of two from 16, got .*; matrices may have any size"):
            matmul(torch.ones(2, 2), torch.ones(2, 2), tile=tile)


def test_a_compiled_kernel_without_a_gpu_is_a_sentence() -> None:
    with pytest.raises(TritonUnavailable, match=r"these are on cpu; move them with \.cuda\(\), or pass interpret=True"):
        matmul(torch.ones(2, 2), torch.ones(2, 2), interpret=False)


def test_missing_triton_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr(launch, "_kernel", launch._kernel.__wrapped__)
    reason = unavailable_reason()
    assert reason is not None
    assert "Triton cannot be imported here" in reason
    assert "`pip install triton`" in reason
    assert "labkit.gemm.blocked_gemm" in reason
    for call in (lambda: matmul(torch.ones(2, 2), torch.ones(2, 2)), lambda: jit(_doubled, interpret=True)):
        with pytest.raises(TritonUnavailable, match="Triton cannot be imported here"):
            call()


def _doubled(x):
    return x + x


def _compile(capability: int, tile: tuple[int, int, int], stages: int, warps: int, cache: Path):
    """The float16 kernel for row-major matrices, compiled for a GPU of this compute capability."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from labkit.triton_matmul.kernel import matmul_program

    function = jit(matmul_program, interpret=False)
    constants = launch._blocks(tile) | {"EVEN_K": True, "UPCAST": False}
    constants |= {"stride_ak": 1, "stride_bn": 1, "stride_cn": 1}
    pointers = dict.fromkeys("abc", "*fp16")
    types = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in function.arg_names}
    place = {name: (position,) for position, name in enumerate(function.arg_names)}
    source = ASTSource(
        function,
        types,
        constexprs={place[name]: value for name, value in constants.items()},
        attrs={place[name]: [["tt.divisibility", 16]] for name in types if name not in constants},
    )
    with triton.knobs.cache.scope():
        triton.knobs.cache.dir = str(cache)
        target = GPUTarget("cuda", capability, 32)
        return triton.compile(source, target=target, options={"num_stages": stages, "num_warps": warps})
