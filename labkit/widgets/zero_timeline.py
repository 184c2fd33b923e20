"""One training step of ZeRO on every rank: who computes when, and what is sent in between.

    from labkit.widgets.zero_timeline import zero_timeline

    zero_timeline(zero_step, comm_elements)     # the learner's own functions; without them, labkit's

Nothing is drawn from a formula: the learner's zero_step is run on a small model whose ring, optimizer and batches write
down each call. The width of a message is what a rank sends for it; widths of compute are not measured, forward 2 and
backward 4. Where the learner's step does not give what labkit's gives, labkit's is drawn and the sentence says so.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from labkit.widgets.controls import Choice, Whole
from labkit.widgets.palette import INK, color, new_figure, text_on, tint
from labkit.widgets.picture import Picture, picture
from labkit.zero.communication import comm_elements as labkit_comm_elements
from labkit.zero.optimizers import Adam, State
from labkit.zero.ring import Array, Ring
from labkit.zero.toy import TanhRegression, make_batches
from labkit.zero.virtual import held_bytes, place
from labkit.zero.virtual import zero_step as labkit_zero_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL = TanhRegression(inputs=4, hidden=12)  # 60 parameters: 1 to 6 ranks divide them
COMPUTE = {"forward": ("F", 2.0, "inputs"), "backward": ("B", 4.0, "outputs"), "update": ("U", 1.0, "optimizer")}
MESSAGE = {
    "all_gather": ("all-gather", "parameters", "weights"),
    "broadcast": ("broadcast", "parameters", "weights"),
    "reduce_scatter": ("reduce-scatter", "gradients", "gradients"),
    "all_reduce": ("all-reduce", "gradients", "gradients"),
}
MODEL_WIDTH = 4.0  # of a message in which a rank sends as many elements as the model has


class Event(NamedTuple):
    """Something that a step did: computing by one rank, or a message of all ranks."""

    what: str
    rank: int | None = None  # None: all of them
    micro_batch: int = 0
    sent: Fraction = Fraction(0)  # elements by each rank, on average


@dataclass
class Log:
    """The events of a step in the order in which they happened."""

    events: list[Event] = field(default_factory=list)

    @property
    def sent(self) -> Fraction:
        """Elements that each rank sent."""
        return sum((event.sent for event in self.events), Fraction(0))

    @property
    def messages(self) -> dict[str, int]:
        """How many there were of each kind, in the order of their first."""
        return dict(Counter(event.what for event in self.events if event.what in MESSAGE))


class Drawn(NamedTuple):
    """The log to draw, and why it is not the learner's own ("" where it is)."""

    log: Log
    not_yours: str


def zero_timeline(
    zero_step: Callable[..., Any] | None = None,
    comm_elements: Callable[..., Any] | None = None,
    name: str = "zero-timeline",
) -> Picture:
    """The step as lanes, one for each rank; controls: stage, ranks, micro-batches.

    zero_step(ranks, batches, model, optimizer, stage, ring) and comm_elements(num_params, world_size, stage) are the
    learner's. name: another one for a second such picture in the same notebook.
    """

    def draw(stage: int, ranks: int, micro_batches: int) -> "tuple[Figure, str]":
        drawn = choose_log(zero_step, stage, ranks, micro_batches)
        figure = new_figure(width=8.8, height=1.5 + 0.42 * ranks)
        _draw_lanes(figure.subplots(), drawn.log, ranks)
        return figure, _sentence(drawn, comm_elements, stage, ranks, micro_batches)

    return picture(
        name,
        draw,
        stage=Choice(3, (0, 1, 2, 3)),
        ranks=Whole(4, low=1, high=6),
        micro_batches=Whole(1, low=1, high=4, label="micro-batches"),
    )


# --- watching a step --------------------------------------------------------------------------------------


def choose_log(zero_step: Callable[..., Any] | None, stage: int, world_size: int, micro_batches: int) -> Drawn:
    """The learner's step if it gives the ranks and sends the bytes that labkit's does, else labkit's."""
    ours, our_ranks = watch(labkit_zero_step, stage, world_size, micro_batches)
    if zero_step is None:
        return Drawn(ours, "")
    try:
        theirs, their_ranks = watch(zero_step, stage, world_size, micro_batches)
        same = _same_ranks(their_ranks, our_ranks)
    except NotImplementedError:
        return Drawn(ours, "your zero_step is not written yet")
    except Exception as error:  # whatever a learner's function raises, the picture is drawn and says it
        return Drawn(ours, f"your zero_step raises {type(error).__name__}: {error}")
    if not same:
        return Drawn(ours, "after your zero_step the ranks hold something else")
    if theirs.sent != ours.sent:
        return Drawn(ours, f"your zero_step sends {_number(theirs.sent)} elements from each rank")
    return Drawn(theirs, "")


def watch(zero_step: Callable[..., Any], stage: int, world_size: int, micro_batches: int) -> tuple[Log, list[Any]]:
    """One step, with what it did and the ranks after it."""
    log = Log()
    optimizer = _WatchedAdam(log)
    ranks = place(MODEL.start(), world_size, stage, optimizer)
    batches = [
        [_Batch(rank, k, batch) for k, batch in enumerate(of_rank)]
        for rank, of_rank in enumerate(make_batches(MODEL, world_size, micro_batches))
    ]
    ring = _WatchedRing(world_size, log)
    return log, zero_step(ranks, batches, _WatchedModel(log), optimizer, stage, ring)


class _Batch(NamedTuple):
    rank: int
    micro_batch: int
    data: Any


class _WatchedModel:
    num_params = MODEL.num_params

    def __init__(self, log: Log) -> None:
        self.log = log

    def forward(self, params: Array, batch: _Batch) -> Any:
        self.log.events.append(Event("forward", batch.rank, batch.micro_batch))
        return batch, MODEL.forward(params, batch.data)

    def backward(self, params: Array, saved: Any) -> Array:
        batch, inner = saved
        self.log.events.append(Event("backward", batch.rank, batch.micro_batch))
        return MODEL.backward(params, inner)


class _WatchedAdam(Adam):
    """Adam whose states know their rank: `place` starts them in the order of the ranks."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        object.__setattr__(self, "_log", log)
        object.__setattr__(self, "_owners", iter(range(2**30)))

    def start(self, params: Array) -> State:
        owners: Iterator[int] = self._owners  # type: ignore[attr-defined]
        return {**super().start(params), "owner": next(owners)}

    def update(self, params: Array, grads: Array, state: State) -> tuple[Array, State]:
        self._log.events.append(Event("update", state["owner"]))  # type: ignore[attr-defined]
        moved, new = super().update(params, grads, state)
        return moved, {**new, "owner": state["owner"]}


class _WatchedRing(Ring):
    def __init__(self, world_size: int, log: Log) -> None:
        super().__init__(world_size)
        self.log = log

    def all_reduce(self, arrays: Any) -> list[Array]:
        return self._watched("all_reduce", super().all_reduce, arrays)

    def reduce_scatter(self, arrays: Any) -> list[Array]:
        return self._watched("reduce_scatter", super().reduce_scatter, arrays)

    def all_gather(self, shards: Any) -> list[Array]:
        return self._watched("all_gather", super().all_gather, shards)

    def broadcast(self, array: Array, source: int) -> list[Array]:
        return self._watched("broadcast", super().broadcast, array, source)

    def _watched(self, what: str, call: Callable[..., list[Array]], *args: Any) -> list[Array]:
        before = sum(self.sent_bytes)
        result = call(*args)
        sent = Fraction(sum(self.sent_bytes) - before, 8 * self.world_size)  # float64
        self.log.events.append(Event(what, sent=sent))
        return result


def _same_ranks(theirs: Any, ours: list[Any]) -> bool:
    """Equal parameters, and nothing held that need not be."""
    return len(theirs) == len(ours) and all(
        np.allclose(a.params, b.params, rtol=0, atol=1e-9)
        and all(x <= y for x, y in zip(held_bytes(a), held_bytes(b), strict=True))
        for a, b in zip(theirs, ours, strict=True)
    )


# --- drawing ----------------------------------------------------------------------------------------------


class Box(NamedTuple):
    """An event with its place: from `start`, `width` wide, on one lane or on all."""

    event: Event
    start: float
    width: float


def lay_out(log: Log, world_size: int) -> list[Box]:
    """Ranks compute side by side; a message begins when the last of them is ready, and holds all of them up."""
    now = [0.0] * world_size
    boxes = []
    for event in log.events:
        if event.rank is not None:
            start, width = now[event.rank], COMPUTE[event.what][1]
            now[event.rank] = start + width
        else:
            start, width = max(now), float(MODEL_WIDTH * event.sent / MODEL.num_params)
            now = [start + width] * world_size
        if width:
            boxes.append(Box(event, start, width))
    return boxes


def _draw_lanes(axes: "Axes", log: Log, world_size: int) -> None:
    boxes = lay_out(log, world_size)
    end = max(box.start + box.width for box in boxes)
    for event, start, width in boxes:
        if event.rank is None:
            _draw_message(axes, event, start, width, world_size, end)
        else:
            letter, _, quantity = COMPUTE[event.what]
            fill = tint(color(quantity), 0.45)
            number = "" if event.what == "update" else str(event.micro_batch + 1)
            _draw_box(axes, start, event.rank - 0.36, width, 0.72, fill, f"{letter}{number}")
    axes.set_yticks(range(world_size), [f"rank {rank}" for rank in range(world_size)])
    axes.set_xticks([])
    axes.set_xlim(0, end)
    axes.set_ylim(world_size - 0.45, -0.55)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("one step →   F forward, B backward (of a micro-batch), U update   (compute is not to scale)")


def _draw_message(axes: "Axes", event: Event, start: float, width: float, world_size: int, end: float) -> None:
    operation, what, quantity = MESSAGE[event.what]
    share = event.sent / MODEL.num_params
    narrow = width < 0.14 * end
    text = f"{operation}{' of ' if narrow else chr(10)}{what}\n{float(share):.3g} Φ"
    _draw_box(axes, start, -0.5, width, world_size, color(quantity), text, rotation=90 if narrow else 0)


def _draw_box(
    axes: "Axes", x: float, y: float, width: float, height: float, fill: str, text: str, rotation: int = 0
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor=INK, linewidth=0.8))
    axes.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5, color=text_on(fill),
        rotation=rotation, clip_on=True, parse_math=False,
    )  # fmt: skip


def _sentence(
    drawn: Drawn, comm_elements: Callable[..., Any] | None, stage: int, world_size: int, micro_batches: int
) -> str:
    log = drawn.log
    listed = ", ".join(_messages(what, count) for what, count in log.messages.items())
    of_ranks = "1 rank" if world_size == 1 else f"{world_size} ranks"
    of_batches = "1 micro-batch" if micro_batches == 1 else f"{micro_batches} micro-batches"
    lines = [
        f"Stage {stage}, {of_ranks}, {of_batches}: {listed}. Each rank sends {_number(log.sent)} elements, "
        f"{_number(log.sent / MODEL.num_params)} times the {MODEL.num_params} of the model."
    ]
    lines.append(_formula(comm_elements, stage, world_size))
    if drawn.not_yours:
        lines.append(f"Drawn with labkit's zero_step: {drawn.not_yours}.")
    return "\n".join(line for line in lines if line)


def _messages(what: str, count: int) -> str:
    operation, carried, _ = MESSAGE[what]
    return f"{count} {operation}{'' if count == 1 else 's'} of {carried}"


def _formula(comm_elements: Callable[..., Any] | None, stage: int, world_size: int) -> str:
    right = labkit_comm_elements(MODEL.num_params, world_size, stage)
    whose, said = "comm_elements", right
    if comm_elements is not None:
        try:
            answer = comm_elements(MODEL.num_params, world_size, stage)
            if abs(float(answer) - float(right)) <= 1e-9 * float(right):
                whose = "your comm_elements"
        except Exception:  # a learner's function that is not right yet is not quoted
            pass
    return f"For one micro-batch, {whose} says {_number(Fraction(said))}."


def _number(value: Fraction) -> str:
    return f"{float(value):.4g}"
