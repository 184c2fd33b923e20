"""What learners may write for `train_student`: wrong answers, each with the sentence that they read, and right ones."""

from functools import wraps

from labkit.course.exercises.distillation.tensors import distill
from labkit.course.exercises.distillation.train_student import train_student
from labkit.course.on_first_use import F, torch


def _for_each_batch(step):
    """A pass over the batches that does `step` with each."""

    @wraps(step)
    def one_pass(student, teacher, optimizer, batches, temperature, alpha):
        return [step(student, teacher, optimizer, *batch, temperature, alpha) for batch in batches]

    return one_pass


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


@train_student.wrong(
    "modes never set", "whoever called before may have left any mode: student.train() and teacher.eval() come first."
)
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    with torch.no_grad():
        taught = teacher(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@train_student.wrong(
    "teacher's mode never set",
    "a teacher that was left in training mode drops features at random: call teacher.eval().",
)
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    with torch.no_grad():
        taught = teacher(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@train_student.wrong("student's mode never set", "after an evaluation the student has to go back: student.train().")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    return _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)


@train_student.wrong("teacher in training mode", "dropout makes a teacher contradict itself: call teacher.eval().")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    with torch.no_grad():
        taught = teacher.train()(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@train_student.wrong("student in evaluation mode", "a student learns in training mode: student.train().")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.eval()
    return _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)


@train_student.wrong("modes exchanged", "the student trains, the teacher only speaks.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.eval()
    with torch.no_grad():
        taught = teacher.train()(images)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@train_student.wrong("gradients not cleared", "gradients add up from step to step: optimizer.zero_grad() first.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    loss.backward()
    optimizer.step()
    return loss.item()


@train_student.wrong(
    "a step without gradients",
    "the weights stay: backward() comes after zero_grad() and before the optimizer's step().",
)
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@train_student.wrong("step before backward", "the step uses the gradients that are there: those from before.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


@train_student.wrong("two steps a batch", "each batch is seen once in a pass: one step of the optimizer for each.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    loss = 0.0
    for _ in range(2):
        loss = _learn(_kd(student.train()(images), _ask(teacher, images), labels, temperature, alpha), optimizer)
    return loss


@train_student.wrong("loss after the step", "the loss to report is the one that the step was made for.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images)
    _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)
    return _kd(student(images), taught, labels, temperature, alpha).item()


@train_student.wrong("student and teacher exchanged", "kd_loss takes the student's logits first, then the teacher's.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    return _learn(_kd(_ask(teacher, images), student(images), labels, temperature, alpha), optimizer)


@train_student.wrong("temperature and alpha exchanged", "kd_loss takes the temperature first, then alpha.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    alpha = max(alpha, 1e-3)  # as a temperature, 0 would be an infinity
    return _learn(_kd(student(images), _ask(teacher, images), labels, alpha, temperature), optimizer)


@train_student.wrong("probabilities in place of logits", "kd_loss applies softmax itself: give it the logits.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    answers = F.softmax(student(images), dim=1), F.softmax(_ask(teacher, images), dim=1)
    return _learn(_kd(*answers, labels, temperature, alpha), optimizer)


@train_student.wrong("the teacher's labels", "the hard term uses the labels of the data, not the teacher's opinion.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images)
    return _learn(_kd(student(images), taught, taught.argmax(dim=1), temperature, alpha), optimizer)


@train_student.wrong("labels alone", "the teacher was never asked: use kd_loss.")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    return _learn(F.cross_entropy(student.train()(images), labels), optimizer)


@train_student.wrong(
    "logits of another order", "the teacher's logits belong to other images: cached ones must be shuffled along."
)
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    taught = _ask(teacher, images).roll(1, dims=0)
    return _learn(_kd(student(images), taught, labels, temperature, alpha), optimizer)


@train_student.wrong(
    "gradients in the teacher", "backward also walked through the teacher: ask it under torch.no_grad()."
)
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    return _learn(_kd(student(images), teacher.eval()(images), labels, temperature, alpha), optimizer)


# --- wrong: the pass as a whole -----------------------------------------------------------------------------


def _set_modes(student, teacher):
    student.train()
    teacher.eval()


@train_student.wrong("nothing returned", "the loss of each batch is asked for, as a number: append loss.item().")
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    for images, labels in batches:
        _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)


@train_student.wrong("the last loss alone", "every batch has its loss: append each to a list, and return the list.")
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    loss = None
    for images, labels in batches:
        loss = _learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer)
    return loss


@train_student.wrong("the mean loss", "the mean hides how the pass went: return the loss of each batch, in a list.")
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    losses = [_learn(_kd(student(x), _ask(teacher, x), y, temperature, alpha), optimizer) for x, y in batches]
    return sum(losses) / len(losses)


@train_student.wrong("return inside the loop", "a return inside the loop ends the pass after the first batch.")
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    losses = []
    for images, labels in batches:
        losses.append(_learn(_kd(student(images), _ask(teacher, images), labels, temperature, alpha), optimizer))
        return losses


@train_student.wrong("one step for all batches", "the optimizer makes a step for each batch, inside the loop.")
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    optimizer.zero_grad()
    losses = []
    for images, labels in batches:
        loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
        loss.backward()
        losses.append(loss.item())
    optimizer.step()
    return losses


@train_student.wrong(
    "cleared once, before the loop", "the second batch finds the first one's gradients: clear them for each batch."
)
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    optimizer.zero_grad()
    losses = []
    for images, labels in batches:
        loss = _kd(student(images), _ask(teacher, images), labels, temperature, alpha)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@train_student.wrong(
    "the first batch's logits for all", "the teacher answers about the images it is shown: ask it about each batch."
)
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    taught = _ask(teacher, batches[0][0])
    return [_learn(_kd(student(x), taught, y, temperature, alpha), optimizer) for x, y in batches]


@train_student.wrong(
    "tensors in place of numbers", "a loss that is kept as a tensor keeps its batch's graph in memory: loss.item()."
)
def _(student, teacher, optimizer, batches, temperature, alpha):
    _set_modes(student, teacher)
    losses = []
    for images, labels in batches:
        losses.append(_kd(student(images), _ask(teacher, images), labels, temperature, alpha))
        _learn(losses[-1], optimizer)
    return losses


# --- right --------------------------------------------------------------------------------------------------


@train_student.right("no_grad and eval")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    student.train()
    loss = distill.kd_loss(student(images), _ask(teacher, images), labels, temperature, alpha)
    return _learn(loss, optimizer)


@train_student.right("the teacher's mode restored")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    taught = distill.logits_of(teacher, images)
    optimizer.zero_grad(set_to_none=False)
    loss = distill.kd_loss(student.train()(images), taught, labels, temperature, alpha)
    loss.backward()
    optimizer.step()
    return float(loss)


@train_student.right("a closure")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    taught = _ask(teacher, images)
    student.train()

    def closure():
        optimizer.zero_grad()
        loss = _kd(student(images), taught, labels, temperature, alpha)
        loss.backward()
        return loss

    return optimizer.step(closure).detach().item()


@train_student.right("gradients by hand, detached")
@_for_each_batch
def _(student, teacher, optimizer, images, labels, temperature, alpha):
    teacher.eval()
    student.train()
    parameters = list(student.parameters())
    loss = _kd(student(images), teacher(images).detach(), labels, temperature, alpha)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
    return loss.detach().numpy()


@train_student.right("every answer of the teacher asked for first")
def _(student, teacher, optimizer, batches, temperature, alpha):
    teacher.eval()
    student.train()
    with torch.inference_mode():
        answers = [teacher(images) for images, _ in batches]
    losses = []
    for (images, labels), taught in zip(batches, answers, strict=True):
        loss = distill.kd_loss(student(images), taught.clone(), labels, temperature, alpha)
        _learn(loss, optimizer)
        losses.append(float(loss.detach()))
    return tuple(losses)
