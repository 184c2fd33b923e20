"""Named, accessible controls: what a learner may change in a picture, and how a test changes it.

    controls = Controls("gemm", {"k": Whole(64, low=1, high=4096), "dtype": Choice("fp16", ("fp32", "fp16"))})
    controls.values               # {"k": 64, "dtype": "fp16"}
    controls.set(k=128)           # what the learner's typing does
    controls.reset()

Every control is a number field or a drop-down list, because these have an accessible name in JupyterLab (a slider
has none), and its name is the key unless a label is given. One to three controls are enough for a picture.
"""

import html
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets


@dataclass(frozen=True)
class Whole:
    """A whole number between low and high, both included."""

    start: int
    low: int
    high: int
    step: int = 1
    label: str = ""

    def widget(self, name: str) -> ipywidgets.Widget:
        return ipywidgets.BoundedIntText(
            value=self.start,
            min=self.low,
            max=self.high,
            step=self.step,
            **_look(self.label or name, "4.5em", max(len(str(self.low)), len(str(self.high)))),
        )

    def accept(self, name: str, value: Any) -> int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or not self.low <= value <= self.high:
            raise ValueError(f"{name} is a whole number from {self.low} to {self.high}; got {value!r}")
        return int(value)

    def said(self, value: int) -> str:
        return str(value)

    def limits(self) -> str:
        return f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class Real:
    """A number between low and high, both included."""

    start: float
    low: float
    high: float
    step: float = 0.1
    label: str = ""

    def widget(self, name: str) -> ipywidgets.Widget:
        return ipywidgets.BoundedFloatText(
            value=self.start,
            min=self.low,
            max=self.high,
            step=self.step,
            **_look(self.label or name, "4.5em", max(len(f"{self.low:g}"), len(f"{self.high:g}"))),
        )

    def accept(self, name: str, value: Any) -> float:
        if not isinstance(value, numbers.Real) or not self.low <= float(value) <= self.high:  # which refuses nan
            raise ValueError(f"{name} is a number from {self.low:g} to {self.high:g}; got {value!r}")
        return float(value)

    def said(self, value: float) -> str:
        return f"{value:g}"

    def limits(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of several values; a mapping {what the learner reads: value} where the two differ."""

    start: Any
    options: Sequence[Any] | Mapping[str, Any]
    label: str = ""

    def widget(self, name: str) -> ipywidgets.Widget:
        options = list(self.options.items()) if isinstance(self.options, Mapping) else list(self.options)
        readable = self.options if isinstance(self.options, Mapping) else map(str, self.options)
        return ipywidgets.Dropdown(
            value=self.start,
            options=options,
            **_look(self.label or name, "3.5em", max(map(len, readable))),
        )

    def accept(self, name: str, value: Any) -> Any:
        known = list(self.options.values()) if isinstance(self.options, Mapping) else list(self.options)
        if value not in known:
            raise ValueError(f"{name} is one of {', '.join(map(repr, known))}; got {value!r}")
        return value

    def said(self, value: Any) -> str:
        if isinstance(self.options, Mapping):
            return next(name for name, option in self.options.items() if option == value)
        return str(value)

    def limits(self) -> str:
        return ""  # a list shows all that it takes


Control = Whole | Real | Choice


def _look(label: str, padding: str, characters: int) -> dict[str, Any]:
    """Label and width such that neither the name nor the longest value is cut off."""
    return {
        "description": label,
        "style": {"description_width": "initial"},
        "layout": ipywidgets.Layout(width=f"calc({len(label) + characters}ch + {padding})"),
    }


class ControlRow(ipywidgets.HBox):
    """The row of controls; where no front end is, one line that says what it would be."""

    saved_text = ""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": self.saved_text}


class Controls:
    """The controls of one picture. on_change is called once after a change, however many values moved."""

    def __init__(self, name: str, specs: Mapping[str, Control], on_change: Callable[[], None] | None = None) -> None:
        for key, spec in specs.items():
            if not isinstance(spec, Control):
                raise TypeError(f"the control {key!r} is a Whole, a Real or a Choice; got {spec!r}")
            spec.accept(key, spec.start)
        self.specs = dict(specs)
        self.widgets = {key: spec.widget(key) for key, spec in specs.items()}
        self.reset_button = ipywidgets.Button(
            description="Reset", tooltip=f"Back to the values that {name} started with", layout={"width": "auto"}
        )
        self._on_change = on_change or (lambda: None)
        self._moving = False
        self.reset_button.on_click(lambda _button: self.reset())
        for widget in self.widgets.values():
            widget.observe(self._moved, names="value")

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now, by name."""
        return {key: widget.value for key, widget in self.widgets.items()}

    @property
    def limits(self) -> str:
        """What the number fields take, as the row says it; empty where there are only lists."""
        taken = [f"{spec.label or key} {spec.limits()}" for key, spec in self.specs.items() if spec.limits()]
        return f"Limits: {', '.join(taken)}. A number outside becomes the nearest one inside." if taken else ""

    def set(self, **values: Any) -> None:
        """Moves controls, as a learner would; a value that a control cannot take raises ValueError."""
        unknown = values.keys() - self.specs.keys()
        if unknown:
            raise ValueError(f"no control {_listed(unknown)}; there is {_listed(self.specs)}")
        accepted = {key: self.specs[key].accept(key, value) for key, value in values.items()}
        before = self.values
        self._move(accepted)
        if self.values != before:
            self._on_change()

    def reset(self) -> None:
        """Back to the starting values; counts as a change even where nothing moved, since a view has state too."""
        self._move({key: spec.start for key, spec in self.specs.items()})
        self._on_change()

    def _move(self, values: Mapping[str, Any]) -> None:
        self._moving = True
        try:
            for key, value in values.items():
                self.widgets[key].value = value
        finally:
            self._moving = False

    def row(self) -> ControlRow:
        """The controls side by side, to be displayed above the picture."""
        limits = [ipywidgets.HTML(f"<small>{html.escape(self.limits)}</small>", layout={"width": "100%"})]
        row = ControlRow(
            children=(*self.widgets.values(), self.reset_button, *(limits if self.limits else [])),
            layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 14px"},
        )
        said = ", ".join(f"{spec.label or key} = {spec.said(self.values[key])}" for key, spec in self.specs.items())
        row.saved_text = f"Controls: {said}. Run this cell to move them."
        return row

    def _moved(self, _change: Any) -> None:
        if not self._moving:
            self._on_change()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, names)))
