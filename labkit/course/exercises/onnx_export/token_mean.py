"""`TokenMean`: the first silent failure, a size that became a Python int."""

import numpy as np

from labkit.course.exercise import Case
from labkit.course.exercises.onnx_export.modules import ModuleExercise, keeping_module, module, token_cases
from labkit.course.on_first_use import torch


def _cases(seed: int, tier: str) -> list[Case]:
    far = int(np.random.default_rng(seed).integers(20, 40))
    return token_cases(seed, [(2, 6, 20), (4, 3, 17)], [1, 5, 7, far])


def _mean(x: np.ndarray) -> np.ndarray:
    return np.add.reduce(x, axis=1) / x.shape[1]


token_mean = ModuleExercise(
    name="TokenMean",
    signature="TokenMean()",
    goal="Return the mean over the tokens, (B, T, C) -> (B, C), so that the exported graph divides by the T that it is"
    " given and not by the example's.",
    cases=_cases,
    oracle=_mean,
    hints=(
        "Which values in `forward` are tensors, and which are Python numbers? What does a tracer write down for each?",
        "A tracer sees operations on tensors. `int(…)` leaves them, so the quotient is written down as a constant."
        " Stay with tensors, or use an operation that knows the size by itself.",
        "Either the one call that means what you want, `x.mean(…)` over the right dimension, or `x.sum(1)` divided by"
        " `x.shape[1]` as it is: while tracing that is a tensor, as long as nothing converts it.",
    ),
    points=2,
    minutes=10,
    difficulty=1,
    num_lines=1,
)
wrong, right = token_mean.wrong, token_mean.right


@wrong("size as an int", "int() leaves the trace: the example's T is a constant of the graph for ever.")
@module
def _(x):
    return x.sum(1) / int(x.shape[1])


@wrong("channels counted", "the last dimension is C: the mean over the tokens divides by T, dimension 1.")
@module
def _(x):
    return x.sum(1) / x.shape[2]


@wrong("batch counted", "dimension 0 is B: the mean over the tokens divides by T, dimension 1.")
@module
def _(x):
    return x.sum(1) / x.shape[0]


@wrong("sum over the tokens", "nothing divides: a sum grows with the number of tokens, a mean does not.")
@module
def _(x):
    return x.sum(1)


@wrong("mean over the batch", "dimension 0 is the batch; images of one batch must not know of each other.")
@module
def _(x):
    return x.mean(0)


@wrong("mean over the channels", "dimension 2 is the channels: the result is (B, T) instead of (B, C).")
@module
def _(x):
    return x.mean(2)


@wrong("mean over everything", "tokens and channels are both gone: only the tokens are averaged.")
@module
def _(x):
    return x.mean((1, 2))


@wrong("dimension kept", "the result is (B, C), and this one is (B, 1, C): the averaged dimension has to go.")
@module
def _(x):
    return x.mean(1, keepdim=True)


@wrong("count kept from the first call", "what the module keeps from one call is stale at the next length.")
@keeping_module
def _(self, x):
    if self.kept is None:
        self.kept = x.shape[1]
    return x.sum(1) / self.kept


@wrong("a loop over the tokens", "a Python loop is unrolled: the graph has as many steps as the example had tokens.")
@module
def _(x):
    count = x.shape[1]
    return sum(x[:, at] for at in range(x.shape[1])) / count


@wrong("first and last token", "the mean of two tokens is not the mean of all.")
@module
def _(x):
    return (x[:, 0] + x[:, -1]) / 2


@right("mean")
@module
def _(x):
    return x.mean(1)


@right("sum over the size, not converted")
@module
def _(x):
    return x.sum(1) / x.shape[1]


@right("ones that are counted in the graph")
@module
def _(x):
    return x.sum(1) / torch.ones_like(x).sum(1)


@right("matrix product with equal weights")
@module
def _(x):
    weights = torch.softmax(torch.zeros_like(x[:, :, :1]), dim=1)  # (B, T, 1)
    return (weights * x).sum(dim=1)
