"""Model states on one rank, stage by stage, and how much the answer depends on what is counted.

    from labkit.widgets.zero_bars import zero_bars

    zero_bars(state_bytes)          # the learner's own function; without it, labkit.zero.state_bytes

The switch is `labkit.zero.ASSUMPTIONS`: the same formula with the bytes per parameter of the paper, of calculators, of
FSDP2. Every bar is computed by the learner's function as long as it agrees with labkit's on what is shown; where it
does not, or is not written yet, labkit's is drawn and the sentence says so. GB is 1e9 bytes.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.quantities import counted, gb
from labkit.widgets.controls import Choice, Real, Whole
from labkit.widgets.palette import INK, MUTED, PAPER, color, new_figure, text_on
from labkit.widgets.picture import Picture, picture
from labkit.zero.assumptions import ASSUMPTIONS, Assumption
from labkit.zero.states import STAGES, StateBytes, state_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

StateBytesFunction = Callable[..., Any]

KINDS: tuple[tuple[str, str], ...] = (("parameters", "weights"), ("gradients", "gradients"), ("optimizer", "optimizer"))
SHORT = {"parameters": "params"}
GPU_GB = 80  # the line that a bar should stay left of
LETTER = 0.0122  # of the longest bar: what a letter takes inside one
CLOSE = 1e-9


class Rows(NamedTuple):
    """States per stage in bytes, and why they are not the learner's own ("" where they are)."""

    by_stage: dict[int, StateBytes]
    not_yours: str


def zero_bars(state_bytes: StateBytesFunction | None = None, name: str = "zero-bars") -> Picture:
    """Stacked bars for stages 0 to 3; controls: the source whose bytes are counted, the model's size, the ranks.

    state_bytes: called as state_bytes(num_params, world_size, stage, bytes_per_param).
    name: another one for a second such picture in the same notebook.
    """

    def draw(source: str, billions: float, ranks: int) -> "tuple[Figure, str]":
        assumption, num_params = ASSUMPTIONS[source], round(billions * 1e9)
        rows = count_rows(state_bytes, num_params, ranks, assumption)
        figure = new_figure(width=8.8, height=3.2)
        _draw_bars(figure.subplots(), rows.by_stage, assumption)
        return figure, _sentence(rows, assumption, num_params, ranks)

    return picture(
        name,
        draw,
        source=Choice("paper", tuple(ASSUMPTIONS)),
        billions=Real(7.5, low=0.1, high=2000.0, step=0.5, label="billion parameters"),
        ranks=Whole(64, low=1, high=4096),
    )


def count_rows(
    state_bytes: StateBytesFunction | None, num_params: int, world_size: int, assumption: Assumption
) -> Rows:
    """Each part of each stage by the function given, or by labkit's where that one fails or says something else."""
    ours = {stage: state_parts(num_params, world_size, stage, assumption.triple(stage)) for stage in STAGES}
    if state_bytes is None:
        return Rows(ours, "")
    theirs = {}
    for stage in STAGES:
        try:
            parts = [
                state_bytes(num_params, world_size, stage, tuple(only))
                for only in _one_kind_each(assumption.triple(stage))
            ]
        except NotImplementedError:
            return Rows(ours, "your state_bytes is not written yet")
        except Exception as error:  # whatever a learner's function raises, the picture is drawn and says it
            return Rows(ours, f"your state_bytes raises {type(error).__name__} at stage {stage}")
        if not all(map(_is_close, parts, ours[stage])):
            return Rows(ours, f"your state_bytes answers otherwise at stage {stage}")
        theirs[stage] = StateBytes(*map(Fraction, parts))
    return Rows(theirs, "")


def _one_kind_each(triple: tuple[Any, Any, Any]) -> list[tuple[Any, Any, Any]]:
    p, g, o = triple
    return [(p, 0, 0), (0, g, 0), (0, 0, o)]


def _is_close(theirs: Any, ours: Any) -> bool:
    try:
        return abs(float(theirs) - float(ours)) <= CLOSE * float(ours)
    except (TypeError, ValueError):
        return False


def _draw_bars(axes: "Axes", by_stage: dict[int, StateBytes], assumption: Assumption) -> None:
    largest = max(float(states.total) for states in by_stage.values()) / 1e9
    for stage, states in by_stage.items():
        left = 0.0
        offered = stage in assumption.offered
        for (kind, quantity), part in zip(KINDS, states, strict=True):
            width = float(part) / 1e9
            axes.barh(
                stage,
                width,
                0.66,
                left,
                color=color(quantity),
                edgecolor=INK,
                linewidth=0.8,
                alpha=1.0 if offered else 0.35,
                hatch=None if offered else "///",
            )
            if word := _that_fits(kind, width / largest):
                ink = text_on(color(quantity)) if offered else INK
                axes.text(left + width / 2, stage, word, ha="center", va="center", fontsize=8.5, color=ink)
            left += width
        said = f"{gb(states.total)} GB" + ("" if offered else " (not offered)")
        axes.annotate(
            said, (left, stage), (4, 0), textcoords="offset points", va="center", fontsize=9,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},  # the line of the GPU goes behind it
        )  # fmt: skip
    axes.set_yticks(list(by_stage), [f"stage {stage}" for stage in by_stage])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.24 * largest)
    axes.set_xlabel("GB of model states on one rank (1e9 bytes)")
    if 1.24 * largest > GPU_GB:
        axes.axvline(GPU_GB, color=color("capacity"), linestyle="--", linewidth=1.2, zorder=0)
        axes.annotate(
            f"{GPU_GB} GB GPU", (GPU_GB, 1), (3, 2), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=8, color=MUTED,
        )  # fmt: skip


def _that_fits(kind: str, share: float) -> str:
    """The word for a part, a shorter one, or none, as the part's share of the longest bar has room."""
    return next((word for word in (kind, SHORT.get(kind, kind)) if share > LETTER * len(word)), "")


def _sentence(rows: Rows, assumption: Assumption, num_params: int, world_size: int) -> str:
    totals = ", ".join(f"stage {stage}: {gb(states.total)} GB" for stage, states in rows.by_stage.items())
    sizes = assumption.label(0)
    if assumption.label(3) != sizes:
        sizes += f" (at stage 3 {assumption.label(3)})"
    lines = [
        f"{num_params / 1e9:g} billion parameters on {counted(world_size, 'rank')}, one of them: {totals}.",
        f"{assumption.source}: {sizes} bytes for parameters, gradients, optimizer; {assumption.why}.",
    ]
    if len(assumption.offered) < len(STAGES):
        lines.append("Stages that this source does not offer are hatched: its way of counting, applied all the same.")
    if assumption.adds_largest_layer:
        lines.append("The largest layer, which it adds at stage 3, is not drawn.")
    if rows.not_yours:
        lines.append(f"Drawn with labkit's state_bytes: {rows.not_yours}.")
    return "\n".join(lines)
