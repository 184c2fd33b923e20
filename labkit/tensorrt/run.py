"""Running and timing a plan. Tier gpu: deserializing a plan already needs a GPU and its driver.

NOT VERIFIED ON A GPU YET. This was written against the API of TensorRT-RTX 1.7 on machines that have none; its
tests drive it with a stand-in for the runtime. The first run on a GPU should compare `run` with ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit import hardware
from labkit.measure import Timing
from labkit.tensorrt.build_log import BuildLog
from labkit.tensorrt.errors import GpuMissing
from labkit.tensorrt.flavours import Flavour, flavour

if TYPE_CHECKING:
    import numpy as np
    import torch

WOULD_SHOW = (
    "its outputs beside ONNX Runtime's, and the milliseconds of a call between two CUDA events, "
    "at the smallest, the tuned and the largest shape of its profile"
)


class PlanRunner:
    """A plan that is loaded on the GPU: made once, called often. Raises GpuMissing where there is none.

    runner = PlanRunner(plan)
    outputs = runner.run({"x": x})       # NumPy in, NumPy out
    print(runner.time({"x": x}))         # median, smallest, largest
    """

    def __init__(self, plan: bytes) -> None:
        if hardware.tier() != "gpu":
            raise GpuMissing(f"running a plan needs an NVIDIA GPU, and there is none here; with one: {WOULD_SHOW}")
        self._load(plan, flavour(), "cuda")

    def _load(self, plan: bytes, builder: Flavour, device: str) -> None:
        self._trt = builder.trt
        self._device = device
        self._log = BuildLog(self._trt)
        self._runtime = self._trt.Runtime(self._log.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ValueError(f"{builder} cannot load this plan: {' '.join(self._log.reasons())}")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        is_input = {name: self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT for name in names}
        self.inputs = tuple(name for name in names if is_input[name])
        self.outputs = tuple(name for name in names if not is_input[name])

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call. Raises ValueError for missing inputs and for shapes outside the plan's profile."""
        import torch

        buffers = self._bind(inputs)
        stream = torch.cuda.current_stream().cuda_stream if self._device == "cuda" else 0
        self._launch(stream)
        # The copy to the CPU waits for the stream.
        return {name: buffers[name].cpu().numpy() for name in self.outputs}

    def time(self, inputs: Mapping[str, np.ndarray], repeats: int = 50, warmup: int = 10) -> Timing:
        """Milliseconds of a call on the GPU, copies to and from it not included, by CUDA events."""
        import torch

        buffers = self._bind(inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())  # the inputs are still on their way there
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
        with torch.cuda.stream(stream):
            for _ in range(warmup):
                self._launch(stream.cuda_stream)
            for start, end in events:
                start.record(stream)
                self._launch(stream.cuda_stream)
                end.record(stream)
        stream.synchronize()
        del buffers  # kept until now: the GPU was writing to them
        return Timing(tuple(start.elapsed_time(end) for start, end in events))

    def _bind(self, inputs: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Puts the inputs on the device and room for the outputs beside them; the caller keeps both alive."""
        import numpy as np
        import torch

        if set(inputs) != set(self.inputs):
            raise ValueError(f"the plan takes {sorted(self.inputs)}, got {sorted(inputs)}")
        buffers = {}
        for name in self.inputs:
            array = np.ascontiguousarray(inputs[name], self._dtype(name))
            if not self._context.set_input_shape(name, array.shape):
                raise ValueError(f"input {name!r} of shape {array.shape} is outside the plan's profile")
            buffers[name] = torch.from_numpy(array).to(self._device)
        for name in self.outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise ValueError(f"the shape of output {name!r} depends on the data, which is not supported")
            buffers[name] = torch.from_numpy(np.empty(shape, self._dtype(name))).to(self._device)
        for name, buffer in buffers.items():
            self._context.set_tensor_address(name, buffer.data_ptr())
        return buffers

    def _dtype(self, name: str) -> Any:
        return self._trt.nptype(self._engine.get_tensor_dtype(name))

    def _launch(self, stream: int) -> None:
        if not self._context.execute_async_v3(stream):
            raise RuntimeError(f"the plan could not be run: {' '.join(self._log.reasons())}")
