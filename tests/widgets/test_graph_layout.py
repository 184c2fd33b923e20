"""labkit.widgets.graph_layout: whatever the graph, nothing overlaps, every line goes down, nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.widgets.graph_layout import GAP, lay_out

Graph = tuple[dict[int, float], list[tuple[int, int]]]


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> Graph:
    num_nodes = draw(st.integers(0, 25))
    widths = {node: draw(st.floats(0.2, 3)) for node in range(num_nodes)}
    pairs = st.tuples(st.integers(0, max(num_nodes - 2, 0)), st.integers(1, max(num_nodes - 1, 1)))
    edges = draw(st.lists(pairs, max_size=40)) if num_nodes > 1 else []
    return widths, [(a, b) for a, b in edges if a < b]


@settings(max_examples=200, deadline=None)
@given(acyclic_graphs(), st.integers(2, 12))
def test_nothing_overlaps_and_every_line_goes_down(graph: Graph, max_rows: int) -> None:
    widths, edges = graph
    layout = lay_out(widths, edges, max_rows)
    assert set(layout.places) == set(widths)
    assert layout.num_rows <= max_rows
    rows: dict[int, list[tuple[float, float]]] = {}
    for node, place in layout.places.items():
        left, right = place.x - widths[node] / 2, place.x + widths[node] / 2
        assert -1e-6 <= left <= right <= layout.width + 1e-6
        rows.setdefault(place.y, []).append((left, right))
    for boxes in rows.values():  # of one row, in all columns
        for (_, right), (left, _) in pairwise(sorted(boxes)):
            assert left - right >= GAP - 1e-6
    whole = {route.edge: route for route in layout.routes if route.tag is None}
    tagged = [(source, target) for source, target in set(edges) if (source, target) not in whole]
    for (source, target), route in whole.items():
        assert route.points[0] == (layout.places[source].x, layout.places[source].y)
        assert route.points[-1] == (layout.places[target].x, layout.places[target].y)
        assert all(y1 == y0 + 1 for (_, y0), (_, y1) in pairwise(route.points))
    for source, target in tagged:
        assert layout.places[source].column < layout.places[target].column
    stubs = [route for route in layout.routes if route.tag is not None]
    assert len(stubs) == len(tagged) + len({source for source, _ in tagged})


@given(acyclic_graphs())
def test_the_same_graph_is_drawn_the_same(graph: Graph) -> None:
    assert lay_out(*graph) == lay_out(*graph)


def test_a_chain_hangs_straight() -> None:
    layout = lay_out(dict.fromkeys("abcde", 1.0), [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")])
    assert {place.x for place in layout.places.values()} == {0.5}
    assert [layout.places[node].y for node in "abcde"] == [0, 1, 2, 3, 4]


def test_a_crossing_that_can_be_avoided_is() -> None:
    edges = [("a", "y"), ("b", "x"), ("top", "a"), ("top", "b")]
    layout = lay_out({"top": 1.0, "a": 1.0, "b": 1.0, "x": 1.0, "y": 1.0}, edges)
    place = layout.places
    assert (place["a"].x < place["b"].x) == (place["y"].x < place["x"].x)


def test_a_shortcut_goes_around_the_boxes_beside_it() -> None:
    layout = lay_out(dict.fromkeys("abc", 1.0), [("a", "b"), ("b", "c"), ("a", "c")])
    shortcut = next(route for route in layout.routes if route.edge == ("a", "c"))
    (x, row) = shortcut.points[1]
    assert row == layout.places["b"].y
    assert abs(x - layout.places["b"].x) >= 0.5


def test_what_hangs_on_nothing_stands_just_above_its_use() -> None:
    layout = lay_out(dict.fromkeys("abcz", 1.0), [("a", "b"), ("b", "c"), ("z", "c")])
    assert layout.places["z"].y == 1


def test_long_graphs_are_cut_where_few_lines_cross_and_tagged_once_for_each_value() -> None:
    chain = [*pairwise(range(10)), (0, 4), (5, 9)]  # between 4 and 5 one line crosses, elsewhere two
    layout = lay_out(dict.fromkeys(range(10), 1.0), chain, max_rows=6)
    assert layout.num_columns == 2
    assert [layout.places[node].column for node in range(10)] == [0] * 5 + [1] * 5
    assert [route.tag for route in layout.routes if route.tag is not None] == [0, 0]


def test_a_cycle_and_an_unknown_node_are_refused() -> None:
    with pytest.raises(ValueError, match="the graph has a cycle through 'a'"):
        lay_out({"a": 1.0, "b": 1.0}, [("a", "b"), ("b", "a")])
    with pytest.raises(ValueError, match="the edge 'a' -> 'z' leads to a node that has no width"):
        lay_out({"a": 1.0}, [("a", "z")])
