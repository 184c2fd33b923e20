"""Where to draw the nodes of a directed graph: in layers from top to bottom, long graphs in several columns.

The method of Sugiyama, Tagawa and Toda (1981, doi 10.1109/TSMC.1981.4308636) in its plain form: layers by the longest
path, order within a layer by the mean place of the neighbours, positions by least squares. No other program is
needed for it (no graphviz).

    layout = lay_out({"a": 1.0, "b": 1.0}, [("a", "b")])
    layout.places["b"]              # Place(x=0.0, y=1, column=0): centre, and rows from the top
    layout.routes[0].points         # [(0.0, 0), (0.0, 1)]

Units: x in the unit of the widths given, y in rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Node = Hashable
Edge = tuple[Node, Node]
Point = tuple[float, float]

GAP = 0.22  # between two boxes of a layer
COLUMN_GAP = 0.8
_WAYPOINT_WIDTH = 0.02  # a long edge keeps this much room, and the gaps, in each layer that it passes
_SWEEPS = 8
_STRAIGHT = 8.0  # how much more a long edge wants to be straight than a node wants to stand between its neighbours


@dataclass(frozen=True)
class Place:
    """The centre of a node's box: x, the row counted from the top of its column, and the column."""

    x: float
    y: int
    column: int


@dataclass(frozen=True)
class Route:
    """How an edge is drawn: its points from top to bottom.

    An edge that goes on in another column has no line across: it ends in a tag (tail), and starts again from the same
    tag (head), like the connectors of a circuit diagram.
    """

    edge: Edge
    points: tuple[Point, ...]
    tag: int | None = None


@dataclass(frozen=True)
class Layout:
    """Places of all nodes and routes of all edges; width and rows of the whole drawing."""

    places: Mapping[Any, Place]
    routes: tuple[Route, ...]
    width: float
    num_rows: int
    num_columns: int


@dataclass
class _Column:
    """One column while it is made: layers of nodes and waypoints, and the links between neighbouring layers."""

    layers: list[list[Node]]
    widths: dict[Node, float]
    up: dict[Node, list[Node]] = field(default_factory=lambda: defaultdict(list))
    down: dict[Node, list[Node]] = field(default_factory=lambda: defaultdict(list))
    chains: dict[Edge, list[Node]] = field(default_factory=dict)  # each edge with its waypoints

    def link(self, above: Node, below: Node) -> None:
        self.down[above].append(below)
        self.up[below].append(above)


def lay_out(widths: Mapping[Any, float], edges: Iterable[tuple[Any, Any]], max_rows: int = 24) -> Layout:
    """Places the nodes (name -> width of the box) of an acyclic graph.

    max_rows: a graph with more layers is cut where few edges cross and goes on in the next column.
    Raises ValueError for a cycle, and for an edge to a node that has no width.
    """
    links = list(dict.fromkeys(edges))
    if not widths:
        return Layout({}, (), width=0.0, num_rows=0, num_columns=0)
    layer = _layers(widths, links)
    starts = _column_starts(layer, links, max_rows)
    column_of = {node: sum(at >= start for start in starts[1:]) for node, at in layer.items()}
    columns = [
        _column(number, widths, links, layer, column_of, start, end)
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], _num_layers(layer)], strict=True))
    ]
    places: dict[Node, Place] = {}
    routes: list[Route] = []
    left = 0.0
    for number, column in enumerate(columns):
        _order(column)
        x = _positions(column)
        leftmost = min(x[node] - column.widths[node] / 2 for node in x)
        row = {node: at for at, nodes in enumerate(column.layers) for node in nodes}
        for node in x:
            x[node] += left - leftmost
            if node in widths:
                places[node] = Place(x[node], row[node], number)
        for edge, chain in column.chains.items():
            routes.append(Route(edge, tuple((x[node], row[node]) for node in chain)))
        left = max(x[node] + column.widths[node] / 2 for node in x) + COLUMN_GAP
    return Layout(
        places,
        (*routes, *_tagged(links, places)),
        width=max(left - COLUMN_GAP, 0.0),
        num_rows=max(len(column.layers) for column in columns),
        num_columns=len(columns),
    )


def _layers(widths: Mapping[Node, float], edges: Sequence[Edge]) -> dict[Node, int]:
    """The layer of each node, one below the lowest it hangs on; what hangs on nothing stands just above its use."""
    above: dict[Node, list[Node]] = {node: [] for node in widths}
    below: dict[Node, list[Node]] = {node: [] for node in widths}
    for source, target in edges:
        if source not in widths or target not in widths:
            raise ValueError(f"the edge {source!r} -> {target!r} leads to a node that has no width")
        above[target].append(source)
        below[source].append(target)
    layer: dict[Node, int] = {}
    missing = {node: len(sources) for node, sources in above.items()}
    ready = [node for node in widths if not missing[node]]
    for node in ready:  # grows while it is read
        layer[node] = max((layer[source] + 1 for source in above[node]), default=0)
        for target in below[node]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    if len(layer) < len(widths):
        stuck = next(node for node in widths if node not in layer)
        raise ValueError(f"the graph has a cycle through {stuck!r}")
    for node in widths:
        if not above[node] and below[node]:
            layer[node] = min(layer[target] for target in below[node]) - 1
    return layer


def _num_layers(layer: Mapping[Node, int]) -> int:
    return max(layer.values(), default=-1) + 1


def _column_starts(layer: Mapping[Node, int], edges: Sequence[Edge], max_rows: int) -> list[int]:
    """The first layer of each column: columns of about the same height, cut where the fewest edges cross."""
    num_layers = _num_layers(layer)
    starts = [0]
    while (rest := num_layers - starts[-1]) > max_rows:
        num_columns = -(-rest // max_rows)
        even = -(-rest // num_columns)
        # The columns behind this one have to hold what it leaves.
        shortest = max(even * 2 // 3, rest - (num_columns - 1) * max_rows, 1)
        crossing = {
            starts[-1] + rows: sum(layer[source] < starts[-1] + rows <= layer[target] for source, target in edges)
            for rows in range(shortest, max_rows + 1)
        }
        wanted = starts[-1] + even
        starts.append(min(crossing, key=lambda cut: (crossing[cut], abs(cut - wanted))))
    return starts


def _column(
    number: int,
    widths: Mapping[Node, float],
    edges: Sequence[Edge],
    layer: Mapping[Node, int],
    column_of: Mapping[Node, int],
    start: int,
    end: int,
) -> _Column:
    layers: list[list[Node]] = [[] for _ in range(end - start)]
    column = _Column(layers, {node: widths[node] for node in widths if column_of[node] == number})
    for node in column.widths:
        layers[layer[node] - start].append(node)
    for edge in edges:
        source, target = edge
        if column_of[source] != number or column_of[target] != number:
            continue
        chain: list[Node] = [source]
        for between in range(layer[source] + 1, layer[target]):
            waypoint = (edge, between)
            column.widths[waypoint] = _WAYPOINT_WIDTH
            layers[between - start].append(waypoint)
            chain.append(waypoint)
        chain.append(target)
        for upper, lower in pairwise(chain):
            column.link(upper, lower)
        column.chains[edge] = chain
    return column


def _order(column: _Column) -> None:
    """Orders each layer by the mean place of the neighbours above, then below; that with fewest crossings stays."""
    best = [list(nodes) for nodes in column.layers]
    fewest = _crossings(column)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = column.up if downwards else column.down
        layers = column.layers if downwards else column.layers[::-1]
        place = {node: float(at) for nodes in column.layers for at, node in enumerate(nodes)}
        for nodes in layers:
            wanted = {node: _mean([place[other] for other in neighbours[node]], place[node]) for node in nodes}
            nodes.sort(key=lambda node: wanted[node])
            place.update({node: float(at) for at, node in enumerate(nodes)})
        crossings = _crossings(column)
        if crossings < fewest:
            fewest, best = crossings, [list(nodes) for nodes in column.layers]
    column.layers = best


def _crossings(column: _Column) -> int:
    total = 0
    for upper, lower in pairwise(column.layers):
        place = {node: at for at, node in enumerate(lower)}
        ends = [place[below] for node in upper for below in sorted(column.down[node], key=lambda n: place[n])]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def _positions(column: _Column) -> dict[Node, float]:
    """The x of each node: as near to the mean of its neighbours as the boxes beside it allow."""
    x: dict[Node, float] = {}
    for nodes in column.layers:  # all layers start on one middle line: nothing pulls the graph to a side
        packed = _apart([0.0] * len(nodes), nodes, column)
        middle = (packed[0] + packed[-1]) / 2
        x.update({node: place - middle for node, place in zip(nodes, packed, strict=True)})
    for sweep in range(_SWEEPS + 2):
        downwards, last = sweep % 2 == 0, sweep >= _SWEEPS
        for nodes in column.layers if downwards else column.layers[::-1]:
            # One side at a time carries a place through the whole column in one sweep; both sides even it out at last.
            sides = (column.up, column.down) if last else (column.up if downwards else column.down,)
            wanted = [_mean([x[other] for side in sides for other in side[node]], x[node]) for node in nodes]
            x.update(zip(nodes, _apart(wanted, nodes, column), strict=True))
    return x


def _apart(wanted: list[float], nodes: Sequence[Node], column: _Column) -> list[float]:
    """The positions nearest to those wanted, in this order and without overlaps.

    Least squares under x[i + 1] - x[i] >= distance[i]; with the distances taken off, that is isotonic regression, which
    pooling adjacent violators solves exactly (Ayer et al. 1955, doi 10.1214/aoms/1177728423).
    """
    offsets, total = [], 0.0
    for at, node in enumerate(nodes):
        if at:
            total += (column.widths[nodes[at - 1]] + column.widths[node]) / 2 + GAP
        offsets.append(total)
    pools: list[list[float]] = []  # mean, weight, number of nodes
    for node, place, offset in zip(nodes, wanted, offsets, strict=True):
        weight = _STRAIGHT if column.widths[node] == _WAYPOINT_WIDTH else 1.0
        pools.append([place - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight, count = pools.pop()
            before = pools[-1]
            before[0] = (before[0] * before[1] + mean * weight) / (before[1] + weight)
            before[1] += weight
            before[2] += count
    flat = [mean for mean, _, count in pools for _ in range(int(count))]
    return [place + offset for place, offset in zip(flat, offsets, strict=True)]


def _tagged(edges: Sequence[Edge], places: Mapping[Node, Place]) -> list[Route]:
    """Two stubs for each value that goes on in another column: one tag for all that starts at one node."""
    tags: dict[Node, int] = {}
    routes = []
    for source, target in edges:
        here, there = places[source], places[target]
        if here.column == there.column:
            continue
        if source not in tags:
            tags[source] = len(tags)
            routes.append(Route((source, source), ((here.x, here.y), (here.x, here.y + 0.5)), tags[source]))
        routes.append(Route((target, target), ((there.x, there.y - 0.5), (there.x, there.y)), tags[source]))
    return routes


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
