"""The page on grading at scale shows the figures that a command measured, and what follows from them."""

from dataclasses import replace

import pytest

from labkit.benchmarks.grading_scale import CLASS, PAGE, Figures, page_with, read_figures, whole_class

FIGURES = Figures("a machine", "01_gemm_im2col", "bubblewrap", 20, 0.5, 10.0, 4.0, 500_000_000, 50_000, 80_000)


def test_the_page_is_what_the_figures_in_the_repository_make() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page_with(read_figures(), text) == text, "run python -m labkit.benchmarks.grading_scale --keep-figures"
    assert f"{CLASS:,} submissions" in text


def test_the_arithmetic_of_a_class() -> None:
    """100,000 x (0.98 x 0.5 s + 0.02 x 10 s) = 69,000 s; on two cores 34,500 s = 9.58 h, and 2 x 0.5 GB."""
    rows = {row[0]: row for row in whole_class(FIGURES)}
    assert rows["2"][1:3] == ["9.58", "1 GB"]
    assert float(rows["2"][1]) / float(rows["64"][1]) == pytest.approx(32, rel=0.02)


def test_isolation_and_machine_are_named() -> None:
    page = page_with(replace(FIGURES, machine="some CPU"), PAGE.read_text(encoding="utf-8"))
    assert "some CPU" in page
    assert "isolation bubblewrap" in page
    assert read_figures().isolation in ("bubblewrap", "podman", "docker")
