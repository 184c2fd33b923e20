"""Where distillation helps and where it does not, measured over seeds: each experiment is a function that gives data.

A seed decides a student's first weights, the order of its batches and, where few images have labels, which. Every
setting of an experiment sees the same seeds, so that differences can be taken seed by seed (`Scores.gain`). The test
images decide nothing: no epoch, temperature or setting is chosen by them. `progress` is told the share that is done,
from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.distill._arguments import DistillError
from labkit.distill.digits import Digits
from labkit.distill.loss import HintLoss, Loss, hint_loss, is_mean_over_rows, kd_loss
from labkit.distill.networks import StudentStack, Teacher
from labkit.distill.scores import Scores
from labkit.distill.training import (
    STUDENT_SCHEDULE,
    Epoch,
    Schedule,
    Teaching,
    features_of,
    logits_of,
    share_right,
    train_hints,
    train_students,
)

Told = Callable[[float], None]  # of the share that is done

LABELS_ONLY = "labels only"
DISTILLED = "distilled"
LABEL_SMOOTHING = 0.3


@dataclass(frozen=True)
class Setting:
    """What a student learns from: labels (alpha = 0), a teacher (alpha = 1), or a mixture."""

    temperature: float = 4.0
    alpha: float = 0.9
    hidden: tuple[int, ...] = (16,)
    schedule: Schedule = STUDENT_SCHEDULE

    def shorter(self, times: int) -> Setting:
        """The same with a part of the epochs, for a quick look."""
        return replace(self, schedule=self.schedule.shorter(times))


FEW = Setting()  # for a few dozen images
MANY = Setting(schedule=Schedule(epochs=40, batch_size=50))  # for a thousand
UNSEEN = replace(MANY, hidden=(32,))
HINTED = Setting(hidden=(16, 16, 16))
HINT_SCHEDULE = Schedule(epochs=60)
HINT_DEPTH = 2


@dataclass(frozen=True)
class Lessons:
    """What S students are taught: their images (S, N, 1, 8, 8), labels (S, N), and a teacher's logits (S, N, C)."""

    images: Tensor
    labels: Tensor
    teacher_logits: Tensor


@dataclass(frozen=True)
class Group:
    """One student a seed, all of them taught alike; `begin` are those that they start as, or untrained ones."""

    lessons: Lessons
    setting: Setting
    loss: Loss = kd_loss
    begin: StudentStack | None = None

    @property
    def teaching(self) -> Teaching:
        """How they are taught. A loss, a wrong one say, that mixes the rows it is given is asked student by student."""
        temperature, alpha = self.setting.temperature, self.setting.alpha
        return Teaching(self.loss, temperature, alpha, not is_mean_over_rows(self.loss, temperature, alpha))


def few_labels(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    setting: Setting = FEW,
    progress: Told | None = None,
) -> Scores:
    """Accuracy of students that see `per_class` images of each class, with and without a teacher."""
    lessons = few_lessons(digits, teacher, seeds, per_class)
    return taught(digits, seeds, _with_and_without(lessons, setting, loss), progress)


def compare_losses(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    candidates: Mapping[str, Loss],
    per_class: int = 5,
    setting: Setting = FEW,
    progress: Told | None = None,
) -> Scores:
    """As `few_labels` for several losses at once: which of them could accuracy tell apart?"""
    lessons = few_lessons(digits, teacher, seeds, per_class)
    groups = {LABELS_ONLY: Group(lessons, replace(setting, alpha=0.0))}
    groups |= {name: Group(lessons, setting, loss) for name, loss in candidates.items()}
    return taught(digits, seeds, groups, progress)


def all_labels(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    setting: Setting = MANY,
    progress: Told | None = None,
) -> Scores:
    """As `few_labels` with all 1,000 training images and their labels: the teacher has seen nothing more."""
    return taught(digits, seeds, _with_and_without(full_lessons(digits, teacher, seeds), setting, loss), progress)


def unlabelled(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    few: Setting = FEW,
    many: Setting = MANY,
    progress: Told | None = None,
) -> Scores:
    """What images without labels are worth, when a teacher can be asked about them."""
    labelled = few_labels(digits, teacher, seeds, loss, per_class, few, _part(progress, 0, 0.4))
    everything = Group(full_lessons(digits, teacher, seeds), replace(many, alpha=1.0), loss)
    more = taught(digits, seeds, {NO_LABELS: everything}, _part(progress, 0.4, 1))
    return replace(labelled, values={**labelled.values, **more.values})


def unseen_class(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    settings: Mapping[str, Setting],
    loss: Loss | Mapping[str, Loss] = kd_loss,
    digit: int = 3,
    progress: Told | None = None,
) -> Scores:
    """Recall on a digit of which the students, unlike the teacher, saw no image at all.

    `loss`: one for all settings, or one for each by the setting's name.
    """
    kept = digits.labels != digit
    lessons = _shared(digits.images[kept], digits.labels[kept], teacher, len(seeds))
    asked = digits.test_labels == digit
    only_that = replace(digits, test_images=digits.test_images[asked], test_labels=digits.test_labels[asked])
    losses = loss if isinstance(loss, Mapping) else dict.fromkeys(settings, loss)
    groups = {name: Group(lessons, setting, losses[name]) for name, setting in settings.items()}
    return replace(taught(only_that, seeds, groups, progress), what=f"recall on {digit}")


def controls(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    temperatures: Iterable[float] = (1, 2, 4, 8, 20),
    setting: Setting = FEW,
    progress: Told | None = None,
) -> Scores:
    """Is it the teacher's knowledge, or would any softening of the labels do?"""
    lessons = few_lessons(digits, teacher, seeds, per_class)
    permuted = replace(lessons, teacher_logits=permute_wrong_classes(lessons.teacher_logits, lessons.labels, seeds))
    groups = {
        LABELS_ONLY: Group(lessons, replace(setting, alpha=0.0), loss),
        f"labels, smoothed by {LABEL_SMOOTHING}": Group(lessons, setting, smoothed_labels),
        "teacher, wrong classes permuted": Group(permuted, setting, loss),
        **{f"teacher, T = {t:g}": Group(lessons, replace(setting, temperature=t), loss) for t in temperatures},
    }
    return taught(digits, seeds, groups, progress)


def hints(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    hint: HintLoss = hint_loss,
    per_class: int = 5,
    setting: Setting = HINTED,
    hint_schedule: Schedule = HINT_SCHEDULE,
    progress: Told | None = None,
) -> Scores:
    """A thin deep student that first imitates the teacher's features, on the few images or on all of them."""
    few, everything = few_lessons(digits, teacher, seeds, per_class), full_lessons(digits, teacher, seeds)
    labels_only = replace(setting, alpha=0.0)

    def hinted(images: Tensor, schedule: Schedule, progress: Told | None) -> StudentStack:
        """Students after the first stage, in which no label is used."""
        students = StudentStack(setting.hidden, seeds).to(images.device)
        features = features_of(teacher, images.flatten(0, 1)).unflatten(0, images.shape[:2])  # S, N, 256
        train_hints(students, HINT_DEPTH, images, features, loss=hint, schedule=schedule, progress=_epochs(progress))
        return students

    num_rounds = len(digits.images) // few.images.shape[1]  # over the few, for as many steps as over all
    longer = replace(hint_schedule, epochs=hint_schedule.epochs * num_rounds)
    from_few = hinted(few.images, longer, _part(progress, 0, 0.4))
    from_all = hinted(everything.images, hint_schedule, _part(progress, 0.4, 0.8))
    groups = {
        LABELS_ONLY: Group(few, labels_only, loss),
        DISTILLED: Group(few, setting, loss),
        "hints on the labelled images, distilled": Group(few, setting, loss, from_few),
        "hints on all images, labels only": Group(few, labels_only, loss, from_all),
        "hints on all images, distilled": Group(few, setting, loss, from_all),
    }
    return taught(digits, seeds, groups, _part(progress, 0.8, 1))


# --- the parts ----------------------------------------------------------------------------------------------


def taught(digits: Digits, seeds: Sequence[int], groups: Mapping[str, Group], progress: Told | None = None) -> Scores:
    """Accuracy on the test images of every group's students, all of which are trained side by side.

    Students that are no larger than these spend their time in Python, not in arithmetic: eight groups take little
    more than one. Raises DistillError when their students differ in shape or schedule.
    """
    shapes = {(group.setting.hidden, group.setting.schedule) for group in groups.values()}
    if len(shapes) != 1:
        raise DistillError(
            f"students that are trained side by side have one shape and one schedule, not {len(shapes)}."
        )
    ((hidden, schedule),) = shapes
    students = StudentStack(hidden, [*seeds] * len(groups)).to(digits.images.device)
    for number, group in enumerate(groups.values()):
        if group.begin:
            students.put(number * len(seeds), group.begin)
    each = [group.lessons for group in groups.values()]
    train_students(
        students,
        torch.cat([lessons.images for lessons in each]),
        torch.cat([lessons.labels for lessons in each]),
        torch.cat([lessons.teacher_logits for lessons in each]),
        groups=[group.teaching for group in groups.values()],
        schedule=schedule,
        progress=_epochs(progress),
    )
    answers = logits_of(students, digits.test_images.expand(len(students.seeds), -1, -1, -1, -1))
    shares = [share_right(each, digits.test_labels) for each in answers]
    values = {name: tuple(shares[i * len(seeds) : (i + 1) * len(seeds)]) for i, name in enumerate(groups)}
    return Scores("accuracy", tuple(seeds), values)


def _with_and_without(lessons: Lessons, setting: Setting, loss: Loss) -> dict[str, Group]:
    return {
        LABELS_ONLY: Group(lessons, replace(setting, alpha=0.0), loss),
        DISTILLED: Group(lessons, setting, loss),
    }


def _epochs(progress: Told | None) -> Callable[[Epoch], None] | None:
    return (lambda epoch: progress(epoch.share)) if progress else None


def _part(progress: Told | None, start: float, end: float) -> Told | None:
    """For a stage that goes from one share of the whole to another."""
    return (lambda share: progress(start + share * (end - start))) if progress else None


def few_lessons(digits: Digits, teacher: Teacher, seeds: Sequence[int], per_class: int) -> Lessons:
    """For each seed its own few images of every class."""
    images, labels = zip(*(digits.few(per_class, seed) for seed in seeds), strict=True)
    return Lessons(torch.stack(images), torch.stack(labels), torch.stack([logits_of(teacher, each) for each in images]))


def full_lessons(digits: Digits, teacher: Teacher, seeds: Sequence[int]) -> Lessons:
    """All training images, the same for every seed."""
    return _shared(digits.images, digits.labels, teacher, len(seeds))


def permute_wrong_classes(logits: Tensor, labels: Tensor, seeds: Sequence[int]) -> Tensor:
    """The teacher's logits (S, N, C) with those of the wrong classes shuffled among themselves, image by image.

    As certain as before, and no longer any knowledge of which classes resemble one another.
    """
    permuted = logits.clone()
    for student, seed in enumerate(seeds):
        draw = torch.Generator().manual_seed(seed)
        for row, label in zip(permuted[student], labels[student].tolist(), strict=True):
            wrong = torch.tensor([other for other in range(len(row)) if other != label])
            row[wrong] = row[wrong[torch.randperm(len(wrong), generator=draw)]]
    return permuted


def smoothed_labels(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """Cross-entropy against labels that keep 0.3 for all classes alike: softness without a teacher."""
    return F.cross_entropy(student, labels, label_smoothing=LABEL_SMOOTHING)


NO_LABELS = "distilled, 1,000 images and no label"


def _shared(images: Tensor, labels: Tensor, teacher: Teacher, num_students: int) -> Lessons:
    shared = (images, labels, logits_of(teacher, images))
    return Lessons(*(each.expand(num_students, *each.shape) for each in shared))
