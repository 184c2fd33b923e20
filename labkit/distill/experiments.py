"""Where distillation helps and where it does not, measured over seeds: each experiment is a function that gives data.

A seed decides a student's first weights, the order of its batches and, where few images have labels, which. Every
setting of an experiment sees the same seeds, so that differences can be taken seed by seed (`Scores.gain`). The test
images decide nothing: no epoch, temperature or setting is chosen by them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit.distill.digits import Digits
from labkit.distill.loss import HintLoss, Loss, hint_loss, is_mean_over_rows, kd_loss
from labkit.distill.networks import StudentStack, Teacher
from labkit.distill.scores import Scores
from labkit.distill.training import (
    STUDENT_SCHEDULE,
    Schedule,
    features_of,
    logits_of,
    share_right,
    train_hints,
    train_students,
)

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
    one_by_one: bool = False  # for losses that are not the mean over independent rows

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


def few_labels(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    setting: Setting = FEW,
) -> Scores:
    """Accuracy of students that see `per_class` images of each class, with and without a teacher."""
    lessons = few_lessons(digits, teacher, seeds, per_class)
    settings = {LABELS_ONLY: replace(setting, alpha=0.0), DISTILLED: setting}
    return compare_settings(digits, lessons, seeds, settings, loss)


def compare_losses(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    candidates: Mapping[str, Loss],
    per_class: int = 5,
    setting: Setting = FEW,
) -> Scores:
    """As `few_labels` for several losses at once: which of them could accuracy tell apart?

    A wrong loss may mix the rows that it is given; then it is called for one student at a time.
    """
    lessons = few_lessons(digits, teacher, seeds, per_class)
    rows = {LABELS_ONLY: taught(digits, lessons, seeds, replace(setting, alpha=0.0))}
    for name, loss in candidates.items():
        alone = not is_mean_over_rows(loss, setting.temperature, setting.alpha)
        rows[name] = taught(digits, lessons, seeds, replace(setting, one_by_one=alone), loss)
    return Scores("accuracy", tuple(seeds), rows)


def all_labels(
    digits: Digits, teacher: Teacher, seeds: Sequence[int], loss: Loss = kd_loss, setting: Setting = MANY
) -> Scores:
    """As `few_labels` with all 1,000 training images and their labels: the teacher has seen nothing more."""
    lessons = full_lessons(digits, teacher, seeds)
    settings = {LABELS_ONLY: replace(setting, alpha=0.0), DISTILLED: setting}
    return compare_settings(digits, lessons, seeds, settings, loss)


def unlabelled(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    few: Setting = FEW,
    many: Setting = MANY,
) -> Scores:
    """What images without labels are worth, when a teacher can be asked about them."""
    labelled = few_labels(digits, teacher, seeds, loss, per_class, few)
    everything = full_lessons(digits, teacher, seeds)
    more = compare_settings(digits, everything, seeds, {NO_LABELS: replace(many, alpha=1.0)}, loss)
    return Scores(labelled.what, labelled.seeds, {**labelled.values, **more.values})


def unseen_class(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    settings: Mapping[str, Setting],
    loss: Loss = kd_loss,
    digit: int = 3,
) -> Scores:
    """Recall on a digit of which the students, unlike the teacher, saw no image at all."""
    kept = digits.labels != digit
    lessons = _shared(digits.images[kept], digits.labels[kept], teacher, len(seeds))
    asked = digits.test_labels == digit
    only_that = replace(digits, test_images=digits.test_images[asked], test_labels=digits.test_labels[asked])
    return compare_settings(only_that, lessons, seeds, settings, loss, what=f"recall on {digit}")


def controls(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    per_class: int = 5,
    temperatures: Iterable[float] = (1, 2, 4, 8, 20),
    setting: Setting = FEW,
) -> Scores:
    """Is it the teacher's knowledge, or would any softening of the labels do?"""
    lessons = few_lessons(digits, teacher, seeds, per_class)
    permuted = replace(lessons, teacher_logits=permute_wrong_classes(lessons.teacher_logits, lessons.labels, seeds))

    def try_with(lessons: Lessons, each: Setting, loss: Loss = loss) -> tuple[float, ...]:
        return taught(digits, lessons, seeds, each, loss)

    rows = {
        LABELS_ONLY: try_with(lessons, replace(setting, alpha=0.0)),
        f"labels, smoothed by {LABEL_SMOOTHING}": try_with(lessons, setting, smoothed_labels),
        "teacher, wrong classes permuted": try_with(permuted, setting),
        **{f"teacher, T = {t:g}": try_with(lessons, replace(setting, temperature=t)) for t in temperatures},
    }
    return Scores("accuracy", tuple(seeds), rows)


def hints(
    digits: Digits,
    teacher: Teacher,
    seeds: Sequence[int],
    loss: Loss = kd_loss,
    hint: HintLoss = hint_loss,
    per_class: int = 5,
    setting: Setting = HINTED,
    hint_schedule: Schedule = HINT_SCHEDULE,
) -> Scores:
    """A thin deep student that first imitates the teacher's features, on the few images or on all of them."""
    few, everything = few_lessons(digits, teacher, seeds, per_class), full_lessons(digits, teacher, seeds)
    labels_only = replace(setting, alpha=0.0)

    def hinted(images: Tensor, schedule: Schedule) -> StudentStack:
        """Students after the first stage, in which no label is used."""
        students = StudentStack(setting.hidden, seeds)
        features = features_of(teacher, images.flatten(0, 1)).unflatten(0, images.shape[:2])  # S, N, 256
        train_hints(students, HINT_DEPTH, images, features, loss=hint, schedule=schedule)
        return students

    def try_with(each: Setting, begin: StudentStack | None = None) -> tuple[float, ...]:
        return taught(digits, few, seeds, each, loss, begin)

    num_rounds = len(digits.images) // few.images.shape[1]  # over the few, for as many steps as over all
    from_few = hinted(few.images, replace(hint_schedule, epochs=hint_schedule.epochs * num_rounds))
    from_all = hinted(everything.images, hint_schedule)
    rows = {
        LABELS_ONLY: try_with(labels_only),
        DISTILLED: try_with(setting),
        "hints on the labelled images, distilled": try_with(setting, from_few),
        "hints on all images, labels only": try_with(labels_only, from_all),
        "hints on all images, distilled": try_with(setting, from_all),
    }
    return Scores("accuracy", tuple(seeds), rows)


# --- the parts ----------------------------------------------------------------------------------------------


def compare_settings(
    digits: Digits,
    lessons: Lessons,
    seeds: Sequence[int],
    settings: Mapping[str, Setting],
    loss: Loss = kd_loss,
    what: str = "accuracy",
) -> Scores:
    """The same lessons under several settings."""
    return Scores(
        what, tuple(seeds), {name: taught(digits, lessons, seeds, each, loss) for name, each in settings.items()}
    )


def taught(
    digits: Digits,
    lessons: Lessons,
    seeds: Sequence[int],
    setting: Setting,
    loss: Loss = kd_loss,
    begin: StudentStack | None = None,
) -> tuple[float, ...]:
    """Accuracy on the test images of one student a seed, untrained or a copy of those in `begin`."""
    students = copy.deepcopy(begin) if begin else StudentStack(setting.hidden, seeds)
    train_students(
        students, lessons.images, lessons.labels, lessons.teacher_logits,
        temperature=setting.temperature, alpha=setting.alpha, loss=loss,
        schedule=setting.schedule, one_by_one=setting.one_by_one,
    )  # fmt: skip
    answers = logits_of(students, digits.test_images.expand(len(seeds), -1, -1, -1, -1))
    return tuple(share_right(each, digits.test_labels) for each in answers)


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
