"""A teacher and students trained on the device: how long, how good, and that the teacher is worth its points there too.

Networks for images of 8 by 8 do not fill a GPU, so the times say what a small training costs there (the same training
on this machine's CPU stands beside them), and the accuracies that the experiment of lab 08 holds on the device.
"""

from __future__ import annotations

from time import perf_counter

from labkit import distill
from labkit.distill.training import TEACHER_SCHEDULE
from labkit.evidence.place import Place
from labkit.evidence.record import PartResult, Target

SEEDS = (0, 1, 2, 3, 4)
GAIN_POINTS = 3.0  # the mean of five seeds on a CPU was 5 to 7.7 points, whichever five
BRIEF = 20  # a rehearsal trains for a twentieth of the epochs


def run(place: Place) -> PartResult:
    """Raises AssertionError when the teacher or the students are not where they belong, or a teacher learns nothing."""
    digits = distill.load_digits()
    on_device, on_cpu = (_trained(place, digits, device) for device in (place.device, "cpu"))
    figures = {
        "teacher_accuracy": on_device["teacher_accuracy"],
        "teacher_s": on_device["teacher_s"],
        "teacher_cpu_s": on_cpu["teacher_s"],
        "students": float(2 * len(SEEDS)),
        "students_s": on_device["students_s"],
        "students_cpu_s": on_cpu["students_s"],
        "labels_only_accuracy": on_device["labels_only"],
        "distilled_accuracy": on_device["distilled"],
        "gain_points": on_device["gain_points"],
        "cpu_gain_points": on_cpu["gain_points"],
    }
    assert figures["teacher_accuracy"] > place.pick(0.95, 0.1), figures
    targets = () if place.is_rehearsal else (Target("gain_points", GAIN_POINTS, figures["gain_points"]),)
    return PartResult(figures, targets)


def _trained(place: Place, digits: distill.Digits, device: str) -> dict[str, float]:
    """Times and accuracies of one teacher, and of students with and without it, all on one device."""
    here = digits.to(device)
    effort = place.pick(1, BRIEF)
    schedule = TEACHER_SCHEDULE.shorter(effort)
    distill.train_teacher(here, schedule=schedule.shorter(schedule.epochs))  # kernels are loaded, libraries started
    started = perf_counter()
    teacher = distill.train_teacher(here, schedule=schedule)
    accuracy = distill.accuracy(teacher, here.test_images, here.test_labels)  # waits for the device
    teacher_s, started = perf_counter() - started, perf_counter()
    assert next(teacher.parameters()).device.type == device
    scores = distill.few_labels(here, teacher, SEEDS, setting=distill.FEW.shorter(effort))
    return {
        "teacher_accuracy": accuracy,
        "teacher_s": teacher_s,
        "students_s": perf_counter() - started,
        "labels_only": scores.mean(distill.LABELS_ONLY),
        "distilled": scores.mean(distill.DISTILLED),
        "gain_points": scores.gain(distill.DISTILLED, over=distill.LABELS_ONLY).mean,
    }
