"""`Rounded`: the third silent failure, a constant captured from the example."""

import numpy as np

from labkit.course.exercise import Case
from labkit.course.exercises.onnx_export.modules import ModuleExercise, keeping_module, module, token_cases
from labkit.course.on_first_use import torch

STEPS = 127


def _cases(seed: int, tier: str) -> list[Case]:
    cases = token_cases(seed, [(2, 4, 17), (1, 6, 20)], [1, 8], spread=2.0)
    for case in cases:
        # One small and one large input: a scale that came from the example is far from theirs. The largest magnitude
        # of one is a negative number's. No quotient is a tie at .5.
        case.args[1].extend([-np.abs(case.args[0]) / 16, np.abs(case.args[0])[:, ::-1] * 40])
        case.args[1][:] = [np.ascontiguousarray(_without_ties(x)) for x in case.args[1]]
    return cases


def _without_ties(x: np.ndarray) -> np.ndarray:
    """The same numbers, those moved a little that lie near the middle of two steps, where rounding decides."""
    scale = np.abs(x).max() / STEPS
    near = np.abs(np.abs(x / scale) % 1 - 0.5) < 0.05
    return np.where(near, x + 0.2 * scale * np.where(x > 0, -1, 1), x).astype(np.float32)


def _rounded(x: np.ndarray) -> np.ndarray:
    scale = max(abs(float(number)) for number in x.flat) / STEPS
    return np.rint(x / scale) * scale


rounded = ModuleExercise(
    name="Rounded",
    signature="Rounded()",
    goal="Round x to whole multiples of its own largest magnitude / 127, shape unchanged, with a scale that the graph"
    " computes from the x that it is given.",
    cases=_cases,
    oracle=_rounded,
    hints=(
        "Where in the exported graph is the scale? Look for it in Netron: is it computed, or does it stand there?",
        "`.item()`, `float()`, `.tolist()` and `.numpy()` give a value of *this* x to Python, and a tracer writes"
        " values of Python's down as constants. Which of your lines does that?",
        "The same three steps with the scale left as a tensor: the largest magnitude, divided by 127; x over it,"
        " rounded; times it.",
    ),
    points=3,
    minutes=10,
    difficulty=1,
    num_lines=2,
)
wrong, right = rounded.wrong, rounded.right


@wrong("scale of the example", ".item() hands this x's value to Python: in the graph it is a constant for ever.")
@module
def _(x):
    scale = x.abs().max().item() / STEPS
    return torch.round(x / scale) * scale


@wrong("scale kept from the first call", "each x has a scale of its own: what was kept belongs to another one.")
@keeping_module
def _(self, x):
    if self.kept is None:
        self.kept = x.abs().max() / STEPS
    return torch.round(x / self.kept) * self.kept


@wrong("largest value instead of magnitude", "the most negative number may be the largest in magnitude: abs() first.")
@module
def _(x):
    scale = x.max() / STEPS
    return torch.round(x / scale) * scale


@wrong("128 steps", "127 steps on each side: -128 to 127 would not be symmetric.")
@module
def _(x):
    scale = x.abs().max() / (STEPS + 1)
    return torch.round(x / scale) * scale


@wrong("255 steps", "255 are the steps on both sides together.")
@module
def _(x):
    scale = x.abs().max() / (2 * STEPS + 1)
    return torch.round(x / scale) * scale


@wrong("one scale per channel", "here one scale is for the whole of x.")
@module
def _(x):
    scale = x.abs().max(1, keepdim=True).values.max(0, keepdim=True).values / STEPS
    return torch.round(x / scale) * scale


@wrong("not scaled back", "the multiples alone are whole numbers up to 127: times the scale again.")
@module
def _(x):
    return torch.round(x / (x.abs().max() / STEPS))


@wrong("rounded towards zero", "this drops the fraction: the nearest multiple is meant.")
@module
def _(x):
    scale = x.abs().max() / STEPS
    return torch.sign(x) * torch.floor(x.abs() / scale) * scale


@wrong("rounded down", "floor() always goes down: the nearest multiple is meant.")
@module
def _(x):
    scale = x.abs().max() / STEPS
    return torch.floor(x / scale) * scale


@wrong("not rounded", "dividing and multiplying by the scale gives x again: round between the two.")
@module
def _(x):
    scale = x.abs().max() / STEPS
    return x / scale * scale


@wrong("scale detached to a new tensor", "torch.tensor(float(…)) is a tensor again, of a value that Python held.")
@module
def _(x):
    scale = torch.tensor(x.abs().max().item() * 1.0) / (STEPS - 1)
    return torch.round(x / scale) * scale


@right("the scale stays a tensor")
@module
def _(x):
    scale = x.abs().max() / STEPS
    return torch.round(x / scale) * scale


@right("the larger of both ends")
@module
def _(x):
    scale = torch.maximum(x.max(), -x.min()) / STEPS
    return (x / scale).round() * scale


@right("flattened first")
@module
def _(x):
    peak = x.flatten().abs().max(dim=0).values
    return torch.round(x * STEPS / peak) * peak / STEPS


@right("norm of infinite order")
@module
def _(x):
    scale = x.abs().amax(dim=(0, 1, 2), keepdim=True) / STEPS
    return torch.div(x, scale).round().mul(scale)
