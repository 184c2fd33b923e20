"""Asking a learner's plan_key twice: files are laid out, a stand-in says which TensorRT is installed, keys compared.

A case is a profile, options, the rest of a request, and changes {name: what is replaced in the request}. A request is
plain data: {"files": {name: bytes}, "onnx": name, "profile": …, "options": …, "builder": {name, version, device}} and
how it is put: "folder", "mtime_ns", "as" (a str, a Path, or a path relative to the working folder), "neighbours"
(files that the model does not refer to), "process" (which of two processes asks).
"""

import builtins
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from labkit.course.exercise import Case

MTIME_NS = 1_700_000_000 * 10**9  # of every file, unless the request says another time


def probe(candidate: Callable[..., Any], case: Case) -> dict[str, Any]:
    """For each change whether the key stayed the same, and what is wrong with the keys as names of files."""
    profile, options, rest, changes = case.args
    request = {"profile": profile, "options": options, **rest}
    with tempfile.TemporaryDirectory() as top:
        desk = _Desk(Path(top))
        key = desk.ask(candidate, request)
        after = {name: desk.ask(candidate, {**request, **change}) for name, change in changes.items()}
    fault = next(filter(None, map(_fault, (key, *after.values()))), "")
    return {"same": {name: bool(other == key) for name, other in after.items()}, "fault": fault}


def _fault(key: Any) -> str:
    """Why something cannot be the name of a plan's file; empty when it can."""
    if not isinstance(key, str):
        return f"something of type {type(key).__name__}"
    if not key or len(key) > 128 or not key.replace("-", "").replace("_", "").isalnum():
        return f"a str of {len(key)} characters, with some that a file name should not have" if key else "an empty str"
    return ""


@dataclass(frozen=True)
class KeyCase(Case):
    """A profile, options, the rest of a request, and what is changed in it."""

    def for_learner(self) -> tuple[Any, ...]:
        """({name: (onnx_path, profile, options)},): the request as it is, then with each change, in folders of its own.

        Another TensorRT is not among them: that is what flavour() says, and not an argument.
        """
        profile, options, rest, changes = self.args
        request = {"profile": profile, "options": options, **rest}
        top = Path(tempfile.mkdtemp(prefix="labkit-case-"))
        asked = {"as it is": {}} | {name: change for name, change in changes.items() if "builder" not in change}
        return ({name: _laid_out(top / str(at), request | asked[name]) for at, name in enumerate(asked)},)


def _laid_out(folder: Path, request: dict[str, Any]) -> tuple[Path, Any, Any]:
    folder.mkdir()
    desk = _Desk(folder)
    desk.lay_out(request, folder)
    return folder / request["onnx"], request["profile"], request["options"]


class _Desk:
    """Where the files of one request after the other are laid out; what lies there already stays."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.lying: dict[Path, tuple[bytes, int]] = {}  # file -> its bytes and time

    def ask(self, candidate: Callable[..., Any], request: dict[str, Any]) -> Any:
        folder = self.top / request.get("folder", ".")
        self.lay_out(request, folder)
        with _builder(request["builder"]), _process(request.get("process", 0)), _working_folder(folder):
            path: Any = folder / request["onnx"]
            put: Any = {"str": str, "Path": Path, "relative": lambda path: path.name}[request.get("as", "str")]
            return candidate(put(path), request["profile"], **request["options"])

    def lay_out(self, request: dict[str, Any], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        files = {**request["files"], **request.get("neighbours", {})}
        mtime_ns = request.get("mtime_ns", MTIME_NS)
        wanted = {folder / name: (content, mtime_ns) for name, content in files.items()}
        for file in self.lying.keys() - wanted.keys():
            file.unlink(missing_ok=True)
            del self.lying[file]
        for file, (content, _) in wanted.items():
            if self.lying.get(file) != wanted[file]:
                file.write_bytes(content)
                os.utime(file, ns=(mtime_ns, mtime_ns))
        self.lying = wanted


@contextlib.contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


@contextlib.contextmanager
def _builder(builder: dict[str, Any]) -> Iterator[None]:
    """Lets labkit.tensorrt.flavour() find this TensorRT, wherever a candidate got the function from."""
    from labkit.tensorrt import flavours

    targets = {f"SM{number}": number for number in (75, 80, 86, 89, 120)}
    module = SimpleNamespace(
        __version__=builder["version"], Builder=object, ComputeCapability=SimpleNamespace(__members__=targets)
    )
    is_full = builder["name"] == "tensorrt"
    stand_ins: dict[str, Any] = {
        "find_spec": lambda name: is_full,
        "hardware": SimpleNamespace(tier=lambda: "gpu" if is_full else "cpu"),
        "_imported": lambda name: module,
        "_device": lambda: builder["device"],
    }
    try:
        with mock.patch.multiple(flavours, **stand_ins):
            flavours.flavour.cache_clear()
            yield
    finally:
        flavours.flavour.cache_clear()


@contextlib.contextmanager
def _process(number: int) -> Iterator[None]:
    """Another process, as far as a key may notice: Python salts the hashes of strings anew in each."""
    if number == 0:
        yield
        return
    salted = builtins.hash

    def other_hash(value: Any) -> int:
        return salted(value) ^ 0x5DEECE66D

    with mock.patch.object(builtins, "hash", other_hash):
        yield
