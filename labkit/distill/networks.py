"""A teacher and students for the digits. S students side by side, B images, D features, C = 10 classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from labkit.distill._arguments import DistillError
from labkit.distill.digits import NUM_CLASSES

NUM_PIXELS = 64


class Teacher(nn.Module):
    """Two convolutions and a linear layer: 21,386 parameters.

    >>> num_parameters(Teacher())       # 320 + 18,496 + 2,570
    21386
    """

    num_features = 256  # 64 channels of 2 by 2

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(self.num_features, NUM_CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, and what hints are made of: (B, 1, 8, 8) -> (B, 256)."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (B, 1, 8, 8) -> (B, 10)."""
        return self.head(self.features(images))


class Perceptron(nn.Module):
    """Linear layers with ReLU between them, over 64 pixels; what a student and a stack of students share."""

    layers: nn.ModuleList

    def features(self, images: Tensor, depth: int | None = None) -> Tensor:
        """Activations after `depth` hidden layers, all of them by default: (…, B, 1, 8, 8) -> (…, B, D)."""
        x = images.flatten(start_dim=-3)
        for layer in self.layers[: _checked_depth(depth, len(self.layers) - 1)]:
            x = layer(x).relu()
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (…, B, 1, 8, 8) -> (…, B, 10)."""
        return self.layers[-1](self.features(images))


class Student(Perceptron):
    """64 pixels - hidden layers - 10 classes.

    >>> num_parameters(Student([16]))   # 64 * 16 + 16 + 16 * 10 + 10
    1210
    """

    def __init__(self, hidden: Sequence[int] = (16,)) -> None:
        super().__init__()
        widths = _widths(hidden)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))


class StudentStack(Perceptron):
    """S students of one shape that are computed and trained side by side, in little more than the time of one.

    Student s begins as `make_student(hidden, seeds[s])` and has its own images: (S, B, 1, 8, 8) -> (S, B, 10). One
    batched product does what S small ones would, and since Adam works number by number, each learns as if alone.
    """

    def __init__(self, hidden: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        if not seeds:
            raise DistillError("a stack of students needs a seed for each; seeds is empty.")
        self.hidden, self.seeds = tuple(hidden), tuple(seeds)
        alone = [make_student(hidden, seed) for seed in seeds]
        self.layers = nn.ModuleList(map(LinearStack, zip(*(student.layers for student in alone), strict=True)))

    def student(self, index: int) -> Student:
        """A copy of one of them, on its own."""
        alone = Student(self.hidden)
        with torch.no_grad():
            for layer, stack in zip(alone.layers, self.layers, strict=True):
                for own, stacked in zip(layer.parameters(), stack.parameters(), strict=True):
                    own.copy_(stacked[index].T.reshape(own.shape))
        return alone

    def put(self, first: int, others: StudentStack) -> None:
        """Give the students from `first` on the weights of the others, in order."""
        with torch.no_grad():
            for own, given in zip(self.parameters(), others.parameters(), strict=True):
                own[first : first + len(given)] = given


class LinearStack(nn.Module):
    """S linear layers of one shape, each for its own rows: (S, B, in) -> (S, B, out)."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        # A linear layer keeps its weight as (out, in); here it stands ready for x @ weight.
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))  # S, in, out
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))  # S, 1, out

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


def make_teacher(seed: int = 0) -> Teacher:
    """An untrained teacher; the same for the same seed, whatever was drawn before."""
    with seeded(seed):
        return Teacher()


def make_student(hidden: Sequence[int] = (16,), seed: int = 0) -> Student:
    """An untrained student; the same for the same seed, whatever was drawn before."""
    with seeded(seed):
        return Student(hidden)


def make_regressors(num_inputs: int, num_outputs: int, seeds: Sequence[int]) -> LinearStack:
    """For each seed an untrained linear layer, from a student's features to the teacher's."""
    layers = []
    for seed in seeds:
        with seeded(seed):
            layers.append(nn.Linear(num_inputs, num_outputs))
    return LinearStack(layers)


def num_parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator at this seed within the block, and as it was behind it."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        yield


def _widths(hidden: Sequence[int]) -> list[int]:
    if not hidden or any(width < 1 for width in hidden):
        raise DistillError(f"hidden is {tuple(hidden)}; expected the widths of the hidden layers, like (16,).")
    return [NUM_PIXELS, *hidden, NUM_CLASSES]


def _checked_depth(depth: int | None, num_hidden: int) -> int:
    if depth is not None and not 1 <= depth <= num_hidden:
        raise DistillError(f"depth is {depth}; this student has the hidden layers 1 to {num_hidden}.")
    return num_hidden if depth is None else depth
