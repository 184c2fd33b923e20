"""Heavy libraries, imported when something of them is used: declaring a lab and showing its cards need not wait."""

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
F: Any = OnFirstUse("torch.nn.functional")
onnx: Any = OnFirstUse("onnx")
ort: Any = OnFirstUse("onnxruntime")
