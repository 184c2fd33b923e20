"""Which TensorRT builds here: full TensorRT on a machine with a GPU, else TensorRT-RTX, which needs none.

Both have one API. Full TensorRT builds for the GPU that it runs on and times kernels there; TensorRT-RTX builds
ahead of time for the compute capabilities that it is told, and finishes at run time.
"""

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from labkit import hardware
from labkit.tensorrt.errors import TensorrtMissing


@dataclass(frozen=True)
class Flavour:
    """A TensorRT that is installed here. `device` is what its plans are bound to; None: to no one GPU."""

    name: str  # "tensorrt" or "tensorrt_rtx"
    version: str
    device: dict[str, Any] | None = None
    trt: Any = field(default=None, compare=False, repr=False)  # the imported module

    @property
    def known_targets(self) -> tuple[str, ...]:
        """Compute capabilities that a plan can be built for, like ("SM75", "SM80", …); () in full TensorRT."""
        if self.name != "tensorrt_rtx":
            return ()
        return tuple(name for name in self.trt.ComputeCapability.__members__ if name.startswith("SM"))

    @property
    def network_flags(self) -> int:
        """What create_network is given: 0, except before TensorRT 11, where strong typing was still a choice."""
        if self.name == "tensorrt" and int(self.version.split(".")[0]) < 11:
            return 1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return 0

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@cache
def flavour() -> Flavour:
    """The TensorRT to build with: `tensorrt` where it is installed and a GPU is there, else `tensorrt_rtx`.

    Raises TensorrtMissing when neither can be imported.
    """
    if find_spec("tensorrt") and hardware.tier() == "gpu":
        module = _imported("tensorrt")
        if module is not None:
            return Flavour("tensorrt", module.__version__, _device(), module)
    module = _imported("tensorrt_rtx")
    if module is None:
        raise TensorrtMissing(
            "plans are built by TensorRT, and none is installed: `pip install tensorrt-rtx` (Linux and Windows, "
            "no GPU needed) is enough for all but running them"
        )
    return Flavour("tensorrt_rtx", module.__version__, None, module)


def _imported(name: str) -> ModuleType | None:
    # OSError: the wheel is there and one of its libraries is not. No Builder: a folder of that name, or the stub.
    try:
        module = import_module(name)
    except (ImportError, OSError):
        return None
    return module if hasattr(module, "Builder") else None


def _device() -> dict[str, Any]:
    """What a plan of full TensorRT is bound to. GPUs of one name differ in memory and in processors switched on."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "capability": f"SM{properties.major}{properties.minor}",
        "num_processors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
    }
