"""A graph that a learner's code made, run apart from the judge and under a clock.

A graph is data, but not harmless data: a Loop in it may never end, and a weight may name a file of this machine. So
it is looked at first, and then run in a process that can be stopped.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.course.answers import decode, encode
from labkit.course.apart import ask
from labkit.course.exercise import Case
from labkit.course.on_first_use import onnx, ort

RUN_LIMIT_S = 20.0  # the graphs of this lab take a millisecond; a busy machine may take its time to start

Inputs = Mapping[str, np.ndarray]


def read_graph(content: bytes) -> Any:
    """The model in these bytes; ValueError, in words, for what is none and for one that is not all there."""
    from labkit.onnx_file import external_tensors

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's DecodeError, or what a damaged length makes of it
        raise ValueError("the file is no ONNX model") from None
    if not model.graph.node and not model.graph.output:
        raise ValueError("the file is no ONNX model: there is no graph in it")
    if any(external_tensors(model)):
        raise ValueError("the weights are in another file: the .onnx file alone is not the model")
    return model


def new_path() -> Path:
    """Where a learner who tries a case finds or writes a model; the folder goes with the system's other old ones."""
    return Path(tempfile.mkdtemp(prefix="labkit-case-")) / "model.onnx"


def run_graph(content: bytes, inputs: Sequence[Inputs]) -> list[list[np.ndarray] | str]:
    """For each set of inputs the outputs of the graph, or ONNX Runtime's reason for giving none."""
    return list(_run_graph(content, encode([dict(each) for each in inputs])))


@lru_cache(maxsize=256)
def _run_graph(content: bytes, packed: bytes) -> tuple[list[np.ndarray] | str, ...]:
    inputs = decode(packed)
    (answer,) = ask(_run, lambda run, case: run(*case.args), [Case("graph", (content, inputs))], RUN_LIMIT_S)
    if answer.outcome != "value":
        return tuple(answer.error or answer.outcome for _ in inputs)
    return tuple(answer.value)


def _run(content: bytes, inputs: list[dict[str, np.ndarray]]) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what it says on stderr, it also raises
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return [_reason(error)] * len(inputs)
    known = {value.name for value in session.get_inputs()}
    found: list[Any] = []
    for each in inputs:
        try:
            found.append(session.run(None, {name: array for name, array in each.items() if name in known}))
        except Exception as error:
            found.append(_reason(error))
    return found


def _reason(error: Exception) -> str:
    """ONNX Runtime's words without its codes."""
    text = str(error).strip().splitlines()[0]
    return f"ONNX Runtime refuses: {text.split(' : ')[-1][:160]}"
