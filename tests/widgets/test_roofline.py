"""The roofline says which side bounds a point, how near the roof it is, and draws just that."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from labkit.gemm import gemm_flops, gemm_min_bytes
from labkit.widgets.roofline import Point, gemm_roofline, roofline, si

PEAK, BANDWIDTH = 100e9, 20e9  # they meet at 5 FLOP/byte


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_points_on_either_side_of_the_ridge() -> None:
    figure, sentence = roofline([("gemv", 0.5, 8e9), Point("gemm", 50.0, 75e9)], PEAK, BANDWIDTH)
    first, gemv, gemm = sentence.splitlines()
    assert "100 GFLOP/s and a bandwidth of 20 GB/s meet at 5 FLOP/byte" in first
    assert gemv == "A, gemv: 0.5 FLOP/byte, bound by memory: 8 GFLOP/s, 80% of 10 GFLOP/s."
    assert gemm == "B, gemm: 50 FLOP/byte, bound by arithmetic: 75 GFLOP/s, 75% of 100 GFLOP/s."
    assert "A  gemv" in texts(figure)
    assert "B  gemm" in texts(figure)


def test_the_ridge_itself_is_bound_by_arithmetic() -> None:
    _, sentence = roofline([("ridge", 5.0, 50e9)], PEAK, BANDWIDTH)
    assert "bound by arithmetic" in sentence
    _, sentence = roofline([("below", 4.99, 50e9)], PEAK, BANDWIDTH)
    assert "bound by memory" in sentence


def test_a_point_that_was_not_measured_is_a_limit() -> None:
    _, sentence = roofline([Point("relu", 0.25)], PEAK, BANDWIDTH)
    assert sentence.endswith("A, relu: 0.25 FLOP/byte, bound by memory: at most 5 GFLOP/s.")


@pytest.mark.parametrize(
    ("intensity", "reason"), [(0.5, "its data came from a cache"), (50.0, "the peak was measured too low")]
)
def test_a_point_above_the_roof_is_called_impossible_with_a_reason(intensity: float, reason: str) -> None:
    _, sentence = roofline([("odd", intensity, 130e9)], PEAK, BANDWIDTH)
    assert "Above the roof: " in sentence
    assert reason in sentence
    _, sentence = roofline([("noise", 50.0, 104e9)], PEAK, BANDWIDTH)
    assert "Above" not in sentence


def test_the_roof_is_the_learners_function() -> None:
    calls: list[float] = []

    def attainable(intensity: float, peak_flops: float, bandwidth: float) -> float:
        assert (peak_flops, bandwidth) == (PEAK, BANDWIDTH)
        calls.append(intensity)
        return 42e9

    _, sentence = roofline([("x", 1.0, 21e9)], PEAK, BANDWIDTH, attainable=attainable)
    assert "50% of 42 GFLOP/s" in sentence
    assert len(calls) > 50
    assert all(isinstance(intensity, float) for intensity in calls)  # a learner's function need not take arrays


def test_every_point_lies_in_the_picture() -> None:
    points = [("slow", 1e-3, 1e3), ("fast", 1e5, 99e9)]
    figure, _ = roofline(points, PEAK, BANDWIDTH)
    (left, right), (bottom, top) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    assert all(left < intensity < right and bottom < rate < top for _, intensity, rate in points)


@pytest.mark.parametrize(
    ("points", "peak", "message"),
    [([("x", 0.0, 1e9)], PEAK, "x has an intensity of 0.0"), ([], 0.0, "peak and bandwidth are above 0; got 0.0")],
)
def test_impossible_numbers_are_refused(points: list[tuple[str, float, float]], peak: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        roofline(points, peak, BANDWIDTH)


def test_no_points_is_the_roof_alone() -> None:
    _, sentence = roofline([], PEAK, BANDWIDTH)
    assert len(sentence.splitlines()) == 1


def test_gemm_roofline_moves_from_memory_to_arithmetic_with_more_rows() -> None:
    made = gemm_roofline(PEAK, BANDWIDTH)
    assert "bound by memory" in made.sentence
    assert (
        f"{gemm_flops(1, 1024, 1024):,} FLOP for at least {gemm_min_bytes(1, 1024, 1024, 4):,} bytes" in made.sentence
    )
    made.set(m=1024)
    assert "bound by arithmetic" in made.sentence
    made.set(m=1, itemsize=2)
    assert "0.998 FLOP/byte, bound by memory" in made.sentence


@given(st.floats(1e-2, 9e17))
def test_si_keeps_three_digits(value: float) -> None:
    number, prefix = re.fullmatch(r"([\d.e+-]+) ([kMGTP]?)B", si(value, "B")).groups()  # type: ignore[union-attr]
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}[prefix]
    assert float(number) * factor == pytest.approx(value, rel=0.006)
    assert float(number) < 1000
