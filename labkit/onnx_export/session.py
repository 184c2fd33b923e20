"""ONNX Runtime sessions that say which provider they really run on.

`onnxruntime.get_available_providers()` lists what was compiled in, not what works: a wheel built for CUDA names the
CUDA provider on a laptop with no GPU, and a session that asks for it falls back to the CPU with a line on stderr.
What a session really uses is `session.get_providers()`, after it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime as ort

from labkit.onnx_file import load_model

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}

LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

NOT_COMPILED = "not in this build of onnxruntime"
NOT_STARTED = "compiled in, but it could not start on this machine: no device, no driver, or its libraries are missing"

_CPU = PROVIDERS["cpu"]
_WARNING = 2  # ONNX Runtime's own setting
_FATAL_ONLY = 4  # ONNX Runtime's log severity: its errors are exceptions too, and a missing provider is in `refusals`


class SessionError(RuntimeError):
    """ONNX Runtime refuses a model; the message holds its reason."""


class Session(ort.InferenceSession):
    """An ONNX Runtime session that knows its provider and why it is not another.

    provider: the first of `get_providers()`, which runs every node that it can; the CPU takes the rest.
    refusals: {provider asked for: why it is not used}, in the order asked.
    """

    refusals: dict[str, str]

    @property
    def provider(self) -> str:
        return str(self.get_providers()[0])

    def __repr__(self) -> str:
        refused = "".join(f"; {name}: {why}" for name, why in self.refusals.items())
        return f"<Session on {self.provider}{refused}>"


def open_session(
    path: str | Path | bytes,
    prefer: str | Sequence[str] = ("cuda", "cpu"),
    *,
    level: str = "all",
    optimized_path: str | Path | None = None,
    optimized_external: str | None = None,
    num_threads: int | None = None,
) -> Session:
    """A session on the first provider of `prefer` that works on this machine; the CPU comes last by itself.

    path: an ONNX file, or a serialized model (which cannot have external weights).
    prefer: short names ("cuda", "tensorrt", "cpu", …) or ONNX Runtime's own ("CUDAExecutionProvider").
    level: graph optimization: "none", "basic", "extended" or "all".
    optimized_path: where to write the graph that ONNX Runtime made of the model; its weights go to a file named
    optimized_external beside it when that is given (beyond 2 GB it has to be).

    Raises ValueError for a provider or level that ONNX Runtime does not know, OnnxFileError for a file that is no
    model, and SessionError when ONNX Runtime refuses the model on every provider.
    """
    options = _options(level, num_threads)
    if optimized_path is not None:
        options.optimized_model_filepath = str(optimized_path)
    if optimized_external is not None:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", optimized_external)
    model = path if isinstance(path, bytes) else str(path)
    refusals: dict[str, str] = {}
    for provider in _asked(prefer):
        if provider not in ort.get_available_providers():
            refusals[provider] = NOT_COMPILED
            continue
        wanted = [provider] if provider == _CPU else [provider, _CPU]
        try:
            with _quiet_loading():
                session = Session(model, options, providers=wanted, enable_fallback=0)  # its fallback prints
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            refusals[provider] = _reason(error)
            continue
        if session.provider == provider:
            session.refusals = refusals
            return session
        refusals[provider] = NOT_STARTED
    if not isinstance(path, bytes):
        load_model(path, weights=False)  # says in a sentence what is wrong with the file, if that is the reason
    raise SessionError(f"ONNX Runtime refuses {_said(path)}: {refusals[_CPU]}")


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """A provider whose libraries are not there says so on stderr, in colour; here it is a refusal."""
    ort.set_default_logger_severity(_FATAL_ONLY)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_WARNING)


def _options(level: str, num_threads: int | None) -> Any:
    if level not in LEVELS:
        raise ValueError(f"level is one of {', '.join(LEVELS)}; got {level!r}")
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = LEVELS[level]
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    return options


def _asked(prefer: str | Sequence[str]) -> list[str]:
    """Full provider names, in order, each once, the CPU last."""
    names = [prefer] if isinstance(prefer, str) else list(prefer)
    full = [PROVIDERS.get(name.lower(), name) for name in names]
    for name, provider in zip(names, full, strict=True):
        if provider not in ort.get_all_providers():
            known = ", ".join(PROVIDERS)
            raise ValueError(f"ONNX Runtime has no provider {name!r}; say one of {known}, or its full name")
    return [*dict.fromkeys(provider for provider in full if provider != _CPU), _CPU]


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without the code and the position in its source."""
    text = str(error).strip().splitlines()[0]
    return text.split(" : ")[-1] if text.startswith("[ONNXRuntimeError]") else text


def _said(path: str | Path | bytes) -> str:
    return f"a model of {len(path):,} bytes" if isinstance(path, bytes) else str(path)
