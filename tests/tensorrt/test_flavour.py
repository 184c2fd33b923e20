"""Which TensorRT is taken, and what is said when there is none."""

from types import SimpleNamespace

import pytest

import labkit.tensorrt as lt
from labkit.tensorrt import flavour as flavour_function
from labkit.tensorrt.flavours import Flavour

MODULE = "labkit.tensorrt.flavours"
DEVICE = {"name": "A", "capability": "SM86"}


@pytest.fixture
def installed(monkeypatch):
    """Decides what can be imported, and whether there is a GPU."""
    flavour_function.cache_clear()

    def install(gpu=False, **modules):
        def import_module(name):
            if name not in modules:
                raise ImportError(name)
            return modules[name]

        monkeypatch.setattr(f"{MODULE}.find_spec", lambda name: modules.get(name))
        monkeypatch.setattr(f"{MODULE}.import_module", import_module)
        monkeypatch.setattr(f"{MODULE}.hardware.tier", lambda: "gpu" if gpu else "cpu")
        monkeypatch.setattr(f"{MODULE}._device", lambda: DEVICE)
        return flavour_function()

    yield install
    flavour_function.cache_clear()


def library(version):
    return SimpleNamespace(__version__=version, Builder=object)


FULL, RTX, STUB = library("11.1.0"), library("1.7.1"), SimpleNamespace()


def test_full_tensorrt_needs_a_gpu(installed):
    assert str(installed(gpu=True, tensorrt=FULL, tensorrt_rtx=RTX)) == "tensorrt 11.1.0"


@pytest.mark.parametrize(
    ("gpu", "modules"),
    [
        (False, {"tensorrt": FULL, "tensorrt_rtx": RTX}),
        (True, {"tensorrt_rtx": RTX}),
        (True, {"tensorrt": STUB, "tensorrt_rtx": RTX}),  # the package index's stub without its libraries
    ],
)
def test_otherwise_it_is_tensorrt_rtx(installed, gpu, modules):
    chosen = installed(gpu=gpu, **modules)
    assert str(chosen) == "tensorrt_rtx 1.7.1"
    assert chosen.device is None


def test_a_plan_of_full_tensorrt_is_bound_to_its_gpu(installed):
    assert installed(gpu=True, tensorrt=FULL).device == DEVICE


def test_with_none_it_says_what_to_install(installed):
    with pytest.raises(lt.TensorrtMissing, match="pip install tensorrt-rtx"):
        installed()


def test_targets_are_those_of_the_installed_tensorrt_rtx():
    assert {"SM75", "SM80", "SM86", "SM89"} <= set(lt.flavour().known_targets)
    assert not {"NONE", "CURRENT"} & set(lt.flavour().known_targets)
    assert Flavour("tensorrt", "11.0", DEVICE, FULL).known_targets == ()


def test_full_tensorrt_takes_no_targets(net, profile, monkeypatch):
    monkeypatch.setattr("labkit.tensorrt.request.flavour", lambda: Flavour("tensorrt", "11.0", DEVICE, FULL))
    with pytest.raises(lt.BuildError, match=r"tensorrt 11.0 builds for the GPU that it runs on"):
        lt.plan_key(net, profile, targets="SM86")


def test_strong_typing_was_a_choice_before_11():
    ten = SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1))
    assert Flavour("tensorrt", "10.9.0", DEVICE, ten).network_flags == 2
    assert Flavour("tensorrt", "11.0.0", DEVICE, ten).network_flags == 0
    assert Flavour("tensorrt_rtx", "1.7.1", None, ten).network_flags == 0


def test_the_module_is_light():
    import subprocess
    import sys

    heavy = ("torch", "onnx", "numpy", "tensorrt_rtx")
    code = f"import labkit.tensorrt, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
