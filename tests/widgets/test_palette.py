"""Colours that mean the same everywhere, stay apart for everybody, and carry readable text."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.widgets import palette

# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0, on linear RGB.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
NOTICEABLE = 15  # CIE76; the least between colours of Okabe and Ito is 17, and side by side 2.3 can be seen

hex_colors = st.integers(0, 0xFFFFFF).map("#{:06X}".format)


def lab(hex_color: str, vision: str) -> np.ndarray:
    """The colour in CIELAB, as it is seen."""
    srgb = np.array([int(hex_color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISIONS[vision]) @ linear, 0, 1)
    ratio = TO_XYZ @ seen / TO_XYZ.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_quantities_that_share_a_picture_differ_for_everybody(vision: str) -> None:
    pairs = [pair for group in palette.TOGETHER for pair in combinations(group, 2)]
    distance = {
        pair: np.linalg.norm(lab(palette.color(pair[0]), vision) - lab(palette.color(pair[1]), vision))
        for pair in pairs
    }
    assert {pair: round(d, 1) for pair, d in distance.items() if d < NOTICEABLE} == {}


def test_the_first_requests_differ_for_everybody() -> None:
    for vision in VISIONS:
        for first, second in combinations(palette.REQUESTS[:4], 2):
            assert np.linalg.norm(lab(first, vision) - lab(second, vision)) >= NOTICEABLE


@pytest.mark.parametrize("quantity", palette.QUANTITIES)
def test_text_reads_on_a_quantity_in_full_and_thin(quantity: str) -> None:
    full = palette.color(quantity)
    for ground in (full, palette.tint(full)):
        assert palette.contrast(palette.text_on(ground), ground) >= 4.5  # WCAG 2.2, level AA


def test_text_reads_on_paper() -> None:
    assert palette.contrast(palette.INK, palette.PAPER) >= 7
    assert palette.contrast(palette.MUTED, palette.PAPER) >= 4.5
    assert palette.contrast(palette.MUTED, palette.color("free")) >= 4.5


def test_unknown_quantity_names_the_known_ones_and_the_place_to_add_one() -> None:
    with pytest.raises(KeyError, match=r"no colour for 'momentum'.*gradients.*palette\.py"):
        palette.color("momentum")


@given(hex_colors, hex_colors)
def test_contrast_is_symmetric_and_between_1_and_21(first: str, second: str) -> None:
    assert 1 <= palette.contrast(first, second) <= 21
    assert palette.contrast(first, second) == palette.contrast(second, first)


def test_contrast_of_black_and_white() -> None:
    assert palette.contrast("#000000", "#FFFFFF") == pytest.approx(21)


@given(hex_colors)
def test_tint_runs_from_paper_to_the_colour(hex_color: str) -> None:
    assert palette.tint(hex_color, 0) == palette.PAPER
    assert palette.tint(hex_color, 1) == hex_color


def test_request_letters_count_as_a_spreadsheet_does() -> None:
    assert [palette.request_letter(number) for number in (0, 1, 25, 26, 27, 701, 702)] == [
        *("A", "B", "Z", "AA", "AB", "ZZ", "AAA")
    ]


def test_request_colors_come_round_again() -> None:
    assert palette.request_color(len(palette.REQUESTS)) == palette.request_color(0)


def test_style_leaves_the_readers_settings_alone() -> None:
    with matplotlib.rc_context({"font.size": 21}):
        with palette.style():
            assert matplotlib.rcParams["font.size"] == 10
            assert matplotlib.rcParams["axes.facecolor"] == palette.PAPER
        assert matplotlib.rcParams["font.size"] == 21
