"""The default picture: controls, a matplotlib PNG that follows them, and a sentence with the numbers.

    from labkit.widgets.controls import Choice, Whole
    from labkit.widgets.palette import color, new_figure
    from labkit.widgets.picture import picture

    def draw(stage: int, ranks: int) -> tuple[Figure, str]:
        rows = state_bytes(7_000_000_000, ranks, stage)         # the learner's own function
        figure = new_figure(height=2.2)
        ...
        return figure, f"Stage {stage} on {ranks} ranks: {sum(rows) / 1e9:.1f} GB a rank."

    picture("zero-bars", draw, stage=Choice(2, (0, 1, 2, 3)), ranks=Whole(8, low=1, high=1024))

As the last expression of a cell it shows itself (in the middle of a cell: `display(…)`). What is saved is a line of
text for the controls, the PNG and the sentence, so choose starting values that already make the point.

In a test, or under papermill, nothing needs a browser:

    p = picture("zero-bars", draw, stage=Choice(2, (0, 1, 2, 3)), ranks=Whole(8, low=1, high=1024))
    p.set(stage=3)
    assert p.error is None and "Stage 3" in p.sentence

An exception in `draw` is raised where Python asked for the picture (the first drawing, `set`, `reset`). When a control
in the browser asked, nobody would see it, so it is shown in place of the picture and kept in `.error`.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.widgets.controls import Control, Controls
from labkit.widgets.palette import style
from labkit.widgets.still import (
    error_bundle,
    figure_png,
    picture_id,
    png_bundle,
    publish,
    sentence_bundle,
    sentence_id,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[..., "tuple[Figure, str]"]


class Interactive:
    """What a Picture and a Flipbook share: a name, controls, and a view that follows them.

    A subclass implements `_make(**values)`, which brings the view up to date, and `_publish(update)`, which
    displays it or replaces what is displayed.
    """

    def __init__(self, name: str, controls: dict[str, Control]) -> None:
        self.name = name
        self.error: Exception | None = None
        self._shown = False
        self._lock = threading.RLock()  # with subshells a handler can run beside a cell
        self.controls = Controls(name, controls, on_change=self._controls_moved)
        self._remake()
        if self.error:
            raise self.error

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now, by name."""
        return self.controls.values

    def set(self, **values: Any) -> None:
        """Moves controls, as a learner would; what the drawing raises is shown and raised."""
        self.controls.set(**values)
        if self.error:
            raise self.error

    def reset(self) -> None:
        """Back to the starting values."""
        self.controls.reset()
        if self.error:
            raise self.error

    def _controls_moved(self) -> None:
        self._remake()
        if self._shown:
            self._publish(update=True)

    def _remake(self) -> None:
        with self._lock:
            try:
                self._make(**self.values)
                self.error = None
            except Exception as error:  # whatever a learner's function raises: shown and kept, see above
                self.error = error

    def _ipython_display_(self) -> None:
        if self.controls.specs:
            publish(self.controls.row()._repr_mimebundle_(), {})
        self._shown = True
        self._publish(update=False)

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in self.values.items())
        return f"<{type(self).__name__} {self.name}: {said}>"

    def _make(self, **values: Any) -> None:
        raise NotImplementedError

    def _publish(self, update: bool) -> None:
        raise NotImplementedError


class Picture(Interactive):
    """A PNG and a sentence that follow the controls; made by `picture`."""

    def __init__(self, name: str, draw: Draw, controls: dict[str, Control]) -> None:
        self.sentence = ""
        self.png = b""
        self._draw = draw
        super().__init__(name, controls)

    def _make(self, **values: Any) -> None:
        with style():
            figure, sentence = self._draw(**values)
        self.png, self.sentence = figure_png(figure), sentence

    def _publish(self, update: bool) -> None:
        picture, below = (
            (error_bundle(self.error), sentence_bundle("Other values, or Reset, bring the picture back."))
            if self.error
            else (png_bundle(self.png, self.sentence), sentence_bundle(self.sentence))
        )
        publish(*picture, display_id=picture_id(self.name), update=update)
        publish(*below, display_id=sentence_id(self.name), update=update)


def picture(name: str, draw: Draw, **controls: Control) -> Picture:
    """A picture that follows its controls.

    name: unique in the notebook; the outputs' display ids are made from it.
    draw: called with one keyword argument for each control, in the course's style; gives (figure, sentence). It should
        take well under a second, and read nothing that changes by itself.
    controls: `Whole`, `Real` or `Choice`, by name; none is allowed, then `show` does as well.
    """
    return Picture(name, draw, controls)
