"""A plan from an ONNX file: parse, profile, build, and one exception with the reasons when that fails."""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, Unpack

from labkit.tensorrt.build_log import BuildLog, parser_reasons
from labkit.tensorrt.errors import BuildError, BuildWarning
from labkit.tensorrt.flavours import Flavour
from labkit.tensorrt.model import read_model
from labkit.tensorrt.options import PlanOptions
from labkit.tensorrt.precision import converted
from labkit.tensorrt.profile import Profile, profile_example
from labkit.tensorrt.progress import BuildProgress, OnProgress, progress_monitor
from labkit.tensorrt.request import PlanRequest

# One build at a time in a process: TensorRT keeps one log and leftovers of the last compilation per process.
_BUILDING = Lock()


def build_plan(
    onnx_path: str | Path,
    profile: Profile | None = None,
    *,
    on_progress: OnProgress | None = None,
    **options: Unpack[PlanOptions],
) -> bytes:
    """The serialized plan of a model: bytes to be kept, and deserialized on a machine with a GPU.

    profile: {input: (min, opt, max)}, one entry per dynamic input; the plan serves every shape from min to max and
    is tuned for opt. Options: see PlanOptions. on_progress is called in the caller's thread; what it raises, and
    Ctrl-C, ends the build. The same request gives the same bytes (in TensorRT-RTX; full TensorRT times kernels).

        plan = build_plan("net.onnx", {"x": ((1, 3, 32, 32), (8, 3, 32, 32), (64, 3, 32, 32))})

    Raises BuildError, with the builder's reasons and what to try; warns with BuildWarning of shapes that the plan
    does not serve although the profile has them.
    """
    built = build(PlanRequest.of(onnx_path, profile, **options), on_progress)
    for warning in built.warnings:
        warnings.warn(warning, BuildWarning, stacklevel=2)
    return built.plan


class Built(NamedTuple):
    """A plan, and what the builder warned of: shapes of the profile that the plan does not serve after all."""

    plan: bytes
    warnings: tuple[str, ...] = ()


def build(request: PlanRequest, on_progress: OnProgress | None = None) -> Built:
    """The same for a request that has been read already; warnings are returned, not given."""
    content, cancelled = _graph(request), Event()
    built = _watched(lambda report: _build(request, content, report, cancelled), on_progress, cancelled)
    now = read_model(request.model.path)
    if (now.graph_sha256, now.weights_sha256) != (request.model.graph_sha256, request.model.weights_sha256):
        raise BuildError(
            f"from {request.model.name}",
            ["the model was written to while its plan was being built: ask again."],
        )
    return built


def _graph(request: PlanRequest) -> bytes:
    """The bytes to parse: those that were hashed, or what became of them, weights included."""
    if request.options.precision == "fp32":
        return request.model.content
    model = converted(request.model, request.options.precision, request.options.calibration)
    return model.SerializeToString(deterministic=True)


def _watched(build: Callable[[OnProgress], Built], on_progress: OnProgress | None, cancelled: Event) -> Built:
    """Runs a build in a thread of its own, so that Ctrl-C and on_progress act in the caller's."""
    moments: SimpleQueue[BuildProgress | None] = SimpleQueue()
    outcome: list[Built | BaseException] = []

    def work() -> None:
        try:
            outcome.append(build(moments.put))
        except BaseException as error:
            outcome.append(error)
        finally:
            moments.put(None)

    worker = Thread(target=work, name="labkit-build", daemon=True)
    worker.start()
    try:
        while moment := moments.get():
            if on_progress is not None:
                on_progress(moment)
    except BaseException:
        cancelled.set()
        raise
    finally:
        worker.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _build(request: PlanRequest, content: bytes, report: OnProgress, cancelled: Event) -> Built:
    """Builds with nothing of TensorRT's left when it returns or raises.

    Freeing one of its objects waits for a lock that it holds while it calls back, so an object that is freed from
    within a callback, or by another thread that holds the interpreter, stops the process for good. An exception
    would keep them in the frames of its traceback, for the garbage collector to free at such a moment.
    """
    with _BUILDING, _garbage_collection_paused():
        try:
            return _compiled(request, content, report, cancelled)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise


def _compiled(request: PlanRequest, content: bytes, report: OnProgress, cancelled: Event) -> Built:
    trt = request.flavour.trt
    log = BuildLog(trt)
    monitor = progress_monitor(trt, report, cancelled)
    builder = trt.Builder(log.logger)
    network = builder.create_network(request.flavour.network_flags)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(content, str(request.model.path.absolute())):
        raise BuildError(f"from {request.model.name}", parser_reasons(parser) or log.reasons(), log.lines)
    with log.attached_to(builder):
        config = _config(request, builder, network, log)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        config.progress_monitor = None
    if plan is None:
        _flush(request.flavour)
        raise _refused(request, log)
    return Built(bytes(plan), log.warnings())


def _refused(request: PlanRequest, log: BuildLog) -> BuildError:
    return BuildError(f"from {request.model.name}", log.reasons(), log.lines, profile_example(request.model))


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Other people's garbage may hold objects of TensorRT's too."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _config(request: PlanRequest, builder: Any, network: Any, log: BuildLog) -> Any:
    trt = request.flavour.trt
    config = builder.create_builder_config()
    if request.options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.options.workspace_bytes)
    if request.options.targets:
        config.num_compute_capabilities = len(request.options.targets)
        for index, target in enumerate(request.options.targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target), index)
    if request.profile and config.add_optimization_profile(_profile(request, builder, network)) < 0:
        raise _refused(request, log)
    return config


def _profile(request: PlanRequest, builder: Any, network: Any) -> Any:
    profile = builder.create_optimization_profile()
    inputs = (network.get_input(index) for index in range(network.num_inputs))
    takes_values = {each.name for each in inputs if each.is_shape_tensor}
    for name, (low, opt, high) in request.profile.items():
        bound = profile.set_shape_input if name in takes_values else profile.set_shape
        try:
            bound(name, low, opt, high)
        except RuntimeError as error:  # of the bindings, for sizes of 2^31 and more
            raise BuildError(f"from {request.model.name}", [f"profile of {name!r}: {error}"]) from error
    return profile


def _flush(flavour: Flavour) -> None:
    """Builds a network of one layer, so that what a refused build left behind goes into that plan.

    After a compilation for SM75 was refused, TensorRT-RTX 1.7 writes kernels of the refused network into the next
    plan of the same process: 135 KB more, other bytes, for another model. A test sees to it that this helps.
    """
    if flavour.name != "tensorrt_rtx":
        return
    trt = flavour.trt
    builder = trt.Builder(BuildLog(trt).logger)
    network = builder.create_network(flavour.network_flags)
    relu = network.add_activation(network.add_input("x", trt.float32, (1,)), trt.ActivationType.RELU)
    network.mark_output(relu.get_output(0))
    builder.build_serialized_network(network, builder.create_builder_config())
