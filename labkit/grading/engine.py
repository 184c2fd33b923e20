"""papermill's engine `labkit`: cells run in this process, in IPython's shell, without a kernel.

Most of the time that a small notebook takes is its kernel's start and end. A grading run has a process of its
own around it already, so the engine needs no second one: `papermill --engine labkit in.ipynb out.ipynb`.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.engines import Engine, NotebookExecutionManager

CELL_FILE = "<ipython-input-"  # how IPython calls the file that a cell is


class CellTimeout(BaseException):
    """A cell that ran longer than it may; not an Exception, so that `except Exception` does not catch it."""


class LabkitEngine(Engine):
    """Runs a notebook's code cells in order, in this process.

    Keyword arguments (papermill passes its own as well):
        keep_going: run the cells after one that raised too; a grading run wants every answer.
        execution_timeout: seconds for each cell; None for no limit.
        with_shell: whether lines such as `!pip install …` start programs; without, they say that they do nothing.
    """

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        keep_going: bool = False,
        execution_timeout: float | None = None,
        user_namespace: dict[str, Any] | None = None,
        with_shell: bool = True,
        **kwargs: Any,
    ) -> None:
        """papermill's entry point; `user_namespace` is filled with what the cells define."""
        shell = _new_shell(user_namespace)
        if not with_shell:
            _start_no_programs(shell)
        for index, cell in enumerate(nb_man.nb.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            nb_man.cell_start(cell, index)
            failed = _run_cell(shell, cell, execution_timeout)
            if failed:
                nb_man.cell_exception(nb_man.nb.cells[index], cell_index=index)
                if not keep_going:
                    break
            nb_man.cell_complete(nb_man.nb.cells[index], cell_index=index)


def _new_shell(user_namespace: dict[str, Any] | None) -> Any:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Shell(InteractiveShell):
        def enable_gui(self, gui: str | None = None) -> None:
            """Nothing to do without a kernel: `%matplotlib inline` asks for it."""

    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    InteractiveShell.clear_instance()
    config = Config({"HistoryManager": {"enabled": False}})  # nothing of a learner's is written to a history file
    shell: Any = Shell.instance(user_ns=user_namespace, config=config)
    shell._showtraceback = lambda *args: None  # the error becomes an output, not printed text
    return shell


def _start_no_programs(shell: Any) -> None:
    """`!…`, `%pip` and `x = !…` do nothing: without a network pip would try for half a minute, and then fail."""

    def say(command: str, *arguments: Any, **options: Any) -> list[str]:
        print(f"not run, as there is no shell and no network here: {command}", file=sys.stderr)
        return []

    shell.system = shell.system_raw = shell.system_piped = say
    shell.getoutput = say


def _run_cell(shell: Any, cell: NotebookNode, limit_s: float | None) -> bool:
    """Execute one cell and write its outputs; True when it raised."""
    from IPython.utils.capture import capture_output

    late: CellTimeout | None = None
    result: Any = None
    with capture_output() as captured, _limit(limit_s):
        try:
            result = shell.run_cell(cell.source, store_history=True)
        except CellTimeout as again:  # raised again while IPython itself was busy with the first one
            late = again
    cell.execution_count = shell.execution_count - 1
    cell.outputs = [
        new_output("stream", name=name, text=text)
        for name, text in (("stdout", captured.stdout), ("stderr", captured.stderr))
        if text
    ]
    cell.outputs += [
        new_output("display_data", data=output.data, metadata=output.metadata or {}) for output in captured.outputs
    ]
    error = late or result.error_before_exec or result.error_in_exec
    if error is not None:
        cell.outputs.append(_error_output(shell, error))
    return error is not None


def _error_output(shell: Any, error: BaseException) -> NotebookNode:
    lines = getattr(error, "_render_traceback_", None)
    traceback = lines() if lines else shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
    return new_output("error", ename=type(error).__name__, evalue=str(error), traceback=list(traceback))


@contextlib.contextmanager
def _limit(limit_s: float | None) -> Iterator[None]:
    """Raise `CellTimeout` in this (main) thread when the time is up, and again while the cell's code swallows it.

    Not again while IPython writes up the first one, which takes more than a second on a busy machine: raised there, it
    would end the whole run, or be lost.
    """
    if not limit_s or threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    struck = False

    def stop(signum: int, frame: Any) -> None:
        nonlocal struck
        if not struck or _in_a_cell(frame):
            struck = True
            raise CellTimeout(f"the cell ran longer than {limit_s:g} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _in_a_cell(frame: FrameType | None) -> bool:
    """Whether code of a cell runs here, or called what runs here."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(CELL_FILE):
            return True
        frame = frame.f_back
    return False
