"""Why two requests have different keys, in words: "profile changed: opt 8→16 (dimension 0 of 'x')"."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from labkit.tensorrt.profile import BOUNDS, format_shape

Ingredients = Mapping[str, Any]


def difference(old: Ingredients, new: Ingredients) -> tuple[str, ...]:
    """What changed from one request's ingredients to another's, a phrase for each; () when nothing did."""
    if old["labkit"] != new["labkit"]:  # another version may have other ingredients: nothing else is compared
        return tuple(_scalar("labkit's way of building", old["labkit"], new["labkit"]))
    return (
        *_model(old["model"], new["model"]),
        *_profile(old["profile"], new["profile"]),
        *_options(old["options"], new["options"]),
        *_builder(old["builder"], new["builder"]),
    )


def _model(old: Ingredients, new: Ingredients) -> Iterator[str]:
    if old["graph"] != new["graph"]:
        yield "model changed: other bytes in the .onnx file"
    for location in sorted({*old["weights"], *new["weights"]}):
        was, now = old["weights"].get(location), new["weights"].get(location)
        # Files come and go with the graph that names them, which has been said.
        if was and now and was != now:
            yield f"weights changed: other bytes in {location}"


def _profile(old: Ingredients, new: Ingredients) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in old:
            yield f"profile changed: {name!r} was not in it"
        elif name not in new:
            yield f"profile changed: {name!r} is no longer in it"
        else:
            for bound in BOUNDS:
                yield from _shape(name, bound, old[name][bound], new[name][bound])


def _shape(name: str, bound: str, old: list[int], new: list[int]) -> Iterator[str]:
    changed = [axis for axis, (was, now) in enumerate(zip_longest(old, new)) if was != now]
    if len(changed) == 1 and len(old) == len(new):
        axis = changed[0]
        yield f"profile changed: {bound} {old[axis]}→{new[axis]} (dimension {axis} of {name!r})"
    elif changed:
        yield f"profile changed: {bound} {format_shape(old)}→{format_shape(new)} of {name!r}"


def _options(old: Ingredients, new: Ingredients) -> Iterator[str]:
    yield from _scalar("precision", old["precision"], new["precision"])
    yield from _scalar("targets", _or(old["targets"], "any"), _or(new["targets"], "any"))
    yield from _scalar("workspace_bytes", old["workspace_bytes"] or "default", new["workspace_bytes"] or "default")
    if old["calibration"] != new["calibration"] and old["precision"] == new["precision"]:
        yield "calibration changed: other data"


def _builder(old: Ingredients, new: Ingredients) -> Iterator[str]:
    yield from _scalar("TensorRT", f"{old['flavour']} {old['version']}", f"{new['flavour']} {new['version']}")
    yield from _scalar("GPU", _gpu(old["gpu"]), _gpu(new["gpu"]))
    yield from _scalar("platform", old["platform"], new["platform"])
    was, now = old["converters"] or {}, new["converters"] or {}
    for name in sorted(was.keys() & now.keys()):
        yield from _scalar(name, was[name], now[name])


def _scalar(what: str, old: Any, new: Any) -> Iterator[str]:
    if old != new:
        yield f"{what} changed: {old}→{new}"


def _or(values: list[str], nothing: str) -> str:
    return "+".join(values) or nothing


def _gpu(device: Ingredients | None) -> str:
    return "any" if device is None else ", ".join(map(str, device.values()))
