"""`labkit transformer`: parameters, FLOPs, activations and KV cache of a configuration."""

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from labkit.commands.whole_number import WholeNumber, one_sentence
from labkit.quantities import Exact, counted, decimals, gb, gib, json_number
from labkit.transformer import (
    PRESETS,
    RECOMPUTE,
    SavedTensor,
    TransformerShape,
    activation_bytes,
    find_shape,
    saved_outside_layers,
    saved_tensors,
)


@click.command()
@click.option("--config", help="A configuration, like llama-7b; without it: the list of them.")
@click.option("--seq", type=WholeNumber(), help="Tokens of a sequence; default: 2048, or all positions there are.")
@click.option("--batch", type=WholeNumber(), default="1", show_default=True, help="Sequences.")
@click.option("--recompute", type=click.Choice(RECOMPUTE), default="none", show_default=True)
@click.option("--flash", is_flag=True, help="A fused attention kernel, which keeps no attention matrices.")
@click.option("--dropout", is_flag=True, help="Count dropout masks (1 byte each) in the list of saved tensors.")
@click.option("--tensor-parallel", type=WholeNumber(), default="1", show_default=True, help="Ranks that share a layer.")
@click.option("--sequence-parallel", is_flag=True, help="They share what tensor parallelism leaves whole, too.")
@click.option("--json", "as_json", is_flag=True, help="Numbers as JSON, and nothing else, on stdout.")
def transformer(
    config: str | None,
    seq: int | None,
    batch: int,
    recompute: str,
    flash: bool,
    dropout: bool,
    tensor_parallel: int,
    sequence_parallel: bool,
    as_json: bool,
) -> None:
    """What a transformer needs: parameters, FLOPs, activations, KV cache.

    labkit transformer --config llama-7b --seq 4096 --recompute selective
    """
    if config is None:
        _print_presets(as_json)
        return
    with one_sentence():
        shape = find_shape(config)
        seq = shape.check_seq(seq or shape.positions or 2048)
        how: dict[str, Any] = {
            "recompute": recompute,
            "flash": flash,
            "tensor_parallel": tensor_parallel,
            "sequence_parallel": sequence_parallel,
        }
        layer = saved_tensors(shape, seq, batch, dropout=dropout, **how)
        formula = activation_bytes(seq, batch, shape.hidden, shape.heads, shape.layers, **how)
    numbers: dict[str, Exact] = {
        "num_params": shape.num_params,
        "forward_flops": shape.flops(seq, batch),
        "training_flops": shape.flops(seq, batch, training=True, recompute=recompute),
        "activation_bytes": formula,
        "saved_bytes_per_layer": sum((tensor.num_bytes for tensor in layer), 0),
        "saved_bytes_in_layers": shape.layers * sum((tensor.num_bytes for tensor in layer), 0),
        "saved_bytes_outside": sum((tensor.num_bytes for tensor in saved_outside_layers(shape, seq, batch)), 0),
        "kv_cache_bytes": shape.kv_cache_bytes(seq, batch),
        "kv_cache_bytes_per_token": shape.kv_cache_bytes(1),
    }
    if as_json:
        print(json.dumps({name: json_number(number) for name, number in numbers.items()}, indent=2))
        return
    console = Console()
    console.print(_numbers_table(shape, seq, batch, numbers))
    console.print(_layer_table(layer))


def _numbers_table(shape: TransformerShape, seq: int, batch: int, numbers: dict[str, Exact]) -> Table:
    kind = "SwiGLU" if shape.gated else "GELU"
    table = Table(
        title=f"{shape.name}: {counted(shape.layers, 'layer')} of {shape.hidden}, "
        f"{counted(shape.heads, 'head')} ({shape.kv_heads} for keys), {kind} of {shape.ffn},\n"
        f"{shape.vocab:,} words, bf16; {counted(batch, 'sequence')} of {counted(seq, 'token')}",
        caption_justify="left",
        caption="GB = 1e9 bytes, GiB = 2^30. The formula (arXiv 2205.05198) is made for GELU of 4h with dropout; "
        "the list is what the kit's own layer keeps. FLOPs: matrix products only, a multiply-add is 2.",
    )
    for heading in ("", "exactly", "GB", "GiB"):
        table.add_column(heading, justify="right" if heading else "left")
    labels = {
        "num_params": "parameters",
        "forward_flops": "FLOPs, forward",
        "training_flops": "FLOPs, forward and backward",
        "activation_bytes": "activations, formula, bytes",
        "saved_bytes_in_layers": "activations, list below, bytes",
        "saved_bytes_outside": "activations, embedding and loss, bytes",
        "kv_cache_bytes": "KV cache, bytes",
        "kv_cache_bytes_per_token": "KV cache per token, bytes",
    }
    for name, label in labels.items():
        number = numbers[name]
        in_bytes = (gb(number), gib(number)) if name.endswith("bytes") or "saved" in name else ("", "")
        table.add_row(label, f"{number:,}" if isinstance(number, int) else f"{float(number):,.1f}", *in_bytes)
    return table


def _layer_table(layer: tuple[SavedTensor, ...]) -> Table:
    table = Table(title="What one layer keeps for its backward pass, on one rank")
    table.add_column("tensor")
    table.add_column("MB", justify="right")
    for tensor in layer:
        table.add_row(tensor.name, decimals(float(tensor.num_bytes) / 1e6))
    return table


def _print_presets(as_json: bool) -> None:
    counts = {name: shape.num_params for name, shape in PRESETS.items()}
    if as_json:
        print(json.dumps(counts, indent=2))
        return
    table = Table(title="Configurations")
    table.add_column("name")
    table.add_column("parameters", justify="right")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    Console().print(table)
