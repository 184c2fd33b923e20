"""The current exporter's table of operators, built once for a process.

`torch.onnx.export` reads the source of some five hundred functions anew for each model, which takes a second: half of
the time of a small export.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_tables: dict[str, Any] = {}


@contextmanager
def kept_tables() -> Iterator[None]:
    """Within it an export takes the table that an earlier one built, if it asks for the same opset.

    The table is private to PyTorch: where it is kept elsewhere, all works as well, and takes longer.
    """
    try:
        from torch.onnx._internal.exporter import _registration

        registry: Any = _registration.ONNXRegistry
        original = registry.__dict__["from_torchlib"]
    except (ImportError, KeyError):
        yield
        return

    def kept(cls: Any, *args: Any, **kwargs: Any) -> Any:
        key = repr((args, kwargs))
        if key not in _tables:
            _tables[key] = original.__func__(cls, *args, **kwargs)
        return _tables[key]

    registry.from_torchlib = classmethod(kept)
    try:
        yield
    finally:
        registry.from_torchlib = original
