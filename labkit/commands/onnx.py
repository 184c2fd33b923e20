"""`labkit onnx`: look at an ONNX model, see what the simplifiers make of it, and get one to try it on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODEL = click.Path(path_type=Path)


@click.group()
def onnx() -> None:
    """ONNX models: what they hold, and what simplifiers make of them."""


@onnx.command()
@click.argument("model", type=_MODEL)
@click.option("--tool", "tools", multiple=True, metavar="NAME", help="Only this tool (again for more).")
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZE", help="Size of a symbolic dimension; 2 by default.")
@click.option("--timed", is_flag=True, help="Also time runs in ONNX Runtime, on one thread.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep each tool's model in this folder.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write the picture to this PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def report(
    model: Path,
    tools: tuple[str, ...],
    dims: tuple[str, ...],
    timed: bool,
    keep: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """What each simplifier makes of MODEL: nodes by type, bytes, parity, time.

    \b
    labkit onnx report model.onnx --dim batch=8 --timed
    """
    from rich.console import Console

    with _in_a_sentence():
        _check_folder(picture)
        from labkit.onnx_simplify import simplify_report

        with Console(stderr=True).status("reading the model") as status:
            found = simplify_report(
                model,
                tools=tools or None,
                dims=dict(map(_named_size, dims)),
                timed=timed,
                keep_in=keep,
                on_tool=lambda name: status.update(f"running {name}"),
            )
        if picture:
            from labkit.widgets.simplify_picture import draw_report

            _write_png(picture, draw_report(found))
    if as_json:
        click.echo(found.to_json())
        return
    console = Console() if sys.stdout.isatty() else Console(width=110)  # into a file or a pipe
    for table in found.tables():
        console.print(table)


@onnx.command()
@click.argument("before", type=_MODEL)
@click.argument("after", type=_MODEL)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write the picture to this PNG.")
def diff(before: Path, after: Path, picture: Path | None) -> None:
    """What became of the nodes of BEFORE in AFTER: kept, removed, folded, fused, added."""
    with _in_a_sentence():
        _check_folder(picture)
        from labkit.onnx_file import load_model
        from labkit.onnx_simplify import graph_diff

        models = load_model(before), load_model(after)
        click.echo(str(graph_diff(*models)))
        if picture:
            from labkit.widgets.graph_picture import draw_change

            _write_png(picture, draw_change(*models, names=(before.name, after.name)))


@onnx.command()
@click.argument("model", type=_MODEL)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write a drawing here and stop.")
@click.option("--browser/--no-browser", default=True, help="Open the viewer in the browser of this machine.")
def view(model: Path, picture: Path | None, browser: bool) -> None:
    """Show MODEL in Netron, on this machine only, until Ctrl-C; no consent is asked and nothing is sent anywhere."""
    with _in_a_sentence():
        _check_folder(picture)
        from labkit.onnx_file import load_model
        from labkit.widgets.graph_picture import draw_graph

        loaded = load_model(model, weights=picture is not None)
        if picture:
            click.echo(_write_png(picture, draw_graph(loaded, model.name)))
            return
        from labkit.widgets.netron_server import viewer_server

        server = viewer_server()
        url = server.url(server.register(model))
    click.echo(f"{model.name} is at {url} (Ctrl-C ends)")
    if browser:
        click.launch(url)
    _wait_for_interrupt()


@onnx.command()
@click.argument("name", metavar="NAME", required=False)
@click.argument("path", type=_MODEL, required=False)
@click.option("--static", is_flag=True, help="Fix all sizes; by default the batch and image sizes stay free.")
@click.option("--exporter", type=click.Choice(["dynamo", "torchscript"]), default="dynamo", show_default=True)
@click.option("--raw", is_flag=True, help="Without the exporter's own optimizations: something to simplify.")
def sample(name: str | None, path: Path | None, static: bool, exporter: str, raw: bool) -> None:
    """Export the sample model NAME to PATH; without arguments: list the samples.

    \b
    labkit onnx sample residual residual.onnx --raw
    """
    with _in_a_sentence():
        _check_folder(path)
        from labkit.sample_models import SAMPLES

        if name is None:
            for each in SAMPLES.values():
                click.echo(f"{each.name:12} {each.what}")
            return
        if name not in SAMPLES:
            raise ValueError(f"no sample {name!r}; there is {', '.join(SAMPLES)}")
        from rich.console import Console

        from labkit.onnx_export import export_onnx

        chosen = SAMPLES[name]
        with Console(stderr=True).status(f"making {name}: {chosen.what}"):
            exported = export_onnx(
                chosen.build(),
                chosen.example(),
                path or Path(f"{name}.onnx"),
                None if static else chosen.dynamic,
                exporter=exporter,
                optimize=not raw,
            )
    click.echo(str(exported))


def _named_size(text: str) -> tuple[str, int]:
    name, equals, size = text.partition("=")
    if not name or not equals or not size.isdecimal() or not int(size):  # with nothing in it, all outputs are equal
        raise ValueError(f"--dim is NAME=SIZE, as batch=8, and at least 1; got {text!r}")
    return name, int(size)


def _write_png(path: Path, drawn: tuple[Figure, str]) -> str:
    """Writes the figure and returns its sentence."""
    from labkit.widgets.still import figure_png

    content = figure_png(drawn[0])
    try:
        path.write_bytes(content)
    except OSError as error:  # a full disk: half a picture is none
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return drawn[1]


def _check_folder(path: Path | None) -> None:
    """Said before the work is done, and not after."""
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent} to write {path.name} into")
    if path is not None and path.is_dir():
        raise ValueError(f"{path} is a folder: name the file to write in it")


def _wait_for_interrupt() -> None:
    while True:
        try:
            time.sleep(3600)
        except KeyboardInterrupt:
            sys.exit(0)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """What a user can get wrong ends in one sentence and exit code 1, not in a traceback."""
    from labkit.onnx_export import ExportError, SessionError
    from labkit.widgets.netron_server import ViewerError

    try:
        yield
    except (ValueError, ExportError, SessionError, ViewerError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from error
