"""torch and ONNX Runtime, imported when something of them is used: a lab's card need not wait for them."""

from importlib import import_module
from typing import Any


class OnFirstUse:
    """Stands for a module until an attribute of it is asked for."""

    __slots__ = ("_name",)  # nothing can be set on it by mistake: that would not reach the module

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


torch: Any = OnFirstUse("torch")
onnx: Any = OnFirstUse("onnx")
ort: Any = OnFirstUse("onnxruntime")
