"""One plan in one file, with what it was made from: a header that says what to expect, then the plan.

    magic   "labkit-plan" and a newline
    length  of the header, 8 bytes, big-endian
    header  JSON: key, ingredients, plan_bytes, plan_sha256, model_name, warnings
    plan    as TensorRT wrote it

One file, so that one rename makes a plan and its description appear together.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from labkit.tensorrt.request import digest

MAGIC = b"labkit-plan\n"
_MAX_HEADER_BYTES = 16 << 20  # external weights can be many; more than this is no header


class Damaged(ValueError):
    """A file that is not the plan that its name promises; the message says in which way."""


@dataclass(frozen=True)
class Header:
    """What a stored plan was made from."""

    key: str
    ingredients: Mapping[str, Any]
    plan_bytes: int
    plan_sha256: str
    model_name: str  # for people; a name is no part of a key
    warnings: tuple[str, ...]  # the builder's; whoever gets the plan from here has to hear them too


def pack(ingredients: Mapping[str, Any], plan: bytes, model_name: str, warnings: Sequence[str] = ()) -> bytes:
    """Everything in front of the plan."""
    header = {
        "key": digest(dict(ingredients)),
        "ingredients": ingredients,
        "plan_bytes": len(plan),
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "model_name": model_name,
        "warnings": list(warnings),
    }
    text = json.dumps(header, sort_keys=True).encode()
    return MAGIC + len(text).to_bytes(8, "big") + text


def read_header(path: Path) -> Header:
    """What a file says it holds; raises Damaged."""
    with _open(path) as file:
        return _header(file, path.stem)


def read_plan(path: Path) -> tuple[Header, bytes]:
    """The plan in a file named KEY.plan, checked against that key and its own checksum; raises Damaged.

    FileNotFoundError is let through: a plan that is not there is not damaged.
    """
    with _open(path) as file:
        header = _header(file, path.stem)
        try:
            there = os.fstat(file.fileno()).st_size - file.tell()
            plan = file.read() if there == header.plan_bytes else b""
        except OSError as error:
            raise Damaged(f"unreadable: {error.strerror}") from error
    if there != header.plan_bytes:
        raise Damaged(f"damaged: {there:,} bytes of plan are there, {header.plan_bytes:,} were stored")
    if hashlib.sha256(plan).hexdigest() != header.plan_sha256:
        raise Damaged("damaged: its bytes do not have the checksum they were stored with")
    return header, plan


def write_atomically(path: Path, *parts: bytes) -> None:
    """The file appears whole or not at all, also when this process is killed or the disk is full.

    What a killed process leaves is a file `.NAME.PID.tmp`. Raises OSError, and then leaves nothing.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())  # before the rename: a name must never come before its bytes
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself survives a power cut only now. Not every system lets a folder be synced.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _open(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Damaged("foreign: it is not a file")
        return path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged(f"unreadable: {error.strerror}") from error


def _header(file: BinaryIO, key: str) -> Header:
    try:
        start = file.read(len(MAGIC) + 8)
        length = int.from_bytes(start[len(MAGIC) :], "big")
        if not MAGIC.startswith(start[: len(MAGIC)]):
            raise Damaged("foreign: it does not begin like a stored plan")
        if len(start) < len(MAGIC) + 8 or length > _MAX_HEADER_BYTES:
            raise Damaged("damaged: it breaks off in its header")
        header = Header(**json.loads(file.read(length)))
        if header.key != key or digest(dict(header.ingredients)) != key:
            raise Damaged("foreign: it holds the plan of another request")
        if not isinstance(header.plan_bytes, int) or header.plan_bytes < 0:
            raise Damaged("damaged: its header does not make sense")
        return header
    except (ValueError, TypeError, OSError, RecursionError, MemoryError) as error:
        raise error if isinstance(error, Damaged) else Damaged("damaged: its header cannot be read") from error
