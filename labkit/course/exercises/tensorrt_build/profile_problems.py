"""`profile_problems(inputs, profile)`: what is wrong with a profile, said before the builder says it."""

from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.describe import describe
from labkit.course.exercise import Case, Exercise

WORDS = ("unknown", "missing", "rank", "fixed", "order")


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    image = {"x": (None, 3, 8, 8)}
    small: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("nothing wrong", image, {"x": ((1, 3, 8, 8), (8, 3, 8, 8), (64, 3, 8, 8))}),
        ("one batch size for all three", image, {"x": ((4, 3, 8, 8), (4, 3, 8, 8), (4, 3, 8, 8))}),
        ("opt below min", image, {"x": ((8, 3, 8, 8), (4, 3, 8, 8), (64, 3, 8, 8))}),
        ("opt above max", image, {"x": ((1, 3, 8, 8), (65, 3, 8, 8), (64, 3, 8, 8))}),
        ("opt equals max", image, {"x": ((1, 3, 8, 8), (64, 3, 8, 8), (64, 3, 8, 8))}),
        ("another order in another dimension", {"x": (None, None)}, {"x": ((1, 32), (4, 16), (8, 64))}),
        ("another order behind one batch size", {"x": (None, None)}, {"x": ((4, 32), (4, 16), (4, 64))}),
        ("the same, allowed", {"x": (None, None)}, {"x": ((1, 16), (4, 32), (8, 64))}),
        ("no entry for a dynamic input", image, {}),
        ("no entry for a static input", {"x": (None, 4), "mask": (4, 4)}, {"x": ((1, 4), (2, 4), (4, 4))}),
        ("a static input restated", {"mask": (4, 4)}, {"mask": ((4, 4), (4, 4), (4, 4))}),
        ("a misspelt name", image, {"X": ((1, 3, 8, 8), (8, 3, 8, 8), (64, 3, 8, 8))}),
        ("a name too many", image, {
            "x": ((1, 3, 8, 8), (8, 3, 8, 8), (64, 3, 8, 8)), "labels": ((1,), (8,), (64,)),
        }),
        ("a fixed size changed in max", image, {"x": ((1, 3, 8, 8), (8, 3, 8, 8), (64, 3, 16, 16))}),
        ("a fixed size changed everywhere", image, {"x": ((1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))}),
        ("too few sizes", image, {"x": ((1,), (8,), (64,))}),
        ("too many sizes", {"x": (None, 4)}, {"x": ((1, 4, 1), (2, 4, 1), (4, 4, 1))}),
        ("too few sizes in max", {"x": (None, None)}, {"x": ((1, 16), (4, 32), (8,))}),
        ("fixed and order at once", {"x": (None, 4)}, {"x": ((8, 4), (2, 5), (4, 4))}),
        ("no input is dynamic", {"x": (1, 4)}, {}),
        ("two inputs, two problems", {"a": (None, 4), "b": (None,)}, {
            "a": ((1, 4), (2, 4), (1, 4)), "b": ((1, 1), (2, 2), (3, 3)),
        }),
    ]  # fmt: skip
    cases = [Case(name, (inputs, profile)) for name, inputs, profile in small]
    return cases + [Case(f"random, {number}", _random_case(rng)) for number in range(1, 5)]


def _random_case(rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Three inputs, each right or spoiled in one way."""
    inputs, profile = {}, {}
    for name in ("a", "b", "c"):
        shape = [None, *(int(size) for size in rng.integers(2, 9, size=2))]
        if rng.random() < 0.5:
            shape[int(rng.integers(1, 3))] = None
        low = [int(rng.integers(2, 5)) if size is None else size for size in shape]
        bounds = [[n if size is None else size for n, size in zip(map(step, low), shape, strict=True)]
                  for step in (int, lambda n: 2 * n, lambda n: 4 * n)]  # fmt: skip
        spoil = int(rng.integers(0, 5))
        if spoil == 1:
            bounds[1][0] = int(rng.choice([1, 1000]))
        if spoil == 2 and None in shape[1:]:
            bounds[2][1 + shape[1:].index(None)] = 1
        if spoil == 3:
            bounds[int(rng.integers(0, 3))].append(1)
        inputs[name] = tuple(shape)
        if spoil != 4:
            profile[name] = tuple(map(tuple, bounds))
    return inputs, profile


def _judge(case: Case, value: Any) -> Difference | None:
    inputs, profile = case.args
    expected = _expected(inputs, profile)
    if not isinstance(value, dict):
        return Difference(describe(expected), f"{describe(value)}: not a dict")
    if value == expected:
        return None
    return Difference(describe(expected), describe(value))


def _expected(inputs: dict[str, Any], profile: dict[str, Any]) -> dict[str, str]:
    # Worked out with arrays, as no answer below does; a test holds it against what TensorRT's builder refuses.
    problems = dict.fromkeys(profile.keys() - inputs.keys(), "unknown")
    for name, shape in inputs.items():
        dynamic = np.array([size is None for size in shape], bool)
        if name not in profile:
            problems |= {name: "missing"} if dynamic.any() else {}
        elif {len(bound) for bound in profile[name]} != {len(shape)}:
            problems[name] = "rank"
        else:
            bounds = np.array(profile[name], np.int64).reshape(3, len(shape))
            fixed = np.array([0 if size is None else size for size in shape], np.int64)
            if ((bounds != fixed) & ~dynamic).any():
                problems[name] = "fixed"
            elif (np.diff(bounds, axis=0) < 0).any():
                problems[name] = "order"
    return problems


profile_problems = Exercise(
    name="profile_problems",
    signature="profile_problems(inputs, profile)",
    goal="Return {input: problem} for everything that is wrong with an optimization profile, and {} when it may go to"
    " the builder.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Is (1, 32) below (4, 16)? Ask Python, then ask whether every size of the first is at most the second's.",
        "There are two sets of names: compare them first. For a name in both, look at the ranks, then at the fixed"
        " sizes, then at the order, and stop at the first problem of this input.",
        "for a name only in profile: 'unknown'; only in inputs with a None in its shape: 'missing'; in both: 'rank' if"
        " any bound has another length; 'fixed' if any bound differs where the shape is no None; 'order' unless"
        " low <= opt <= high for each dimension.",
    ),
    points=3,
    minutes=15,
    difficulty=1,
    num_lines=14,
    names_in_part=True,
)


def _found(inputs, profile, *, of_bounds=None, in_order=None, optional=None, known=True):
    """A right answer with its parts exchangeable: what the wrong ones spoil."""
    problems = {name: "unknown" for name in profile if name not in inputs} if known else {}
    for name, shape in inputs.items():
        if name not in profile:
            if (optional or _optional)(shape):
                continue
            problems[name] = "missing"
        elif problem := (of_bounds or _of_bounds)(shape, profile[name], in_order or _in_order):
            problems[name] = problem
    return problems


def _optional(shape):
    return None not in shape


def _of_bounds(shape, bounds, in_order):
    if any(len(bound) != len(shape) for bound in bounds):
        return "rank"
    if any(size not in (None, given) for bound in bounds for size, given in zip(shape, bound, strict=True)):
        return "fixed"
    return None if in_order(*bounds) else "order"


def _in_order(low, opt, high):
    return all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True))


@profile_problems.wrong(
    "whole tuples compared", "tuples compare like words, by the first size that differs: compare size by size."
)
def _(inputs, profile):
    return _found(inputs, profile, in_order=lambda low, opt, high: low <= opt <= high)


@profile_problems.wrong(
    "whole tuples compared, before the fixed sizes",
    "tuples compare like words, by the first size that differs: compare size by size, and the fixed sizes first.",
)
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if any(len(bound) != len(shape) for bound in bounds):
            return "rank"
        low, opt, high = bounds
        return _of_bounds(shape, bounds, lambda *_: True) if low <= opt <= high else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong(
    "whole tuples in strict order", "tuples compare like words: compare size by size; and equal sizes are allowed."
)
def _(inputs, profile):
    return _found(inputs, profile, in_order=lambda low, opt, high: low < opt < high)


@profile_problems.wrong("one dimension in order is enough", "min <= opt <= max has to hold in every dimension.")
def _(inputs, profile):
    def somewhere(low, opt, high):
        return any(a <= b <= c for a, b, c in zip(low, opt, high, strict=True))

    return _found(inputs, profile, in_order=somewhere)


@profile_problems.wrong("opt not looked at", "opt must lie between min and max too: the plan is tuned for it.")
def _(inputs, profile):
    return _found(inputs, profile, in_order=lambda low, opt, high: all(a <= c for a, c in zip(low, high, strict=True)))


@profile_problems.wrong("equal sizes refused", "min, opt and max may be equal: a plan for one shape is allowed.")
def _(inputs, profile):
    def rising(low, opt, high):
        return all(a < b < c for a, b, c in zip(low, opt, high, strict=True))

    return _found(inputs, profile, in_order=rising)


@profile_problems.wrong("batch only", "every dimension may be dynamic, not only the first.")
def _(inputs, profile):
    return _found(inputs, profile, in_order=lambda low, opt, high: low[0] <= opt[0] <= high[0])


@profile_problems.wrong(
    "unknown names passed over", "a misspelt name bounds nothing, and TensorRT says nothing: report it."
)
def _(inputs, profile):
    return _found(inputs, profile, known=False)


@profile_problems.wrong("static inputs asked for", "an input whose sizes are all fixed needs no entry.")
def _(inputs, profile):
    return _found(inputs, profile, optional=lambda shape: False)


@profile_problems.wrong("missing entries passed over", "a dynamic input without bounds cannot be built.")
def _(inputs, profile):
    return _found(inputs, profile, optional=lambda shape: True)


@profile_problems.wrong("fixed sizes looked at in opt only", "min and max must keep the graph's fixed sizes too.")
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if any(len(bound) != len(shape) for bound in bounds):
            return "rank"
        if any(size not in (None, given) for size, given in zip(shape, bounds[1], strict=True)):
            return "fixed"
        return None if in_order(*bounds) else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong("fixed sizes passed over", "a size that the graph fixes cannot be chosen by the profile.")
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if any(len(bound) != len(shape) for bound in bounds):
            return "rank"
        return None if in_order(*bounds) else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong("zip stops early", "zip ends with the shorter of the two: compare the lengths first.")
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if any(size not in (None, given) for bound in bounds for size, given in zip(shape, bound, strict=False)):
            return "fixed"
        return None if all(a <= b <= c for a, b, c in zip(*bounds, strict=False)) else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong("rank of opt only", "each of the three shapes has a rank of its own: look at all three.")
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if len(bounds[1]) != len(shape):
            return "rank"
        if any(size not in (None, given) for bound in bounds for size, given in zip(shape, bound, strict=False)):
            return "fixed"
        return None if all(a <= b <= c for a, b, c in zip(*bounds, strict=False)) else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong("order before fixed", "a size that cannot change is the first thing to mend.")
def _(inputs, profile):
    def of_bounds(shape, bounds, in_order):
        if any(len(bound) != len(shape) for bound in bounds):
            return "rank"
        return _of_bounds(shape, bounds, in_order) if in_order(*bounds) else "order"

    return _found(inputs, profile, of_bounds=of_bounds)


@profile_problems.wrong("stops at the first problem", "each input has a problem of its own: report all of them.")
def _(inputs, profile):
    return dict(list(_found(inputs, profile).items())[:1])


@profile_problems.right("size by size")
def _(inputs, profile):
    return _found(inputs, profile)


@profile_problems.right("chained conditions over the union of names")
def _(inputs, profile):
    problems = {}
    for name in {**inputs, **profile}:
        shape, bounds = inputs.get(name), profile.get(name)
        if shape is None:
            problems[name] = "unknown"
        elif bounds is None:
            if any(size is None for size in shape):
                problems[name] = "missing"
        elif set(map(len, bounds)) - {len(shape)}:
            problems[name] = "rank"
        else:
            columns = list(zip(shape, *bounds, strict=True))
            if any(size is not None and {size} != set(sizes) for size, *sizes in columns):
                problems[name] = "fixed"
            elif any(sizes != sorted(sizes) for _, *sizes in columns):
                problems[name] = "order"
    return problems


@profile_problems.right("by exceptions")
def _(inputs, profile):
    def check(shape, bounds):
        for size, *sizes in zip(shape, *bounds, strict=True):  # ValueError: another rank
            if size is not None and any(given != size for given in sizes):
                raise LookupError
        for low, opt, high in zip(*bounds, strict=True):
            if not max(low, opt) <= high or opt < low:
                raise ArithmeticError

    problems = dict.fromkeys(set(profile) - set(inputs), "unknown")
    problems.update({name: "missing" for name in set(inputs) - set(profile) if None in inputs[name]})
    for name in set(inputs) & set(profile):
        try:
            check(inputs[name], profile[name])
        except ValueError:
            problems[name] = "rank"
        except LookupError:
            problems[name] = "fixed"
        except ArithmeticError:
            problems[name] = "order"
    return problems
