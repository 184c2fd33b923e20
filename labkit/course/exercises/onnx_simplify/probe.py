"""What runs beside an answer: it makes the model of a case, calls the answer, and hands bytes back. No oracle here."""

from typing import Any

import onnx


def probe_pass(candidate: Any, case: Any) -> dict[str, Any]:
    """{"model": bytes of what came, "same": it is the argument itself, "changed": the argument was changed}."""
    model = onnx.load_model_from_string(case.args[0])
    before = model.SerializeToString(deterministic=True)
    result = candidate(model)
    changed = model.SerializeToString(deterministic=True) != before
    if not isinstance(result, onnx.ModelProto):
        return {"type": type(result).__name__, "changed": changed}
    return {"model": result.SerializeToString(deterministic=True), "same": result is model, "changed": changed}


def probe_count(candidate: Any, case: Any) -> dict[str, Any]:
    """{"value": what came, "changed": the argument was changed}."""
    model = onnx.load_model_from_string(case.args[0])
    before = model.SerializeToString(deterministic=True)
    value = candidate(model)
    return {"value": value, "changed": model.SerializeToString(deterministic=True) != before}
