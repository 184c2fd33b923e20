"""`labkit observe`: formula, ledger and observation of ZeRO side by side, on this machine."""

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from labkit.commands.whole_number import OneSentence, WholeNumber, one_sentence
from labkit.quantities import counted, json_number
from labkit.transformer import find_shape

if TYPE_CHECKING:
    from labkit.transformer import TransformerShape
    from labkit.zero.observed import Comparison, Observation

_CONVENTIONS = (
    "Formula: Φ divided by N. Ledger: named tensors, divided as the implementation divides them. Sent: what a ring "
    "sends for the recorded collectives; gloo sends twice as much for a reduce-scatter."
)


@click.command()
@click.option("--world", "world_size", type=WholeNumber(), default="2", show_default=True, help="Ranks.")
@click.option("--mode", "modes", multiple=True, help="A mode; repeatable. Default: all that can be watched.")
@click.option("--fake", is_flag=True, help="One rank of any number, in this process: FSDP2's modes only.")
@click.option("--rank", type=WholeNumber(0), help="With --fake: which rank; default: the first.")
@click.option("--config", help="With --fake: a configuration like llama-7b; default: a small model.")
@click.option("--micro-batches", type=WholeNumber(), default="1", show_default=True, help="Per optimizer step.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(1), default=180, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Numbers as JSON, and nothing else, on stdout.")
def observe(
    world_size: int,
    modes: tuple[str, ...],
    fake: bool,
    rank: int | None,
    config: str | None,
    micro_batches: int,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Watch DDP, ZeroRedundancyOptimizer and FSDP2 train: what a rank holds, and what it sends.

    Real processes joined by gloo, the heaviest rank shown; or `--fake --world 1024`.
    """
    from labkit.zero.observed import MODES, SMALL, RankError, compare, find_mode

    with one_sentence():
        if not fake and (config or rank is not None):
            raise OneSentence("--config and --rank need --fake: real processes train a small model, all ranks.")
        chosen = modes or tuple(mode.name for mode in MODES.values() if mode.fsdp or not fake)
        notes = {name: find_mode(name).note for name in chosen}
        shape = find_shape(config) if config else SMALL
        Console(stderr=True).print(
            f"Training in {counted(len(chosen), 'mode')} on {counted(world_size, 'rank')} ...", style="dim"
        )
        try:
            seen = _watch(chosen, world_size, shape, micro_batches, timeout_s, fake, rank or 0)
        except RankError as error:
            raise click.ClickException(str(error)) from error
    comparisons = {observation.mode: compare(observation, shape) for observation in seen}
    if as_json:
        as_data = {mode: {row.question: _as_data(row) for row in rows} for mode, rows in comparisons.items()}
        print(json.dumps(as_data, indent=2, ensure_ascii=False))
        return
    console = Console()
    console.print(_table(f"{shape.num_params:,} parameters, {counted(world_size, 'rank')}", comparisons))
    for mode, rows in comparisons.items():
        reasons = dict.fromkeys(row.because for row in rows if not row.agree)
        console.print(f"[bold]{mode}[/bold]: {notes[mode]}", *(f"{reason}." for reason in reasons))
    console.print(_CONVENTIONS, style="dim")


def _as_data(row: "Comparison") -> dict[str, int | float | str]:
    numbers = {"formula": row.formula, "ledger": row.ledger, "observed": row.observed}
    return {**{name: json_number(number) for name, number in numbers.items()}, "because": row.because}


def _table(title: str, comparisons: "dict[str, list[Comparison]]") -> Table:
    table = Table(title=f"fp32 AdamW, {title}: one rank, at rest")
    table.add_column("")
    for heading in ("formula", "ledger", "observed", "difference"):
        table.add_column(heading, justify="right")
    for mode, rows in comparisons.items():
        table.add_section()
        table.add_row(f"[bold]{mode}[/bold]")
        for row in rows:
            numbers = (f"{float(value):,.0f}" for value in (row.formula, row.ledger, row.observed))
            difference = "none" if row.agree else row.because.partition(":")[0]
            table.add_row(f"  {row.question}", *numbers, difference)
    return table


def _watch(
    modes: tuple[str, ...],
    world_size: int,
    shape: "TransformerShape",
    micro_batches: int,
    timeout_s: float,
    fake: bool,
    rank: int,
) -> "list[Observation]":
    """One observation for each mode: the heaviest real rank, or the fake one."""
    if fake:
        from labkit.zero.observed.fake import observe_fake

        return [observe_fake(mode, world_size, shape, rank, micro_batches) for mode in modes]
    from labkit.zero.observed import heaviest, observe

    by_mode = observe(modes, world_size, shape, micro_batches, timeout_s)
    return [heaviest(observations) for observations in by_mode.values()]
