"""What each way to reserve memory wastes: a bar a scheme, counted by the learner's own function.

from labkit.widgets.waste_bars import waste_bars

waste_bars(wasted_slots, lengths)
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkit.widgets.controls import Whole
from labkit.widgets.palette import color, new_figure
from labkit.widgets.picture import Picture, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WastedSlots = Callable[[Sequence[int], tuple], int]


def waste_bars(wasted_slots: WastedSlots, lengths: Sequence[int]) -> Picture:
    """Bars for the reserved maximum, for blocks and for tokens; the controls are the maximum and the size of a block.

    lengths: tokens held by one request at one decode step, for all of them. The maximum starts at the longest one and
    goes no lower: a reservation below what a request holds is none.
    """
    if len(lengths) == 0:
        raise ValueError("there is nothing to draw: lengths is empty; it has the tokens of one request at least")
    longest = max(lengths)

    def draw(maximum: int, block: int) -> "tuple[Figure, str]":
        schemes = {
            f"the maximum, {maximum:,}": ("max", maximum),
            f"blocks of {block}": ("block", block),
            "tokens": ("token",),
        }
        used = sum(lengths)
        wasted = {name: wasted_slots(lengths, reserve) for name, reserve in schemes.items()}
        shares = {name: number / (used + number) for name, number in wasted.items()}
        said = "; ".join(f"{share:.2%} with {name}" for name, share in shares.items())
        return _bars(shares), f"Reserved and empty: {said}."

    return picture(
        "waste-bars",
        draw,
        maximum=Whole(longest, low=longest, high=max(131_072, longest), label="maximum"),
        block=Whole(16, low=1, high=1_024, label="block"),
    )


def _bars(wasted: dict[str, float]) -> "Figure":
    figure = new_figure(height=1.9)
    axes = figure.subplots()
    for row, (name, share) in enumerate(wasted.items()):
        axes.barh(row, 1 - share, color=color("activations"))
        axes.barh(row, share, left=1 - share, color=color("wasted"), hatch="///")
        axes.text(1.01, row, f"{share:.2%} wasted", va="center")
        axes.text(0.01, row, f"{name}", va="center", color="#000000")
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.16)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("of the reserved slots; hatched: no token in them")
    return figure
