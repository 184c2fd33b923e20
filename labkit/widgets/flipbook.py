"""Pictures to step through: cells on a page, and frames that light some of them up.

A Book is drawn twice from the same description, live by flipbook.js (buttons, arrow keys, Play, dark theme) and as a
PNG by matplotlib, so a picture of this kind is Python only: a function from the controls' values to a Book.

    def make(length: int) -> Book:
        slots = [Cell(x=24 * i, y=0, width=22, height=22, quantity="free") for i in range(16)]
        frames = [
            Frame(f"Request A holds {n} of 16 slots.", {i: Lit("weights", mark="A") for i in range(n)})
            for n in range(length + 1)
        ]
        return Book("Slots of the cache", 16 * 24, 24, slots, frames, point="One slot a token, no reservation.")

    flipbook("slots", make, length=Whole(5, low=1, high=16))

What is saved is a text for the controls, the PNG of the first frame with its sentence, and the point of the book.
In a test: `.go(3)`, `.set(length=7)`, then `.sentence`, `.book`, `.error` (as for a Picture).
"""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets

from labkit.widgets import palette
from labkit.widgets.controls import Control
from labkit.widgets.hand_drawn import HandDrawn
from labkit.widgets.picture import Interactive
from labkit.widgets.still import describe_error, publish, sentence_bundle, sentence_id

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION_LINE_PX = 19
CAPTION_CHARACTER_PX = 6.9


@dataclass(frozen=True)
class Cell:
    """A rectangle with a number in it. Lengths are CSS pixels from the upper left corner of the page."""

    x: float
    y: float
    width: float
    height: float
    quantity: str  # its colour, see palette; thin until a frame lights the cell
    text: str = ""
    mark: str = ""  # a letter in the corner, so that colour is not the only sign
    hatched: bool = False
    size: float = 13  # of the text, at most; smaller where it would not fit


@dataclass(frozen=True)
class Label:
    """A text on the page; y is its middle. anchor: "start", "middle" or "end"."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    bold: bool = False
    size: int = 13


@dataclass(frozen=True)
class Lit:
    """How a frame shows a cell: in the full colour of a quantity, perhaps with another mark or text."""

    quantity: str
    mark: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Frame:
    """One step: a sentence with its numbers, and the cells (by their place in the book) that it speaks of."""

    sentence: str
    lit: Mapping[int, Lit] = field(default_factory=dict)


@dataclass(frozen=True)
class Book:
    """A page of cells and labels, and the frames to step through."""

    title: str
    width: float
    height: float
    cells: Sequence[Cell]
    frames: Sequence[Frame]
    labels: Sequence[Label] = ()
    point: str = ""  # what all frames together show; stands below as text
    step: str = "Step"  # what a frame is called
    count_from: int = 1  # the number of the first frame as a reader sees it: 0 where nothing has happened yet
    first: int = 0  # the frame that is shown, and saved, at the start
    row: int = 1  # how many frames the up and down arrows move

    def as_traits(self) -> dict[str, Any]:
        """The book as plain data for the browser, with the colours of the quantities that it uses."""
        lit = [light for frame in self.frames for light in frame.lit.values()]
        used = sorted({cell.quantity for cell in self.cells} | {light.quantity for light in lit})
        return {
            "title": self.title,
            "width": self.width,
            "height": self.height,
            "step": self.step,
            "count_from": self.count_from,
            "row": self.row,
            "first": self.first,
            "colors": {name: [palette.color(name), palette.text_on(palette.color(name))] for name in used},
            "cells": [vars(cell) for cell in self.cells],
            "labels": [vars(label) for label in self.labels],
            "frames": [
                {
                    "sentence": frame.sentence,
                    "lit": {str(at): [light.quantity, light.mark, light.text] for at, light in frame.lit.items()},
                }
                for frame in self.frames
            ],
        }


def draw_frame(book: Book, number: int) -> "Figure":
    """The PNG's side of flipbook.js: one frame of the book with its sentence as a caption."""
    from matplotlib.figure import Figure

    frame = book.frames[number]
    caption = textwrap.wrap(frame.sentence, width=int(book.width / CAPTION_CHARACTER_PX)) if frame.sentence else []
    margin, height = 12, book.height + CAPTION_LINE_PX * len(caption) + (8 if caption else 0)
    inches = (book.width + 2 * margin) / palette.PIXELS_PER_INCH, (height + 2 * margin) / palette.PIXELS_PER_INCH
    with palette.style():
        figure = Figure(figsize=inches)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-margin, book.width + margin)
        axes.set_ylim(height + margin, -margin)  # y grows downwards, as in the browser
        axes.set_axis_off()
        for at, cell in enumerate(book.cells):
            _draw_cell(axes, cell, frame.lit.get(at))
        for label in book.labels:
            _text(axes, label.x, label.y, label.text, label.size, label.anchor, "bold" if label.bold else "normal")
        for line, words in enumerate(caption):
            _text(axes, 0, book.height + 8 + CAPTION_LINE_PX * (line + 0.5), words, 13)
    return figure


def _draw_cell(axes: "Axes", cell: Cell, lit: Lit | None) -> None:
    from matplotlib.patches import Rectangle

    fill = palette.color(lit.quantity) if lit else palette.tint(palette.color(cell.quantity))
    ink = palette.text_on(fill)
    axes.add_patch(
        Rectangle(
            (cell.x, cell.y),
            cell.width,
            cell.height,
            facecolor=fill,
            edgecolor=palette.INK if lit else palette.MUTED,
            linewidth=1.1 if lit else 0.4,
            hatch="/////" if cell.hatched and not lit else None,
            zorder=3 if lit else 2,
        )
    )
    mark = cell.mark if lit is None or lit.mark is None else lit.mark
    text = cell.text if lit is None or lit.text is None else lit.text
    size = text_size(cell, text)
    down = 0.62 if mark and cell.height >= 20 else 0.52
    _text(axes, cell.x + cell.width / 2, cell.y + cell.height * down, text, size, "middle", color=ink)
    if mark:
        _text(axes, cell.x + 2, cell.y + 5.5, mark, 8, weight="bold", color=ink)


def text_size(cell: Cell, text: str) -> float:
    """The size in pixels at which a text fits its cell; 0 (leave it out) where it would be too small to read."""
    size = min(cell.size, 0.62 * cell.height, 1.5 * (cell.width - 2) / max(len(text), 1))
    return round(size, 1) if size >= 7 else 0.0


def _text(
    axes: "Axes",
    x: float,
    y: float,
    text: str,
    size: float,
    anchor: str = "start",
    weight: str = "normal",
    color: str = palette.INK,
) -> None:
    align = {"start": "left", "middle": "center", "end": "right"}[anchor]
    points = size * 72 / palette.PIXELS_PER_INCH
    if text and size:
        axes.text(
            x, y, text, size=points, ha=align, va="center", weight=weight, color=color, zorder=4, parse_math=False
        )


class Stage(HandDrawn):
    """The part of a flipbook that lives in the browser: one book, and which of its frames is shown."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    page = traitlets.Dict().tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)

    def __init__(self) -> None:
        self.book: Book | None = None
        super().__init__()

    def load(self, book: Book) -> None:
        """Shows another book, from its first frame."""
        self.book = book
        with self.hold_sync():  # one message: never a new book with an old frame
            self.page, self.frame, self.problem = book.as_traits(), book.first, ""

    def still(self) -> "tuple[Figure, str]":
        assert self.book is not None
        return draw_frame(self.book, self.frame), self.book.frames[self.frame].sentence


class Flipbook(Interactive):
    """A book that follows its controls; made by `flipbook`."""

    def __init__(self, name: str, make: Callable[..., Book], controls: dict[str, Control]) -> None:
        self.stage = Stage()
        self._make_book = make
        super().__init__(name, controls)

    @property
    def book(self) -> Book:
        """The book that is open."""
        assert self.stage.book is not None
        return self.stage.book

    @property
    def frame(self) -> int:
        """The number of the frame that is shown."""
        return int(self.stage.frame)

    @property
    def sentence(self) -> str:
        """What the frame that is shown says."""
        return self.book.frames[self.frame].sentence

    def go(self, frame: int) -> None:
        """Shows the frame with this number, counted from 0."""
        if not 0 <= frame < len(self.book.frames):
            raise ValueError(f"frames run from 0 to {len(self.book.frames) - 1}; got {frame}")
        self.stage.frame = frame

    def _make(self, **values: Any) -> None:
        try:
            self.stage.load(self._make_book(**values))
        except Exception as error:
            self.stage.problem = describe_error(error)
            raise

    def _publish(self, update: bool) -> None:
        if not update:  # the stage follows its traits by itself
            publish(*self.stage._repr_mimebundle_())
        publish(*sentence_bundle(self.book.point), display_id=sentence_id(self.name), update=update)


def flipbook(name: str, make: Callable[..., Book], **controls: Control) -> Flipbook:
    """A book to step through that follows its controls.

    name: unique in the notebook; display ids are made from it.
    make: called with one keyword argument for each control; gives a Book with at least one frame.
    controls: `Whole`, `Real` or `Choice`, by name.
    """
    return Flipbook(name, make, controls)
