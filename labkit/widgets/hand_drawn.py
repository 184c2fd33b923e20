"""Base class of the widgets that draw themselves in the browser: an anywidget that never leaves an empty place.

    class Graph(HandDrawn):
        _esm = Path(__file__).with_suffix(".js")        # plain JavaScript: no bundler, nothing from a CDN
        nodes = traitlets.List().tag(sync=True)

        def still(self) -> tuple[Figure, str]:
            "The same state drawn by matplotlib, and a sentence with its numbers."

Where the widget cannot run (GitHub, nbconvert, a notebook that was not run), the PNG and the sentence of `still` stand
in the same output. What the JavaScript owes its reader is listed in flipbook.js, which most pictures can use as it is.
"""

from typing import TYPE_CHECKING, Any

import anywidget

from labkit.widgets.palette import style
from labkit.widgets.still import figure_png, png_bundle

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HandDrawn(anywidget.AnyWidget):
    """An anywidget whose output also holds a PNG and a fixed text (its own repr has an address in it)."""

    def still(self) -> "tuple[Figure, str]":
        """The state of now as (figure, sentence)."""
        raise NotImplementedError(f"{type(self).__name__} draws no still(): its saved output would be empty")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        live = (super()._repr_mimebundle_(**kwargs) or ({}, {}))[0]
        with style():
            figure, sentence = self.still()
        data, metadata = png_bundle(figure_png(figure), sentence)
        return {**live, **data, "text/plain": sentence}, metadata

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
