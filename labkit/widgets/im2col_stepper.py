"""im2col, step by step: the window in the padded input, its column in the matrix, and their product light up.

    from labkit.widgets.im2col_stepper import im2col_stepper

    im2col_stepper(im2col)          # the learner's own function; without it, labkit.gemm.im2col

Above stands the convolution, below the same numbers as one matrix product; a tap has the same letter in both. All
numbers are the learner's: the matrix is what their im2col returned, and where each of its entries came from is found
by giving im2col the *places* of an image instead of its values. So an im2col that takes the taps in another order
shows its letters in another order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit.gemm import conv_output_size
from labkit.gemm import im2col as labkit_im2col
from labkit.widgets.controls import Whole
from labkit.widgets.flipbook import Book, Cell, Flipbook, Frame, Label, Lit, flipbook

Array = NDArray[Any]
Im2col = Callable[..., Array]

# The page, in CSS pixels.
PAGE_WIDTH = 884
PIXEL = 27  # a cell of the images
ENTRY = 20  # a cell of the matrices; their columns are narrower where there are many
GAP = 34  # between two factors
LINE = 24  # a line of text


def im2col_stepper(im2col: Im2col | None = None, x: Array | None = None, name: str = "im2col-stepper") -> Flipbook:
    """Steps through the output positions of a convolution; controls: kernel, stride, padding, dilation.

    im2col: (B, C, H, W) -> (B, C·KH·KW, L), called as im2col(x, kernel, stride, padding, dilation).
    x: one small image of shape (H, W); by default 5 by 6 digits in float32.
    name: another one for a second stepper in the same notebook.
    """
    image = np.random.default_rng(5).integers(0, 10, (5, 6)).astype(np.float32) if x is None else np.asarray(x)
    if image.ndim != 2 or not 0 < image.size <= 64:
        raise ValueError(f"x is one image (H, W) of at most 64 pixels, to be seen at once; got shape {image.shape}")

    def make(kernel: int, stride: int, padding: int, dilation: int) -> Book:
        return im2col_book(im2col or labkit_im2col, image, kernel, stride, padding, dilation)

    return flipbook(
        name,
        make,
        kernel=Whole(3, low=1, high=4),
        stride=Whole(1, low=1, high=3),
        padding=Whole(1, low=0, high=2),
        dilation=Whole(1, low=1, high=3),
    )


def im2col_book(im2col: Im2col, image: Array, kernel: int, stride: int, padding: int, dilation: int) -> Book:
    """One frame for each output position of the convolution of an image (H, W) with a square kernel."""
    layer = _Layer.compute(im2col, image, kernel, stride, padding, dilation)
    page = _Page(layer)
    height = page.matrices(top=page.images() + LINE)
    out_width, positions = layer.out_size[1], layer.cols.shape[1]
    return Book(
        title="im2col, one output position at a time",
        width=PAGE_WIDTH,
        height=height,
        cells=page.cells,
        labels=page.labels,
        frames=[Frame(layer.sentence(position), page.lit(position)) for position in range(positions)],
        point=layer.point(),
        step="Output position",
        first=min(out_width + 1, positions - 1),  # off the edge, where padding is not the whole story
        row=out_width,
    )


@dataclass(frozen=True)
class _Layer:
    """What the learner's im2col makes of one image and one kernel. T = KH·KW taps, L = OH·OW positions."""

    image: Array  # H, W
    padding: int
    padded: Array  # H + 2·padding, W + 2·padding
    weights: Array  # KH, KW
    out_size: tuple[int, int]  # OH, OW
    cols: Array  # T, L
    places: Array  # T, L: where in `padded`, counted row by row, each entry of cols came from
    product: Array  # L

    @classmethod
    def compute(cls, im2col: Im2col, image: Array, kernel: int, stride: int, padding: int, dilation: int) -> "_Layer":
        height, width = (conv_output_size(axis, kernel, stride, padding, dilation) for axis in image.shape)
        padded = np.pad(image, padding)
        numbered = np.arange(padded.size).reshape(padded.shape)
        shape = (1, kernel * kernel, height * width)
        cols = _checked(im2col(image[None, None], kernel, stride, padding, dilation), shape)
        places = _checked(im2col(numbered[None, None], kernel, stride, 0, dilation), shape).astype(int)
        weights = np.random.default_rng(kernel).choice((-1, 1, 2), (kernel, kernel)).astype(image.dtype)
        product = weights.reshape(-1) @ cols
        return cls(image, padding, padded, weights, (height, width), cols, places, product)

    def sentence(self, position: int) -> str:
        row, column = divmod(position, self.out_size[1])
        taps = zip(self.weights.reshape(-1), self.cols[:, position], strict=True)
        terms = " + ".join(f"{_number(weight)}·{_number(value)}" for weight, value in taps).replace("+ −", "− ")
        return (
            f"Output row {row}, column {column} is weights · column {position} of the matrix = "
            f"{terms} = {_number(self.product[position])}.{self._mismatch(position)}"
        )

    def _mismatch(self, position: int) -> str:
        taken = self.padded.reshape(-1)[self.places[:, position]]
        for tap, (ours, theirs) in enumerate(zip(taken, self.cols[:, position], strict=True)):
            if ours != theirs:
                return (
                    f" But im2col put {_number(theirs)} at tap {_letter(tap)}, where the padded input "
                    f"has {_number(ours)}: look at its padding."
                )
        return ""

    def point(self) -> str:
        taps, positions = self.cols.shape
        height, width = self.image.shape
        uses = np.bincount(self.places.reshape(-1), minlength=self.padded.size).reshape(self.padded.shape)
        most = uses[self.padding : self.padding + height, self.padding : self.padding + width].max()
        return (
            f"The input has {height} × {width} = {self.image.size} values ({self.image.nbytes:,} bytes as "
            f"{self.image.dtype}), the im2col matrix {taps} × {positions} = {self.cols.size} "
            f"({self.cols.nbytes:,} bytes), {self.cols.nbytes / self.image.nbytes:.1f} times as many: each value "
            f"is copied into every window that covers it, here up to {most} of them."
        )


@dataclass
class _Page:
    """Places the grids on the page and remembers where in `cells` each of them begins."""

    layer: _Layer
    cells: list[Cell] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    begin: dict[str, int] = field(default_factory=dict)

    def images(self) -> float:
        """The convolution, on top: padded input ∗ weights = output. Gives the y where it ends."""
        layer, x, bottom = self.layer, 0.0, 0.0
        factors = (
            ("input", "padded input" if layer.padding else "input", layer.padded, "inputs", "∗"),
            ("weights", "weights", layer.weights, "weights", "="),
            ("output", "output", layer.product.reshape(layer.out_size), "outputs", ""),
        )
        self._label(0, 8, "Convolution: the window slides over the input", bold=True)
        for name, title, values, quantity, sign in factors:
            title += f" {values.shape[0]} × {values.shape[1]}"
            self._label(x, LINE + 8, title)
            self._grid(name, x, 2 * LINE, PIXEL, PIXEL, values, quantity)
            x += max(values.shape[1] * PIXEL, 7.5 * len(title)) + GAP
            self._label(x - GAP / 2, 2 * LINE + 1.5 * PIXEL, sign, anchor="middle", size=20)
            bottom = max(bottom, 2 * LINE + values.shape[0] * PIXEL)
        self._memory(x, bottom)
        return bottom

    def _memory(self, x: float, bottom: float) -> None:
        """What the copies cost: two columns, drawn to scale between the title and y = bottom."""
        image, cols = self.layer.image.nbytes, self.layer.cols.nbytes
        scale = (bottom - 2 * LINE) / max(image, cols)
        self._label(x, LINE + 8, f"{cols / image:.1f} × the bytes")
        for number, (name, num_bytes, quantity) in enumerate((("input", image, "inputs"), ("im2col", cols, "columns"))):
            left, top = x + 80 * number, bottom - num_bytes * scale
            self.cells.append(Cell(left, top, 26, num_bytes * scale, quantity))
            self._label(left + 30, max(top + 8, 0), f"{num_bytes:,} B", size=12)
            self._label(left, bottom + 12, name, size=12)

    def matrices(self, top: float) -> float:
        """The same as one product, placed as on paper: the output row is right of the weights and below cols."""
        layer = self.layer
        taps, positions = layer.cols.shape
        x = max(taps * ENTRY, 120) + GAP
        column_width = min(ENTRY, (PAGE_WIDTH - x) / positions)
        self._label(0, top + 8, "The same as one matrix product", bold=True)
        self._label(x, top + LINE + 8, f"im2col matrix {taps} × {positions}: a column for each output position")
        y = top + 2 * LINE
        self._grid("cols", x, y, column_width, ENTRY, layer.cols, "columns")
        y_row = y + taps * ENTRY + 10
        self._label(0, y_row - 34, f"weights 1 × {taps}")
        for tap in range(taps):
            self._label(x - 10, y + (tap + 0.5) * ENTRY, _letter(tap), anchor="middle", size=12)
            self._label((tap + 0.5) * ENTRY, y_row - 11, _letter(tap), anchor="middle", size=12)
        self._grid("row", 0, y_row, ENTRY, ENTRY, layer.weights.reshape(1, -1), "weights")
        self._grid("product", x, y_row, column_width, ENTRY, layer.product[None], "outputs")
        self._label(x - 10, y_row + ENTRY / 2, "=", anchor="middle", size=16)
        return y_row + ENTRY

    def lit(self, position: int) -> dict[int, Lit]:
        """Which cells the step at this output position speaks of."""
        layer, begin = self.layer, self.begin
        positions = layer.cols.shape[1]
        lit = {begin["output"] + position: Lit("outputs"), begin["product"] + position: Lit("outputs")}
        for tap, place in enumerate(layer.places[:, position]):
            lit[begin["input"] + int(place)] = Lit("columns", mark=_letter(tap))
            lit[begin["cols"] + tap * positions + position] = Lit("columns")
            lit[begin["weights"] + tap] = Lit("weights", mark=_letter(tap))
            lit[begin["row"] + tap] = Lit("weights")
        return lit

    def _grid(self, name: str, x: float, y: float, width: float, height: float, values: Array, quantity: str) -> None:
        self.begin[name] = len(self.cells)
        longest = max(len(_number(value)) for value in values.flat)
        size = min(13.0, 1.5 * (width - 2) / longest)  # the same for the whole grid
        for (row, column), value in np.ndenumerate(values):
            outside = name == "input" and self._is_padding(row, column)
            self.cells.append(
                Cell(
                    x=round(x + column * width, 2),
                    y=y + row * height,
                    width=round(width, 2),
                    height=height,
                    quantity="padding" if outside else quantity,
                    text=_number(value),
                    hatched=outside,
                    size=size,
                )
            )

    def _is_padding(self, row: int, column: int) -> bool:
        (height, width), padding = self.layer.image.shape, self.layer.padding
        return not (padding <= row < padding + height and padding <= column < padding + width)

    def _label(self, x: float, y: float, text: str, anchor: str = "start", bold: bool = False, size: int = 13) -> None:
        if text:
            self.labels.append(Label(x, y, text, anchor, bold, size))


def _checked(result: Any, shape: tuple[int, int, int]) -> Array:
    """The one matrix (T, L) that im2col returned for a batch of one, if it has the right shape."""
    if not isinstance(result, np.ndarray) or result.shape != shape:
        got = f"shape {result.shape}" if isinstance(result, np.ndarray) else repr(result)
        raise ValueError(f"im2col returns (B, C·KH·KW, L) = {shape} here; got {got}")
    return result[0]


def _letter(tap: int) -> str:
    return ascii_lowercase[tap]


def _number(value: Any) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
