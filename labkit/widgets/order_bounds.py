"""All orders at once: what the published formula gives for every order of a set of requests.

    from labkit.widgets.order_bounds import order_bounds
    from labkit.widgets.still import show

    show(*order_bounds([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)], {"ascending": ascending, "descending": descending}))

The truth, counted step by step, is a floor: no order goes below it, and only some touch it.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import TYPE_CHECKING

from labkit.router import order_bound, tokens_at
from labkit.widgets.drawing import Dot, Drawing, Panel, Shape, Text, as_figure
from labkit.widgets.palette import color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Request = tuple[int, int]

MOST_REQUESTS = 6  # 720 orders
WIDTH, HEIGHT = 760, 250
LABEL_PX = 20


def order_bounds(
    requests: Sequence[Request], named: Mapping[str, Sequence[Request]] | None = None
) -> "tuple[Figure, str]":
    """Figure and sentence: a dot for each order of at most six requests, by the value of the formula.

    named: orders to point out, each an order of these requests.
    """
    if not 1 <= len(requests) <= MOST_REQUESTS:
        raise ValueError(f"one to {MOST_REQUESTS} requests have few enough orders to be seen; got {len(requests)}")
    for name, order in (named or {}).items():
        if sorted(order) != sorted(requests):
            raise ValueError(f"{name!r} is {list(order)}, and that is no order of {list(requests)}")
    bounds = sorted(order_bound(order) for order in permutations(requests))
    peak = max(tokens_at(requests, left) for _, left in requests)
    spread = max(bounds[-1] - peak, 1)
    panel = Panel(46, 26, WIDTH - 56, HEIGHT, x=(-1, len(bounds)), y=(peak - 0.2 * spread, bounds[-1] + 0.2 * spread))
    shapes: list[Shape] = [
        *panel.frame(f"the {len(bounds)} orders, by what the formula gives", "tokens", x_ticks=[]),
        panel.level(peak, color("capacity"), dashed=True),
        *(Dot(*panel.at(place, bound), color("model"), 3) for place, bound in enumerate(bounds)),
    ]
    x, y = panel.at(len(bounds), peak)
    shapes.append(Text(x - 4, y + LABEL_PX, f"counted step by step: {peak}", "end", bold=True))
    for name, order in (named or {}).items():
        shapes += _pointed_out(panel, name, order_bound(order), bounds)
    num_tight = bounds.count(peak)
    said = (
        f"{num_tight} of {len(bounds)} orders give the true peak of {peak}, none gives less, and the worst gives "
        f"{bounds[-1]}."
    )
    said += "".join(f" {name.capitalize()}: {order_bound(order)}." for name, order in (named or {}).items())
    return as_figure(Drawing("Every order of the same requests", WIDTH, 26 + HEIGHT + 34, shapes, said))


def _pointed_out(panel: Panel, name: str, bound: int, bounds: Sequence[int]) -> list[Shape]:
    """In the middle of the orders with the same bound; the name on the page, and clear of the other dots."""
    place = bounds.index(bound) + (bounds.count(bound) - 1) / 2
    x, y = panel.at(place, bound)
    share = place / len(bounds)
    anchor = "start" if share < 0.1 else "end" if share > 0.9 else "middle"
    clear = y + LABEL_PX if bound == bounds[0] else y - LABEL_PX
    return [Dot(x, y, color("measured"), 6), Text(x, clear, f"{name} {bound}", anchor, bold=True)]
