"""`distill_step(student, teacher, optimizer, …)`: one step in which the student learns and the teacher only speaks.

The probe's student normalises its batch and its teacher has dropout and batch statistics, both in the wrong mode at
first; gradients of something else lie in the student. So whatever a step forgets changes the numbers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_arrays, compare_number, describe_typed
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.distillation.kd_loss import closed_form
from labkit.course.exercises.distillation.on_first_use import F, distill, torch
from labkit.course.exercises.distillation.tensors import ABSOLUTE, RELATIVE, on_one_thread

LEARNING_RATE = 0.5
LEFT_OVER = 0.3  # a gradient that lies in the student from before
EPS = 1e-5  # of BatchNorm1d
NAMES = ("images of both steps", "labels of both steps", "temperature", "alpha", "weights of student and teacher")


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(name: str, num_images: int, num_pixels: int, num_classes: int, temperature: float, alpha: float) -> Case:
        images = np.round(rng.normal(1, 2, (2, num_images, num_pixels)), 2)
        labels = rng.integers(0, num_classes, (2, num_images))
        weights = np.round(rng.normal(0, 1, (2, num_classes, num_pixels)), 2)
        return Case(name, (images, labels, temperature, alpha, weights), NAMES)

    return [
        case("two images", 2, 2, 3, 2, 0.3),
        case("three images, T = 4", 3, 2, 2, 4, 0.9),
        case("labels only", 3, 3, 3, 2, 0.0),
        case("teacher only", 4, 3, 2, 3, 1.0),
        case("random", 6, 5, 4, round(float(rng.uniform(2, 6)), 2), round(float(rng.uniform(0.2, 0.8)), 2)),
    ]


@on_one_thread
def _probe(candidate: Any, case: Case) -> Any:
    images, labels, temperature, alpha, weights = case.args
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)  # of the dropout that a teacher in the wrong mode would do
        student, teacher = _student(weights[0]).eval(), _teacher(weights[1]).train()
        optimizer = PlainSGD(student.parameters())
        before = {name: value.clone() for name, value in teacher.state_dict().items()}
        losses, after = [], []
        for batch, targets in zip(torch.tensor(images), torch.tensor(labels), strict=True):
            for parameter in student.parameters():
                parameter.grad = torch.full_like(parameter, LEFT_OVER)
            losses.append(candidate(student, teacher, optimizer, batch, targets, temperature, alpha))
            after.append(student[1].weight.detach().clone())
    return {
        "losses": losses,
        "weights": after,
        "teacher": [name for name, value in teacher.state_dict().items() if not torch.equal(value, before[name])],
        "teacher's gradients": any(parameter.grad is not None for parameter in teacher.parameters()),
    }


class PlainSGD:
    """What a step needs of torch.optim.SGD, whose first use imports a compiler for seconds.

    No Adam: it is free of scale, and so would not see most of what can go wrong here.
    """

    def __init__(self, parameters: Iterable[Any]) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": LEARNING_RATE}]

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
    images, labels, temperature, alpha, weights = case.args
    weight, taught_by = weights
    for step, (batch, targets) in enumerate(zip(images, labels, strict=True), 1):
        normal = (batch - batch.mean(axis=0)) / np.sqrt(batch.var(axis=0) + EPS)  # as BatchNorm1d in training does
        # The teacher's running mean and variance are still 0 and 1, and in evaluation mode they stay so.
        loss, gradient = closed_form(
            normal @ weight.T, batch / np.sqrt(1 + EPS) @ taught_by.T, targets, temperature, alpha
        )
        weight = weight - LEARNING_RATE * gradient.T @ normal
        difference = _step_difference(step, loss, weight, value)
        if difference:
            return difference
    if value["teacher"]:
        return Difference("a teacher as it was", f"the teacher's {', '.join(value['teacher'])} changed")
    if value["teacher's gradients"]:
        return Difference("a teacher without gradients", "gradients in the teacher's parameters")
    return None


def _step_difference(step: int, loss: float, weight: np.ndarray, value: Any) -> Difference | None:
    came_loss, came_weight = value["losses"][step - 1], value["weights"][step - 1]
    wrong_loss = compare_number(loss, came_loss, relative=RELATIVE)
    wrong_weight = compare_arrays(weight, came_weight, RELATIVE, ABSOLUTE)
    if wrong_weight:
        beside = "right" if not wrong_loss else f"{describe_typed(came_loss)}, expected {loss:.6g}"
        return Difference(
            f"student's weight after step {step}: {wrong_weight.expected}",
            f"{wrong_weight.came}; the loss it gave is {beside}",
        )
    if wrong_loss:
        return Difference(f"step {step} gives its loss, {wrong_loss.expected}", wrong_loss.came)
    return None


distill_step = Exercise(
    name="distill_step",
    signature="distill_step(student, teacher, optimizer, images, labels, temperature, alpha)",
    goal="Train the student on one batch: forward, kd_loss, backward, one step of the optimizer; return the loss as a"
    " number. The student is in training mode, the teacher in evaluation mode, unchanged and without gradients.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    hints=(
        "The teacher has dropout and batch norm. What do they do to its answers, and to itself, in training mode?",
        "Set both modes every time: whoever called before may have left the others. Ask the teacher without gradients."
        " Gradients of the step before are still in the student: clear them before backward().",
        "`student.train()`, `teacher.eval()`; `with no gradients: teacher_logits = teacher(images)`;"
        " `loss = kd_loss(student(images), teacher_logits, labels, temperature, alpha)`; `clear the gradients`;"
        " `backward`; `step`; `return loss.item()`.",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=9,
)


def _learn(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _ask(teacher, images):
    teacher.eval()
    with torch.no_grad():
        return teacher(images)


def _kd(s, t, y, temperature, alpha):
    """kd_loss without its checks and its detach, so that a mistake in the call has its effect."""
    log_p, log_q = F.log_softmax(t / temperature, dim=1), F.log_softmax(s / temperature, dim=1)
    soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * soft


@distill_step.wrong("teacher in training mode", "dropout makes a teacher contradict itself: call teacher.eval().")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    with torch.no_grad():
        taught = teacher(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@distill_step.wrong("student in evaluation mode", "after an evaluation the student has to go back: student.train().")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    return _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)


@distill_step.wrong("modes exchanged", "the student trains, the teacher only speaks.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.eval()
    with torch.no_grad():
        taught = teacher.train()(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@distill_step.wrong("gradients not cleared", "gradients add up from step to step: optimizer.zero_grad() first.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    loss.backward()
    optimizer.step()
    return loss.item()


@distill_step.wrong(
    "a step without gradients",
    "the weights stay: backward() comes after zero_grad() and before the optimizer's step().",
)
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@distill_step.wrong("step before backward", "the step uses the gradients that are there: those from before.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


@distill_step.wrong("two steps", "one call is one step on one batch.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    loss = 0.0
    for _ in range(2):
        loss = _learn(_kd(student.train()(images), _ask(teacher, images), labels, temperature, alpha), optimizer)
    return loss


@distill_step.wrong("loss after the step", "the loss to report is the one that the step was made for.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images)
    _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)
    return _kd(student(images), taught, labels, temperature, alpha).item()


@distill_step.wrong("nothing returned", "the loss of the batch is asked for, as a number: return loss.item().")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)


@distill_step.wrong("student and teacher exchanged", "kd_loss takes the student's logits first, then the teacher's.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    return _learn(_kd(_ask(teacher, images), student(images), labels, temperature, alpha), optimizer)


@distill_step.wrong("temperature and alpha exchanged", "kd_loss takes the temperature first, then alpha.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    alpha = max(alpha, 1e-3)  # as a temperature, 0 would be an infinity
    return _learn(_kd(student(images), _ask(teacher, images), labels, alpha, temperature), optimizer)


@distill_step.wrong("probabilities in place of logits", "kd_loss applies softmax itself: give it the logits.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    answers = F.softmax(student(images), dim=1), F.softmax(_ask(teacher, images), dim=1)
    return _learn(_kd(*answers, labels, temperature, alpha), optimizer)


@distill_step.wrong("the teacher's labels", "the hard term uses the labels of the data, not the teacher's opinion.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images)
    return _learn(_kd(student(images), taught, taught.argmax(dim=1), temperature, alpha), optimizer)


@distill_step.wrong("labels alone", "the teacher was never asked: use kd_loss.")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    return _learn(F.cross_entropy(student.train()(images), labels), optimizer)


@distill_step.wrong(
    "logits of another order", "the teacher's logits belong to other images: cached ones must be shuffled along."
)
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images).roll(1, dims=0)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@distill_step.wrong(
    "gradients in the teacher", "backward also walked through the teacher: ask it under torch.no_grad()."
)
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    return _learn(_kd(student(images), teacher.eval()(images), labels, temperature, alpha), optimizer)


@distill_step.right("no_grad and eval")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = distill.kd_loss(student(images), _ask(teacher, images), labels, temperature, alpha)
    return _learn(loss, optimizer)


@distill_step.right("the teacher's mode restored")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    taught = distill.logits_of(teacher, images)
    optimizer.zero_grad(set_to_none=False)
    loss = distill.kd_loss(student.train()(images), taught, labels, temperature, alpha)
    loss.backward()
    optimizer.step()
    return float(loss)


@distill_step.right("a closure")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    taught = _ask(teacher, images)
    student.train()

    def closure():
        optimizer.zero_grad()
        loss = _kd(student(images), taught, labels, temperature, alpha)
        loss.backward()
        return loss

    return optimizer.step(closure).detach().item()


@distill_step.right("gradients by hand, detached")
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    teacher.eval()
    student.train()
    parameters = list(student.parameters())
    loss = _kd(student(images), teacher(images).detach(), labels, temperature, alpha)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
    return loss.detach().numpy()
