"""torch, imported when something of it is used: declaring a lab, and showing its cards, need not wait for it."""

from importlib import import_module
from typing import Any


class OnFirstUse:
    """Stands for a module until an attribute of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


torch: Any = OnFirstUse("torch")
F: Any = OnFirstUse("torch.nn.functional")
distill: Any = OnFirstUse("labkit.distill")
