"""`LastTokens`: the second silent failure, a branch that was baked in."""

import numpy as np

from labkit.course.exercise import Case
from labkit.course.exercises.onnx_export.modules import ModuleExercise, module, token_cases
from labkit.course.on_first_use import torch

WINDOW = 8


def _cases(seed: int, tier: str) -> list[Case]:
    far = int(np.random.default_rng(seed).integers(20, 40))
    # Examples on both sides of the branch, and inputs at it and beside it.
    return token_cases(seed, [(2, 5, 17), (1, 12, 20)], [1, 7, 8, 9, far])


def _last_mean(x: np.ndarray) -> np.ndarray:
    return np.stack([np.mean(list(each)[-WINDOW:], axis=0) for each in x])


last_tokens = ModuleExercise(
    name="LastTokens",
    signature="LastTokens()",
    goal="Return the mean over the last 8 tokens, or over all where there are fewer, (B, T, C) -> (B, C), as one graph"
    " for every T.",
    cases=_cases,
    oracle=_last_mean,
    hints=(
        "Which of the two ways does the graph take that was exported from 5 tokens? And from 12? Who decided?",
        "A graph has no `if` of Python's: it was decided while exporting. Is there one expression that is right on both"
        " sides of 8, so that there is nothing to decide?",
        "What does a slice give that reaches past the beginning: `[1, 2, 3][-8:]`? Slice first, then take the mean; or"
        " count the tokens from the end in the graph, and weigh them 1 or 0.",
    ),
    points=3,
    minutes=10,
    difficulty=2,
    num_lines=1,
)
wrong, right = last_tokens.wrong, last_tokens.right


@wrong(
    "branch of the example",
    "what Python decides (an `if`, a `min`, a `max`) is decided while exporting: the graph has the example's way only.",
)
@module
def _(x):
    if x.shape[1] > WINDOW:
        x = x[:, -WINDOW:]
    return x.mean(1)


@wrong("start counted in Python", "int() leaves the trace: where the slice begins is a constant of the graph.")
@module
def _(x):
    start = max(0, int(x.shape[1]) - WINDOW)
    return x[:, start:].mean(1)


@wrong("window counted in Python", "int() leaves the trace: the graph always takes as many as the example had.")
@module
def _(x):
    return x[:, -min(WINDOW, int(x.shape[1])) :].mean(1)


@wrong("all tokens", "with more than 8 tokens only the last 8 count.")
@module
def _(x):
    return x.mean(1)


@wrong("first tokens", "these are the oldest tokens: the last ones stand at the end.")
@module
def _(x):
    return x[:, :WINDOW].mean(1)


@wrong("one token less", "a window of 8 has 8 tokens: this one has 7.")
@module
def _(x):
    return x[:, -WINDOW + 1 :].mean(1)


@wrong("one token more", "a window of 8 has 8 tokens: this one has 9.")
@module
def _(x):
    return x[:, -WINDOW - 1 :].mean(1)


@wrong("always divided by 8", "with fewer tokens than 8 the sum is divided by as many as there are.")
@module
def _(x):
    return x[:, -WINDOW:].sum(1) / WINDOW


@wrong("the last token alone", "the mean is over up to 8 tokens.")
@module
def _(x):
    return x[:, -1]


@wrong("window over the channels", "dimension 2 is the channels: the window is over the tokens, dimension 1.")
@module
def _(x):
    return x[:, :, -WINDOW:].mean(1) * 1.0 if x.shape[2] > WINDOW else x[:, :, -1:].mean(1)


@wrong("indices counted backwards from the end in Python", "range() is unrolled: it has the example's length.")
@module
def _(x):
    return torch.stack([x[:, -1 - back] for back in range(min(WINDOW, int(x.shape[1])))]).mean(0)


@wrong("newest token counted twice", "the weights of the 8 tokens are equal.")
@module
def _(x):
    return torch.cat([x[:, -WINDOW:], x[:, -1:]], dim=1).mean(1)


@right("a slice that may reach past the beginning")
@module
def _(x):
    return x[:, -WINDOW:].mean(1)


@right("turned round, then the first")
@module
def _(x):
    return x.flip(1)[:, :WINDOW].mean(1)


@right("weights counted from the end in the graph")
@module
def _(x):
    inside = torch.cumsum(torch.ones_like(x), 1).flip(1) <= WINDOW  # counts T, …, 2, 1
    return (x * inside).sum(1) / inside.sum(1)


@right("positions from a size that stays symbolic")
@module
def _(x):
    from_end = torch.arange(x.shape[1]).flip(0)
    inside = (from_end < WINDOW).to(x.dtype)[None, :, None]
    return (x * inside).sum(1) / inside.sum(1)
