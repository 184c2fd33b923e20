"""Soft targets and mixing: the sentences' numbers are SciPy's, the pulls are those of the closed form."""

import re

import numpy as np
import pytest
import torch
from scipy import special

from labkit import distill
from labkit.widgets.soft_targets import mixing, temperature

IMAGES = torch.linspace(0, 1, 2 * 64).reshape(2, 1, 8, 8)
TEACHER = torch.tensor([[4.0, 2.0, 0.0], [1.0, 6.0, 5.0]], dtype=torch.float64)
STUDENT = torch.tensor([[0.5, 0.0, 0.2], [0.0, 1.0, -1.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def test_the_probabilities_are_those_at_both_temperatures() -> None:
    live = temperature(distill.soft_targets, IMAGES, TEACHER, LABELS)
    live.set(image=0, temperature=2.0)
    warm, cold = (special.softmax(TEACHER[0].numpy() / t) for t in (2, 1))
    assert f"At T = 2 the teacher says 0 ({warm[0]:.1%}), 1 ({warm[1]:.1%}) and 2 ({warm[2]:.1%})" in live.sentence
    assert live.sentence.endswith(f"Certainty of the first choice: {warm[0]:.1%} against {cold[0]:.1%}.")
    assert live.png.startswith(b"\x89PNG")


def test_a_hotter_teacher_is_less_certain_in_another_picture() -> None:
    live = temperature(distill.soft_targets, IMAGES, TEACHER, LABELS)
    pictures, certainties = set(), []
    for t in (0.5, 1.0, 4.0, 50.0):
        live.set(image=0, temperature=t)
        pictures.add(live.png)
        found = re.search(r"first choice: ([\d.]+)%", live.sentence)
        assert found
        certainties.append(float(found[1]))
    assert len(pictures) == 4
    assert certainties == sorted(certainties, reverse=True)
    assert certainties[-1] == pytest.approx(100 / 3, abs=2)


def closed_form(image: int, t: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The label's pull and the teacher's (minus the gradient)."""
    s, v = STUDENT[image].numpy(), TEACHER[image].numpy()
    label = (1 - alpha) * (np.eye(3)[int(LABELS[image])] - special.softmax(s))
    return label, alpha * t * (special.softmax(v / t) - special.softmax(s / t))


@pytest.mark.parametrize(("image", "t", "alpha"), [(0, 4.0, 0.5), (1, 2.0, 0.3), (1, 8.0, 0.9)])
def test_the_pulls_are_those_of_the_closed_form(image: int, t: float, alpha: float) -> None:
    live = mixing(distill.kd_loss, IMAGES, STUDENT, TEACHER, LABELS)
    live.set(image=image, temperature=t, alpha=alpha)
    label, teacher = closed_form(image, t, alpha)
    pull = label + teacher
    lengths = f"with a length of {np.linalg.norm(label):.3f}, the teacher with {np.linalg.norm(teacher):.3f}"
    assert lengths in live.sentence
    assert f"most up goes class {pull.argmax()} ({pull.max():+.3f})" in live.sentence
    assert f"most down class {pull.argmin()} ({pull.min():+.3f})" in live.sentence


def test_the_ends_of_alpha_leave_one_alone() -> None:
    live = mixing(distill.kd_loss, IMAGES, STUDENT, TEACHER, LABELS)
    live.set(alpha=0.0)
    assert "the teacher with 0.000" in live.sentence
    live.set(alpha=1.0)
    assert "The label pulls with a length of 0.000" in live.sentence


def test_it_is_the_learners_loss_that_is_shown() -> None:
    def without_t2(s, t, y, temperature, alpha):
        return distill.kd_loss(s, t, y, temperature, alpha) / temperature**2

    right, wrong = (mixing(loss, IMAGES, STUDENT, TEACHER, LABELS) for loss in (distill.kd_loss, without_t2))
    assert right.sentence != wrong.sentence


def test_a_mistake_of_the_learners_is_raised_where_it_is_drawn() -> None:
    def kd_loss(*args: object) -> torch.Tensor:
        raise RuntimeError("not yet")

    with pytest.raises(RuntimeError, match="not yet"):
        mixing(kd_loss, IMAGES, STUDENT, TEACHER, LABELS)


def test_controls_refuse_what_no_temperature_can_be() -> None:
    live = temperature(distill.soft_targets, IMAGES, TEACHER, LABELS)
    with pytest.raises(ValueError, match=r"temperature is a number from 0\.5 to 50; got 0"):
        live.set(temperature=0)
    with pytest.raises(ValueError, match=r"alpha is a number from 0 to 1; got 1\.5"):
        mixing(distill.kd_loss, IMAGES, STUDENT, TEACHER, LABELS).set(alpha=1.5)
