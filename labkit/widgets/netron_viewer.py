"""A model in Netron inside the notebook, and two of them side by side with what changed lit up.

    from labkit.widgets.netron_viewer import compare_models, view_model

    view_model("model.onnx")                        # the last line of a cell: click a node to see what it holds
    compare_models(before, after)                   # what a pass removed, fused and added, then both graphs

In a browser with a running kernel Netron shows the graph, with no request to any other machine. Everywhere else
(GitHub, nbconvert, a notebook that was not run) the same output holds a drawing of the graph and a sentence with its
counts. The browser finds the way to the kernel's machine itself: through jupyter-server-proxy (JupyterHub, a
container), else directly.

`netron model.onnx` in a terminal works too, but asks for consent to telemetry, and a build older than 180 days shows
only a request to update.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import traitlets

from labkit.onnx_file import files_bytes, load_model
from labkit.widgets.graph_picture import draw_change, draw_graph
from labkit.widgets.hand_drawn import HandDrawn
from labkit.widgets.netron_server import KEEP_BYTES, netron_version, viewer_server
from labkit.widgets.palette import PIXELS_PER_INCH
from labkit.widgets.still import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Model = str | Path | onnx.ModelProto


class NetronViewer(HandDrawn):
    """One or two frames with Netron, and the drawing that stands in for them where they cannot be reached."""

    _esm = Path(__file__).with_suffix(".js")

    port = traitlets.Int().tag(sync=True)
    views: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)  # of {"token", "name"}
    sentence = traitlets.Unicode().tag(sync=True)
    credit = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    picture_width = traitlets.Int().tag(sync=True)  # in CSS pixels, as the height is
    picture_first = traitlets.Bool().tag(sync=True)  # the drawing says what the frames do not: what changed
    height = traitlets.Int().tag(sync=True)

    def __init__(
        self, views: list[tuple[Model, str]], still: tuple[Figure, str], picture_first: bool, height: int
    ) -> None:
        server = viewer_server()
        self._still = still
        super().__init__(
            port=server.port,
            views=[{"token": server.register(model, name), "name": name} for model, name in views],
            sentence=still[1],
            credit=f"Netron {netron_version()}, MIT licence, runs on this machine only",
            picture=figure_png(still[0]),
            picture_width=round(still[0].get_figwidth() * PIXELS_PER_INCH),
            picture_first=picture_first,
            height=height,
        )

    def still(self) -> tuple[Figure, str]:
        """The drawing of the graph, or of what changed, and its sentence."""
        return self._still

    def close(self) -> None:
        """The models are no longer served."""
        for view in self.views:
            viewer_server().forget(view["token"])
        super().close()


def view_model(model: Model, name: str | None = None, height: int = 520) -> NetronViewer:
    """Netron with one model: a file (external weights are followed) or a model in memory. height: in CSS pixels.

    Raises OnnxFileError for a file that is no model, and ViewerError where Netron is missing or unknown.
    """
    shown = name or _name(model)
    return NetronViewer([(model, shown)], draw_graph(_loaded(model), shown), picture_first=False, height=height)


def compare_models(
    before: Model, after: Model, names: tuple[str, str] = ("before", "after"), height: int = 420
) -> NetronViewer:
    """Two versions of a model: a drawing with what was removed, folded, fused and added, then both in Netron."""
    still = draw_change(_loaded(before), _loaded(after), names)
    return NetronViewer([(before, names[0]), (after, names[1])], still, picture_first=True, height=height)


def _loaded(model: Model) -> onnx.ModelProto:
    """The graph to draw, with its weights unless they are large: a drawing needs their shapes, a comparison more."""
    if isinstance(model, onnx.ModelProto):
        return model
    return load_model(model, weights=files_bytes(model) <= KEEP_BYTES)


def _name(model: Model) -> str:
    return model.graph.name or "model" if isinstance(model, onnx.ModelProto) else Path(model).name
