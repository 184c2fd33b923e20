"""Lab 08's checks: their oracle against SciPy and finite differences, what a learner reads, what the cases cover.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch.nn import functional as F

from labkit import distill
from labkit.course.exercise import Exercise
from labkit.course.exercises.distillation import LAB

# The package gives these names to the exercises, so the modules are asked for by theirs.
kd_module, train_module, tensors_module = (
    import_module(f"labkit.course.exercises.distillation.{name}") for name in ("kd_loss", "train_student", "tensors")
)

NAMES = ("soft_targets", "kd_loss", "train_student", "paired_t", "hint_loss")
LEAST_WRONG = {"soft_targets": 8, "kd_loss": 20, "train_student": 15, "paired_t": 8, "hint_loss": 8}
LEAST_RIGHT = {"soft_targets": 3, "kd_loss": 6, "train_student": 3, "paired_t": 3, "hint_loss": 3}

# The wrong losses of which the lab shows that accuracy cannot tell them apart, and others that the field has shipped.
MUST_BE_KNOWN = {
    "no T²",
    "T in place of T²",
    "T on the student only",
    "mean over the classes too",
    "KL reversed",
    "probabilities given to kl_div",
    "softmax over the batch",
    "weights swapped",
    "labels left out",
    "squared difference of logits",
    "the teacher's winner as label",
    "sign flipped",
    "the teacher learns too",
    "log of softmax",
    "divided in place",
    "soft cross-entropy in place of KL",
}


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


def read(name: str, candidate: object, seed: int = 0) -> str:
    verdict = exercise(name).judge(candidate, seed=seed)
    assert not verdict.passed
    return str(verdict)


def train_student(student, teacher, optimizer, batches, temperature, alpha, clear=True):
    """A right pass, or one that forgets to clear the gradients."""
    student.train()
    losses = []
    for images, labels in batches:
        taught = distill.logits_of(teacher.eval(), images)
        loss = distill.kd_loss(student(images), taught, labels, temperature, alpha)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def paired_t(distilled, labels_only):
    values = {"labels": tuple(labels_only), "taught": tuple(distilled)}
    return distill.Scores("accuracy", tuple(range(len(distilled))), values).gain("taught", over="labels").t


LABKITS_OWN = {
    "soft_targets": distill.soft_targets,
    "kd_loss": distill.kd_loss,
    "train_student": train_student,
    "paired_t": paired_t,
    "hint_loss": distill.hint_loss,
}


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    assert exercise("kd_loss").signature == "kd_loss(student_logits, teacher_logits, labels, temperature, alpha)"
    for name in ("soft_targets", "kd_loss", "hint_loss"):
        theirs = tuple(inspect.signature(getattr(distill, name)).parameters)
        assert exercise(name).signature == f"{name}({', '.join(theirs)})"


@pytest.mark.parametrize("name", NAMES)
def test_labkits_own_function_passes(name: str) -> None:
    for seed in range(2):
        verdict = exercise(name).judge(LABKITS_OWN[name], seed=seed)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    assert read(name, stub).startswith(f"○ {name}: not written yet")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = exercise(name).wrong_answers, exercise(name).right_answers
    assert len({each.name for each in wrong}) == len(wrong) >= LEAST_WRONG[name]
    assert len({each.name for each in right}) == len(right) >= LEAST_RIGHT[name]


def test_the_known_mistakes_of_the_field_are_in_the_bank() -> None:
    assert {each.name for each in exercise("kd_loss").wrong_answers} >= MUST_BE_KNOWN


def test_declaring_the_lab_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from labkit.course.exercises import lab_spec; lab_spec('08_distillation');"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- the oracle -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_closed_form_is_scipys_value_and_its_finite_differences(seed: int) -> None:
    for case in exercise("kd_loss").make_cases(seed):
        student = case.args[0]
        value, gradient = tensors_module.closed_form(*case.args)

        def loss(flat: np.ndarray, case: Any = case) -> float:
            _, teacher, labels, temperature, alpha = case.args
            s = flat.reshape(teacher.shape)
            hard = -special.log_softmax(s, axis=1)[np.arange(len(s)), labels].mean()
            p, q = special.softmax(teacher / temperature, axis=1), special.log_softmax(s / temperature, axis=1)
            soft = (-special.entr(p) - p * q).sum(axis=1).mean()
            return float((1 - alpha) * hard + alpha * temperature**2 * soft)

        assert value == pytest.approx(loss(student), rel=1e-9, abs=1e-9)
        if abs(student).max() < 100:  # differences of huge numbers say nothing
            numeric = optimize.approx_fprime(student.flatten(), loss, 1e-6).reshape(student.shape)
            np.testing.assert_allclose(gradient, numeric, atol=1e-4)


def test_the_oracles_are_numpy_and_know_no_answer() -> None:
    tried = 0
    for module in (kd_module, train_module, tensors_module):
        tree = ast.parse(inspect.getsource(module))
        judges = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for judge in judges:
            if judge.name in ("_judge", "closed_form", "_log_softmax", "_wrong_losses"):
                names = {node.id for node in ast.walk(judge) if isinstance(node, ast.Name)}
                assert not names & {"torch", "F", "distill"}, judge.name
                tried += 1
    assert tried >= 5


def test_the_known_answers_of_a_pass_are_pytorchs_own() -> None:
    """torch's SGD and batch norm, where the judge computes both from their formulas."""
    case = exercise("train_student").make_cases(3)[-1]
    images, labels, temperature, alpha, weights, _modes = case.args
    student, teacher = train_module._student(weights[0]), train_module._teacher(weights[1]).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=train_module.LEARNING_RATE)
    after, losses = [], []
    for batch, targets in zip(torch.tensor(images), torch.tensor(labels), strict=True):
        optimizer.zero_grad()
        loss = distill.kd_loss(student(batch), teacher(batch).detach(), targets, temperature, alpha)
        loss.backward()
        optimizer.step()
        after.append(student[1].weight.detach().numpy().copy())
        losses.append(loss.item())
    value = {
        "losses": losses,
        "weights": after,
        "teacher": [],
        "teacher's gradients": False,
        "a graph in the losses": False,
    }
    assert exercise("train_student").judge_case(case, value) is None
    value["weights"] = [each + 1e-3 for each in after]
    assert exercise("train_student").judge_case(case, value) is not None


# --- the cases --------------------------------------------------------------------------------------------


def test_kd_loss_is_asked_where_mistakes_can_be_seen() -> None:
    """Facts: T = 1 hides where T belongs, alpha 0, 0.5 and 1 hide a term or whose weight is whose, B = C the axes."""
    cases = [case.args for case in exercise("kd_loss").make_cases(0)]
    telling = [
        args
        for args in cases
        if args[3] >= 2 and 0 < args[4] < 1 and args[4] != 0.5 and args[0].shape[0] != args[0].shape[1]
    ]
    assert len(telling) >= 4
    assert {args[4] for args in cases} >= {0.0, 1.0}
    assert {args[3] for args in cases} >= {1, 2, 5}
    assert any(len(args[0]) == 1 for args in cases)
    assert any(args[0].shape[1] == 2 for args in cases)
    assert any(abs(args[0]).max() >= 1e4 for args in cases)


def test_another_seed_asks_other_questions() -> None:
    for name in NAMES:
        first, same, other = ([case.given() for case in exercise(name).make_cases(seed)] for seed in (1, 1, 2))
        assert first == same != other


# --- what a learner reads ---------------------------------------------------------------------------------


def soft_term(s, t, temperature, reduction="batchmean"):
    log_q, p = F.log_softmax(s / temperature, dim=1), F.softmax(t.detach() / temperature, dim=1)
    return F.kl_div(log_q, p, reduction=reduction)


def test_a_loss_without_t_squared_is_told_its_scale() -> None:
    def kd_loss(s, t, y, temperature, alpha):
        return (1 - alpha) * F.cross_entropy(s, y) + alpha * soft_term(s, t, temperature)

    text = read("kd_loss", kd_loss)
    assert "case      teacher only, T = 2" in text
    assert "the right direction, 0.25 times as long, so another scale than the specified one" in text
    assert "behaves like *no T²*" in text


def test_reduction_mean_is_told_from_batchmean() -> None:
    def kd_loss(s, t, y, temperature, alpha):
        return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * soft_term(s, t, temperature, "mean")

    assert "behaves like *mean over the classes too*: kl_div's reduction='mean' divides by B·C" in read(
        "kd_loss", kd_loss
    )


def test_soft_cross_entropy_is_told_that_its_gradient_is_right() -> None:
    def kd_loss(s, t, y, temperature, alpha):
        soft = F.cross_entropy(s / temperature, F.softmax(t.detach() / temperature, dim=1))
        return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * soft

    text = read("kd_loss", kd_loss)
    assert "this one is right" in text
    assert "behaves like *soft cross-entropy in place of KL*: its gradient is the same" in text


def test_a_gradient_into_the_teacher_is_found_although_value_and_gradient_are_right() -> None:
    def kd_loss(s, t, y, temperature, alpha):
        log_q, log_p = (F.log_softmax(each / temperature, dim=1) for each in (s, t))
        soft = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * soft

    text = read("kd_loss", kd_loss)
    assert "the right loss, and a gradient that flows there too" in text
    assert "behaves like *the teacher learns too*" in text


def without_detach(s, t, y, temperature, alpha, reduction):
    log_q, p = F.log_softmax(s / temperature, dim=1), F.softmax(t / temperature, dim=1)
    return (1 - alpha) * F.cross_entropy(s, y) + alpha * temperature**2 * F.kl_div(log_q, p, reduction=reduction)


@pytest.mark.parametrize(
    ("name", "answer", "first"),
    [
        ("kd_loss", lambda *args: without_detach(*args, "mean"), "mean over the classes too"),
        ("kd_loss", lambda *args: without_detach(*args, "sum"), "sum over the batch"),
        ("hint_loss", lambda s, t, regressor: F.mse_loss(regressor(s), t), "mean over the features too"),
        ("hint_loss", lambda s, t, regressor: (regressor(s) - t).square().sum() / 2, "sum over the batch"),
    ],
)
def test_a_missing_detach_does_not_hide_another_mistake_and_is_named_with_it(
    name: str, answer: object, first: str
) -> None:
    text = read(name, answer)
    assert f"two mistakes at once, *{first}*" in text
    assert "and *the teacher learns too*" in text
    assert "the teacher's features" in exercise("hint_loss").goal


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda logits, temperature: F.softmax(logits * temperature, dim=0), "*softmax over the batch*"),
        (lambda logits, temperature: F.log_softmax(logits, dim=1), "*logarithms*"),
    ],
)
def test_of_two_mistakes_in_soft_targets_one_is_named(answer: object, said: str) -> None:
    text = read("soft_targets", answer)
    assert f"cases that fail this behaves like {said}" in text
    assert "on the others something else is wrong too" in text


@pytest.mark.parametrize("wrong", exercise("soft_targets").wrong_answers, ids=lambda wrong: wrong.name)
def test_a_plain_mistake_is_shown_on_plain_logits(wrong: Any) -> None:
    case = exercise("soft_targets").judge(wrong.candidate).findings[0].case
    assert (abs(case.args[0]).max() > 1000) == (wrong.name == "overflow")


@pytest.mark.parametrize(
    ("student_mode", "teacher_mode", "named"),
    [
        (None, None, "modes never set"),
        (False, True, "modes exchanged"),
        (True, None, "teacher's mode never set"),
        (None, False, "student's mode never set"),
        (True, True, "teacher in training mode"),
        (False, False, "student in evaluation mode"),
    ],
)
def test_a_mode_that_was_never_set_is_told_from_a_wrong_one(
    student_mode: bool | None, teacher_mode: bool | None, named: str
) -> None:
    def train_student(student, teacher, optimizer, batches, temperature, alpha):
        for model, mode in ((student, student_mode), (teacher, teacher_mode)):
            if mode is not None:
                model.train(mode)
        losses = []
        for images, labels in batches:
            with torch.no_grad():
                taught = teacher(images)
            loss = distill.kd_loss(student(images), taught, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert f"behaves like *{named}*" in read("train_student", train_student)


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("kd_loss", lambda *args: 1.5, "1.5 (float): not a tensor"),
        ("kd_loss", lambda *args: None, "None: not a tensor"),
        ("kd_loss", lambda s, *args: s, "one number, the mean over the batch"),
        ("kd_loss", lambda s, *args: s.sum() * torch.nan, "loss nan"),
        ("soft_targets", lambda logits, temperature: logits[0], "another shape"),
        ("soft_targets", lambda logits, temperature: None, "None: is a return missing?"),
        ("train_student", lambda *args: None, "0 steps of the optimizer"),
        ("paired_t", lambda *args: "3", "not a number"),
        ("hint_loss", lambda *args: None, "None: not a tensor"),
    ],
)
def test_answers_of_another_kind(name: str, answer: object, said: str) -> None:
    assert said in read(name, answer)


def test_gradients_that_add_up_are_named() -> None:
    text = read("train_student", lambda *args: train_student(*args, clear=False))
    assert "student's weight after batch 1" in text
    assert "behaves like *gradients not cleared*" in text


def test_an_exception_is_a_finding_with_its_reason() -> None:
    def kd_loss(s, t, y, temperature, alpha):
        raise RuntimeError("shapes do not match")

    assert "RuntimeError: shapes do not match" in read("kd_loss", kd_loss)


def test_float32_and_another_regressor_call_are_accepted() -> None:
    assert exercise("kd_loss").judge(lambda s, t, *rest: distill.kd_loss(s.float(), t.float(), *rest)).passed
    assert (
        exercise("hint_loss").judge(lambda s, t, regressor: distill.hint_loss(s, t.clone(), regressor.forward)).passed
    )
