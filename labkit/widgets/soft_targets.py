"""What a teacher says at a temperature, and what a loss that mixes teacher and label does to a student's logits.

    from labkit.widgets.soft_targets import mixing, temperature

    temperature(soft_targets, images, teacher_logits, labels)             # the learner's own functions
    mixing(kd_loss, images, student_logits, teacher_logits, labels)

images: (N, 1, 8, 8); logits: (N, C); labels: (N,), all torch tensors. The control `image` chooses a row.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labkit.widgets.controls import Real, Whole
from labkit.widgets.palette import INK, MUTED, color, new_figure, tint
from labkit.widgets.picture import Picture, picture

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

SoftTargets = Callable[["Tensor", float], "Tensor"]
Loss = Callable[["Tensor", "Tensor", "Tensor", float, float], "Tensor"]

HIGHEST_T = 50


def temperature(soft_targets: SoftTargets, images: "Tensor", teacher_logits: "Tensor", labels: "Tensor") -> Picture:
    """The teacher's probabilities of one image at T, beside those at T = 1."""

    def draw(image: int, temperature: float) -> "tuple[Figure, str]":
        logits = teacher_logits[image : image + 1]
        cold, warm = (soft_targets(logits, t)[0].detach().numpy() for t in (1.0, temperature))
        figure = new_figure(height=2.9)
        shown, bars = figure.subplots(1, 2, width_ratios=(1, 3))
        _draw_image(shown, images[image], int(labels[image]))
        classes = range(len(warm))
        bars.bar(classes, warm, color=color("teacher"), width=0.8, label=f"T = {temperature:g}")
        bars.bar(classes, cold, color="none", edgecolor=MUTED, width=0.8, linestyle="--", label="T = 1")
        bars.set_title("what the teacher says")
        _label_classes(bars, len(warm), "probability")
        bars.set_ylim(0, 1.02)
        bars.legend(loc="upper right", bbox_to_anchor=(1, 1.24), ncols=2)
        return figure, (
            f"An image of a {int(labels[image])}. At T = {temperature:g} the teacher says {_ranking(warm)};"
            f" at T = 1: {_ranking(cold)}. Certainty of the first choice: {warm.max():.1%} against {cold.max():.1%}."
        )

    return picture(
        "temperature",
        draw,
        image=Whole(min(3, len(images) - 1), low=0, high=len(images) - 1),
        temperature=Real(4.0, low=0.5, high=HIGHEST_T, step=0.5),
    )


def mixing(
    kd_loss: Loss, images: "Tensor", student_logits: "Tensor", teacher_logits: "Tensor", labels: "Tensor"
) -> Picture:
    """Where a step of training would move the student's logits of one image, and who pulls: label or teacher."""

    def draw(image: int, temperature: float, alpha: float) -> "tuple[Figure, str]":
        row = (student_logits[image : image + 1], teacher_logits[image : image + 1], labels[image : image + 1])
        loss, pull = _loss_and_pull(kd_loss, *row, temperature, alpha)
        by_label = (1 - alpha) * _loss_and_pull(kd_loss, *row, temperature, 0.0)[1]
        by_teacher = alpha * _loss_and_pull(kd_loss, *row, temperature, 1.0)[1]
        figure = new_figure(width=7.4, height=4.6)
        grid = figure.add_gridspec(2, 2, width_ratios=(1, 3.4))
        _draw_image(figure.add_subplot(grid[0, 0]), images[image], int(labels[image]))
        _draw_beliefs(figure.add_subplot(grid[0, 1]), *row[:2], temperature)
        _draw_pulls(figure.add_subplot(grid[1, :]), by_label, by_teacher, pull)
        label_length, teacher_length = (float((part**2).sum() ** 0.5) for part in (by_label, by_teacher))
        return figure, (
            f"An image of a {int(labels[image])}, T = {temperature:g}, alpha = {alpha:g}: loss {loss:.3f}."
            f" The label pulls with a length of {label_length:.3f}, the teacher with {teacher_length:.3f};"
            f" most up goes {_strongest(pull, +1)}, most down {_strongest(pull, -1)}."
        )

    return picture(
        "mixing",
        draw,
        image=Whole(min(3, len(images) - 1), low=0, high=len(images) - 1),
        temperature=Real(4.0, low=0.5, high=HIGHEST_T, step=0.5),
        alpha=Real(0.5, low=0.0, high=1.0, step=0.1),
    )


def _loss_and_pull(kd_loss: Loss, student: "Tensor", *rest: Any) -> "tuple[float, np.ndarray]":
    """The loss of one image, and minus its gradient at the student's logits."""
    import torch

    logits = student.detach().clone().requires_grad_()
    loss = kd_loss(logits, *rest)
    (gradient,) = torch.autograd.grad(loss, logits)
    return float(loss.detach()), -gradient[0].numpy()


def _draw_image(axes: "Axes", image: "Tensor", label: int) -> None:
    axes.imshow(image.reshape(image.shape[-2:]).numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(f"label {label}")
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_beliefs(axes: "Axes", student: "Tensor", teacher: "Tensor", temperature: float) -> None:
    for shift, name, logits in ((-0.2, "teacher", teacher), (0.2, "student", student)):
        said = (logits / temperature).softmax(dim=1)[0].detach().numpy()
        axes.bar([each + shift for each in range(len(said))], said, width=0.38, color=color(name), label=name)
    axes.set_title(f"what they say at T = {temperature:g}")
    _label_classes(axes, student.shape[1], "probability")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_pulls(axes: "Axes", by_label: "np.ndarray", by_teacher: "np.ndarray", pull: "np.ndarray") -> None:
    import numpy as np

    classes = np.arange(len(pull))
    base = np.where(np.sign(by_label) == np.sign(by_teacher), by_label, 0)  # stacked where they agree
    axes.bar(classes, by_label, width=0.7, color=color("labels"), edgecolor=INK, linewidth=0.6, label="label's part")
    axes.bar(classes, by_teacher, bottom=base, width=0.7, color=tint(color("teacher"), 0.75), label="teacher's part")
    axes.plot(classes, pull, "D", color=color("student"), markeredgecolor=INK, markersize=6, label="both: your kd_loss")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_title("pull on each of the student's logits (minus the gradient)")
    _label_classes(axes, len(pull), "pull")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _label_classes(axes: "Axes", num_classes: int, quantity: str) -> None:
    axes.set_xticks(range(num_classes))
    axes.set_xlabel("class")
    axes.set_ylabel(quantity)


def _ranking(probabilities: "np.ndarray", count: int = 3) -> str:
    """The likeliest classes: "3 (60.1%), 5 (20.2%) and 8 (4.0%)"."""
    best = [int(each) for each in probabilities.argsort()[::-1][:count]]
    said = [f"{each} ({probabilities[each]:.1%})" for each in best]
    return ", ".join(said[:-1]) + " and " + said[-1]


def _strongest(pull: "np.ndarray", sign: int) -> str:
    at = int((sign * pull).argmax())
    return f"class {at} ({pull[at]:+.3f})"
