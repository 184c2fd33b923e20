"""The stepper lights what im2col really did. Oracles: torch's unfold and conv2d, and wrong im2cols that must show."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.gemm import im2col
from labkit.widgets.flipbook import Book
from labkit.widgets.im2col_stepper import im2col_book, im2col_stepper

IMAGE = np.random.default_rng(3).integers(-9, 10, (5, 6)).astype(np.float32)

geometries = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)).filter(
    lambda geometry: geometry[3] * (geometry[0] - 1) < 5 + 2 * geometry[2]
)


def grid(book: Book, quantity: str) -> list[tuple[int, Any]]:
    """(place in the book, cell) of the cells of one quantity that hold a number, in order."""
    return [(at, cell) for at, cell in enumerate(book.cells) if cell.quantity == quantity and cell.text]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@settings(max_examples=25, deadline=None)
@given(geometries)
def test_matrix_and_output_are_those_of_torch(geometry: tuple[int, int, int, int]) -> None:
    kernel, stride, padding, dilation = geometry
    book = im2col_book(im2col, IMAGE, *geometry)
    x = torch.from_numpy(IMAGE)[None, None]
    cols = torch.nn.functional.unfold(x, kernel, dilation=dilation, padding=padding, stride=stride)[0]
    assert [number(cell.text) for _, cell in grid(book, "columns")] == cols.reshape(-1).tolist()
    assert len(book.frames) == cols.shape[1]

    weights = [number(cell.text) for _, cell in grid(book, "weights")][: kernel * kernel]
    weight = torch.tensor(weights).reshape(1, 1, kernel, kernel)
    out = torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation).reshape(-1)
    shown = [number(cell.text) for _, cell in grid(book, "outputs")]
    assert shown == out.tolist() * 2  # once as an image, once as a row
    for position, frame in enumerate(book.frames):
        assert frame.sentence.endswith(f" = {out[position]:g}.".replace("-", "−"))


@settings(max_examples=25, deadline=None)
@given(geometries)
def test_the_lit_window_holds_the_numbers_of_the_lit_column(geometry: tuple[int, int, int, int]) -> None:
    book = im2col_book(im2col, IMAGE, *geometry)
    columns = {at for at, _ in grid(book, "columns")}
    for frame in book.frames:
        lit = [(at, light) for at, light in frame.lit.items() if light.quantity == "columns"]
        column = [book.cells[at].text for at, _ in sorted(lit, key=lambda pair: pair[0]) if at in columns]
        window = sorted((light.mark, book.cells[at].text) for at, light in lit if at not in columns)
        assert [text for _, text in window] == column  # the letters of the taps run down the column
        assert [mark for mark, _ in window] == list("abcdefghijklmnop")[: len(column)]


def test_the_point_is_how_much_larger_the_matrix_is() -> None:
    book = im2col_stepper().book
    assert "(120 bytes as float32), the im2col matrix 9 × 30 = 270 (1,080 bytes), 9.0 times as many" in book.point
    assert "up to 9 of them" in book.point
    assert "(120 bytes), 1.0 times" in im2col_book(im2col, IMAGE, 1, 1, 0, 1).point


def test_padding_is_marked_by_more_than_colour() -> None:
    book = im2col_book(im2col, IMAGE, 3, 1, 1, 1)
    padding = [cell for cell in book.cells if cell.quantity == "padding"]
    assert len(padding) == 7 * 8 - 5 * 6
    assert all(cell.hatched and cell.text == "0" for cell in padding)


def test_arrows_up_and_down_move_by_a_row_of_the_output() -> None:
    assert im2col_book(im2col, IMAGE, 3, 2, 1, 1).row == 3


def columns_first(x: Any, kernel: int, *geometry: int) -> Any:
    return im2col(x, kernel, *geometry).reshape(1, kernel, kernel, -1).swapaxes(1, 2).reshape(1, kernel * kernel, -1)


def test_taps_in_another_order_show_letters_in_another_order() -> None:
    book = im2col_book(columns_first, IMAGE, 2, 1, 0, 1)
    window = [light.mark for at, light in sorted(book.frames[0].lit.items()) if light.quantity == "columns"]
    assert window[:4] == ["a", "c", "b", "d"]


def test_a_matrix_that_does_not_hold_the_pixels_is_told() -> None:
    def pads_with_ones(x: Any, kernel: int, stride: int, padding: int, dilation: int) -> Any:
        wide = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=1)
        return im2col(wide, kernel, stride, 0, dilation)

    frame = im2col_book(pads_with_ones, IMAGE, 3, 1, 1, 1).frames[0]
    assert frame.sentence.endswith("But im2col put 1 at tap a, where the padded input has 0: look at its padding.")


@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda x, *_: im2col(x, 3), "got shape (1, 9, 12)"), (lambda *_: None, "got None")],
)
def test_a_result_of_the_wrong_shape_is_told(wrong: Any, got: str) -> None:
    message = "im2col returns (B, C·KH·KW, L) = (1, 9, 30) here; " + got
    with pytest.raises(ValueError, match=re.escape(message)):
        im2col_stepper(wrong)


def test_a_kernel_that_does_not_fit_is_told_and_reset_brings_the_picture_back() -> None:
    book = im2col_stepper()
    book.set(padding=0, kernel=4)
    with pytest.raises(ValueError, match="larger than the padded input"):
        book.set(dilation=3)
    book.reset()
    assert book.stage.problem == ""
    assert len(book.book.frames) == 30


@pytest.mark.parametrize("shape", [(2, 5, 6), (0, 3), (20, 20)])
def test_an_image_that_cannot_be_seen_at_once_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="x is one image"):
        im2col_stepper(x=np.zeros(shape))


@settings(max_examples=40, deadline=None)
@given(geometries)
def test_no_title_runs_into_the_next_and_everything_is_on_the_page(geometry: tuple[int, int, int, int]) -> None:
    book = im2col_book(im2col, IMAGE, *geometry)
    assert all(cell.x >= 0 and cell.x + cell.width <= book.width + 0.1 for cell in book.cells)
    assert all(cell.y >= 0 and cell.y + cell.height <= book.height for cell in book.cells)
    lines: dict[float, list[tuple[float, float]]] = {}
    for label in book.labels:
        width = 0.56 * label.size * len(label.text)
        left = label.x - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
        assert left >= -2
        assert left + width <= book.width, label
        lines.setdefault(label.y, []).append((left, left + width))
    for spans in lines.values():
        for (_, right), (left, _) in zip(sorted(spans), sorted(spans)[1:], strict=False):
            assert right <= left + 1
