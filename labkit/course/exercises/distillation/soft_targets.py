"""`soft_targets(logits, temperature)`: what a teacher says when it is not forced to be certain."""

from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_arrays
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.distillation.tensors import ABSOLUTE, LIMIT_S, RELATIVE, on_one_thread, write_back
from labkit.course.on_first_use import F, torch


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def logits(num_images: int, num_classes: int, spread: float = 3.0) -> np.ndarray:
        return np.round(rng.normal(0, spread, (num_images, num_classes)), 2)

    def one() -> np.ndarray:
        return np.array([[2.0, 1.0, -1.0]])

    def two() -> np.ndarray:
        return np.array([[0.0, 3.0, 1.0], [4.0, -2.0, 2.5]])

    return [
        Case("one image, T = 1", (one(), 1)),
        Case("the same image, T = 2", (one(), 2)),
        Case("the same image, T = 0.5", (one(), 0.5)),
        Case("two images, T = 1", (two(), 1)),
        Case("two images, T = 4", (two(), 4)),
        Case("as many images as classes, T = 3", (logits(3, 3), 3)),
        Case("all logits alike, T = 2", (np.full((1, 4), 1.5), 2)),
        # Larger than those above, since the smallest that fails is shown: a plain mistake belongs on plain logits.
        # Differences are multiples of T, so that float32 divides them exactly.
        Case("logits of 10,000, T = 5", (1e4 - np.array([[0.0, 5, 2e4, 1e4, 10, 15, 5, 20, 0, 30]]), 5)),
        Case("logits of -10,000, T = 5", (-1e4 - np.array([[0.0, 5, 10, 5, 15, 0, 20, 25, 10, 30]]), 5)),
        Case("random", (logits(4, 10), round(float(rng.uniform(1.5, 6)), 2))),
        Case("random, T below 1", (logits(5, 7), round(float(rng.uniform(0.3, 0.8)), 2))),
    ]


@on_one_thread
def _probe(candidate: Any, case: Case) -> Any:
    logits, temperature = case.args
    tensor = torch.tensor(logits)
    targets = candidate(tensor, temperature)
    write_back([logits], [tensor])
    return targets


def _judge(case: Case, value: Any) -> Difference | None:
    logits, temperature = case.args
    shifted = logits - logits.max(axis=1, keepdims=True)  # softmax, by its definition
    powers = np.exp(shifted / temperature)
    return compare_arrays(powers / powers.sum(axis=1, keepdims=True), value, RELATIVE, ABSOLUTE, same_dtype=False)


soft_targets = Exercise(
    name="soft_targets",
    signature="soft_targets(logits, temperature)",
    goal="Return the probabilities softmax(logits / temperature) of each image, as a tensor (B, C).",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    limit_s=LIMIT_S,
    names_in_part=True,
    hints=(
        "Logits 4 and 0 are e⁴ to 1 after softmax. What are they when both are divided by 4 first?",
        "The temperature divides the logits, before anything is exponentiated; then each image's row is normalised to a"
        " sum of 1. torch has a softmax that never overflows.",
        "`return softmax of (logits / temperature) along the classes, which are the last axis`",
    ),
    points=1,
    minutes=5,
    difficulty=1,
    num_lines=1,
)


@soft_targets.wrong("temperature ignored", "these are the probabilities at T = 1: divide the logits by T first.")
def _(logits, temperature):
    return F.softmax(logits, dim=1)


@soft_targets.wrong("multiplied by the temperature", "a high temperature makes targets more even: divide by T.")
def _(logits, temperature):
    return F.softmax(logits * temperature, dim=1)


@soft_targets.wrong("divided after softmax", "probabilities divided by T no longer add up to 1: divide the logits.")
def _(logits, temperature):
    return F.softmax(logits, dim=1) / temperature


@soft_targets.wrong("softmax over the batch", "each image has its own distribution over the classes: dim=1, not dim=0.")
def _(logits, temperature):
    return F.softmax(logits / temperature, dim=0)


@soft_targets.wrong("softmax over everything", "each row adds up to 1, not the whole batch.")
def _(logits, temperature):
    return F.softmax((logits / temperature).flatten(), dim=0).reshape(logits.shape)


@soft_targets.wrong("logarithms", "these are log-probabilities; the targets themselves are asked for.")
def _(logits, temperature):
    return F.log_softmax(logits / temperature, dim=1)


@soft_targets.wrong("not normalised", "exp alone does not add up to 1: divide by each row's sum.")
def _(logits, temperature):
    return torch.exp(logits / temperature)


@soft_targets.wrong("overflow", "exp of a large logit is infinite: take the row's maximum off first, as softmax does.")
def _(logits, temperature):
    powers = torch.exp(logits / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


@soft_targets.wrong("the winner takes all", "argmax keeps the label and drops what the teacher knows besides it.")
def _(logits, temperature):
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


@soft_targets.wrong("sigmoid", "sigmoid treats every class alone; the classes share a sum of 1.")
def _(logits, temperature):
    return torch.sigmoid(logits / temperature)


@soft_targets.wrong("divided by the square of T", "T² belongs to the loss; the logits are divided by T.")
def _(logits, temperature):
    return F.softmax(logits / temperature**2, dim=1)


@soft_targets.wrong("divided by the root of T", "the logits are divided by T itself.")
def _(logits, temperature):
    return F.softmax(logits / temperature**0.5, dim=1)


@soft_targets.wrong("roots that are not normalised", "after the root of order T the row has to be divided by its sum.")
def _(logits, temperature):
    return F.softmax(logits, dim=1) ** (1 / temperature)


@soft_targets.wrong("divided in place", "the caller still needs its logits: `/=` changes them, `/` does not.")
def _(logits, temperature):
    logits /= temperature
    return F.softmax(logits, dim=1)


@soft_targets.wrong("mixed with an even distribution", "that is label smoothing: it knows nothing of similar classes.")
def _(logits, temperature):
    return F.softmax(logits, dim=1) / temperature + (1 - 1 / temperature) / logits.shape[1]


@soft_targets.right("torch's softmax")
def _(logits, temperature):
    return torch.softmax(logits / temperature, dim=-1)


@soft_targets.right("exp of log-softmax")
def _(logits, temperature):
    return F.log_softmax(logits / temperature, dim=1).exp()


@soft_targets.right("maximum off, then exp")
def _(logits, temperature):
    powers = torch.exp((logits - logits.max(dim=1, keepdim=True).values) / temperature)
    return powers / powers.sum(dim=1, keepdim=True)


@soft_targets.right("logsumexp")
def _(logits, temperature):
    scaled = logits / temperature
    return torch.exp(scaled - torch.logsumexp(scaled, dim=1, keepdim=True))


@soft_targets.right("row by row, in float32")
def _(logits, temperature):
    return torch.stack([torch.nn.Softmax(dim=0)(row.float() / temperature) for row in logits])
