"""A loss and its gradients as plain data, and how both are judged.

A probe makes tensors of a case's arrays, and gives back arrays; the judge compares these with a closed form in NumPy,
so that no gradient is computed where the judging happens.
"""

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from labkit.course.apart import Probe
from labkit.course.compare import Difference, describe_typed
from labkit.course.describe import describe
from labkit.course.naming import Second
from labkit.course.on_first_use import OnFirstUse, torch

distill: Any = OnFirstUse("labkit.distill")

LIMIT_S = 30.0  # outside a notebook the first answer is the one that imports torch, which a busy machine does slowly
# An answer may compute in float32 inside. What the known mistakes differ by is a hundred times this, or more.
RELATIVE, ABSOLUTE = 1e-5, 1e-6
SAME_DIRECTION = 1e-6  # 1 - cosine of two gradients that differ in length only


def on_one_thread(probe: Probe) -> Probe:
    """The probe, with torch on one thread: tensors as small as a case's would only wait for a second one."""

    @wraps(probe)
    def alone(candidate: Any, case: Any) -> Any:
        with distill.one_thread():
            return probe(candidate, case)

    return alone


def leaf(array: np.ndarray) -> Any:
    """A tensor of its own memory at which gradients arrive."""
    return torch.tensor(array, requires_grad=True)


def write_back(arrays: Sequence[np.ndarray], tensors: Sequence[Any]) -> None:
    """Carry over what an answer did to its tensors, so that the engine sees which arguments it changed."""
    for array, tensor in zip(arrays, tensors, strict=True):
        after = tensor.detach().numpy()
        if not np.array_equal(array, after):
            array[...] = after


def with_gradients(loss: Any, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """{"loss": …, "at NAME": the gradient there or None}: all that there is to know of a loss."""
    if not isinstance(loss, torch.Tensor):
        return {"loss": loss, "not a tensor": True}
    gradients: Sequence[Any] = [None] * len(leaves)
    if loss.ndim == 0 and loss.requires_grad:
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {"loss": loss, **{f"at {name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}}


def teacher_learns_too(constant: str) -> Second:
    """A gradient that also flows to the constant argument: beside another mistake it would hide that one's name."""
    key = f"at {constant}"

    def shows(value: Any) -> bool:
        return isinstance(value, dict) and value.get(key) is not None and bool(np.any(value[key]))

    def without(value: Any) -> Any:
        return {name: each for name, each in value.items() if name != key} if isinstance(value, dict) else value

    return Second("the teacher learns too", shows, without)


def compare_loss(
    expected: float, gradients: Mapping[str, np.ndarray], value: Any, constant: str = "", relative: float = RELATIVE
) -> Difference | None:
    """Nothing when loss and gradients are the expected ones, and none arrives at the constant argument."""
    if not isinstance(value, dict) or "loss" not in value:
        return Difference("a loss", describe_typed(value))
    loss = value["loss"]
    if value.get("not a tensor"):
        return Difference("a tensor that backward() can start from", f"{describe_typed(loss)}: not a tensor")
    if loss.shape != ():
        return Difference("one number, the mean over the batch", f"a tensor of shape {loss.shape}")
    wrong = [name for name, wanted in gradients.items() if not _close(wanted, value[f"at {name}"], relative)]
    if not _close(np.asarray(expected), loss, relative) or wrong:
        shown = wrong[:1] or list(gradients)[:1]
        wanted = [f"loss {expected:.6g}", *(f"gradient at {name} {describe(gradients[name])}" for name in shown)]
        came = [_loss_beside(expected, loss), *(_gradient_beside(gradients[n], value[f"at {n}"], n) for n in shown)]
        return Difference("; ".join(wanted), "; ".join(came))
    reached = value.get(f"at {constant}")
    if reached is not None and np.any(reached):
        return Difference(
            f"no gradient at {constant}, which are constants", "the right loss, and a gradient that flows there too"
        )
    return None


def _close(expected: np.ndarray, value: Any, relative: float) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.shape == expected.shape
        and bool(np.allclose(value, expected, relative, ABSOLUTE))
    )


def _loss_beside(expected: float, loss: np.ndarray) -> str:
    came = float(loss)
    if not np.isfinite(came) or abs(expected) < ABSOLUTE or abs(came / expected - 1) < 1e-3:
        return f"loss {came:.6g}"
    return f"loss {came:.6g} ({came / expected:.4g} times the expected)"


def _gradient_beside(expected: np.ndarray, value: Any, name: str) -> str:
    if value is None:
        return f"no gradient reaches {name}"
    said = f"gradient at {name} {describe(value)}"
    lengths = np.linalg.norm(expected), np.linalg.norm(value)
    if value.shape != expected.shape or not np.isfinite(lengths[1]) or min(lengths) < ABSOLUTE:
        return said
    factor = lengths[1] / lengths[0]
    cosine = float(np.vdot(expected, value)) / (lengths[0] * lengths[1])
    if abs(cosine - 1) > SAME_DIRECTION:
        return f"{said}: another direction"
    if abs(factor - 1) < 1e-3:
        return f"{said}: this one is right"
    return f"{said}: the right direction, {factor:.4g} times as long, so another scale than the specified one"


def closed_form(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, temperature: float, alpha: float
) -> tuple[float, np.ndarray]:
    """kd_loss and its gradient at the student's logits, from the formulas, in NumPy."""
    one_hot = np.eye(student.shape[1])[labels]
    log_s, log_hot, log_cold = (_log_softmax(each) for each in (student, student / temperature, teacher / temperature))
    taught = np.exp(log_cold)
    hard = -(one_hot * log_s).sum(axis=1).mean()
    soft = (taught * (log_cold - log_hot)).sum(axis=1).mean()
    pulls = (1 - alpha) * (np.exp(log_s) - one_hot) + alpha * temperature * (np.exp(log_hot) - taught)
    return float((1 - alpha) * hard + alpha * temperature**2 * soft), pulls / len(student)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
