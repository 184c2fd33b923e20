"""Running a plan needs a GPU. Here: the sentence without one, and the order of the calls, with a stand-in runtime.

The stand-in keeps TensorRT's rules (shapes before addresses, every tensor has one) and doubles its input on the CPU.
"""

import ctypes
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import labkit.tensorrt as lt
from labkit import hardware
from labkit.tensorrt.run import PlanRunner


@pytest.mark.skipif(hardware.tier() == "gpu", reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_would_show():
    with pytest.raises(lt.GpuMissing, match=r"needs an NVIDIA GPU, and there is none here; with one: .* CUDA events"):
        PlanRunner(b"plan")


class Context:
    def __init__(self):
        self.shape, self.addresses = None, {}

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape) if shape[0] <= 4 else self.shape
        return shape[0] <= 4

    def get_tensor_shape(self, name):
        assert self.shape, "asked for an output's shape before the input's was set"
        return self.shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert set(self.addresses) == {"x", "y"}
        count = int(np.prod(self.shape))
        source, target = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in "xy")
        for index in range(count):
            target[index] = 2 * source[index]
        return True


class Engine:
    num_io_tensors = 2
    create_execution_context = staticmethod(Context)
    get_tensor_name = staticmethod(lambda index: "xy"[index])
    get_tensor_mode = staticmethod(lambda name: {"x": "in", "y": "out"}[name])
    get_tensor_dtype = staticmethod(lambda name: "float")


class Base:
    def __init__(self):
        pass


def stand_in(engine):
    trt = ModuleType("trt")
    trt.ILogger = trt.IErrorRecorder = Base
    trt.TensorIOMode = SimpleNamespace(INPUT="in")
    trt.nptype = lambda dtype: np.float32
    trt.Runtime = lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: engine)
    return lt.Flavour("tensorrt_rtx", "0", None, trt)


@pytest.fixture
def runner():
    runner = PlanRunner.__new__(PlanRunner)
    runner._load(b"plan", stand_in(Engine), "cpu")
    return runner


def test_arrays_go_in_and_come_out_by_name(runner):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert runner.inputs == ("x",)
    np.testing.assert_array_equal(runner.run({"x": x})["y"], 2 * x)
    np.testing.assert_array_equal(
        runner.run({"x": x[:1].astype(np.float64)})["y"], 2 * x[:1]
    )  # another shape and dtype


def test_wrong_inputs_are_refused(runner):
    with pytest.raises(ValueError, match=r"the plan takes \['x'\], got \['input'\]"):
        runner.run({"input": np.ones((1, 3))})
    with pytest.raises(ValueError, match=r"input 'x' of shape \(5, 3\) is outside the plan's profile"):
        runner.run({"x": np.ones((5, 3))})


def test_a_plan_that_cannot_be_loaded_is_refused():
    with pytest.raises(ValueError, match="tensorrt_rtx 0 cannot load this plan"):
        PlanRunner.__new__(PlanRunner)._load(b"plan", stand_in(None), "cpu")
