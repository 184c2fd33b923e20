"""Whether two models compute the same: both run in ONNX Runtime, its optimizations off, on fresh random inputs.

What ONNX Runtime has no kernel for runs in the reference implementation of the standard.

A model that came from an answer is not trusted: it runs in a forked process with a clock and a limit on memory. Its
inputs are drawn from a hash of both models, so that no answer can know them and every run can be repeated.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from labkit.course.apart import Answer, ask
from labkit.course.exercise import Case, call

LIMIT_S = 20.0
SIZES = (2, 3)  # of every free dimension, in the first run and in a second, which only a model with branches needs
# Relative to an output's largest value. A fused weight is rounded to float32 once more, and sums of some hundred
# products are added in another order: that is 1e-6. A forgotten epsilon of 1e-5 is above it on the cases that ask.
TOLERANCE = 1e-5

Pair = tuple[bytes, bytes]  # the model given, the model that came
Run = Callable[[onnx.ModelProto, dict[str, np.ndarray]], list[np.ndarray]]
_known: dict[bytes, str] = {}  # digest of a pair -> how they differ


def prepare(pairs: Iterable[Pair]) -> None:
    """Run all pairs that were not run before in one forked process."""
    todo = list({_digest(pair): pair for pair in pairs if _digest(pair) not in _known}.values())
    while todo:
        answers = ask(how_they_differ, call, [Case("", pair) for pair in todo], LIMIT_S)
        reached = [(pair, each) for pair, each in zip(todo, answers, strict=True) if each.outcome != "not-reached"]
        for pair, answer in reached:
            _known[_digest(pair)] = _in_words(answer)
        todo = todo[len(reached) :]


def differ(given: bytes, came: bytes) -> str:
    """How the model that came differs from the one given; "" when it does not."""
    prepare([(given, came)])
    return _known[_digest((given, came))]


def how_they_differ(given: bytes, came: bytes) -> str:
    """`differ`, here and now."""
    for number, size in enumerate(SIZES if _has_branches(given) else SIZES[:1]):
        seed = int.from_bytes(hashlib.sha256(_digest((given, came)) + bytes([number])).digest()[:8], "big")
        models = [_with_all_weights(onnx.load_model_from_string(data)) for data in (given, came)]
        feeds = dict(_draw(models[0], size, np.random.default_rng(seed), bool(number)))
        expected, run_alike = _first_run(models[0], feeds)
        try:
            got = run_alike(models[1], feeds)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            return f"ONNX Runtime refuses it: {str(error).strip().splitlines()[0][-200:]}"
        for value, ours, theirs in zip(models[0].graph.output, expected, got, strict=True):
            if said := _difference(value.name, ours, theirs):
                inputs = "; ".join(f"{name} of shape {list(array.shape)}" for name, array in feeds.items())
                return f"{said} (run on random {inputs})"
    return ""


def _has_branches(data: bytes) -> bool:
    """Whether a bool is an input: it is False in the first run and True in the second."""
    inputs = onnx.load_model_from_string(data).graph.input
    return any(value.type.tensor_type.elem_type == onnx.TensorProto.BOOL for value in inputs)


def _difference(name: str, expected: np.ndarray, got: np.ndarray) -> str:
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return f"{name} is {got.dtype} {list(got.shape)}, and was {expected.dtype} {list(expected.shape)}"
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0) if expected.dtype.kind == "f" else 0
    close = np.isclose(got, expected, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
    if close.all():
        return ""
    place = tuple(int(at) for at in np.argwhere(~close)[0])
    return f"{name}{list(place)} is {got[place]:.6g}, and was {expected[place]:.6g}"


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def _first_run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> tuple[list[np.ndarray], Run]:
    """The outputs, and what ran the model: ONNX Runtime cannot convolve doubles, nor train."""
    try:
        return _run(model, feeds), _run
    except Exception:
        return _run_by_reference(model, feeds), _run_by_reference


def _run_by_reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return list(ReferenceEvaluator(model).run(None, feeds))


def _draw(model: onnx.ModelProto, size: int, rng: np.random.Generator, truth: bool) -> Iterator[tuple[str, np.ndarray]]:
    """An array for each input, those with a default included: a caller may give these another value."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        shape = [int(dim.dim_value) if dim.HasField("dim_value") else size for dim in dims]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype == np.bool_:
            yield value.name, np.full(shape, truth)
        else:
            yield value.name, rng.normal(size=shape).astype(dtype)


def _with_all_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with something in place of weights that lie in another file, the same for the same name."""
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            rng = np.random.default_rng(list(tensor.name.encode()))
            tensor.CopyFrom(numpy_helper.from_array(rng.uniform(0.5, 1.5, tensor.dims).astype(np.float32), tensor.name))
    return model


def _digest(pair: Pair) -> bytes:
    return hashlib.sha256(hashlib.sha256(pair[0]).digest() + hashlib.sha256(pair[1]).digest()).digest()


def _in_words(answer: Answer) -> str:
    return str(answer.value) if answer.outcome == "value" else f"running it ended badly: {answer.error}"
