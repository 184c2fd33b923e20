"""The model file as a plan depends on it: its bytes, its weights in other files, its inputs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.tensorrt.errors import BuildError

if TYPE_CHECKING:
    import onnx

# Read in pieces: an external weight file may be larger than the memory.
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelInput:
    """An input of the graph. A dimension is its size, or None where it is dynamic; rank unknown: shape None."""

    name: str
    dtype: str  # NumPy's name; "object" for what is no number
    shape: tuple[int | None, ...] | None

    @property
    def may_be_shape(self) -> bool:
        """Whether its *values* may be shapes (TensorRT's "shape tensor"), which a profile then bounds."""
        return self.dtype in ("int32", "int64") and (self.shape is None or len(self.shape) <= 1)


@dataclass(frozen=True)
class ModelFile:
    """A model read once: what is hashed is what is built. `weights` are digests of what lies in other files."""

    path: Path
    content: bytes
    inputs: tuple[ModelInput, ...]
    graph_sha256: str
    weights_sha256: dict[str, str]  # location -> digest of the bytes that the graph refers to there

    @property
    def name(self) -> str:
        return self.path.name


def read_model(path: str | Path) -> ModelFile:
    """Reads and hashes a model, its external weights included; what no tensor refers to is not hashed.

    Raises BuildError, with one sentence, for what is no model, is cut off, or lacks its weights.
    """
    from labkit.onnx_file import OnnxFileError, load_model

    path = Path(path)
    try:
        model = load_model(path, weights=False)
        content = path.read_bytes()
        weights = {location: _sha256(path.parent / location, spans) for location, spans in _spans(model).items()}
    except (OnnxFileError, OSError) as error:
        raise BuildError(f"from {path.name}", [str(error)]) from error
    return ModelFile(path, content, _inputs(model), hashlib.sha256(content).hexdigest(), weights)


def _inputs(model: onnx.ModelProto) -> tuple[ModelInput, ...]:
    # Before IR version 4 every initializer was listed as an input too.
    stored = {tensor.name for tensor in model.graph.initializer}
    return tuple(_input(value) for value in model.graph.input if value.name not in stored)


def _input(value: onnx.ValueInfoProto) -> ModelInput:
    from onnx.helper import tensor_dtype_to_np_dtype

    if not value.type.HasField("tensor_type"):
        return ModelInput(value.name, "object", None)
    kind = value.type.tensor_type
    shape = tuple(_size(dimension) for dimension in kind.shape.dim) if kind.HasField("shape") else None
    return ModelInput(value.name, tensor_dtype_to_np_dtype(kind.elem_type).name, shape)


def _size(dimension: onnx.TensorShapeProto.Dimension) -> int | None:
    # Some writers say "dynamic" with -1 instead of a name.
    static = dimension.HasField("dim_value") and dimension.dim_value >= 0
    return dimension.dim_value if static else None


def _spans(model: onnx.ModelProto) -> dict[str, set[tuple[int, int | None]]]:
    """(offset, length) of every tensor in every external file; length None: up to the file's end."""
    from onnx.external_data_helper import ExternalDataInfo

    from labkit.onnx_file import external_tensors

    spans: dict[str, set[tuple[int, int | None]]] = defaultdict(set)
    for tensor in external_tensors(model):
        info = ExternalDataInfo(tensor)
        spans[info.location].add((info.offset or 0, info.length))
    return dict(sorted(spans.items()))


def _sha256(path: Path, spans: set[tuple[int, int | None]]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for offset, length in sorted(spans, key=lambda span: (span[0], span[1] or 0)):
            left = path.stat().st_size - offset if length is None else length
            digest.update(f"{offset}:{left};".encode())
            file.seek(offset)
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()
