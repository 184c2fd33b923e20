"""How far a build is: the builder's nested phases as one number that only grows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from threading import Event, Lock
from typing import Any


@dataclass(frozen=True)
class BuildProgress:
    """A moment of a build: the innermost phase, its step, and the share of the whole that is done (0 to 1).

    Steps are counted, not timed: a share of 0.5 is half of the steps, seldom half of the time.
    """

    phase: str
    step: int
    num_steps: int
    fraction: float


OnProgress = Callable[[BuildProgress], None]


@dataclass
class _Phase:
    name: str
    parent: str | None
    num_steps: int
    num_done: int = 0


class PhaseTree:
    """The phases that are under way. A phase's step counts as far as the phase inside it has come."""

    def __init__(self) -> None:
        self._open: dict[str, _Phase] = {}  # by name, in the order of their start; names are unique while open
        self._fraction = 0.0
        self._lock = Lock()  # the builder may call from several threads

    def start(self, name: str, parent: str | None, num_steps: int) -> BuildProgress:
        with self._lock:
            self._open[name] = _Phase(name, parent, max(num_steps, 1))
            return self._now(self._open[name])

    def step(self, name: str, step: int) -> BuildProgress:
        """Step `step`, counted from 0, is done."""
        with self._lock:
            phase = self._open[name]
            phase.num_done = max(phase.num_done, step + 1)
            return self._now(phase)

    def finish(self, name: str) -> BuildProgress:
        with self._lock:
            phase = self._open[name]
            phase.num_done = phase.num_steps
            now = self._now(phase)
            del self._open[name]
            return now

    def _now(self, phase: _Phase) -> BuildProgress:
        roots = [each for each in self._open.values() if each.parent not in self._open]
        # A phase that ended before its parent's step was reported takes nothing back.
        self._fraction = max(self._fraction, self._share(roots[0]) if roots else 0.0)
        return BuildProgress(phase.name, phase.num_done, phase.num_steps, self._fraction)

    def _share(self, phase: _Phase) -> float:
        inner = [self._share(each) for each in self._open.values() if each.parent == phase.name]
        in_this_step = max(inner, default=0.0) if phase.num_done < phase.num_steps else 0.0
        return (phase.num_done + in_this_step) / phase.num_steps


def progress_monitor(trt: Any, report: OnProgress, cancelled: Event) -> Any:
    """A trt.IProgressMonitor that reports every change, and ends the build once `cancelled` is set."""
    return _monitor_class(trt)(report, cancelled)


@cache
def _monitor_class(trt: Any) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Nothing may be raised in here: the binding prints an exception and swallows it, KeyboardInterrupt too."""

        def __init__(self, report: OnProgress, cancelled: Event) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = PhaseTree()
            self.report, self.cancelled = report, cancelled

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.report(self.phases.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.report(self.phases.step(phase_name, step))
            return not self.cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            self.report(self.phases.finish(phase_name))

    return Monitor
