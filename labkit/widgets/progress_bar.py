"""How far a long cell has come, and for about how much longer it runs.

    from labkit.widgets.progress_bar import ProgressBar

    distill.controls(…, progress=ProgressBar("controls"))       # called with the share that is done, 0 to 1

One line of text that is replaced as work goes on; at the end it says how long it took. Outside a notebook it is silent.
"""

from time import monotonic

from labkit.widgets.still import publish

WIDTH = 24  # blocks
EVERY_S = 0.3  # between two drawings; a browser needs no more


class ProgressBar:
    """A bar for `what`; call it with the share of the work that is done."""

    _count = 0

    def __init__(self, what: str) -> None:
        ProgressBar._count += 1
        self.what = what
        self._id = f"labkit-progress-{ProgressBar._count}"
        self._started = monotonic()
        self._drawn_at: float | None = None

    def __call__(self, share: float) -> None:
        """Draws the bar again, unless it was drawn a moment ago."""
        now = monotonic()
        if self._drawn_at is not None and share < 1 and now - self._drawn_at < EVERY_S:
            return
        _show(self.line(share, now - self._started), self._id, update=self._drawn_at is not None)
        self._drawn_at = now

    def line(self, share: float, elapsed_s: float) -> str:
        """The bar in characters.

        >>> ProgressBar("controls").line(0.25, elapsed_s=6)
        'controls ██████░░░░░░░░░░░░░░░░░░  25 %, 6 s so far, about 18 s to go'
        >>> ProgressBar("controls").line(1, elapsed_s=24)
        'controls: done in 24 s'
        """
        if share >= 1:
            return f"{self.what}: done in {elapsed_s:.0f} s"
        blocks = round(share * WIDTH)
        togo = f", about {elapsed_s * (1 - share) / share:.0f} s to go" if share > 0.02 else ""
        bar = "█" * blocks + "░" * (WIDTH - blocks)
        return f"{self.what} {bar} {100 * share:3.0f} %, {elapsed_s:.0f} s so far{togo}"


def _show(line: str, display_id: str, update: bool) -> None:
    from IPython.core.getipython import get_ipython

    if get_ipython() is not None:  # elsewhere it would be a line for each drawing
        publish({"text/plain": line}, {}, display_id=display_id, update=update)
