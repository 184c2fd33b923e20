"""`kd_loss(student_logits, teacher_logits, labels, temperature, alpha)`, judged by its value and its gradient.

Accuracy cannot judge it: most of the wrong losses below train a student that is better than one without a teacher.
The gradient at T >= 2 and 0 < alpha < 1 tells all of them apart from the right one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from labkit.course.compare import Difference
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.distillation.tensors import (
    LIMIT_S,
    closed_form,
    compare_loss,
    leaf,
    on_one_thread,
    teacher_learns_too,
    with_gradients,
    write_back,
)
from labkit.course.on_first_use import F, torch

HUGE = 1e4


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def case(name: str, shape: tuple[int, int], temperature: float, alpha: float) -> Case:
        student, teacher = np.round(rng.normal(0, 2, (2, *shape)), 2)
        return Case(name, (student, teacher, rng.integers(0, shape[1], shape[0]), temperature, alpha))

    def smallest(name: str, temperature: float, alpha: float) -> Case:
        return Case(name, (np.array([[1.0, 0.0]]), np.array([[3.0, -1.0]]), np.array([1]), temperature, alpha))

    agreeing = np.round(rng.normal(0, 2, (2, 3)), 2)
    shifted = agreeing + np.array([[5.0], [-3.0]])
    huge = np.array([[HUGE, -HUGE, 0.0], [0.0, 1.5, -HUGE]])
    random_t, random_alpha = round(float(rng.uniform(2, 8)), 2), round(float(rng.uniform(0.15, 0.45)), 2)
    return [
        smallest("labels only", 2, 0.0),
        smallest("teacher only, T = 1", 1, 1.0),
        smallest("teacher only, T = 2", 2, 1.0),
        smallest("a mixture, T = 1", 1, 0.3),
        smallest("a mixture, T = 2", 2, 0.3),
        case("two images, T = 2", (2, 3), 2, 0.3),
        case("more images than classes, T = 5", (5, 2), 5, 0.7),
        case("as many images as classes, T = 3", (4, 4), 3, 0.25),
        case("T below 1", (2, 3), 0.5, 0.6),
        Case("student and teacher agree", (agreeing, agreeing.copy(), np.array([2, 0]), 3, 1.0)),
        Case("they differ by a constant", (agreeing.copy(), shifted, np.array([2, 0]), 3, 1.0)),
        Case("logits of 10,000 that disagree", (huge, -huge, np.array([1, 0]), 2, 0.4)),
        case("random", (5, 7), random_t, random_alpha),
        case("random, as in training", (16, 10), 4, 0.9),
    ]


@on_one_thread
def _probe(candidate: Any, case: Case) -> Any:
    *arrays, temperature, alpha = case.args
    student, teacher = leaf(arrays[0]), leaf(arrays[1])
    arguments = [student.clone(), teacher.clone(), torch.tensor(arrays[2])]  # no leaves, so that `/=` is possible
    loss = candidate(*arguments, temperature, alpha)
    write_back(arrays, arguments)
    return with_gradients(loss, {"student_logits": student, "teacher_logits": teacher})


def _judge(case: Case, value: Any) -> Difference | None:
    loss, gradient = closed_form(*case.args)
    return compare_loss(loss, {"student_logits": gradient}, value, constant="teacher_logits")


def _note(cases: Sequence[Case], values: Sequence[Any]) -> str:
    num_entries = sum(case.args[0].size for case in cases)
    return f"Value and gradient, {num_entries} numbers, are those of the closed form."


kd_loss = Exercise(
    name="kd_loss",
    signature="kd_loss(student_logits, teacher_logits, labels, temperature, alpha)",
    goal="Return (1 - alpha)·CE(student, labels) + alpha·T²·KL(teacher at T ‖ student at T), the mean over the batch,"
    " as a scalar tensor whose gradient reaches the student's logits and not the teacher's.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    limit_s=LIMIT_S,
    note=_note,
    seconds=(teacher_learns_too("teacher_logits"),),
    names_in_part=True,
    hints=(
        "Which of the two terms sees the temperature? And over what does a KL divergence add up, over what is it"
        " averaged?",
        "The labels meet the student at T = 1, in cross_entropy. The teacher meets the student with both logits divided"
        " by T: KL(p ‖ q) = Σ p·(log p - log q) over the classes, p the teacher's. Average over the images only, and"
        " detach the teacher. kl_div takes the student's *log*-probabilities first, and its reduction matters.",
        "`hard = cross_entropy(student_logits, labels)`; `log_q = log_softmax(student_logits / T)`;"
        " `log_p = log_softmax(teacher_logits.detach() / T)`; `soft = sum of exp(log_p) * (log_p - log_q) over the"
        " classes, mean over the images`; `return (1 - alpha) * hard + alpha * T**2 * soft`.",
    ),
    points=3,
    minutes=20,
    difficulty=2,
    num_lines=5,
)


def _log_at(logits, temperature):
    return F.log_softmax(logits / temperature, dim=1)


def _kl(log_p, log_q):
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def _soft(s, t, temperature):
    return _kl(_log_at(t.detach(), temperature), _log_at(s, temperature))


def _mixed(s, y, alpha, soft):
    return (1 - alpha) * F.cross_entropy(s, y) + alpha * soft


# --- wrong: the temperature ---------------------------------------------------------------------------------


@kd_loss.wrong(
    "no T²", "the soft gradient shrinks as 1/T², so at a high T the labels alone decide: multiply the soft term by T²."
)
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, _soft(s, t, temperature))


@kd_loss.wrong("T in place of T²", "one T is left over by the chain rule, the other by the softmax: the factor is T².")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature * _soft(s, t, temperature))


@kd_loss.wrong("divided by T²", "dividing makes the soft term vanish twice as fast: multiply by T².")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, _soft(s, t, temperature) / temperature**2)


@kd_loss.wrong("T² on both terms", "the labels' term never saw the temperature: T² belongs to the soft term alone.")
def _(s, t, y, temperature, alpha):
    return temperature**2 * _mixed(s, y, alpha, _soft(s, t, temperature))


@kd_loss.wrong("T on the student only", "the teacher's logits are divided by T as well: both speak at one temperature.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(t.detach(), 1), _log_at(s, temperature)))


@kd_loss.wrong("T on the teacher only", "the student's logits are divided by T as well, in the soft term.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(t.detach(), temperature), _log_at(s, 1)))


@kd_loss.wrong("T on the labels' term", "the labels meet the student at T = 1; only the soft term is softened.")
def _(s, t, y, temperature, alpha):
    return _mixed(s / temperature, y, alpha, temperature**2 * _soft(s, t, temperature))


@kd_loss.wrong("multiplied by T", "a high temperature makes the targets more even: divide the logits by it.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, 1 / temperature))


@kd_loss.wrong("no temperature", "at T = 1 a certain teacher says little more than its label: divide both logits by T.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, _soft(s, t, 1))


@kd_loss.wrong("divided in place", "`/=` changes the caller's logits, and cached ones get colder in every epoch.")
def _(s, t, y, temperature, alpha):
    t /= temperature
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(t.detach(), 1), _log_at(s, temperature)))


# --- wrong: the divergence ----------------------------------------------------------------------------------


@kd_loss.wrong(
    "mean over the classes too",
    "kl_div's reduction='mean' divides by B·C, another scale: use 'batchmean', which is KL.",
)
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, temperature) / s.shape[1])


@kd_loss.wrong("sum over the batch", "the soft term is a mean over the images, like cross_entropy: divide it by B.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, temperature) * s.shape[0])


@kd_loss.wrong(
    "KL reversed", "KL(teacher ‖ student) weighs with the teacher's probabilities; this weighs with its own."
)
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(s, temperature), _log_at(t.detach(), temperature)))


@kd_loss.wrong(
    "probabilities given to kl_div", "kl_div's first argument is log-probabilities: log_softmax, not softmax."
)
def _(s, t, y, temperature, alpha):
    p, q = (F.softmax(each / temperature, dim=1) for each in (t.detach(), s))
    return _mixed(s, y, alpha, temperature**2 * F.kl_div(q, p, reduction="batchmean"))


@kd_loss.wrong("softmax over the batch", "each image has its own distribution over the classes: dim=1, not dim=0.")
def _(s, t, y, temperature, alpha):
    p, q = (F.log_softmax(each / temperature, dim=0) for each in (t.detach(), s))
    return _mixed(s, y, alpha, temperature**2 * _kl(p, q))


@kd_loss.wrong(
    "soft cross-entropy in place of KL",
    "its gradient is the same, so training would be too; but the value is larger by alpha·T²·(entropy of the targets),"
    " and KL, which is 0 where both agree, is asked for.",
)
def _(s, t, y, temperature, alpha):
    targets = F.softmax(t.detach() / temperature, dim=1)
    return _mixed(s, y, alpha, temperature**2 * F.cross_entropy(s / temperature, targets))


@kd_loss.wrong("squared difference of logits", "that is the limit of a very high T; at the given T it is another loss.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, F.mse_loss(s, t.detach()))


@kd_loss.wrong("squared difference of probabilities", "the distance of two distributions is measured by KL here.")
def _(s, t, y, temperature, alpha):
    p, q = (F.softmax(each / temperature, dim=1) for each in (t.detach(), s))
    return _mixed(s, y, alpha, temperature**2 * F.mse_loss(q, p))


@kd_loss.wrong("the teacher's winner as label", "argmax drops what the teacher knows of the other classes.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * F.cross_entropy(s / temperature, t.argmax(dim=1)))


@kd_loss.wrong("sign flipped", "the distance from the teacher is added: a minus drives the student away from it.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, -(temperature**2) * _soft(s, t, temperature))


@kd_loss.wrong(
    "log of softmax", "a probability can be rounded to 0, and its log is -inf: log_softmax computes both at once."
)
def _(s, t, y, temperature, alpha):
    p, q = (torch.log(F.softmax(each / temperature, dim=1)) for each in (t.detach(), s))
    return _mixed(s, y, alpha, temperature**2 * _kl(p, q))


@kd_loss.wrong(
    "log with a small number added",
    "the 1e-8 that keeps the log finite also cuts the loss off, where the student is most wrong: use log_softmax.",
)
def _(s, t, y, temperature, alpha):
    p, q = (torch.log(F.softmax(each / temperature, dim=1) + 1e-8) for each in (t.detach(), s))
    return _mixed(s, y, alpha, temperature**2 * _kl(p, q))


# --- wrong: the mixture -------------------------------------------------------------------------------------


@kd_loss.wrong("weights swapped", "alpha is the teacher's share, 1 - alpha the labels'.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, 1 - alpha, temperature**2 * _soft(s, t, temperature))


@kd_loss.wrong("labels left out", "the labels have their share too: (1 - alpha) times the cross-entropy.")
def _(s, t, y, temperature, alpha):
    return alpha * temperature**2 * _soft(s, t, temperature)


@kd_loss.wrong("labels not weighted", "the two shares add up to 1: the cross-entropy is multiplied by 1 - alpha.")
def _(s, t, y, temperature, alpha):
    return F.cross_entropy(s, y) + alpha * temperature**2 * _soft(s, t, temperature)


@kd_loss.wrong("teacher not weighted", "the two shares add up to 1: the soft term is multiplied by alpha.")
def _(s, t, y, temperature, alpha):
    return (1 - alpha) * F.cross_entropy(s, y) + temperature**2 * _soft(s, t, temperature)


@kd_loss.wrong("softmax before cross_entropy", "cross_entropy takes logits; probabilities go through softmax twice.")
def _(s, t, y, temperature, alpha):
    return _mixed(F.softmax(s, dim=1), y, alpha, temperature**2 * _soft(s, t, temperature))


@kd_loss.wrong(
    "the teacher's cross-entropy", "the labels' term is about the student: its logits go in, not the teacher's."
)
def _(s, t, y, temperature, alpha):
    return _mixed(t.detach(), y, alpha, temperature**2 * _soft(s, t, temperature))


# --- wrong: where gradients go ------------------------------------------------------------------------------


@kd_loss.wrong("the teacher learns too", "the gradient flows into the teacher: it is a constant, detach its logits.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(t, temperature), _log_at(s, temperature)))


@kd_loss.wrong("student detached", "detach belongs to the teacher's logits: this student learns from the labels alone.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _kl(_log_at(t.detach(), temperature), _log_at(s.detach(), temperature)))


@kd_loss.wrong("a number in place of a tensor", "item() cuts the loss off from the student: backward() has no start.")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, temperature)).item()


@kd_loss.wrong("one loss for each image", "the loss is one number, the mean over the batch.")
def _(s, t, y, temperature, alpha):
    log_p, log_q = _log_at(t.detach(), temperature), _log_at(s, temperature)
    soft = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return (1 - alpha) * F.cross_entropy(s, y, reduction="none") + alpha * temperature**2 * soft


# --- right --------------------------------------------------------------------------------------------------


@kd_loss.right("kl_div with batchmean")
def _(s, t, y, temperature, alpha):
    targets = F.softmax(t.detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(s / temperature, dim=1), targets, reduction="batchmean")
    return alpha * temperature * temperature * soft + (1.0 - alpha) * F.cross_entropy(s, y)


@kd_loss.right("kl_div with log_target")
def _(s, t, y, temperature, alpha):
    with torch.no_grad():
        log_p = F.log_softmax(t / temperature, dim=-1)
    log_q = F.log_softmax(s / temperature, dim=-1)
    soft = F.kl_div(log_q, log_p, reduction="sum", log_target=True) / len(s)
    return torch.lerp(F.cross_entropy(s, y), temperature**2 * soft, alpha)


@kd_loss.right("by the definition")
def _(s, t, y, temperature, alpha):
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, temperature))


@kd_loss.right("cross-entropy less the entropy")
def _(s, t, y, temperature, alpha):
    log_p = F.log_softmax(t.detach() / temperature, dim=1)
    p = log_p.exp()
    soft = F.cross_entropy(s / temperature, p) + (p * log_p).sum(dim=1).mean()
    return _mixed(s, y, alpha, temperature**2 * soft)


@kd_loss.right("image by image")
def _(s, t, y, temperature, alpha):
    losses = []
    for student, teacher, label in zip(s, t.detach(), y, strict=True):
        log_p, log_q = (torch.log_softmax(each / temperature, 0) for each in (teacher, student))
        soft = torch.dot(log_p.exp(), log_p - log_q)
        losses.append((alpha - 1) * torch.log_softmax(student, 0)[label] + alpha * temperature**2 * soft)
    return torch.stack(losses).mean()


@kd_loss.right("logsumexp and gather")
def _(s, t, y, temperature, alpha):
    hard = (torch.logsumexp(s, 1) - s.gather(1, y[:, None])[:, 0]).mean()
    q, p = s / temperature, t.detach() / temperature
    soft = (F.softmax(p, 1) * (p - q)).sum(1) - torch.logsumexp(p, 1) + torch.logsumexp(q, 1)
    return (1 - alpha) * hard + alpha * temperature**2 * soft.mean()


@kd_loss.right("float32 inside")
def _(s, t, y, temperature, alpha):
    s, t = s.float(), t.detach().float()
    return _mixed(s, y, alpha, temperature**2 * _soft(s, t, temperature))


@kd_loss.right("modules of torch.nn")
def _(s, t, y, temperature, alpha):
    divergence = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)
    log_q, log_p = (torch.nn.LogSoftmax(dim=1)(each / temperature) for each in (s, t.data))
    return torch.nn.CrossEntropyLoss()(s, y) * (1 - alpha) + divergence(log_q, log_p) * alpha * temperature**2
