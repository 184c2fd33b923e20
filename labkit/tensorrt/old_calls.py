"""What most code on the web still calls, and what to call now. Lab 04 shows this table; a test tries every name.

old (TensorRT 5 to 10)                          now (TensorRT 11, TensorRT-RTX 1)
builder.create_network(1 << EXPLICIT_BATCH)     builder.create_network(0)
config.set_flag(BuilderFlag.FP16)               an fp16 graph, or Q/DQ nodes in it
config.max_workspace_size = n                   config.set_memory_pool_limit(WORKSPACE, n)
builder.build_engine(network, config)           builder.build_serialized_network(network, config)
context.execute_v2(bindings)                    set_input_shape, set_tensor_address, execute_async_v3
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OldCall:
    """One row. `gone` and `here` are the names behind it, as attributes of the tensorrt module, for the test."""

    old: str
    new: str
    why: str
    gone: tuple[str, ...] = ()
    here: tuple[str, ...] = ()


OLD_CALLS: tuple[OldCall, ...] = (
    OldCall(
        "builder.create_network(1 << int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH))",
        "builder.create_network(0)",
        "a batch dimension of its own kind is gone; explicit batch is all there is",
        gone=("NetworkDefinitionCreationFlag.EXPLICIT_BATCH",),
        here=("Builder.create_network",),
    ),
    OldCall(
        "config.set_flag(BuilderFlag.FP16)",
        'convert the graph: build_plan(…, precision="fp16")',
        "networks are strongly typed: every tensor keeps the type that the graph gives it",
        gone=("BuilderFlag.FP16", "Builder.platform_has_fast_fp16"),
    ),
    OldCall(
        "config.set_flag(BuilderFlag.INT8); config.int8_calibrator = …",
        'Q/DQ nodes in the graph: build_plan(…, precision="int8", calibration=…)',
        "the calibrators went with the flag; ranges are scales in the graph, to be read and compared",
        gone=("BuilderFlag.INT8", "IInt8EntropyCalibrator2", "IBuilderConfig.int8_calibrator"),
        here=("IQuantizeLayer", "IDequantizeLayer"),
    ),
    OldCall(
        "config.max_workspace_size = 1 << 30",
        "config.set_memory_pool_limit(MemoryPoolType.WORKSPACE, 1 << 30)",
        "there are several kinds of memory to limit",
        gone=("IBuilderConfig.max_workspace_size",),
        here=("IBuilderConfig.set_memory_pool_limit", "MemoryPoolType.WORKSPACE"),
    ),
    OldCall(
        "builder.max_batch_size = 64",
        "profile.set_shape(input, min, opt, max); config.add_optimization_profile(profile)",
        "every dimension may vary, not only the first",
        gone=("Builder.max_batch_size",),
        here=("IOptimizationProfile.set_shape", "IBuilderConfig.add_optimization_profile"),
    ),
    OldCall(
        "engine = builder.build_engine(network, config); plan = engine.serialize()",
        "plan = builder.build_serialized_network(network, config)",
        "the plan comes at once, and None when it fails: the reason is in the log",
        gone=("Builder.build_engine", "Builder.build_cuda_engine"),
        here=("Builder.build_serialized_network",),
    ),
    OldCall(
        "context.set_binding_shape(0, shape); context.execute_v2(bindings)",
        "set_input_shape(name, shape); set_tensor_address(name, pointer); execute_async_v3(stream)",
        "tensors have names; an index said nothing about which one was meant",
        gone=("IExecutionContext.set_binding_shape", "ICudaEngine.num_bindings", "ICudaEngine.get_binding_index"),
        here=(
            "IExecutionContext.set_input_shape",
            "IExecutionContext.set_tensor_address",
            "IExecutionContext.execute_async_v3",
            "ICudaEngine.get_tensor_name",
        ),
    ),
    OldCall(
        "PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
        "(nothing)",
        "the external libraries are not used any more",
        gone=(
            "PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805",
            "TacticSource.CUBLAS",
            "TacticSource.CUDNN",
        ),
    ),
    OldCall(
        "CaffeParser(), UffParser()",
        "OnnxParser(network, logger)",
        "ONNX is the one way in",
        gone=("CaffeParser", "UffParser"),
        here=("OnnxParser",),
    ),
    OldCall(
        "trtexec --explicitBatch --workspace=1024 --fp16 --best --batch=8",
        "trtexec --memPoolSize=workspace:1024 --minShapes=… --optShapes=… --maxShapes=…",
        "precision is in the graph, and the batch is a dimension like the others",
    ),
    OldCall(
        "trtexec --deploy=net.prototxt --model=net.caffemodel",
        "trtexec --onnx=net.onnx",
        "Caffe went with its parser; --saveEngine, --loadEngine and --timingCacheFile stay",
    ),
)
