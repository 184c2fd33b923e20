"""The losses of distillation. B images in a batch, C classes, D features.

Sources: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, section 2);
Romero et al., "FitNets" (arXiv 1412.6550, equation 3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.distill._arguments import (
    DistillError,
    check_labels,
    check_logits,
    check_pair,
    checked_alpha,
    checked_temperature,
)

Loss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]  # kd_loss, or another of that form
HintLoss = Callable[[Tensor, Tensor, nn.Module], Tensor]


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities softmax(logits / temperature), one row an image: (B, C) -> (B, C).

    >>> soft_targets(torch.tensor([[4.0, 2.0, 0.0]]), temperature=1)
    tensor([[0.8668, 0.1173, 0.0159]])
    >>> soft_targets(torch.tensor([[4.0, 2.0, 0.0]]), temperature=4)     # the same order, less certain
    tensor([[0.5065, 0.3072, 0.1863]])

    Raises DistillError for a temperature of 0 or less, and for logits that are no (B, C).
    """
    check_logits(logits, "logits")
    return F.softmax(logits / checked_temperature(temperature), dim=1)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """(1 - alpha)·CE(student, labels) + alpha·T²·KL(teacher at T ‖ student at T), the mean over the batch; a scalar.

    Both logits are (B, C), labels (B,). alpha = 0 is training on labels, alpha = 1 on the teacher alone. The
    teacher is a constant: no gradient reaches its logits. The gradient at the student's logits is

        [(1 - alpha)·(softmax(s) - y) + alpha·T·(softmax(s/T) - softmax(t/T))] / B      y: labels as one-hot rows

    so the factor T² leaves one T there, which stands against the differences that shrink as 1/T (Hinton et al.,
    section 2.1).

    >>> student, teacher = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[3.0, 2.0, -5.0]])
    >>> kd_loss(student, teacher, torch.tensor([0]), temperature=4, alpha=0.9)
    tensor(1.6826)

    Raises DistillError, in a sentence, for shapes that do not match, logits that are not finite, labels out of range, a
    temperature that is not above 0, and an alpha outside 0 to 1.
    """
    check_pair(student_logits, teacher_logits)
    check_labels(labels, *student_logits.shape)
    temperature, alpha = checked_temperature(temperature), checked_alpha(alpha)
    hard = F.cross_entropy(student_logits, labels)
    log_student = F.log_softmax(student_logits / temperature, dim=1)  # B, C
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)  # B, C
    # "batchmean" divides by B, as KL does by definition; "mean" would divide by B * C.
    soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return (1 - alpha) * hard + alpha * temperature**2 * soft


def hint_loss(student_features: Tensor, teacher_features: Tensor, regressor: nn.Module) -> Tensor:
    """Half the squared distance of regressor(student_features) from the teacher's, the mean over the batch; a scalar.

    ½·‖v - r(u)‖² for each image, summed over everything but the batch (FitNets, equation 3). Features are (B, D) or
    (B, D, H, W), and student and teacher may differ in D: the regressor, a linear layer or a 1x1 convolution that
    is trained together with the student and thrown away afterwards, maps the one onto the other.

    >>> regressor = nn.Identity()
    >>> hint_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]]), regressor)      # (3² + 4²) / 2
    tensor(12.5000)

    Raises DistillError when what the regressor gives has another shape than the teacher's features.
    """
    guess = regressor(student_features)
    if guess.shape != teacher_features.shape:
        came, wanted = tuple(guess.shape), tuple(teacher_features.shape)
        raise DistillError(f"the regressor gives {came}, the teacher's features are {wanted}; they must be the same.")
    distance = (guess - teacher_features.detach()).flatten(start_dim=1)  # B, all features
    return distance.square().sum(dim=1).mean() / 2


def is_mean_over_rows(loss: Loss, temperature: float, alpha: float) -> bool:
    """Whether a loss of kd_loss's form gives for a batch the mean of what it gives for each image alone.

    >>> is_mean_over_rows(kd_loss, temperature=4, alpha=0.9)
    True
    >>> is_mean_over_rows(lambda s, t, y, temperature, alpha: F.kl_div(s, t, reduction="sum"), 4, 0.9)
    False
    """
    draw = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, 5, 4, generator=draw, dtype=torch.float64)
    labels = torch.arange(5) % 4
    rows = zip(student.split(1), teacher.split(1), labels.split(1), strict=True)
    alone = [loss(*row, temperature, alpha) for row in rows]
    together = loss(student, teacher, labels, temperature, alpha)
    return bool(torch.allclose(together, torch.stack(alone).mean()))


def gradient_norm(loss: Tensor, logits: Tensor) -> float:
    """The length of the loss's gradient at these logits, averaged over the images: what T² is about."""
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)  # B, C
    # A batch mean divides each row by B; the sum of the rows' lengths is then their mean.
    return float(gradient.norm(dim=1).sum())
