"""One colour per quantity in the whole course, and the style that every figure is drawn in.

    from labkit.widgets.palette import color, new_figure, style

    @style()
    def draw(stage: int) -> tuple[Figure, str]:
        figure = new_figure(height=2.5)
        axes = figure.subplots()
        axes.barh(["parameters"], [16], color=color("weights"))
        return figure, "16 bytes per parameter"

The hues are those of Okabe and Ito (jfly.uni-koeln.de/color) and of Paul Tol (personal.sron.nl/~pault), which stay
apart for the common kinds of colour blindness; `TOGETHER` lists the quantities that share a picture, and a
test holds those apart. Colour is never the only sign: add a letter, a hatch or a label.

Nothing heavy is imported until a figure is made.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES: dict[str, str] = {
    # what a model is made of, and what training keeps
    "weights": "#0072B2",  # also called parameters
    "gradients": "#D55E00",
    "optimizer": "#009E73",
    "activations": "#CC79A7",
    # one layer as a matrix product
    "inputs": "#56B4E9",
    "padding": "#DDDDDD",
    "columns": "#E69F00",
    "outputs": "#882255",
    # a cache of token slots and the requests that hold them
    "free": "#F1F3F5",
    "wasted": "#BBBBBB",
    "capacity": "#222222",
    # what was predicted beside what was measured
    "model": "#94A3B3",
    "measured": "#DC267F",
    # distillation
    "teacher": "#332288",
    "student": "#44AA99",
    "labels": "#DDCC77",
    # a graph of operators
    "kept": "#94A3B3",
    "removed": "#D55E00",
    "fused": "#009E73",
}

# Requests have no order of importance: they take turns. Letter them as well (`request_letter`).
REQUESTS: tuple[str, ...] = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#882255")

# Quantities that stand in one picture and so must look different to everybody.
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("weights", "gradients", "optimizer", "activations", "free"),
    ("inputs", "padding", "columns", "weights", "outputs"),
    ("free", "wasted", "capacity", "measured"),
    ("model", "measured", "capacity"),
    ("teacher", "student", "labels"),
    ("kept", "removed", "fused"),
)

INK = "#1F2430"  # text and axes
MUTED = "#59616E"  # secondary text
PAPER = "#FCFCFA"  # light, and opaque: on a dark theme the figure is a card
GRID = "#E3E5E8"

PIXELS_PER_INCH = 96  # of CSS; figure sizes below are the sizes on the page

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "figure.dpi": PIXELS_PER_INCH,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "hatch.color": MUTED,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "labkit",
}

# rcParams are global to the process, and a widget's handler may run on another thread than the cell.
_style_lock = threading.RLock()


def color(quantity: str) -> str:
    """The colour of a quantity, as "#RRGGBB"; an unknown name raises KeyError listing the known ones."""
    try:
        return QUANTITIES[quantity]
    except KeyError:
        known = ", ".join(sorted(QUANTITIES))
        raise KeyError(
            f"no colour for {quantity!r}; the quantities are {known}. A new one goes into "
            "labkit/widgets/palette.py, so that it has the same colour in every lab"
        ) from None


def request_color(number: int) -> str:
    """The colour of the request with this number; after seven requests the colours come round again."""
    return REQUESTS[number % len(REQUESTS)]


def request_letter(number: int) -> str:
    """The letters that stand on a request beside its colour: A, B, … Z, AA, AB, …"""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def tint(hex_color: str, strength: float = 0.25) -> str:
    """The colour thinned with the paper's: strength 0 is paper, 1 the colour itself."""
    mixed = (
        round(strength * ours + (1 - strength) * paper)
        for ours, paper in zip(_channels(hex_color), _channels(PAPER), strict=True)
    )
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def text_on(hex_color: str) -> str:
    """Black or white, whichever has more contrast on this colour: at least 4.58 on any (WCAG AA asks for 4.5)."""
    return max(("#000000", "#FFFFFF"), key=lambda ink: contrast(ink, hex_color))


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


@contextmanager
def style() -> Iterator[None]:
    """The course's matplotlib style, as a `with` block or as a decorator of a function that draws."""
    import matplotlib

    with _style_lock, matplotlib.rc_context():
        matplotlib.rcdefaults()  # not the reader's matplotlibrc: the PNG is the same everywhere
        matplotlib.rcParams.update(_RC)  # type: ignore[arg-type]  # the keys are a Literal of 300 names
        yield


def new_figure(width: float = 7.0, height: float = 3.2) -> "Figure":
    """An empty figure of width x height inches (96 CSS pixels each), outside pyplot: nothing to close."""
    from matplotlib.figure import Figure

    with style():
        return Figure(figsize=(width, height), layout="constrained")


def _channels(hex_color: str) -> tuple[int, int, int]:
    return int(hex_color[1:3], 16), int(hex_color[3:5], 16), int(hex_color[5:7], 16)


def _luminance(hex_color: str) -> float:
    linear = [
        c / 12.92 if (c := channel / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for channel in _channels(hex_color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
