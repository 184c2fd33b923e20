"""`labkit trt`: build a TensorRT plan from an ONNX file, with no GPU; or print the command line that does."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from labkit.tensorrt import PlanOptions, Profile, Served
    from labkit.tensorrt.progress import OnProgress

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@click.group()
def trt() -> None:
    """TensorRT plans from ONNX files."""


def _model_arguments(command: Callable[..., None]) -> Callable[..., None]:
    """What says which plan is meant; the same for every command."""
    for decorate in (
        click.option("--workspace", metavar="BYTES", help="Scratch memory per layer, like 512MiB; default: no limit."),
        click.option("--target", "targets", multiple=True, metavar="SM86", help="Compute capability; repeatable."),
        click.option(
            "--calibration",
            type=click.Path(exists=True, dir_okay=False),
            metavar="NPZ",
            help="For --int8: arrays named like the inputs, samples along the first axis.",
        ),
        click.option("--int8", is_flag=True, help="Quantize Conv, MatMul and Gemm in the graph."),
        click.option("--fp16", is_flag=True, help="Convert the graph to float16."),
        click.option(
            "--profile",
            "profiles",
            multiple=True,
            metavar="INPUT=MIN,OPT,MAX",
            help="For each dynamic input; or one shape for all three.",
        ),
        click.argument("model", type=click.Path()),
    ):
        command = decorate(command)
    return command


@trt.command()
@_model_arguments
@click.option("--output", type=click.Path(dir_okay=False), help="The plan; default: MODEL with .plan, if no --cache.")
@click.option("--cache", "cache_folder", type=click.Path(file_okay=False), help="Keep plans here, and build only once.")
@click.option("--cache-limit", metavar="BYTES", help="Of --cache, like 2GB (default 10GB); the longest unused go.")
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def build(
    model: str, output: str | None, cache_folder: str | None, cache_limit: str | None, as_json: bool, **asked: Any
) -> None:
    """Build the plan of MODEL.onnx; exit code 1 when TensorRT refuses, with its reasons and what to try.

    \b
    labkit trt build net.onnx --profile x=1x3x32x32,8x3x32x32,64x3x32x32 --fp16 --target SM86
    """
    from labkit.tensorrt import flavour
    from labkit.tensorrt.entry import write_atomically

    profile, options = _asked(**asked)
    max_bytes = _cache_limit(cache_folder, cache_limit)
    path = Path(output) if output else None if cache_folder else Path(model).with_suffix(".plan")
    if path and not path.parent.is_dir():  # said before a build that may take minutes
        _fail(f"no plan was built: there is no folder {path.parent} to write {path.name} into", as_json)
    with _one_sentence(as_json):
        start = perf_counter()
        with _progress_bar() as on_progress:
            served = _served(model, profile, options, cache_folder, max_bytes, on_progress)
        elapsed_ms = (perf_counter() - start) * 1e3
        if path:
            try:
                write_atomically(path, served.plan)
            except OSError as error:
                _fail(f"the plan was built but could not be written to {path}: {error.strerror}", as_json)
        elif served.not_kept:
            _fail(f"the plan was built but could not be kept: {served.not_kept}; --output writes it to a file", as_json)
        report = {
            "plan": str(path) if path else None,
            "plan_bytes": len(served.plan),
            "plan_sha256": sha256(served.plan).hexdigest(),
            "key": served.key,
            "tensorrt": str(flavour()),
            "cache": cache_folder,
            "hit": served.hit,
            "reason": served.reason,
            "not_kept": served.not_kept,
            "warnings": list(served.warnings),
            "elapsed_ms": round(elapsed_ms, 3),
        }
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show(report)


@trt.command("command")
@_model_arguments
@click.option("--output", default=None, help="The plan; default: MODEL with .plan.")
def command_line(model: str, output: str | None, **asked: Any) -> None:
    """Print the trtexec command that builds the same plan (with --target: tensorrt_rtx); nothing is run."""
    from labkit.tensorrt import converted_path, trtexec_command

    profile, options = _asked(**asked)
    with _one_sentence(as_json=False):
        arguments = trtexec_command(model, output or Path(model).with_suffix(".plan"), profile, **options)
    precision = options.get("precision", "fp32")
    if precision != "fp32":
        click.echo(
            f"# first: labkit.tensorrt.convert_precision({model!r}, {converted_path(model, precision)!r}, {precision!r}"
            + (", calibration=…)" if precision == "int8" else ")"),
            err=True,
        )
    print(shlex.join(arguments))


def _asked(
    profiles: tuple[str, ...],
    fp16: bool,
    int8: bool,
    calibration: str | None,
    targets: tuple[str, ...],
    workspace: str | None,
) -> tuple[Profile, PlanOptions]:
    from labkit.tensorrt import parse_profile

    if fp16 and int8:
        raise click.UsageError("--fp16 or --int8, not both: a graph has one precision")
    if calibration and not int8:
        raise click.UsageError("--calibration is for --int8")
    try:
        parsed = [parse_profile(text) for text in profiles]
        if repeated := {name for name, _ in parsed if [each for each, _ in parsed].count(name) > 1}:
            raise click.UsageError(f"--profile is given twice for {', '.join(sorted(repeated))}")
        options: PlanOptions = {"precision": "fp16" if fp16 else "int8" if int8 else "fp32", "targets": targets}
        if workspace:
            options["workspace_bytes"] = _parse_bytes(workspace)
        if calibration:
            options["calibration"] = _batches(calibration, next((opt[0] for _, (_, opt, _) in parsed if opt), None))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return dict(parsed), options


def _cache_limit(cache_folder: str | None, text: str | None) -> int:
    from labkit.tensorrt.cache import DEFAULT_MAX_BYTES

    if text is None:
        return DEFAULT_MAX_BYTES
    if not cache_folder:
        raise click.UsageError("--cache-limit is for --cache")
    try:
        max_bytes = _parse_bytes(text, "--cache-limit")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not max_bytes:
        raise click.UsageError("--cache-limit is at least 1 byte")
    return max_bytes


def _parse_bytes(text: str, option: str = "--workspace") -> int:
    match = re.fullmatch(r"(\d+)\s*([kmg]i?b)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(
            f"{option} is a number of bytes, like 536870912 or 512MiB (2^20) or 512MB (10^6), got {text!r}"
        )
    return int(match[1]) * _UNITS[(match[2] or "").upper()]


def _batches(path: str, batch: int | None) -> list[dict[str, Any]]:
    """The samples in batches of the size that the plan is tuned for; a static model gets them all at once."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not an .npz file with one array for each input") from error
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise ValueError(f"the arrays in {path} need as many samples (first axis) each, at least 1; they have {counts}")
    num_samples = min(counts.values())
    size = batch or num_samples
    return [{name: array[i : i + size] for name, array in arrays.items()} for i in range(0, num_samples, size)]


def _served(
    model: str,
    profile: Profile,
    options: PlanOptions,
    cache_folder: str | None,
    max_bytes: int,
    on_progress: OnProgress,
) -> Served:
    from labkit.tensorrt import PlanCache, PlanRequest, Served
    from labkit.tensorrt.build import build

    if cache_folder:
        return PlanCache(cache_folder, max_bytes).serve(model, profile, on_progress=on_progress, **options)
    request = PlanRequest.of(model, profile, **options)
    built = build(request, on_progress)
    return Served(built.plan, request.key, False, "no cache was asked", built.warnings)


@contextmanager
def _one_sentence(as_json: bool) -> Iterator[None]:
    """What a user can mend ends in its message and exit code 1, not in a traceback; with --json on stdout as JSON."""
    from labkit.tensorrt import BuildError, CacheError, TensorrtMissing

    try:
        yield
    except (BuildError, CacheError, TensorrtMissing) as error:
        reasons, advice = getattr(error, "reasons", (str(error),)), getattr(error, "advice", ())
        _fail(str(error), as_json, reasons=list(reasons), advice=list(advice))
    except OSError as error:
        _fail(f"no plan was built: {error.strerror or error} ({error.filename})", as_json)


def _fail(message: str, as_json: bool, **more: Any) -> None:
    if as_json:
        print(json.dumps({"error": message, **more}, indent=2, ensure_ascii=False))
    else:
        click.echo(message, err=True)
    sys.exit(1)


@contextmanager
def _progress_bar() -> Iterator[OnProgress]:
    """The builder's own progress on stderr, if anybody is looking."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Building", total=1.0)
        yield lambda moment: progress.update(task, completed=moment.fraction, description=moment.phase)


def _show(report: dict[str, Any]) -> None:
    """The same for people."""
    rows = {
        "plan": report["plan"] or f"in {report['cache']}",
        "size": f"{report['plan_bytes']:,} bytes",
        "SHA-256": report["plan_sha256"],
        "built by": report["tensorrt"],
        "cache": report["cache"] and report["reason"],
        "not kept": report["not_kept"],
        "warning": "; ".join(report["warnings"]),
        "key": report["key"],
        "time": f"{report['elapsed_ms']:,.0f} ms",
    }
    for name, value in rows.items():
        if value:  # not a table: a long path stays in one piece, to be copied
            print(f"{name:<9} {value}")
