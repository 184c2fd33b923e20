"""Executing a lab's solution as its readers do: a fresh kernel, an empty folder, outputs in one form."""

import os
import tempfile
from typing import Any

import nbformat
from nbformat import NotebookNode

CELL_LIMIT_S = 300


def execute(notebook: NotebookNode) -> NotebookNode:
    """Run the notebook from the top in a new kernel and an empty folder; returns it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised; the message shows the cell.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.util import run_sync

    with tempfile.TemporaryDirectory(prefix="labkit-") as folder, tempfile.TemporaryDirectory() as sockets:
        # Sockets in files, not ports: nothing to race for, and no warning on every start.
        manager = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=os.path.join(sockets, "kernel.json")
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=CELL_LIMIT_S,
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        try:
            client.execute()
        finally:
            run_sync(manager.shutdown_kernel)(now=True)  # a manager of our own is ours to end
    return notebook


def canonical(notebook: NotebookNode) -> str:
    """The one form in which notebooks are committed: sorted keys, no widget state, nothing of one machine."""
    notebook.metadata.pop("widgets", None)  # GitHub refuses it, and offline it hides the PNG
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        for key in ("execution", "papermill"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            _settle(output)
    return str(nbformat.writes(notebook, version=4)).rstrip("\n") + "\n"


def _settle(output: Any) -> None:
    output.get("metadata", {}).pop("transient", None)
    if "data" in output:
        # A widget's view is a number that only the kernel that made it knows; the PNG and the text stay.
        output["data"].pop("application/vnd.jupyter.widget-view+json", None)
