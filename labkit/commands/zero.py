"""`labkit zero`: model states and communication per rank for every ZeRO stage."""

import json
from collections import Counter
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from labkit.commands.whole_number import WholeNumber, one_sentence
from labkit.quantities import QuantityError, counted, gb, gib, json_number
from labkit.zero.assumptions import ASSUMPTIONS, Answer, ask, find_assumption
from labkit.zero.communication import comm_elements, step_collectives
from labkit.zero.planner import Plan, plans_by_stage
from labkit.zero.states import SPLIT, STAGES, StateBytes, check_stage

Plans = dict[int, Plan | None]  # by stage; None: does not fit

_CONVENTIONS = (
    "One rank, at rest after an optimizer step; GB = 1e9 bytes, GiB = 2^30. Activations, buffers and the layer "
    "that stage 3 gathers come on top. Sent: elements per rank and optimizer step, ring algorithm; received is as much."
)


@click.command()
@click.option("--params", "num_params", type=WholeNumber(), required=True, help="Parameters, like 7.5e9.")
@click.option("--world", "world_size", type=WholeNumber(), required=True, help="Data-parallel ranks (GPUs).")
@click.option("--micro-batches", type=WholeNumber(), default="1", show_default=True, help="Per optimizer step.")
@click.option("--assume", default="paper", show_default=True, metavar="NAME", help="Whose counting; `all` for each.")
@click.option("--largest-layer", type=WholeNumber(0), default="0", help="Its parameters: deepspeed adds it at stage 3.")
@click.option("--stage", type=WholeNumber(0), help="Only this stage, 0 to 3.")
@click.option("--gpu-bytes", type=WholeNumber(), help="Memory of a GPU, like 32e9: the fewest GPUs for each stage.")
@click.option("--stage-detail", is_flag=True, help="Parameters, gradients and optimizer apart.")
@click.option("--json", "as_json", is_flag=True, help="Numbers as JSON, and nothing else, on stdout.")
def zero(
    num_params: int,
    world_size: int,
    micro_batches: int,
    assume: str,
    largest_layer: int,
    stage: int | None,
    gpu_bytes: int | None,
    stage_detail: bool,
    as_json: bool,
) -> None:
    """Bytes of model states on one rank, and elements it sends per step, for ZeRO stages 0 to 3.

    labkit zero --params 7.5e9 --world 64 --assume megatron
    """
    with one_sentence():
        stages = STAGES if stage is None else (check_stage(stage),)
        names = list(ASSUMPTIONS) if assume == "all" else [find_assumption(assume).name]
        _check_largest_layer(largest_layer, names, stages)
    answers = {
        name: {s: ask(name, num_params, world_size, s, largest_layer_params=largest_layer) for s in stages}
        for name in names
    }
    sent = {s: comm_elements(num_params, world_size, s, micro_batches) for s in stages}
    plans = {name: _plans(name, stages, num_params, world_size, gpu_bytes, micro_batches) for name in names}
    if as_json:
        as_data = {
            name: {
                f"stage{s}": _as_data(name, s, answer, sent[s], stage_detail) | _plan_as_data(plans[name], s)
                for s, answer in by_stage.items()
            }
            for name, by_stage in answers.items()
        }
        print(json.dumps(as_data if assume == "all" else as_data[names[0]], indent=2))
        return
    console = Console()
    title = f"{counted(num_params, 'parameter')}, {counted(world_size, 'rank')}"
    if assume == "all":
        console.print(_sources_table(title, answers, stages, plans))
        for name in names:
            console.print(f"[bold]{name}[/bold]: {ASSUMPTIONS[name].why}")
    else:
        console.print(_stages_table(title, assume, answers[assume], sent, micro_batches))
        if stage_detail:
            console.print(_detail_table(answers[assume]))
        if gpu_bytes is not None:
            console.print(_plans_table(plans[assume], world_size, gpu_bytes))
    console.print(_CONVENTIONS, style="dim")


def _check_largest_layer(largest_layer: int, names: list[str], stages: tuple[int, ...]) -> None:
    """An option that would change nothing is refused, not ignored."""
    adding = [name for name, row in ASSUMPTIONS.items() if row.adds_largest_layer]
    if largest_layer and not (3 in stages and set(adding) & set(names)):
        raise QuantityError(
            f"--largest-layer changes nothing here: only {' and '.join(adding)} adds that layer, and only at stage 3."
        )


def _as_data(name: str, stage: int, answer: Answer, sent: Any, detail: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"state_bytes": json_number(answer.state_bytes), "comm_elements": json_number(sent)}
    if detail:
        kinds = zip(answer.states._fields, answer.states, strict=True)
        data |= {f"{kind}_bytes": json_number(part) for kind, part in kinds}
        data |= {
            "largest_layer_bytes": json_number(answer.added_bytes),
            "buffer_bytes": ASSUMPTIONS[name].buffer_bytes.get(stage, 0),
            "offered": answer.offered,
        }
    return data


def _stages_table(title: str, name: str, answers: dict[int, Answer], sent: dict[int, Any], micro_batches: int) -> Table:
    row = ASSUMPTIONS[name]
    table = Table(title=f"Model states per rank: {title}", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.caption, table.caption_justify = f"{row.source}: {row.why}", "left"
    table.add_column("stage")
    table.add_column("divided")
    for heading in ("bytes\neach", "GB", "GiB", "elements\nsent"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("collectives", no_wrap=True)
    for stage, answer in answers.items():
        divided = [kind for kind, split in zip(answer.states._fields, SPLIT[stage], strict=True) if split]
        table.add_row(
            f"{stage}{'' if answer.offered else ' *'}",
            "\n".join(divided) or "nothing",
            row.label(stage),
            gb(answer.state_bytes),
            gib(answer.state_bytes),
            f"{float(sent[stage]):.4g}",
            _collectives(stage, micro_batches),
        )
    if not all(answer.offered for answer in answers.values()):
        table.caption = (
            f"{table.caption}\n* not a stage that this source answers for: its counting, applied all the same"
        )
    return table


def _detail_table(answers: dict[int, Answer]) -> Table:
    table = Table(title="The same by kind, in GB")
    for heading in ("stage", *StateBytes._fields, "largest layer"):
        table.add_column(heading, justify="right")
    for stage, answer in answers.items():
        table.add_row(str(stage), *map(gb, answer.states), gb(answer.added_bytes))
    return table


def _collectives(stage: int, micro_batches: int) -> str:
    times: Counter[str] = Counter()
    for call in step_collectives(stage, micro_batches):
        times[call.operation.replace("_", "-")] += call.times
    return "\n".join(f"{count} {operation}" for operation, count in times.items())


def _sources_table(
    title: str, answers: dict[str, dict[int, Answer]], stages: tuple[int, ...], plans: dict[str, Plans]
) -> Table:
    table = Table(title=f"Model states per rank in GB, by source:\n{title}", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("source", no_wrap=True)
    table.add_column("bytes\neach", no_wrap=True)
    for stage in stages:
        table.add_column(f"stage\n{stage}", justify="right", no_wrap=True)
    if any(plans.values()):
        table.add_column("fits:\nstage\non GPUs", no_wrap=True)
    for name, by_stage in answers.items():
        cells = [gb(answer.state_bytes) if answer.offered else "-" for answer in by_stage.values()]
        if plans[name]:
            fits = (plan for stage, plan in plans[name].items() if plan and by_stage[stage].offered)
            cells.append(next((f"{plan.stage} on {plan.world_size:,}" for plan in fits), "none"))
        labels = dict.fromkeys(ASSUMPTIONS[name].label(stage) for stage in by_stage if by_stage[stage].offered)
        table.add_row(name, "\n".join(labels), *cells)
    return table


def _plans(
    name: str,
    stages: tuple[int, ...],
    num_params: int,
    world_size: int,
    gpu_bytes: int | None,
    micro_batches: int,
) -> Plans:
    """The fewest GPUs for each stage, as the source counts; nothing where no GPU was named."""
    if gpu_bytes is None:
        return {}
    plans = {s: plans_by_stage(num_params, gpu_bytes, world_size, ASSUMPTIONS[name].triple(s))[s] for s in stages}
    return {
        s: plan and plan._replace(comm_elements=comm_elements(num_params, plan.world_size, s, micro_batches))
        for s, plan in plans.items()
    }


def _plan_as_data(plans: Plans, stage: int) -> dict[str, Any]:
    if stage not in plans:
        return {}
    plan = plans[stage]
    fewest = plan and {
        "world_size": plan.world_size,
        "state_bytes": json_number(plan.state_bytes),
        "comm_elements": json_number(plan.comm_elements),
    }
    return {"fewest_gpus": fewest}


def _plans_table(plans: Plans, world_size: int, gpu_bytes: int) -> Table:
    table = Table(title=f"The fewest GPUs of {gpu_bytes / 1e9:g} GB, at most {world_size:,}")
    for heading in ("stage", "GPUs", "GB", "elements sent"):
        table.add_column(heading, justify="right")
    for stage, plan in plans.items():
        if plan is None:
            table.add_row(str(stage), "does not fit", "", "")
        else:
            elements = f"{float(plan.comm_elements):.4g}"
            table.add_row(str(stage), f"{plan.world_size:,}", gb(plan.state_bytes), elements)
    return table
