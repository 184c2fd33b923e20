"""`hint_loss(student_features, teacher_features, regressor)`: imitate what stands inside the teacher (FitNets)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.distillation.tensors import (
    LIMIT_S,
    compare_loss,
    leaf,
    on_one_thread,
    teacher_learns_too,
    with_gradients,
    write_back,
)
from labkit.course.on_first_use import F, torch

NAMES = ("student_features", "teacher_features", "weight of the regressor", "bias of the regressor")


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(name: str, num_images: int, num_student: int, num_teacher: int, *size: int) -> Case:
        features = [np.round(rng.normal(size=(num_images, depth, *size)), 2) for depth in (num_student, num_teacher)]
        weight, bias = rng.normal(size=(num_teacher, num_student)), rng.normal(size=num_teacher)
        return Case(name, (*features, np.round(weight, 2), np.round(bias, 2)), NAMES)

    return [
        case("one image, one feature each", 1, 1, 1),
        case("as many features as the teacher", 1, 2, 2),
        case("more features in the teacher", 1, 2, 3),
        case("fewer features in the teacher", 2, 3, 2),
        case("a batch of four", 4, 2, 3),
        case("a batch as large as the features", 3, 3, 3),
        case("pictures, 1 by 1 convolution", 2, 2, 3, 2, 2),
        case("pictures, as many channels", 2, 2, 2, 1, 3),
        case("random", 8, 4, 6),
    ]


@on_one_thread
def _probe(candidate: Any, case: Case) -> Any:
    *features, weight, bias = case.args
    student, teacher = leaf(features[0]), leaf(features[1])
    regressor = _regressor(weight, bias, is_convolution=features[0].ndim == 4)
    arguments = [student.clone(), teacher.clone()]
    loss = candidate(*arguments, regressor)
    write_back(features, arguments)
    leaves = {"student_features": student, "the regressor's weight": regressor.weight, "teacher_features": teacher}
    value = with_gradients(loss, leaves)
    gradient = value.get("at the regressor's weight")
    if gradient is not None:
        value["at the regressor's weight"] = gradient.reshape(weight.shape)
    return value


def _regressor(weight: np.ndarray, bias: np.ndarray, is_convolution: bool) -> Any:
    shape = (*weight.shape[::-1],)
    layer = torch.nn.Conv2d(*shape, 1) if is_convolution else torch.nn.Linear(*shape)
    with torch.no_grad():
        layer = layer.double()
        layer.weight.copy_(torch.tensor(weight).reshape(layer.weight.shape))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def _judge(case: Case, value: Any) -> Difference | None:
    student, teacher, weight, bias = case.args
    batch, depth = student.shape[:2]
    # Every place of a picture is a row of its own: (B, D, H, W) -> (B * H * W, D).
    rows, wanted = (np.moveaxis(each, 1, -1).reshape(-1, each.shape[1]) for each in (student, teacher))
    gap = rows @ weight.T + bias - wanted
    at_rows = (gap @ weight / batch).reshape(batch, *student.shape[2:], depth)
    gradients = {"student_features": np.moveaxis(at_rows, -1, 1), "the regressor's weight": gap.T @ rows / batch}
    return compare_loss(float((gap**2).sum()) / 2 / batch, gradients, value, constant="teacher_features")


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    return "The gradient reaches the student and the regressor, and not the teacher."


hint_loss = Exercise(
    name="hint_loss",
    signature="hint_loss(student_features, teacher_features, regressor)",
    goal="Return half the squared distance between regressor(student_features) and the teacher's features, summed over"
    " everything but the batch and averaged over the batch, as a scalar tensor whose gradient reaches the student's"
    " features and the regressor, and not the teacher's features.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    limit_s=LIMIT_S,
    note=_note,
    seconds=(teacher_learns_too("teacher_features"),),
    names_in_part=True,
    hints=(
        "The student has 16 features and the teacher 256. Who translates, and who has to learn the translation?",
        "The regressor guesses the teacher's features from the student's. Both learn from the gap, the"
        " teacher does not. Sum the squares over all axes but the first: features (B, D) and (B, D, H, W) alike.",
        "`gap = regressor(student_features) - teacher_features.detach()`;"
        " `per_image = half the sum of gap squared over all axes but the first`; `return the mean of per_image`.",
    ),
    points=2,
    minutes=10,
    difficulty=2,
    num_lines=2,
)


def _half_squares(gap):
    return gap.square().flatten(1).sum(dim=1).mean() / 2


@hint_loss.wrong("mean over the features too", "mse_loss divides by all entries, another scale: sum over the features.")
def _(student, teacher, regressor):
    return F.mse_loss(regressor(student), teacher.detach())


@hint_loss.wrong("half the mean over the features", "sum over the features, and average over the images only.")
def _(student, teacher, regressor):
    return F.mse_loss(regressor(student), teacher.detach()) / 2


@hint_loss.wrong("not halved", "the half is what makes the gradient the gap itself (FitNets, equation 3).")
def _(student, teacher, regressor):
    return 2 * _half_squares(regressor(student) - teacher.detach())


@hint_loss.wrong("sum over the batch", "the loss is a mean over the images: divide by the size of the batch.")
def _(student, teacher, regressor):
    return (regressor(student) - teacher.detach()).square().sum() / 2


@hint_loss.wrong("mean over the pixels", "everything but the batch is summed, height and width too.")
def _(student, teacher, regressor):
    return (regressor(student) - teacher.detach()).square().sum(dim=1).mean() / 2


@hint_loss.wrong("no regressor", "the student's features are not the teacher's: the regressor maps them over first.")
def _(student, teacher, regressor):
    return _half_squares(student - teacher.detach())


@hint_loss.wrong("regressor on the teacher's side", "the regressor goes from the student to the teacher.")
def _(student, teacher, regressor):
    return _half_squares(student - regressor(teacher.detach()))


@hint_loss.wrong("regressor on both sides", "only the student's features are mapped; the teacher's are the target.")
def _(student, teacher, regressor):
    return _half_squares(regressor(student) - regressor(teacher.detach()))


@hint_loss.wrong("bias left out", "call the regressor; its weight alone is only half of it.")
def _(student, teacher, regressor):
    mapped = torch.einsum("fd,bd...->bf...", regressor.weight.flatten(1), student)
    return _half_squares(mapped - teacher.detach())


@hint_loss.wrong("student detached", "no gradient reaches the student's features: then only the regressor learns.")
def _(student, teacher, regressor):
    return _half_squares(regressor(student.detach()) - teacher.detach())


@hint_loss.wrong(
    "regressor that does not learn", "a regressor that stays random asks the student for something random."
)
def _(student, teacher, regressor):
    weight, bias = regressor.weight.detach(), regressor.bias.detach()
    mapped = F.conv2d(student, weight, bias) if student.ndim == 4 else F.linear(student, weight, bias)
    return _half_squares(mapped - teacher.detach())


@hint_loss.wrong("the teacher learns too", "the teacher's features are the target, a constant: detach them.")
def _(student, teacher, regressor):
    return _half_squares(regressor(student) - teacher)


@hint_loss.wrong("everything detached", "without a gradient nothing learns: detach the teacher's features alone.")
def _(student, teacher, regressor):
    with torch.no_grad():
        return _half_squares(regressor(student) - teacher)


@hint_loss.wrong("absolute differences", "squares are asked for: their gradient shrinks as the gap closes.")
def _(student, teacher, regressor):
    return (regressor(student) - teacher.detach()).abs().flatten(1).sum(dim=1).mean()


@hint_loss.wrong("distance not squared", "the square is missing: a norm is its root.")
def _(student, teacher, regressor):
    return (regressor(student) - teacher.detach()).flatten(1).norm(dim=1).mean() / 2


@hint_loss.wrong("cosine", "features have a length as well as a direction; cosine sees the direction only.")
def _(student, teacher, regressor):
    return (1 - F.cosine_similarity(regressor(student).flatten(1), teacher.detach().flatten(1))).mean()


@hint_loss.right("by the definition")
def _(student, teacher, regressor):
    return _half_squares(regressor(student) - teacher.detach())


@hint_loss.right("mse_loss with a sum")
def _(student, teacher, regressor):
    return F.mse_loss(regressor(student), teacher.detach(), reduction="sum") / (2 * len(student))


@hint_loss.right("image by image, norms squared")
def _(student, teacher, regressor):
    pairs = zip(regressor(student), teacher.data, strict=True)
    return 0.5 * torch.stack([torch.linalg.vector_norm(guess - hint) ** 2 for guess, hint in pairs]).mean()


@hint_loss.right("a product of the gap with itself")
def _(student, teacher, regressor):
    with torch.no_grad():
        hint = teacher.flatten()
    gap = regressor(student).flatten() - hint
    return torch.dot(gap, gap) / teacher.shape[0] * 0.5
