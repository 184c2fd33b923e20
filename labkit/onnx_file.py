"""Reading and writing ONNX files: weights in other files followed, damaged files refused in a sentence.

A model is one `.onnx` file (a protobuf, at most 2 GB) and any number of *external data* files beside it that hold
its large weights. Whatever loads, copies, hashes or serves a model has to follow them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

# Protobuf cannot serialize 2 GiB; below this a model stays one file, with room for the graph itself.
ONE_FILE_BYTES = 1_900_000_000

# First bytes of what people mistake for an ONNX model, and what to do about it.
_LOOK_ALIKES = (
    (b"PK\x03\x04", "it is a zip archive, as torch.save writes: load it in PyTorch and call labkit.onnx_export"),
    (b"\x80", "it is a Python pickle: load it where it was written and export it from there"),
    (b"version https://git-lfs", "it is a Git LFS pointer: run `git lfs pull` to fetch the model itself"),
    (b"<", "it is a web page or XML: the download got something else"),
    (b"ftrt", "it is a TensorRT plan: a plan runs in TensorRT, it cannot be read back as a graph"),
)


class OnnxFileError(ValueError):
    """A file that should hold an ONNX model does not; the message says what it looks like and what to do."""


def load_model(path: str | Path, *, weights: bool = True) -> onnx.ModelProto:
    """The model in a file, with its external weights read in unless weights=False.

    Raises OnnxFileError, with one sentence, for a missing, empty, foreign or truncated file, and for external
    weights that are missing, too short, or outside the model's folder.
    """
    path = Path(path)
    model = _parse(path)
    _check_external(model, path)
    if weights:
        outside = list(external_tensors(model))
        load_external_data_for_model(model, str(path.parent))
        for tensor in outside:  # "default" written out is other bytes than not written: be the model that was saved
            tensor.ClearField("data_location")
    return model


def save_model(model: onnx.ModelProto, path: str | Path, *, one_file_bytes: int = ONE_FILE_BYTES) -> tuple[Path, ...]:
    """Writes a model, its weights in `NAME.data` beside it when it is larger than one_file_bytes.

    Returns the files written, the model first. The model is not changed, and a failed write leaves no half file.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        partial = Path(folder) / path.name
        if num_bytes(model) <= one_file_bytes:
            partial.write_bytes(model.SerializeToString(deterministic=True))
        else:
            outside = onnx.ModelProto()  # onnx moves the weights out of the model that it is given: give it a copy
            outside.CopyFrom(model)
            onnx.save_model(outside, str(partial), save_as_external_data=True, location=f"{path.name}.data")
        return move_model(partial, path)


def move_model(source: Path, target: Path) -> tuple[Path, ...]:
    """Moves a model and its external weights to another folder of the same disk, weights first: it is never without.

    The name stays, because the model names its weight files. Returns the files, the model first.
    """
    weights = [file.relative_to(source.parent) for file in model_files(source)[1:]]
    for file in weights:
        (target.parent / file).parent.mkdir(parents=True, exist_ok=True)
        (source.parent / file).replace(target.parent / file)
    source.replace(target)
    return target, *(target.parent / file for file in weights)


def model_files(path: str | Path) -> tuple[Path, ...]:
    """The files that a model consists of: itself, then its external data files, each once."""
    path = Path(path)
    locations = {_info(tensor).location: None for tensor in external_tensors(load_model(path, weights=False))}
    return path, *(path.parent / location for location in locations)


def files_bytes(path: str | Path) -> int:
    """Bytes of a model on disk, external weights included."""
    return sum(file.stat().st_size for file in model_files(path))


def num_bytes(model: onnx.ModelProto) -> int:
    """Bytes of a model in memory; of one too large for a single file those of its weights, which is a little less.

    Protobuf counts by serializing: that takes as much memory again, and fails beyond 2 GB.
    """
    weights = sum(len(tensor.raw_data) for tensor in tensors(model))
    return weights if weights > ONE_FILE_BYTES else model.ByteSize()


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, and every graph inside a node of it (the branches of If, the bodies of Loop and Scan)."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            pending.extend(subgraphs(node))


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node holds in its attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in a model: initializers, and tensors in attributes (Constant nodes)."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in another file and have not been read in."""
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors whose values lie in another file."""
    return (tensor for tensor in tensors(model) if is_external(tensor))


def _info(tensor: onnx.TensorProto) -> ExternalDataInfo:
    return ExternalDataInfo(tensor)


def _parse(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise OnnxFileError(f"{path} is a folder; name the .onnx file in it")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise OnnxFileError(f"there is no file {path}") from None
    except OSError as error:
        raise OnnxFileError(f"{path} cannot be read: {error.strerror}") from error
    if not content:
        raise OnnxFileError(f"{path} is empty (0 bytes): whatever wrote it did not finish")
    for start, what in _LOOK_ALIKES:
        if content.startswith(start):
            raise OnnxFileError(f"{path} is not an ONNX model: {what}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        # Field 1 of a ModelProto is ir_version, a varint: its tag is the byte 0x08, and every writer puts it first.
        if content[0] == 0x08:
            raise OnnxFileError(
                f"{path} begins like an ONNX model but breaks off or is damaged ({len(content):,} bytes are there): "
                "write or fetch it again"
            ) from None
        raise OnnxFileError(f"{path} is not an ONNX model: it begins with {content[:8]!r}") from None
    if not model.HasField("graph"):
        raise OnnxFileError(f"{path} is not an ONNX model: there is no graph in it")
    if not model.opset_import:  # written after the graph: a cut exactly between two fields still parses
        raise OnnxFileError(f"{path} names no operator set: it was cut off after its graph; write or fetch it again")
    return model


def _check_external(model: onnx.ModelProto, path: Path) -> None:
    for tensor in external_tensors(model):
        info = _info(tensor)
        file = path.parent / info.location
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise OnnxFileError(
                f"{path} keeps weight {tensor.name!r} in {info.location!r}, outside its own folder: "
                "such a model is not opened"
            )
        if not file.is_file():
            raise OnnxFileError(
                f"{path} keeps weight {tensor.name!r} in {info.location!r}, and that file is not beside it: "
                "copy the two together"
            )
        end = (info.offset or 0) + (info.length or 0)
        if file.stat().st_size < end:
            raise OnnxFileError(
                f"{file} ends at byte {file.stat().st_size:,}, but weight {tensor.name!r} of {path.name} reaches "
                f"to byte {end:,}: it was cut off or belongs to another export"
            )
