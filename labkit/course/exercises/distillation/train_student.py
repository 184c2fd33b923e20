"""`train_student(student, teacher, optimizer, batches, …)`: the student learns, the teacher only speaks.

The probe's student normalises its batch and its teacher has dropout and batch statistics, both in the wrong mode at
first; gradients of something else lie in the student. So whatever a pass forgets changes the numbers. In one case both
are in the right mode already: who sets no mode is right there, and who sets a wrong one is not. The wrong and the right
answers are in `train_student_bank.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_arrays, compare_number, describe_typed
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.distillation.tensors import ABSOLUTE, LIMIT_S, RELATIVE, closed_form, on_one_thread
from labkit.course.on_first_use import torch

LEARNING_RATE = 0.5
LEFT_OVER = 0.3  # a gradient that lies in the student from before
EPS = 1e-5  # of BatchNorm1d
NAMES = (
    "images of each batch",
    "labels of each batch",
    "temperature",
    "alpha",
    "weights of student and teacher",
    "modes of both at first",
)


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(
        name: str,
        shape: tuple[int, int, int],
        num_classes: int,
        temperature: float,
        alpha: float,
        modes: tuple[str, str] = ("evaluation", "training"),
    ) -> Case:
        images = np.round(rng.normal(1, 2, shape), 2)  # batches, images of each, pixels
        labels = rng.integers(0, num_classes, shape[:2])
        weights = np.round(rng.normal(0, 1, (2, num_classes, shape[2])), 2)
        return Case(name, (images, labels, temperature, alpha, weights, modes), NAMES)

    return [
        case("one batch of two images", (1, 2, 2), 3, 2, 0.3),
        case("two batches of two images", (2, 2, 2), 3, 2, 0.3),
        case("two batches of three, T = 4", (2, 3, 2), 2, 4, 0.9),
        case("both in the right mode already", (2, 3, 2), 3, 3, 0.6, ("training", "evaluation")),
        case("labels only", (2, 3, 3), 3, 2, 0.0),
        case("teacher only", (2, 4, 3), 2, 3, 1.0),
        case("three batches", (3, 6, 5), 4, round(float(rng.uniform(2, 6)), 2), round(float(rng.uniform(0.2, 0.8)), 2)),
    ]


@on_one_thread
def _probe(candidate: Any, case: Case) -> Any:
    images, labels, temperature, alpha, weights, modes = case.args
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # of the dropout that a teacher in the wrong mode would do
        student, teacher = _student(weights[0]), _teacher(weights[1])
        for model, mode in zip((student, teacher), modes, strict=True):
            model.train(mode == "training")
        optimizer = PlainSGD(student.parameters())
        for parameter in student.parameters():
            parameter.grad = torch.full_like(parameter, LEFT_OVER)
        before = {name: value.clone() for name, value in teacher.state_dict().items()}
        batches = list(zip(torch.tensor(images), torch.tensor(labels), strict=True))
        losses = candidate(student, teacher, optimizer, batches, temperature, alpha)
    items = losses if isinstance(losses, list | tuple) else []
    return {
        "losses": losses,
        "a graph in the losses": any(isinstance(each, torch.Tensor) and each.requires_grad for each in items),
        "weights": optimizer.weights_after,
        "teacher": [name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])],
        "teacher's gradients": any(parameter.grad is not None for parameter in teacher.parameters()),
    }


class PlainSGD:
    """What a pass needs of torch.optim.SGD, whose first use imports a compiler for seconds; it remembers each step.

    No Adam: it is free of scale, and so would not see most of what can go wrong here.
    """

    def __init__(self, parameters: Iterable[Any]) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": LEARNING_RATE}]
        self.weights_after: list[Any] = []  # the first parameter behind each step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear every gradient."""
        for parameter in self.param_groups[0]["params"]:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter against its gradient, where it has one."""
        loss = closure() if closure else None
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter -= self.param_groups[0]["lr"] * parameter.grad
        self.weights_after.append(self.param_groups[0]["params"][0].detach().clone())
        return loss


def _student(weight: np.ndarray) -> Any:
    return _with_weight(torch.nn.BatchNorm1d(weight.shape[1], affine=False), weight=weight)


def _teacher(weight: np.ndarray) -> Any:
    return _with_weight(torch.nn.BatchNorm1d(weight.shape[1], affine=False), torch.nn.Dropout(0.5), weight=weight)


def _with_weight(*layers: Any, weight: np.ndarray) -> Any:
    linear = torch.nn.Linear(*weight.shape[::-1], bias=False)
    linear.weight.data = torch.tensor(weight)
    return torch.nn.Sequential(*layers, linear).double()


def _judge(case: Case, value: Any) -> Difference | None:
    images, labels, temperature, alpha, weights, _modes = case.args
    weight, taught_by = weights
    losses, num_steps = value["losses"], len(value["weights"])
    expected = []
    for number, (batch, targets) in enumerate(zip(images, labels, strict=True), 1):
        normal = (batch - batch.mean(axis=0)) / np.sqrt(batch.var(axis=0) + EPS)  # as BatchNorm1d in training does
        # The teacher's running mean and variance are still 0 and 1, and in evaluation mode they stay so.
        taught = batch / np.sqrt(1 + EPS) @ taught_by.T
        loss, gradient = closed_form(normal @ weight.T, taught, targets, temperature, alpha)
        weight = weight - LEARNING_RATE * gradient.T @ normal
        expected.append(loss)
        if number <= num_steps and (wrong := compare_arrays(weight, value["weights"][number - 1], RELATIVE, ABSOLUTE)):
            return Difference(f"student's weight after batch {number}: {wrong.expected}", wrong.came)
    if num_steps != len(images):
        return Difference(f"a step for each batch, {len(images)} in all", f"{num_steps} steps of the optimizer")
    return _wrong_losses(expected, losses) or _wrong_teacher_or_graph(value)


def _wrong_losses(expected: Sequence[float], losses: Any) -> Difference | None:
    wanted = f"the loss of each batch, a list: {', '.join(f'{loss:.6g}' for loss in expected)}"
    if not isinstance(losses, list | tuple):
        return Difference(wanted, f"{describe_typed(losses)}: not a list")
    if len(losses) != len(expected):
        return Difference(wanted, f"a list of {len(losses)}")
    for number, (loss, came) in enumerate(zip(expected, losses, strict=True), 1):
        if wrong := compare_number(loss, came, relative=RELATIVE):
            return Difference(f"the loss of batch {number}, {wrong.expected}", wrong.came)
    return None


def _wrong_teacher_or_graph(value: dict[str, Any]) -> Difference | None:
    if value["teacher"]:
        return Difference("a teacher as it was", f"the teacher's {', '.join(value['teacher'])} changed")
    if value["teacher's gradients"]:
        return Difference("a teacher without gradients", "gradients in the teacher's parameters")
    if value["a graph in the losses"]:
        return Difference("losses as numbers", "tensors that still hold the graphs of their batches")
    return None


train_student = Exercise(
    name="train_student",
    signature="train_student(student, teacher, optimizer, batches, temperature, alpha)",
    goal="Train the student for one pass over the batches, with your kd_loss and a step of the optimizer for each;"
    " return the loss of each batch, a list of numbers. The student is in training mode, the teacher in evaluation"
    " mode, unchanged and without gradients.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    limit_s=LIMIT_S,
    hints=(
        "The teacher has dropout and batch norm. What do they do to its answers, and to itself, in training mode?",
        "Set both modes first: whoever called before may have left the others. Ask the teacher without gradients."
        " Gradients of the batch before are still in the student: clear them before backward().",
        "`student.train()`, `teacher.eval()`; for each batch of images and labels: `with no gradients: teacher_logits ="
        " teacher(images)`; `loss = kd_loss(student(images), teacher_logits, labels, temperature, alpha)`; clear the"
        " gradients, `backward`, `step`; append `loss.item()` to the losses.",
    ),
    points=2,
    minutes=15,
    difficulty=2,
    num_lines=12,
)
