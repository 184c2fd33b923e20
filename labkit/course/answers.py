"""Answers as data: what a candidate returned, as bytes that no reader has to trust.

An answer crosses from the process that ran a candidate to the one that judges it as one JSON tree or, where it
has arrays, as an npz file of the tree and the arrays that it refers to. Nothing is ever unpickled, and what comes
out consists of plain types only (None, bool, int, float, str, bytes, Fraction, list, tuple, dict, NumPy arrays and
scalars), so an object with its own `==` cannot reach a judge.
"""

import base64
import hashlib
import io
import json
import math
import zipfile
from fractions import Fraction
from typing import Any

import numpy as np

MAX_BYTES = 64 * 2**20  # one encoded answer, packed and unpacked
MAX_DEPTH = 32
INLINE_BYTES = 2**16  # bytes up to here stand in the tree: a graph of some kB needs no zip around it
JSON_MARK = b"labkit json\n"  # a zip file begins with PK
ATOMS = frozenset((int, bool, str, type(None)))  # exactly these: what JSON gives back as it was
PLAIN_KINDS = "biufc"  # dtypes that are numbers; objects, strings and records do not travel
PLAIN = "None, bool, int, float, complex, str, bytes, Fraction, list, tuple, dict, NumPy arrays and torch tensors"


class NotPlainData(TypeError):
    """A value that cannot cross between processes as data."""


def encode(value: Any) -> bytes:
    """The value as bytes: marked JSON, or npz where there are arrays in it.

    Raises:
        NotPlainData: something in it is not plain data, is nested too deeply, or is larger than `MAX_BYTES`.
    """
    arrays: list[np.ndarray] = []
    tree = json.dumps(_to_tree(value, arrays, 0)).encode()
    num_bytes = len(tree) + sum(array.nbytes for array in arrays)
    if num_bytes > MAX_BYTES:
        raise NotPlainData(f"an answer of {num_bytes:,} bytes; at most {MAX_BYTES:,} are taken")
    if not arrays:  # most answers, and most cases: a zip would take ten times as long
        return JSON_MARK + tree
    buffer = io.BytesIO()
    named = {f"a{index}": array for index, array in enumerate(arrays)}
    np.savez(buffer, allow_pickle=False, tree=np.frombuffer(tree, np.uint8), **named)
    return buffer.getvalue()


def digest(value: Any) -> bytes:
    """SHA-256 of the value: equal for equal values of equal types, and much quicker than `encode`.

    Raises:
        NotPlainData: something in it is not plain data, or is nested too deeply.
    """
    arrays: list[np.ndarray] = []
    sha256 = hashlib.sha256(json.dumps(_to_tree(value, arrays, 0)).encode())
    for array in arrays:
        sha256.update(f"{array.dtype.str} {array.shape};".encode())
        sha256.update(np.ascontiguousarray(array).tobytes())
    return sha256.digest()


def decode(data: bytes) -> Any:
    """The value that `encode` was given, with arrays as NumPy arrays.

    Raises:
        NotPlainData: the bytes are not an encoded answer, or unpack to more than `MAX_BYTES`.
    """
    try:
        if data.startswith(JSON_MARK):
            if len(data) > MAX_BYTES + len(JSON_MARK):
                raise NotPlainData(f"an answer of {len(data):,} bytes; at most {MAX_BYTES:,} are taken")
            return _from_tree(json.loads(data[len(JSON_MARK) :]), {}, 0)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            num_bytes = sum(entry.file_size for entry in archive.infolist())
        if num_bytes > MAX_BYTES + 2**20:  # the headers of the arrays come on top
            raise NotPlainData(f"an answer that unpacks to {num_bytes:,} bytes; at most {MAX_BYTES:,} are taken")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _from_tree(json.loads(arrays["tree"].tobytes()), arrays, 0)
    except NotPlainData:
        raise
    except Exception as error:
        # Whatever is wrong with bytes that a learner's process wrote, it is one thing to a judge.
        raise NotPlainData(f"not an encoded answer ({type(error).__name__}: {error})") from error


def _to_tree(value: Any, arrays: list[np.ndarray], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotPlainData(f"nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):
        return {"scalar": _store(np.asarray(value), arrays)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        number = float.__float__(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, complex):
        return {"complex": [_to_tree(value.real, arrays, depth), _to_tree(value.imag, arrays, depth)]}
    if isinstance(value, Fraction):
        return {"fraction": [int(value.numerator), int(value.denominator)]}
    if isinstance(value, bytes | bytearray):
        if len(value) <= INLINE_BYTES:
            return {"base64": base64.b64encode(value).decode()}
        return {"bytes": _store(np.frombuffer(bytes(value), np.uint8), arrays)}
    if isinstance(value, np.ndarray):
        return {"array": _store(np.array(value, subok=False), arrays)}
    if isinstance(value, tuple):
        return {"tuple": _items(value, arrays, depth + 1)}
    if isinstance(value, list):
        return _items(value, arrays, depth + 1)
    if isinstance(value, dict):
        pairs = [[_to_tree(k, arrays, depth + 1), _to_tree(v, arrays, depth + 1)] for k, v in value.items()]
        return {"dict": pairs}
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        return {"array": _store(_from_tensor(value), arrays)}
    raise NotPlainData(f"{type(value).__name__} is not plain data ({PLAIN})")


def _items(values: list[Any] | tuple[Any, ...], arrays: list[np.ndarray], depth: int) -> list[Any]:
    if depth <= MAX_DEPTH and ATOMS.issuperset(map(type, values)):  # most lists, and the long ones
        return list(values)
    return [_to_tree(item, arrays, depth) for item in values]


def _store(array: np.ndarray, arrays: list[np.ndarray]) -> int:
    if array.dtype.kind not in PLAIN_KINDS:
        raise NotPlainData(f"an array of dtype {array.dtype} is not plain data; numbers and bools are")
    arrays.append(array)
    return len(arrays) - 1


def _from_tensor(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no such type; float32 holds every value of it
        tensor = tensor.float()
    array: np.ndarray = tensor.numpy()
    return array


def _from_tree(tree: Any, arrays: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotPlainData(f"nested more than {MAX_DEPTH} deep")
    if isinstance(tree, list):
        if depth < MAX_DEPTH and ATOMS.issuperset(map(type, tree)):
            return tree
        return [_from_tree(item, arrays, depth + 1) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tuple":
        return tuple(_from_tree(item, arrays, depth + 1) for item in content)
    if kind == "dict":
        return {_from_tree(k, arrays, depth + 1): _from_tree(v, arrays, depth + 1) for k, v in content}
    if kind == "float":
        return float(content)
    if kind == "complex":
        real, imag = (_from_tree(part, arrays, depth + 1) for part in content)
        return complex(real, imag)
    if kind == "fraction":
        numerator, denominator = content
        return Fraction(int(numerator), int(denominator))
    if kind == "base64":
        return base64.b64decode(content, validate=True)
    if kind in ("array", "scalar", "bytes"):
        array = arrays[f"a{int(content)}"]
        if array.dtype.kind not in PLAIN_KINDS:
            raise NotPlainData(f"an array of dtype {array.dtype}")
        return array if kind == "array" else array[()] if kind == "scalar" else array.tobytes()
    raise NotPlainData(f"an unknown kind of value: {kind!r}")
