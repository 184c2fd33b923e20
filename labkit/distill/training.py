"""Training: a teacher on labels, a student on labels and a teacher, many students at once, and hints.

The same seed gives the same weights, batches and results on the same machine, since training keeps to one thread.
Another processor or version of torch adds up in another order, which moves single accuracies by tenths of a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.distill._arguments import DistillError, check_labels, check_pair, checked_whole
from labkit.distill.digits import Digits
from labkit.distill.loss import HintLoss, Loss, hint_loss, kd_loss
from labkit.distill.networks import StudentStack, Teacher, make_regressors, make_teacher, seeded


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam with this learning rate over shuffled batches."""

    epochs: int
    batch_size: int = 25
    learning_rate: float = 5e-3

    def __post_init__(self) -> None:
        checked_whole(self.epochs, "epochs", at_least=1)
        checked_whole(self.batch_size, "batch_size", at_least=1)
        if not self.learning_rate > 0:
            raise DistillError(f"learning_rate is {self.learning_rate}; it must be above 0.")

    def shorter(self, times: int) -> Schedule:
        """The same with a part of the epochs, for a quick look."""
        return replace(self, epochs=max(1, self.epochs // checked_whole(times, "times", at_least=1)))


TEACHER_SCHEDULE = Schedule(epochs=30, batch_size=50, learning_rate=2e-3)
STUDENT_SCHEDULE = Schedule(epochs=200)  # for a few dozen images


@dataclass(frozen=True)
class Epoch:
    """One pass over the images, as a `progress` function is told of it."""

    number: int  # from 1
    num_epochs: int
    loss: float  # the mean over the pass

    @property
    def share(self) -> float:
        """How much of the training is done, from 0 to 1."""
        return self.number / self.num_epochs

    def __str__(self) -> str:
        return f"epoch {self.number:3} of {self.num_epochs}: loss {self.loss:.4f}"


Progress = Callable[[Epoch], None]


def train_teacher(
    digits: Digits, *, seed: int = 0, schedule: Schedule = TEACHER_SCHEDULE, progress: Progress | None = None
) -> Teacher:
    """A teacher that has learnt all training images from their labels, in evaluation mode."""
    teacher = make_teacher(seed).to(digits.images.device)

    def batch_loss(index: Tensor) -> Tensor:
        return F.cross_entropy(teacher(digits.images[index[0]]), digits.labels[index[0]])

    fit(teacher.parameters(), batch_loss, len(digits.images), [seed], schedule, progress)
    return teacher.eval()


def train_student(
    student: nn.Module,
    images: Tensor,
    labels: Tensor | None,
    teacher_logits: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
    loss: Loss = kd_loss,
    schedule: Schedule = STUDENT_SCHEDULE,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """Trains the student in place and leaves it in evaluation mode; gives the mean loss of each epoch.

    images: (N, 1, 8, 8). labels: (N,), or None when alpha is 1. teacher_logits: (N, C), from `logits_of(teacher,
    images)`, image by image in the same order; None trains on the labels alone. The teacher is asked once, not in
    every epoch, since its answer to an image never changes.

    Raises DistillError for labels or logits that do not fit, before anything is trained.
    """
    if len(images) == 0:
        raise DistillError("there are no images to train on; expected a tensor (N, 1, 8, 8).")
    with torch.no_grad():
        num_classes = student.eval()(images[:1]).shape[-1]
    labels, teacher_logits, alpha = _checked_lessons(images, num_classes, labels, teacher_logits, alpha)

    def batch_loss(index: Tensor) -> Tensor:
        batch = index[0]
        return loss(student(images[batch]), teacher_logits[batch], labels[batch], temperature, alpha)

    student.train()
    losses = fit(student.parameters(), batch_loss, len(images), [seed], schedule, progress)
    student.eval()
    return losses


@dataclass(frozen=True)
class Teaching:
    """How a group of students is taught: by which loss, at which temperature, with which share for the teacher.

    A loss that is the mean over independent rows takes the rows of all students of the group at once. For one that is
    not, `one_by_one` calls it for each student; that is slower.
    """

    loss: Loss = kd_loss
    temperature: float = 4.0
    alpha: float = 0.9
    one_by_one: bool = False

    def sum_of_losses(self, answers: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over S students of each one's own mean over its batch: (S, B, C), (S, B, C), (S, B) -> scalar."""
        batch = (answers, teacher_logits, labels)
        if self.one_by_one:
            return torch.stack(
                [self.loss(*each, self.temperature, self.alpha) for each in zip(*batch, strict=True)]
            ).sum()
        s, t, y = (each.flatten(0, 1) for each in batch)
        return len(answers) * self.loss(s, t, y, self.temperature, self.alpha)


def train_students(
    students: StudentStack,
    images: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    *,
    groups: Sequence[Teaching] = (Teaching(),),
    schedule: Schedule = STUDENT_SCHEDULE,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """As `train_student` for each of S students, with its own images (S, N, 1, 8, 8), labels and logits.

    The students are divided evenly among the groups, in order, and each group is taught in its own way: two groups of
    ten are students 0 to 9 and 10 to 19.
    """
    each_student = _rows(students, images)
    if len(students.seeds) % len(groups):
        raise DistillError(f"{len(students.seeds)} students cannot be divided evenly among {len(groups)} groups.")

    def batch_loss(index: Tensor) -> Tensor:  # index: S, B
        answers = students(images[each_student, index])  # S, B, C
        batch = (answers, teacher_logits[each_student, index], labels[each_student, index])
        parts = zip(*(each.chunk(len(groups)) for each in batch), strict=True)
        return torch.stack([group.sum_of_losses(*part) for group, part in zip(groups, parts, strict=True)]).sum()

    return fit(students.parameters(), batch_loss, images.shape[1], students.seeds, schedule, progress)


def train_hints(
    students: StudentStack,
    depth: int,
    images: Tensor,
    teacher_features: Tensor,
    *,
    loss: HintLoss = hint_loss,
    schedule: Schedule,
    train_regressors: bool = True,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """First stage of FitNets: the students' first `depth` layers learn to say what the teacher's features are.

    images: (S, N, 1, 8, 8); teacher_features: (S, N, F). Each student has a linear regressor of its own, which is
    trained with it and thrown away at the end.
    """
    regressors = make_regressors(students.hidden[depth - 1], teacher_features.shape[-1], students.seeds)
    regressors.to(images.device)
    each_student = _rows(students, images)

    def batch_loss(index: Tensor) -> Tensor:  # index: S, B
        guided = students.features(images[each_student, index], depth)  # S, B, D
        # The loss is a sum over everything but the first axis, here that of the students: their batch is in the sum.
        num_students, num_images = index.shape
        return loss(guided, teacher_features[each_student, index], regressors) * num_students / num_images

    learning = list(students.layers[:depth].parameters())
    if train_regressors:
        learning += regressors.parameters()
    return fit(learning, batch_loss, images.shape[1], students.seeds, schedule, progress)


def fit(
    parameters: Iterable[nn.Parameter],
    batch_loss: Callable[[Tensor], Tensor],
    num_images: int,
    seeds: Sequence[int],
    schedule: Schedule,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """The one training loop: minimise `batch_loss(index)`, index (S, B) the images of a batch for each of S seeds.

    Gives the mean loss of each epoch, per seed. Raises DistillError when the loss is no longer a number.
    """
    # fused: one pass over the numbers in place of ten, which is a fifth of the time of steps as small as these
    parameters = list(parameters)
    device = parameters[0].device
    optimizer = torch.optim.Adam(parameters, lr=schedule.learning_rate, fused=True)
    shuffles = [torch.Generator().manual_seed(seed) for seed in seeds]
    losses: list[float] = []
    with seeded(seeds[0]), one_thread():  # a seed for models with dropout
        for number in range(1, schedule.epochs + 1):
            order = torch.stack([torch.randperm(num_images, generator=shuffle) for shuffle in shuffles])  # S, N
            total = torch.zeros((), device=device)
            for index in order.to(device).split(schedule.batch_size, dim=1):
                loss = batch_loss(index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total = total + loss.detach() * index.shape[1]
            losses.append(float(total) / (num_images * len(seeds)))
            if not torch.isfinite(total):
                raise DistillError(f"the loss is {losses[-1]} in epoch {number}; nothing can be learnt from it.")
            if progress:
                progress(Epoch(number, schedule.epochs, losses[-1]))
    return tuple(losses)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: products as small as these only wait for a second one, and the sums stay in one order."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """What a model says in evaluation mode and without gradients; its mode is then what it was."""
    return _without_learning(model, partial(model, images))


def features_of(teacher: Teacher, images: Tensor) -> Tensor:
    """The teacher's hints, in evaluation mode and without gradients."""
    return _without_learning(teacher, partial(teacher.features, images))


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images whose largest logit is that of their label."""
    return share_right(logits_of(model, images), labels)


def share_right(logits: Tensor, labels: Tensor) -> float:
    """Share of the rows of (B, C) whose largest logit is at the label."""
    return float((logits.argmax(dim=-1) == labels).double().mean())


def _without_learning(model: nn.Module, ask: Callable[[], Tensor]) -> Tensor:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return ask()
    finally:
        model.train(was_training)


def _rows(students: StudentStack, images: Tensor) -> Tensor:
    """(S, 1): beside an index (S, B) it says whose images each row of it chooses."""
    return torch.arange(len(students.seeds), device=images.device)[:, None]


def _checked_lessons(
    images: Tensor, num_classes: int, labels: Tensor | None, teacher_logits: Tensor | None, alpha: float
) -> tuple[Tensor, Tensor, float]:
    """Labels, logits and weight for every image; where one half is not given, the weight leaves it out."""
    num_images = len(images)
    if labels is None and (teacher_logits is None or alpha != 1):
        raise DistillError("without labels a student learns from a teacher alone: give teacher_logits and alpha=1.")
    if labels is None:
        labels = torch.zeros(num_images, dtype=torch.int64, device=images.device)  # alpha = 1 leaves them out
    check_labels(labels, num_images, num_classes)
    if teacher_logits is None:
        return (
            labels,
            torch.zeros(num_images, num_classes, device=images.device),
            0.0,
        )  # alpha = 0 leaves the teacher out
    check_pair(torch.zeros(num_images, num_classes), teacher_logits)
    return labels, teacher_logits, alpha
