"""The simplifiers that one can choose from, each as: read this file, write that one.

By file and not in memory, because beyond 2 GB a model exists only as files with external weights.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import psutil

from labkit.onnx_file import ONE_FILE_BYTES, files_bytes, load_model, model_files, move_model, save_model


class ToolError(RuntimeError):
    """A simplifier could not handle a model; the message holds the tool's own words."""


@dataclass(frozen=True)
class Tool:
    """A simplifier: what it is, how it makes one file of another, how much memory it takes over the model's size.

    module: what it imports.
    """

    name: str
    what: str
    write: Callable[[Path, Path], None]
    times_memory: float = 6.0
    module: str = ""

    def load(self) -> None:
        """Imports what the tool needs, which may take longer than simplifying; one that is missing is told by `run`."""
        with contextlib.suppress(Exception), _quiet():
            import_module(self.module or __name__)

    def run(self, source: Path, target: Path) -> None:
        """Writes the simplified model; what the tool prints goes nowhere. Raises ToolError, and then leaves nothing.

        A tool for which the free memory would not do is not started: the machine would end it, or another process.
        """
        needed_gb, free_gb = self.times_memory * files_bytes(source) / 1e9, psutil.virtual_memory().available / 1e9
        if needed_gb > free_gb:
            raise ToolError(
                f"{self.name} would take about {needed_gb:.0f} GB of memory here, and {free_gb:.0f} GB are free"
            )
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".simplify-") as folder:
                partial = Path(folder) / target.name  # some tools leave half a file where the disk is full
                with _quiet():
                    self.write(source, partial)
                if not partial.is_file():
                    raise ToolError(f"{self.name} wrote no model and said nothing")
                move_model(partial, target)
        except ToolError:
            raise
        except Exception as error:  # each tool raises what it likes
            first = (str(error).strip().splitlines() or [""])[0][:200]
            raise ToolError(f"{self.name} gives up: {type(error).__name__}: {first}") from error


def _labkit(source: Path, target: Path) -> None:
    from labkit.onnx_simplify.simplify import simplify

    if files_bytes(source) <= ONE_FILE_BYTES:
        save_model(simplify(load_model(source)), target)
        return
    for file in model_files(source)[1:]:
        copied = target.parent / file.relative_to(source.parent)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    # Weights that stay in their files are left alone: only the structure is simplified.
    target.write_bytes(simplify(load_model(source, weights=False)).SerializeToString())


def _exporter(source: Path, target: Path) -> None:
    import onnx_ir
    from onnxscript import optimizer

    if files_bytes(source) > ONE_FILE_BYTES:
        model = optimizer.optimize(onnx_ir.load(source))  # maps the external weights, does not read them
        onnx_ir.save(model, target, external_data=f"{target.name}.data")
    else:
        save_model(optimizer.optimize(load_model(source)), target)


def _onnxsim(source: Path, target: Path) -> None:
    import onnxsim

    model, _checked = onnxsim.simplify(str(source), certify=False)
    save_model(model, target)


def _onnxslim(source: Path, target: Path) -> None:
    import onnxslim

    save_model(onnxslim.slim(str(source)), target)


def _onnxruntime(level: str) -> Callable[[Path, Path], None]:
    def write(source: Path, target: Path) -> None:
        from labkit.onnx_export.session import open_session

        external = f"{target.name}.data" if files_bytes(source) > ONE_FILE_BYTES else None
        open_session(source, "cpu", level=level, optimized_path=target, optimized_external=external)

    return write


# times_memory: peak resident memory over the model's size, measured on models of 0.5 GB and rounded up.
TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("labkit", "the passes of this package", _labkit, module="labkit.onnx_simplify.simplify"),
        Tool("exporter", "the optimizer of torch.onnx.export (onnxscript)", _exporter, 2, "onnxscript.optimizer"),
        Tool("onnxsim", "onnx-simplifier", _onnxsim, 8, "onnxsim"),
        Tool("onnxslim", "OnnxSlim", _onnxslim, 8, "onnxslim"),
        Tool("ort basic", "ONNX Runtime, level basic: the result is standard ONNX", _onnxruntime("basic"), 3),
        Tool(
            "ort extended", "ONNX Runtime, level extended: with fused operators of its own", _onnxruntime("extended"), 3
        ),
        Tool("ort all", "ONNX Runtime, level all: with layouts for this machine's CPU", _onnxruntime("all"), 3),
    )
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What is written to standard output and error, by Python or by a tool's C++ code, goes nowhere."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere, ours = os.open(os.devnull, os.O_WRONLY), {number: os.dup(number) for number in (1, 2)}
    try:
        for number in ours:
            os.dup2(nowhere, number)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, copy in ours.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
        logging.disable(disabled)
