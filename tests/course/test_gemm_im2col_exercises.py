"""Lab 01's checks: their oracles against torch, labkit's own functions through them, and what a learner reads.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from labkit import gemm
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.gemm_im2col import LAB
from labkit.course.exercises.gemm_im2col.numbers import eighths
from labkit.course.exercises.gemm_im2col.watched import Ledger, Watched, watch

SEEDS = (0, 1, 2, 3, 4)
NAMES = (
    "gemm_flops",
    "gemm_min_bytes",
    "conv_output_size",
    "im2col",
    "conv2d_gemm",
    "col2im",
    "blocked_gemm",
    "blocked_traffic_bytes",
    "attainable_flops",
)


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


def all_cases(name: str) -> list[Case]:
    return [case for seed in SEEDS[:3] for case in exercise(name).make_cases(seed)]


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    assert LAB.points == 21


@pytest.mark.parametrize("name", NAMES)
def test_labkits_own_function_passes(name: str) -> None:
    for seed in SEEDS:
        verdict = exercise(name).judge(getattr(gemm, name), seed=seed)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    verdict = exercise(name).judge(stub)
    assert not verdict.passed
    assert str(verdict).startswith(f"○ {name}: not written yet: write {name}")
    assert all(finding.misconception is None for finding in verdict.findings)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = exercise(name).wrong_answers, exercise(name).right_answers
    assert len({each.name for each in wrong}) == len(wrong) >= 8
    assert len({each.name for each in right}) == len(right) >= 3


def test_a_verdict_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from labkit.course.exercises.gemm_im2col import LAB;"
        "verdicts = [each.judge(lambda *args: args[0]) for each in LAB.exercises];"
        "assert not any(verdict.passed for verdict in verdicts); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the oracles against torch ----------------------------------------------------------------------------


def judged_right(name: str, case: Case, value: object) -> None:
    assert exercise(name).judge_case(case, value) is None, f"{name}: {case.name}: {case.given()}"


def test_im2col_is_judged_like_torchs_unfold() -> None:
    for case in all_cases("im2col"):
        x, *window = case.args
        judged_right(
            "im2col", case, torch.nn.functional.unfold(torch.from_numpy(x.copy()), *unfold_order(window)).numpy()
        )


def test_col2im_is_judged_like_torchs_fold() -> None:
    for case in all_cases("col2im"):
        cols, size, *window = case.args
        value = torch.nn.functional.fold(torch.from_numpy(cols), size, *unfold_order(window))
        judged_right("col2im", case, value.numpy())


def test_conv2d_gemm_is_judged_like_torchs_conv2d() -> None:
    for case in all_cases("conv2d_gemm"):
        tensors = [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in case.args]
        judged_right("conv2d_gemm", case, torch.nn.functional.conv2d(*tensors).numpy())


def test_conv_output_size_is_judged_like_torchs_convolution_layer() -> None:
    for case in all_cases("conv_output_size"):
        size, kernel, stride, padding, dilation = (*case.args, *(1, 0, 1)[len(case.args) - 2 :])
        conv = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation, device="meta")
        judged_right("conv_output_size", case, conv(torch.empty(1, 1, size, device="meta")).shape[-1])


def test_gemm_flops_is_judged_like_torchs_flop_counter() -> None:
    for case in all_cases("gemm_flops"):
        m, n, k = case.args
        with FlopCounterMode(display=False) as counter:
            _ = torch.empty(m, k, device="meta") @ torch.empty(k, n, device="meta")
        judged_right("gemm_flops", case, counter.get_total_flops())


def test_attainable_flops_is_judged_right_on_both_sides_of_the_ridge() -> None:
    for case in all_cases("attainable_flops"):
        intensity, peak, bandwidth = case.args
        judged_right("attainable_flops", case, peak if intensity >= peak / bandwidth else intensity * bandwidth)


def test_one_block_for_everything_moves_the_least() -> None:
    for m, n, k, itemsize in (case.args for case in all_cases("gemm_min_bytes")):
        as_traffic = Case("one block", (m, n, k, max(m, n, k), itemsize))
        judged_right("blocked_traffic_bytes", as_traffic, gemm.gemm_min_bytes(m, n, k, itemsize))


def unfold_order(window: list) -> list:
    """kernel, stride, padding, dilation in the order of torch's unfold and fold."""
    kernel, stride, padding, dilation = (*window, *(1, 0, 1)[len(window) - 1 :])
    return [kernel, dilation, padding, stride]


def test_the_cases_cover_what_they_should() -> None:
    for name, first in (("im2col", 1), ("col2im", 2), ("conv2d_gemm", 3)):
        windows = [case.args[first:] for case in all_cases(name)]
        values = [value for window in windows for value in window]
        assert any(isinstance(value, int) for value in values), name
        assert any(isinstance(value, tuple) and value[0] != value[1] for value in values), name
        assert len({len(window) for window in windows}) >= 3, f"{name}: defaults left out in several ways"
        assert {case.args[0].dtype.name for case in all_cases(name)} == {"float32", "float64"}


def test_random_numbers_add_up_exactly_in_any_order() -> None:
    rng = np.random.default_rng(0)
    a, b = eighths(rng, 64, dtype=np.float32), eighths(rng, 64, dtype=np.float32)
    forwards, backwards = np.float32(0), np.float32(0)
    for x, y in zip(a, b, strict=True):
        forwards += x * y
    for x, y in zip(a[::-1], b[::-1], strict=True):
        backwards += x * y
    assert forwards == backwards == np.dot(a.astype(np.float64), b.astype(np.float64))
    assert 0 not in a


# --- what a learner reads ---------------------------------------------------------------------------------
# Written as a learner would, differently from the wrong answers that they behave like.


def read(name: str, candidate: object, seed: int = 0) -> str:
    verdict = exercise(name).judge(candidate, seed=seed)
    assert not verdict.passed
    return str(verdict)


def test_a_float_is_no_count() -> None:
    text = read("gemm_flops", lambda m, n, k: float(2 * m * n * k))
    assert "came      2.0 (float): a count is a whole number, an int" in text
    assert "*counted in floats*" in text


def test_a_bool_is_no_count() -> None:
    assert "not a number" in read("gemm_flops", lambda m, n, k: True)


def test_multiplies_without_adds() -> None:
    text = read("gemm_flops", lambda m, n, k: math.prod((m, n, k)))
    assert "*multiplies only*: each of the m·n·k terms is a multiply and an add" in text


def test_a_result_that_is_never_written() -> None:
    text = read("gemm_min_bytes", lambda m, n, k, itemsize: itemsize * k * (m + n))
    assert "*result forgotten*: the result has to be written to memory too" in text


def test_an_output_size_rounded_up() -> None:
    def conv_output_size(size, kernel, stride=1, padding=0, dilation=1):
        return -(-(size + 2 * padding - dilation * (kernel - 1) - 1) // stride) + 1

    text = read("conv_output_size", conv_output_size)
    assert "case      stride 2, one element left over" in text
    assert "given     size = 8; kernel = 3; stride = 2" in text
    assert "*rounded up*: a window that does not fit wholly is not a position" in text


def learners_im2col(x, kernel, stride=1, padding=0, dilation=1, order="ckl", dtype=None, one_side=False):
    """Entry by entry, as nobody's bank does it."""

    def two(value):
        return value if isinstance(value, tuple) else (value, value)

    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(two, (kernel, stride, padding, dilation))
    batch, channels, height, width = x.shape
    grow = 1 if one_side else 2
    oh = (height + grow * ph - dh * (kh - 1) - 1) // sh + 1
    ow = (width + grow * pw - dw * (kw - 1) - 1) // sw + 1
    cols = np.zeros((batch, channels * kh * kw, oh * ow), dtype or x.dtype)
    for c, i, j, row, column in np.ndindex(channels, kh, kw, oh, ow):
        y, z = row * sh + i * dh - ph, column * sw + j * dw - pw
        if 0 <= y < height and 0 <= z < width:
            at = (c * kh + i) * kw + j if order == "ckl" else (i * kw + j) * channels + c
            cols[:, at, row * ow + column] = x[:, c, y, z]
    return cols


def test_im2col_written_entry_by_entry_passes() -> None:
    verdict = exercise("im2col").judge(learners_im2col, seed=11)
    assert verdict.passed, str(verdict)
    assert "times as many" in str(verdict)


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        ({"one_side": True}, "padding on the top and left only"),
        ({"order": "kcl"}, "channel as the fastest row"),
        ({"dtype": np.float64}, "always float64"),
    ],
)
def test_im2cols_mistakes_are_recognised(mistake: dict, name: str) -> None:
    text = read("im2col", lambda x, *window: learners_im2col(x, *window, **mistake), seed=11)
    assert f"this behaves like *{name}*: {sentence('im2col', name)}" in text


def sentence(exercise_name: str, name: str) -> str:
    return next(each.sentence for each in exercise(exercise_name).wrong_answers if each.name == name)


def test_a_kernel_turned_round() -> None:
    def conv2d_gemm(x, weight, *rest):
        return gemm.conv2d_gemm(x, np.rot90(weight, 2, axes=(2, 3)), *rest)

    assert "*kernel flipped*: a layer's convolution is a correlation" in read("conv2d_gemm", conv2d_gemm)


def test_one_product_for_the_batch_without_the_transpose() -> None:
    def conv2d_gemm(x, weight, bias=None, *window):
        out = gemm.conv2d_gemm(x, weight, bias, *window)
        one_matrix = np.concatenate(list(out.reshape(*out.shape[:2], -1)), axis=1)  # O, B * L
        return one_matrix.reshape(out.shape)

    text = read("conv2d_gemm", conv2d_gemm)
    assert "case      a batch of three" in text
    assert "transpose before the batch comes first" in text


def test_col2im_with_repeated_indices() -> None:
    def col2im(cols, size, kernel, stride=1, padding=0, dilation=1):
        channels = cols.shape[1] // np.prod(kernel if isinstance(kernel, tuple) else (kernel, kernel))
        indices = np.arange(1, channels * size[0] * size[1] + 1).reshape(1, channels, *size)
        where = gemm.im2col(indices, kernel, stride, padding, dilation)[0]
        image = np.zeros((len(cols), indices.size + 1), cols.dtype)
        image[:, where] += cols
        return image[:, 1:].reshape(len(cols), channels, *size)

    assert "repeated indices (np.add.at adds them all)" in read("col2im", col2im)


def test_the_inverse_of_im2col_is_not_its_adjoint() -> None:
    def col2im(cols, *window):
        return gemm.col2im(cols, *window) / gemm.col2im(np.ones_like(cols), *window).clip(1)

    assert "that is the inverse of im2col; the adjoint adds and does not divide" in read("col2im", col2im)


def test_a_partial_block_that_is_not_counted() -> None:
    text = read(
        "blocked_traffic_bytes", lambda m, n, k, block, s: s * (m * n + m * k * (n // block) + k * n * (m // block))
    )
    assert "*rounded down*: the last, partial block is read too" in text


def test_the_roof_upside_down() -> None:
    text = read("attainable_flops", lambda i, peak, bandwidth: np.maximum(peak, i * bandwidth))
    assert "*the higher limit*: both limits hold at once, so the lower one decides: min, not max." in text


def test_changed_arguments_are_rejected() -> None:
    def blocked_gemm(a, b, block):
        product = gemm.blocked_gemm(a, b, block)
        a[:] = 0
        return product

    assert "the answer changed its argument a" in read("blocked_gemm", blocked_gemm)


# --- whether a product was computed in blocks -------------------------------------------------------------


@pytest.mark.parametrize(
    "product",
    [
        np.matmul,
        np.dot,
        lambda a, b: a.dot(b),
        lambda a, b: np.einsum("ik,kj->ij", a, b),
        lambda a, b: np.einsum("ik,kj", a, b, optimize=True),
        lambda a, b: np.inner(a, b.T),
        lambda a, b: np.tensordot(a, b, axes=1),
        lambda a, b: np.linalg.multi_dot([a, b]),
        lambda a, b: (b.T @ a.T).T,
        lambda a, b: a.copy() @ b.astype(b.dtype),
        lambda a, b: np.matmul(a, b, out=np.empty((a.shape[0], b.shape[1]), a.dtype)),
        lambda a, b: (a[:, :, None] * b[None]).sum(1),
    ],
)
def test_a_whole_product_is_seen_however_it_is_written(product) -> None:
    text = read("blocked_gemm", lambda a, b, block: product(a, b))
    assert "expected  products of at most 2 by 2 numbers of a and of b" in text
    assert "came      the right numbers, but a product with 4 by 2 numbers of a at once" in text
    assert "*no blocks*: the numbers are right, but one product takes the whole of a and b." in text


@pytest.mark.parametrize("order", ["ijp", "ipj", "pij", "jpi"])
def test_loops_over_numbers_without_blocks_are_seen(order: str) -> None:
    def blocked_gemm(a, b, block):
        sizes = {"i": a.shape[0], "j": b.shape[1], "p": a.shape[1]}
        c = np.zeros((sizes["i"], sizes["j"]), a.dtype)
        for index in np.ndindex(*(sizes[axis] for axis in order)):
            at = dict(zip(order, index, strict=True))
            c[at["i"], at["j"]] += a[at["i"], at["p"]] * b[at["p"], at["j"]]
        return c

    text = read("blocked_gemm", blocked_gemm)
    assert "expected  a block of a and one of b used up before the next are fetched" in text
    assert "came      the right numbers, but a block of a was fetched" in text


def in_blocks(multiply_add):
    """A blocked product with this in its innermost loop: (block of c, block of a, block of b) -> nothing."""

    def blocked_gemm(a, b, block):
        (m, k), n = a.shape, b.shape[1]
        c = np.zeros((m, n), a.dtype)
        for p in range(0, k, block):
            for i in range(0, m, block):
                for j in range(0, n, block):
                    at = slice(i, i + block), slice(p, p + block), slice(j, j + block)
                    multiply_add(c[at[0], at[2]], a[at[0], at[1]], b[at[1], at[2]])
        return c

    return blocked_gemm


def one_by_one(c, a, b):
    for i, j, p in np.ndindex(*c.shape, a.shape[1]):
        c[i, j] += a[i, p] * b[p, j]


def as_lists(c, a, b):
    c += [[sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a]


def transposed(c, a, b):
    c.T[...] += b.T @ a.T


def broadcast(c, a, b):
    c += np.add.reduce(a[:, :, np.newaxis] * b[np.newaxis], axis=1)


def flat(c, a, b):
    c += (a.ravel().reshape(a.shape)).dot(np.ascontiguousarray(b))


def printed(c, a, b):
    print(a, repr(b), f"{a}")
    np.add(c, np.matmul(a, b), out=c)


@pytest.mark.parametrize("multiply_add", [one_by_one, as_lists, transposed, broadcast, flat, printed])
def test_blocks_may_be_multiplied_in_any_way(multiply_add) -> None:
    for seed in SEEDS[:2]:
        verdict = exercise("blocked_gemm").judge(in_blocks(multiply_add), seed=seed)
        assert verdict.passed, str(verdict)


def test_a_matrix_copied_into_lists_first_passes() -> None:
    def blocked_gemm(a, b, block):
        return gemm.blocked_gemm(np.array([list(row) for row in a]), np.array([list(row) for row in b]), block)

    verdict = exercise("blocked_gemm").judge(blocked_gemm)
    assert verdict.passed, str(verdict)


def test_a_watched_matrix_computes_like_any_other() -> None:
    a = eighths(np.random.default_rng(0), 4, 6)
    watched = watch(a, Ledger(a, 2))
    assert isinstance(watched, np.ndarray)
    assert type(watched * 2 + 1) is np.ndarray
    np.testing.assert_array_equal(watched.T @ watched, a.T @ a)
    np.testing.assert_array_equal(np.split(watched, 2)[1], a[2:])
    np.testing.assert_array_equal(np.add.reduce(watched, axis=1), a.sum(axis=1))
    assert watched[1, 2] == a[1, 2]
    assert repr(watched) == repr(a)
    assert watched.dtype == a.dtype
    assert isinstance(np.zeros_like(watched), Watched)
    watched[0, 0] = 100.0
    assert a[0, 0] == 100.0


def test_fetches_count_how_often_a_block_is_left() -> None:
    a = np.arange(16.0).reshape(4, 4)
    ledger = Ledger(a, 2)
    watched = watch(a, ledger)
    for i, p in ((0, 0), (1, 1), (0, 1), (1, 0)):  # one block
        _ = watched[i, p]
    assert ledger.num_fetches == 1
    _ = watched[:, 2:][:2]  # the block beside it, by way of a view that is too large to be a read
    assert ledger.num_fetches == 2
    _ = watched.T[2, 0], watched[0][3], watched.copy()[3, 3]  # the same block; and a copy, which is nobody's block
    assert ledger.num_fetches == 2
    _ = watched[2:, :2]
    assert ledger.num_fetches == 3
    assert ledger.too_large is None
