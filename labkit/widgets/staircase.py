"""The skyline of a token pool: who holds what when, the dots at completions, and where one more request fits.

    from labkit.widgets.staircase import skyline, staircase
    from labkit.widgets.still import show

    show(*skyline([(5, 4), (4, 3), (5, 3), (3, 2), (4, 2)], capacity=31))
    staircase(peak_tokens)          # the learner's own; add a request, move it in time, see the peak move

A request (run, left) is a ramp: it holds run + t tokens at step t, and falls to nothing after step left. The ramps
stand on each other, the longest at the bottom, so that whoever ends takes the top away. What is drawn is counted step
by step; where the learner's function says something else, the sentence tells.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkit.router._arguments import checked_request, checked_requests, whole
from labkit.widgets.controls import Whole
from labkit.widgets.drawing import Dot, Drawing, LiveDrawing, Panel, Shape, Text, as_figure, live_drawing
from labkit.widgets.palette import INK, MUTED, color, request_color, request_letter, text_on, tint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Request = tuple[int, int]
PeakTokens = Callable[[list[Request]], Any]

RUNNING: tuple[Request, ...] = ((5, 4), (4, 3), (5, 3), (3, 2))
MOST = 12  # of a control

# The page, in CSS pixels.
WIDTH = 760
LEFT = 46
PANEL_WIDTH = WIDTH - LEFT - 10
TOP = 26
SKYLINE_HEIGHT = 250
STARTS_HEIGHT = 90
AXIS = 38  # below a panel


def skyline(requests: Sequence[Request], capacity: int | None = None) -> "tuple[Figure, str]":
    """Figure and sentence: the ramps of these requests, a dot at each completion, the peak, and the capacity."""
    stack = _Stack([(run, left, 0) for run, left in checked_requests(requests, "requests")])
    top = max([stack.peak, *([capacity] if capacity else [])])
    panel = Panel(LEFT, TOP, PANEL_WIDTH, SKYLINE_HEIGHT, x=(0, stack.num_steps), y=(0, 1.12 * top))
    shapes = [*_frame(panel, stack.num_steps), *_ramps(panel, stack), *_ends(panel, stack)]
    who = "1 request holds" if len(requests) == 1 else f"{len(requests)} requests hold"
    said = f"{who} at most {_tokens(stack.peak)}, at step {stack.peak_step}."
    if capacity is not None:
        shapes += [panel.level(capacity, color("capacity"), dashed=True)]
        said += f" The pool has {capacity}: {_room(capacity - stack.peak)}."
    return as_figure(Drawing("Who holds what when", WIDTH, TOP + SKYLINE_HEIGHT + AXIS, shapes, said))


def staircase(
    peak_tokens: PeakTokens | None = None,
    running: Sequence[Request] = RUNNING,
    candidate: Request = (4, 2),
    capacity: int = 30,
    name: str = "staircase",
) -> LiveDrawing:
    """Add a request to those that run: choose its run, its left, the step at which it starts, and the capacity.

    peak_tokens(requests) is the learner's own; without it everything is counted. Below the skyline stands the peak for
    each starting step: where it is within the capacity, the candidate could start. Raises RequestError for lengths that
    no request has, and a capacity below 1.
    """
    running, candidate = checked_requests(running, "running"), checked_request(candidate, "candidate")
    whole(capacity, "capacity", at_least=1)
    most = max(MOST, *candidate)

    def make(run: int, left: int, start: int, capacity: int) -> Drawing:
        return _admission(list(running), (run, left), start, capacity, peak_tokens)

    return live_drawing(
        name,
        make,
        run=Whole(candidate[0], low=0, high=most),
        left=Whole(candidate[1], low=0, high=most),
        start=Whole(0, low=0, high=_horizon(running) + 2, label="starts at step"),
        capacity=Whole(capacity, low=1, high=2 * capacity),
    )


@dataclass(frozen=True)
class _Stack:
    """Requests (run, left, start), counted step by step; the last to end lie at the bottom."""

    requests: Sequence[tuple[int, int, int]]

    @cached_property
    def order(self) -> list[int]:
        """Numbers of the requests from bottom to top."""
        ends = [start + left for _, left, start in self.requests]
        return sorted(range(len(ends)), key=lambda number: -ends[number])

    @cached_property
    def num_steps(self) -> int:
        return 1 + max((start + left for _, left, start in self.requests), default=0)

    def held(self, number: int, step: int) -> int:
        run, left, start = self.requests[number]
        return run + step - start if start <= step <= start + left else 0

    @cached_property
    def totals(self) -> list[int]:
        """Tokens held by all at each step."""
        numbers = range(len(self.requests))
        return [sum(self.held(number, step) for number in numbers) for step in range(self.num_steps)]

    @property
    def peak(self) -> int:
        return max(self.totals)

    @property
    def peak_step(self) -> int:
        return self.totals.index(self.peak)


def _admission(
    running: list[Request], candidate: Request, start: int, capacity: int, peak_tokens: PeakTokens | None
) -> Drawing:
    """The skyline with the candidate, and the peak for every step at which it may start."""
    stack = _Stack([*((run, left, 0) for run, left in running), (*candidate, start)])
    num_starts = _horizon(running) + 3
    peaks = [_peak_from(running, candidate, step) for step in range(num_starts)]
    num_steps = max(stack.num_steps, num_starts + 1)
    top = 1.15 * max(stack.peak, capacity)
    panel = Panel(LEFT, TOP, PANEL_WIDTH, SKYLINE_HEIGHT, x=(0, num_steps), y=(0, top))
    below = TOP + SKYLINE_HEIGHT + AXIS + TOP
    starts = Panel(LEFT, below, PANEL_WIDTH, STARTS_HEIGHT, x=(0, num_steps), y=_around([*peaks, capacity]))
    shapes = [
        *_frame(panel, num_steps),
        *_ramps(panel, stack, candidate=len(running)),
        *_overflow(panel, stack, capacity),
        panel.level(capacity, color("capacity"), dashed=True),
        *_ends(panel, stack),
        *_starts(starts, peaks, start, capacity),
    ]
    said = _admission_sentence(running, candidate, start, capacity, stack, peaks, peak_tokens)
    return Drawing("One more request", WIDTH, below + STARTS_HEIGHT + AXIS, shapes, said)


def _admission_sentence(
    running: list[Request],
    candidate: Request,
    start: int,
    capacity: int,
    stack: _Stack,
    peaks: list[int],
    peak_tokens: PeakTokens | None,
) -> str:
    letter = request_letter(len(running))
    fitting = [step for step, peak in enumerate(peaks) if peak <= capacity]
    peak = peaks[start]
    first = (
        f"The first step at which it fits is {fitting[0]}." if fitting else "It fits at no step: alone it is too large."
    )
    said = (
        f"{letter} = {candidate} starts at step {start}: from then on they hold at most {_tokens(peak)} of {capacity}, "
        f"{_room(capacity - peak)}. {first}"
    )
    if peak_tokens is None:
        return said
    theirs = peak_tokens([*_still_running(running, start), candidate])
    return said if theirs == peak else f"{said}\nBut peak_tokens says {theirs!r}, where counting gives {peak}."


def _frame(panel: Panel, num_steps: int) -> list[Shape]:
    return [*panel.frame("step", "tokens held", x_ticks=[]), *(_step_name(panel, step) for step in range(num_steps))]


def _step_name(panel: Panel, step: int, bold: bool = False) -> Text:
    """The number of a step below the middle of its column."""
    x, bottom = panel.at(step + 0.5, panel.y[0])
    return Text(x, bottom + 11, str(step), "middle", bold, size=11, color=INK if bold else MUTED)


def _ramps(panel: Panel, stack: _Stack, candidate: int | None = None) -> list[Shape]:
    """Each request as steps on top of those that end later."""
    shapes: list[Shape] = []
    below = [0] * stack.num_steps
    for number in stack.order:
        run, left, start = stack.requests[number]
        steps = range(start, start + left + 1)
        lower = [place for step in steps for place in ((step, below[step]), (step + 1, below[step]))]
        for step in steps:
            below[step] += stack.held(number, step)
        upper = [place for step in steps for place in ((step, below[step]), (step + 1, below[step]))]
        fill = request_color(number)
        paler = tint(fill, 0.55)
        shapes.append(panel.area([*upper, *reversed(lower)], paler, edge=INK, hatched=number == candidate))
        middle = (below[start] + below[start] - stack.held(number, start)) / 2
        x, y = panel.at(start + 0.5, middle)
        if stack.held(number, start) * panel.height / (panel.y[1] - panel.y[0]) >= 13:
            name = f"{request_letter(number)} ({run}, {left})"
            shapes.append(Text(x, y, name, "middle", bold=True, color=text_on(paler)))
    return shapes


def _overflow(panel: Panel, stack: _Stack, capacity: int) -> list[Shape]:
    """What is held above the capacity."""
    over = [(step, held) for step, held in enumerate(stack.totals) if held > capacity]
    corners = [[(step, capacity), (step, held), (step + 1, held), (step + 1, capacity)] for step, held in over]
    return [panel.area(each, color("measured"), edge=INK) for each in corners]


def _ends(panel: Panel, stack: _Stack) -> list[Shape]:
    """A dot on the top at each completion; the peak has its number."""
    ends = sorted({start + left for _, left, start in stack.requests})
    shapes: list[Shape] = [Dot(*panel.at(step + 0.5, stack.totals[step]), INK) for step in ends]
    x, y = panel.at(stack.peak_step + 0.5, stack.peak)
    return [*shapes, Text(x, y - 14, f"peak {stack.peak}", "middle", bold=True)]


def _starts(panel: Panel, peaks: list[int], start: int, capacity: int) -> list[Shape]:
    """The peak against the starting step; filled dots fit."""
    shapes = panel.frame("step at which it starts", "peak from its start on (filled: it fits)", x_ticks=[])
    shapes.append(panel.line([(step + 0.5, peak) for step, peak in enumerate(peaks)], MUTED, width=1))
    shapes.append(panel.level(capacity, color("capacity"), dashed=True))
    for step, peak in enumerate(peaks):
        x, y = panel.at(step + 0.5, peak)
        radius = 7 if step == start else 4.5
        shapes.append(Dot(x, y, INK if peak <= capacity else color("measured"), radius, hollow=peak > capacity))
        shapes.append(_step_name(panel, step, bold=step == start))
    return shapes


def _peak_from(running: Sequence[Request], candidate: Request, start: int) -> int:
    """The most that is held from `start` on, if the candidate starts then."""
    return _Stack([(run, left, 0) for run, left in [*_still_running(running, start), candidate]]).peak


def _still_running(running: Sequence[Request], step: int) -> list[Request]:
    return [(run + step, left - step) for run, left in running if left >= step]


def _horizon(running: Sequence[Request]) -> int:
    return max((left for _, left in running), default=0)


def _around(values: Sequence[int]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(1.0, 0.15 * (high - low))
    return low - room, high + room


def _room(free: int) -> str:
    if free == 0:
        return "exactly full"
    return f"{_tokens(free)} free" if free > 0 else f"{_tokens(-free)} too many"


def _tokens(number: int) -> str:
    return "1 token" if number == 1 else f"{number:,} tokens"
