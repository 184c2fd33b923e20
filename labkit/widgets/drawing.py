"""Pictures of lines and areas that follow their controls at once, because the browser draws them.

A Drawing is a list of shapes in CSS pixels. Like a flipbook's book it is drawn twice from the same description, live
by drawing.js and as a PNG by matplotlib, so a picture of this kind is Python only: a function from the controls'
values to a Drawing. A matplotlib picture takes a few tenths of a second, this one a few milliseconds.

    def make(length: int) -> Drawing:
        panel = Panel(40, 10, 300, 80, x=(0, length), y=(0, length**2))
        shapes = [*panel.frame("step", "tokens"), panel.line([(x, x * x) for x in range(length + 1)], INK)]
        return Drawing("Squares", 360, 130, shapes, f"After {length} steps there are {length ** 2}.")

    live_drawing("squares", make, length=Whole(5, low=1, high=16))
    show(*as_figure(make(length=5)))                # the same, without controls

In a test: `.set(length=7)`, then `.sentence`, `.drawing`, `.error` (as for a Picture).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from labkit.widgets import palette
from labkit.widgets.controls import Control
from labkit.widgets.hand_drawn import HandDrawn
from labkit.widgets.palette import GRID, INK, MUTED, PAPER
from labkit.widgets.picture import Interactive
from labkit.widgets.still import describe_error, publish, sentence_bundle, sentence_id

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float]  # CSS pixels from the upper left corner

MARGIN = 12
TICKS = 5  # about so many to an axis


@dataclass(frozen=True)
class Area:
    """A filled shape. edge: the colour of its outline, "" for none; hatched: so that colour is not the only sign."""

    points: Sequence[Place]
    color: str
    edge: str = ""
    hatched: bool = False


@dataclass(frozen=True)
class Line:
    """An open line through its points."""

    points: Sequence[Place]
    color: str
    width: float = 2
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """A disc, or with `hollow` a ring."""

    x: float
    y: float
    color: str
    radius: float = 4.5
    hollow: bool = False


@dataclass(frozen=True)
class Text:
    """A text; y is its middle. anchor: "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    bold: bool = False
    size: float = 12
    color: str = INK


Shape = Area | Line | Dot | Text


@dataclass(frozen=True)
class Drawing:
    """A page of shapes, later ones above earlier ones, and the sentence that says what they show."""

    title: str
    width: float
    height: float
    shapes: Sequence[Shape]
    sentence: str

    def as_traits(self) -> dict[str, Any]:
        """The drawing as plain data for the browser."""
        shapes = [{"kind": type(shape).__name__, **_rounded(asdict(shape))} for shape in self.shapes]
        return {
            "title": self.title,
            "width": self.width,
            "height": self.height,
            "paper": PAPER,
            "hatch": MUTED,
            "sentence": self.sentence,
            "shapes": shapes,
        }


@dataclass(frozen=True)
class Panel:
    """A rectangle of the page with two axes: places on it from values, and its frame."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> Place:
        """The place of a pair of values on the page."""
        (x_low, x_high), (y_low, y_high) = self.x, self.y
        across = (x - x_low) / (x_high - x_low or 1)
        up = (y - y_low) / (y_high - y_low or 1)
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def line(self, values: Sequence[Place], color: str, width: float = 2, dashed: bool = False) -> Line:
        """A line through these pairs of values."""
        return Line([self.at(x, y) for x, y in values], color, width, dashed)

    def area(self, values: Sequence[Place], color: str, edge: str = "", hatched: bool = False) -> Area:
        """The area inside these pairs of values."""
        return Area([self.at(x, y) for x, y in values], color, edge, hatched)

    def level(self, y: float, color: str, width: float = 1.5, dashed: bool = False) -> Line:
        """A line across the panel at this value."""
        return self.line([(self.x[0], y), (self.x[1], y)], color, width, dashed)

    def frame(self, x_label: str, y_label: str, x_ticks: Sequence[float] | None = None) -> list[Shape]:
        """Grid lines, ticks with their numbers, the name of y above and of x below."""
        shapes: list[Shape] = []
        for value in round_ticks(*self.y):
            _, y = self.at(0, value)
            shapes.append(self.level(value, GRID, width=1))
            shapes.append(Text(self.left - 6, y, f"{value:,g}", anchor="end", size=11, color=MUTED))
        for value in round_ticks(*self.x) if x_ticks is None else x_ticks:
            x, bottom = self.at(value, self.y[0])
            shapes.append(Text(x, bottom + 11, f"{value:,g}", anchor="middle", size=11, color=MUTED))
        shapes.append(self.level(self.y[0], MUTED, width=1))
        shapes.append(Text(self.left, self.top - 12, y_label, bold=True))
        shapes.append(Text(self.left + self.width, self.top + self.height + 26, x_label, anchor="end", color=MUTED))
        return shapes


def round_ticks(low: float, high: float) -> list[float]:
    """About five round values from low to high.

    >>> round_ticks(0, 43)
    [0, 10, 20, 30, 40]
    """
    rough = (high - low or 1) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= 0.85 * rough)
    first = -(-low // step)
    values = [(first + number) * step for number in range(TICKS + 2)]
    return [int(value) if value == int(value) else value for value in values if value <= high * (1 + 1e-9)]


def as_figure(drawing: Drawing) -> "tuple[Figure, str]":
    """The PNG's side of drawing.js: the figure, and the drawing's sentence."""
    from matplotlib.figure import Figure

    width, height = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    with palette.style():
        figure = Figure(figsize=(width / palette.PIXELS_PER_INCH, height / palette.PIXELS_PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-MARGIN, drawing.width + MARGIN)
        axes.set_ylim(drawing.height + MARGIN, -MARGIN)  # y grows downwards, as in the browser
        axes.set_axis_off()
        for order, shape in enumerate(drawing.shapes):
            _draw(axes, shape, zorder=2 + order / 1000)
    return figure, drawing.sentence


def _draw(axes: "Axes", shape: Shape, zorder: float) -> None:
    points_per_px = 72 / palette.PIXELS_PER_INCH
    if isinstance(shape, Area):
        from matplotlib.patches import Polygon

        look = {"facecolor": shape.color, "edgecolor": shape.edge or "none", "linewidth": 1 if shape.edge else 0}
        axes.add_patch(Polygon(shape.points, hatch="///" if shape.hatched else None, zorder=zorder, **look))  # type: ignore[arg-type]
    elif isinstance(shape, Line):
        x, y = zip(*shape.points, strict=True) if shape.points else ((), ())
        width = shape.width * points_per_px
        axes.plot(x, y, color=shape.color, linewidth=width, linestyle="--" if shape.dashed else "-", zorder=zorder)
    elif isinstance(shape, Dot):
        fill = PAPER if shape.hollow else shape.color
        size = 2 * shape.radius * points_per_px
        axes.plot(shape.x, shape.y, "o", color=fill, markeredgecolor=shape.color, markersize=size, zorder=zorder)
    else:
        axes.text(
            shape.x,
            shape.y,
            shape.text,
            size=shape.size * points_per_px,
            weight="bold" if shape.bold else "normal",
            color=shape.color,
            ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
            va="center",
            zorder=zorder,
            parse_math=False,
        )


class Board(HandDrawn):
    """The part of a live drawing that is in the browser."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    page = traitlets.Dict().tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)

    def __init__(self) -> None:
        self.drawing: Drawing | None = None
        super().__init__()

    def load(self, drawing: Drawing) -> None:
        """Shows another drawing."""
        self.drawing = drawing
        with self.hold_sync():  # one message
            self.page, self.problem = drawing.as_traits(), ""

    def still(self) -> "tuple[Figure, str]":
        assert self.drawing is not None
        return as_figure(self.drawing)


class LiveDrawing(Interactive):
    """A drawing that follows its controls; made by `live_drawing`."""

    def __init__(self, name: str, make: Callable[..., Drawing], controls: dict[str, Control]) -> None:
        self.board = Board()
        self._make_drawing = make
        super().__init__(name, controls)

    @property
    def drawing(self) -> Drawing:
        """What is shown."""
        assert self.board.drawing is not None
        return self.board.drawing

    @property
    def sentence(self) -> str:
        """What the drawing says."""
        return self.drawing.sentence

    def _make(self, **values: Any) -> None:
        try:
            self.board.load(self._make_drawing(**values))
        except Exception as error:
            self.board.problem = describe_error(error)
            raise

    def _publish(self, update: bool) -> None:
        if not update:  # the board follows its traits by itself
            publish(*self.board._repr_mimebundle_())
        below = "Other values, or Reset, bring the picture back." if self.error else self.sentence
        publish(*sentence_bundle(below), display_id=sentence_id(self.name), update=update)


def live_drawing(name: str, make: Callable[..., Drawing], **controls: Control) -> LiveDrawing:
    """A drawing that follows its controls.

    name: unique in the notebook.
    make: called with one keyword argument for each control; gives a Drawing. It should take well under 0.2 s.
    controls: `Whole`, `Real` or `Choice`, by name.
    """
    return LiveDrawing(name, make, controls)


def _rounded(shape: dict[str, Any]) -> dict[str, Any]:
    """A tenth of a pixel is enough, and a third of the bytes."""
    return {
        key: [(round(x, 1), round(y, 1)) for x, y in value]
        if key == "points"
        else round(value, 1)
        if key in ("x", "y")
        else value
        for key, value in shape.items()
    }
