"""Precision lives in the graph: an fp32 model becomes fp16 or int8 before TensorRT sees it.

TensorRT 11 has no FP16 or INT8 flag any more: a network is strongly typed, every tensor keeps the type that the
graph gives it. So the graph is rewritten here, and can be looked at, measured and compared before it is built.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.tensorrt import calibration as calibration_data
from labkit.tensorrt.errors import BuildError
from labkit.tensorrt.model import ModelFile, read_model
from labkit.tensorrt.options import BuildOptions, Precision

if TYPE_CHECKING:
    import onnx

    from labkit.tensorrt.calibration import Batch

# Where int8 pays: the operators that multiply weights. Everything else stays as it is.
QUANTIZED_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def convert_precision(
    onnx_path: str | Path,
    out_path: str | Path,
    precision: Precision,
    calibration: Batch | Sequence[Batch] | None = None,
) -> Path:
    """Writes the graph that build_plan builds for `precision`, to be looked at, compared, or given to trtexec.

    fp16: weights and activations become float16; inputs and outputs stay float32, so callers need not change.
    int8: Q/DQ nodes around Conv, MatMul and Gemm, symmetric, weights per channel, the ranges of activations from
    the smallest and largest value in `calibration` (batches {input: array}); biases stay float32. fp32: a copy.

    To measure an int8 graph's accuracy without a GPU, run it in ONNX Runtime with the optimizer off: it then computes
    what the Q/DQ nodes say, while its own int8 kernels overflow on CPUs without VNNI (ONNX Runtime, "Quantize ONNX
    models", on saturation with AVX2 and AVX512).

    Raises BuildError.
    """
    model = read_model(onnx_path)
    options = BuildOptions.of(precision=precision, calibration=calibration)
    from labkit.onnx_file import save_model

    batches = calibration_data.batches_for(model, options.calibration)
    return save_model(converted(model, options.precision, batches), out_path)[0]


def converted(model: ModelFile, precision: Precision, batches: Sequence[Batch] = ()) -> onnx.ModelProto:
    """The model's graph in another precision, weights included."""
    from labkit.onnx_file import ONE_FILE_BYTES, load_model, num_bytes

    graph = load_model(model.path)
    if precision != "fp32" and num_bytes(graph) > ONE_FILE_BYTES:
        raise BuildError(
            f"from {model.name}", [f"a model of {num_bytes(graph):,} bytes cannot be read in memory at once."]
        )
    try:
        if precision == "fp16":
            return _fp16(graph)
        if precision == "int8":
            return _int8(model, graph, batches)
        return graph
    except BuildError:
        raise
    except Exception as error:  # the converters and ONNX Runtime share no class of exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BuildError(f"from {model.name}", [f"it cannot be converted to {precision}: {first}"]) from error


def _fp16(graph: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # Types kept at the border: a plan's caller hands over the same float32 arrays as before.
    half = convert_float_to_float16(graph, keep_io_types=True)
    # The converter writes its Cast once for every node that stays fp32, also when several share the input.
    casts = {node.output[0]: node for node in half.graph.node if node.op_type == "Cast"}
    kept = [node for node in half.graph.node if node.op_type != "Cast" or casts.pop(node.output[0], None) is not None]
    del half.graph.node[:]
    half.graph.node.extend(kept)
    return half


def _int8(model: ModelFile, graph: onnx.ModelProto, batches: Sequence[Batch]) -> onnx.ModelProto:
    if has_quantization(graph):
        if batches:
            raise BuildError(f"from {model.name}", ["the graph carries Q/DQ nodes already: leave calibration out."])
        return graph
    if not batches:
        raise BuildError(
            f"from {model.name}",
            [
                "int8 needs data to take its ranges from: calibration=[{input: array}, …], a few hundred real samples "
                "(in a shell: --calibration NPZ)."
            ],
        )
    with tempfile.TemporaryDirectory(prefix="labkit-int8-") as folder, _root_logger_left_alone():
        return _quantized(graph, batches, Path(folder))


def has_quantization(graph: onnx.ModelProto) -> bool:
    """Whether a graph carries Q/DQ nodes."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.graph.node)


def _quantized(graph: onnx.ModelProto, batches: Sequence[Batch], folder: Path) -> onnx.ModelProto:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from labkit.onnx_file import save_model

    # Folds BatchNorm into its convolution first: with Q/DQ nodes between them nobody can any more. By path: ONNX
    # Runtime 1.31 takes the tensors out of a model that it is given in memory, and a Reshape then lacks its shape.
    whole = save_model(graph, folder / "whole.onnx")[0]
    quant_pre_process(whole, folder / "folded.onnx", skip_symbolic_shape=True)
    quantization.quantize_static(
        folder / "folded.onnx",
        folder / "int8.onnx",
        _reader(batches),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED_OPS),
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True,  # TensorRT knows no zero point but 0
            "WeightSymmetric": True,
            "QuantizeBias": False,  # nor an int32 bias behind a DequantizeLinear
            # A pair between Conv and its ReLU would keep TensorRT from fusing the two.
            "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPS),
        },
    )
    return onnx.load(folder / "int8.onnx")


def _reader(batches: Sequence[Batch]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Batch] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else dict(batch)

    return Reader()


@contextmanager
def _root_logger_left_alone() -> Iterator[None]:
    """The quantizer speaks through logging.warning(), which prints, and installs a handler where none was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers, root.level = [logging.NullHandler()], logging.CRITICAL
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
