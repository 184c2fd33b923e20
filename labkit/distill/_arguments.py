"""What this package accepts as logits, labels, a temperature and a mixing weight; and how it says no."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
from torch import Tensor


class DistillError(ValueError):
    """Something that no distillation can mean; the message is one sentence."""


def checked_temperature(temperature: Any) -> float:
    """A finite number above 0.

    >>> checked_temperature(4)
    4.0
    """
    number = _number(temperature, "temperature")
    if number <= 0:
        raise DistillError(f"temperature is {number:g}; logits are divided by it, so it must be above 0.")
    return number


def checked_alpha(alpha: Any) -> float:
    """The soft term's weight, from 0 (labels only) to 1 (teacher only)."""
    number = _number(alpha, "alpha")
    if not 0 <= number <= 1:
        raise DistillError(f"alpha is {number:g}; it is the share of the teacher in the loss, from 0 to 1.")
    return number


def check_logits(logits: Any, name: str) -> None:
    """A floating-point tensor (B, C) with at least one row and two classes, all of it finite."""
    if not isinstance(logits, Tensor):
        raise DistillError(f"{name} is a {type(logits).__name__}; expected a torch tensor of shape (batch, classes).")
    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise DistillError(f"{name} has shape {tuple(logits.shape)}; expected (batch, classes), two classes or more.")
    if not logits.is_floating_point():
        raise DistillError(f"{name} is {_dtype(logits)}; logits are floating-point numbers.")
    if not logits.detach().sum().isfinite():  # cheap, and looked at closely only where something may be wrong
        _check_finite(logits.detach(), name)


def check_labels(labels: Any, num_images: int, num_classes: int) -> None:
    """Integers (B,), each from 0 to C - 1."""
    if not isinstance(labels, Tensor):
        raise DistillError(f"labels are a {type(labels).__name__}; expected an integer tensor of shape (batch,).")
    if labels.shape != (num_images,):
        raise DistillError(f"labels have shape {tuple(labels.shape)}; {num_images} images need ({num_images},).")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise DistillError(f"labels are {_dtype(labels)}; a label is the number of a class, an integer.")
    lowest, highest = (int(each) for each in labels.aminmax())
    if lowest < 0 or highest >= num_classes:
        outside = lowest if lowest < 0 else highest
        raise DistillError(f"label {outside} is out of range; the classes are 0 to {num_classes - 1}.")


def check_pair(student_logits: Any, teacher_logits: Any) -> None:
    """Student and teacher answered the same images about the same classes."""
    check_logits(student_logits, "student_logits")
    check_logits(teacher_logits, "teacher_logits")
    if student_logits.shape != teacher_logits.shape:
        student, teacher = tuple(student_logits.shape), tuple(teacher_logits.shape)
        raise DistillError(f"student_logits have shape {student} and teacher_logits {teacher}; they must be the same.")


def checked_whole(value: Any, name: str, at_least: int) -> int:
    """`value` as an int; DistillError for a bool, a fraction, and what is too small."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise DistillError(f"{name} is {value!r}; expected a whole number.")
    if value < at_least:
        raise DistillError(f"{name} is {value}; it must be {at_least} or more.")
    return int(value)


def _check_finite(logits: Tensor, name: str) -> None:
    places = (~logits.isfinite()).nonzero().tolist()
    if places:
        image, class_number = places[0]
        came = float(logits[image, class_number])
        raise DistillError(f"{name} holds {came} for image {image}, class {class_number}; logits are finite numbers.")


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise DistillError(f"{name} is {value!r}; expected a finite number.")
    return float(value)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
