"""The skyline is what the router's definition says, and every order stands where the formula puts it."""

import re
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.router import RequestError, first_admissible_step, order_bound, peak_tokens, tokens_at
from labkit.widgets.drawing import Area, Dot, Text
from labkit.widgets.order_bounds import order_bounds
from labkit.widgets.palette import color
from labkit.widgets.staircase import RUNNING, skyline, staircase
from labkit.widgets.still import figure_png

FIVE = [(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)]
REQUESTS = st.tuples(st.integers(1, 9), st.integers(0, 7))


def size(area: Area) -> float:
    """In square pixels (the shoelace formula)."""
    pairs = zip(area.points, [*area.points[1:], area.points[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def test_the_published_example_is_exactly_full_at_31() -> None:
    figure, sentence = skyline(FIVE, capacity=31)
    assert sentence == "5 requests hold at most 31 tokens, at step 2. The pool has 31: exactly full."
    assert figure_png(figure).startswith(b"\x89PNG")
    assert skyline(FIVE, capacity=29)[1].endswith("The pool has 29: 2 tokens too many.")
    assert skyline(FIVE)[1] == "5 requests hold at most 31 tokens, at step 2."


def test_nobody_is_drawn_as_nobody() -> None:
    _, sentence = skyline([])
    assert sentence == "0 requests hold at most 0 tokens, at step 0."


@settings(max_examples=30, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=5), REQUESTS, st.integers(0, 5))
def test_areas_are_in_proportion_to_the_tokens_held_over_time(
    running: list[tuple[int, int]], candidate: tuple[int, int], start: int
) -> None:
    live = staircase(running=running, candidate=candidate, capacity=100)
    start = min(start, max(left for _, left in running) + 2)
    live.set(start=start)
    areas = [shape for shape in live.drawing.shapes if isinstance(shape, Area) and shape.color != color("measured")]
    ends = {number: left for number, (_, left) in enumerate(running)} | {len(running): start + candidate[1]}
    order = sorted(ends, key=lambda number: -ends[number])  # the longest is drawn first
    held = [sum(run + t for t in range(left + 1)) for run, left in [*running, candidate]]
    scale = size(areas[0]) / held[order[0]]
    assert [size(area) / scale for area in areas] == pytest.approx([held[number] for number in order])
    assert [area.hatched for area in areas] == [number == len(running) for number in order]


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4), REQUESTS, st.integers(0, 12))
def test_the_first_step_is_the_routers(running: list[tuple[int, int]], candidate: tuple[int, int], more: int) -> None:
    capacity = peak_tokens(running) + more
    live = staircase(running=running, candidate=candidate, capacity=capacity)
    step = first_admissible_step(running, candidate, capacity)
    said = "It fits at no step" if step is None else f"The first step at which it fits is {step}."
    assert said in live.sentence
    assert f"hold at most {peak_tokens([*running, candidate])} token" in live.sentence


def test_a_dot_stands_at_every_completion_and_a_filled_one_where_it_fits() -> None:
    live = staircase()
    dots = [shape for shape in live.drawing.shapes if isinstance(shape, Dot)]
    num_starts = max(left for _, left in RUNNING) + 3
    assert len(dots) == len({left for _, left in [*RUNNING, (4, 2)]}) + num_starts
    assert [dot.hollow for dot in dots[-num_starts:]] == [True] + [False] * (num_starts - 1)
    live.set(capacity=31)
    assert not any(shape.hollow for shape in live.drawing.shapes if isinstance(shape, Dot))


def test_what_is_too_much_is_shown_above_the_capacity() -> None:
    live = staircase()
    over = [shape for shape in live.drawing.shapes if isinstance(shape, Area) and shape.color == color("measured")]
    assert len(over) == sum(tokens_at(FIVE, step) > 30 for step in range(5)) == 1
    live.set(start=1)
    assert "exactly full" in live.sentence
    assert not any(isinstance(shape, Area) and shape.color == color("measured") for shape in live.drawing.shapes)


def test_a_wrong_peak_of_the_learners_is_said() -> None:
    assert "But" not in staircase(peak_tokens).sentence
    live = staircase(lambda requests: sum(run + left for run, left in requests))
    assert "But peak_tokens says 35, where counting gives 31." in live.sentence


def test_an_exception_of_the_learners_is_shown() -> None:
    with pytest.raises(ZeroDivisionError):
        staircase(lambda requests: 1 // 0)


# --- all orders -----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_the_dots_are_the_bounds_of_all_orders_and_none_is_below_the_peak(requests: list[tuple[int, int]]) -> None:
    _, sentence = order_bounds(requests)
    bounds = [order_bound(order) for order in permutations(requests)]
    said = re.match(
        r"(\d+) of (\d+) orders give the true peak of (\d+), none gives less, and the worst gives (\d+).", sentence
    )
    assert said
    assert tuple(map(int, said.groups())) == (bounds.count(min(bounds)), len(bounds), min(bounds), max(bounds))
    assert min(bounds) == max(tokens_at(requests, step) for step in range(8))


def test_named_orders_are_pointed_out() -> None:
    figure, sentence = order_bounds(FIVE, {"ascending": FIVE[::-1], "descending": FIVE})
    assert sentence.endswith("Ascending: 41. Descending: 31.")
    assert figure_png(figure).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"'four' is .* no order of"):
        order_bounds(FIVE, {"four": FIVE[:4]})
    with pytest.raises(ValueError, match="one to 6 requests have few enough orders"):
        order_bounds([(1, 1)] * 7)


def test_texts_stay_on_the_page() -> None:
    live = staircase()
    for values in ({}, {"capacity": 60}, {"run": 12, "left": 12, "start": 6}, {"run": 0, "left": 0, "start": 0}):
        live.set(**values)
        drawing = live.drawing
        texts = [shape for shape in drawing.shapes if isinstance(shape, Text)]
        assert texts
        assert all(0 <= text.x <= drawing.width and -12 <= text.y <= drawing.height for text in texts)


@pytest.mark.parametrize("length", [-1, 1.5, float("nan"), True])
def test_lengths_that_no_request_has_are_refused_with_a_sentence(length: object) -> None:
    with pytest.raises(RequestError, match=r"run of requests\[0\] is .*[;,] "):
        skyline([(length, 2)])  # type: ignore[list-item]
    with pytest.raises(RequestError, match=r"left of running\[1\] is "):
        staircase(running=[(1, 2), (1, length)])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="capacity is 0; it must be 1 or more"):
        staircase(capacity=0)
