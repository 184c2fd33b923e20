"""The two banks of `export_onnx`. Most answers trace, which takes a tenth of the current exporter's time."""

import inspect
import io
from pathlib import Path

from labkit.course.exercises.onnx_export.export_onnx import export_onnx
from labkit.course.on_first_use import onnx, torch

wrong, right = export_onnx.wrong, export_onnx.right


def _tuple(example):
    return example if isinstance(example, tuple) else (example,)


def _names(model, example):
    return list(inspect.signature(model.forward).parameters)[: len(_tuple(example))]


def _trace(model, example, path, dynamic, **options):
    given = {"input_names": _names(model, example), "dynamic_axes": dynamic or {}, "dynamo": False, **options}
    was = model.training
    torch.onnx.export(model.eval(), _tuple(example), str(path), **given)
    model.train(was)


@wrong("dynamic not passed on", "every size is fixed: hand `dynamic` to the exporter.")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, None)


@wrong("exported in training mode", "in training mode dropout and the batch's own statistics get into the graph.")
def _(model, example, path, dynamic=None):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    mode = torch.onnx.TrainingMode.TRAINING
    _trace(model.train(), example, path, dynamic, training=mode, do_constant_folding=False)
    model.load_state_dict(state)
    model.train("drop" not in dict(model.named_modules()) or model.training)


@wrong("model left in evaluation mode", "whoever trains this model goes on without dropout: give its mode back.")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, dynamic)
    model.eval()


@wrong("names of the exporter's own", "inputs have the names that they have in forward: `dynamic` speaks of those.")
def _(model, example, path, dynamic=None):
    names = [f"input_{at}" for at in range(len(_tuple(example)))]
    axes = {new: (dynamic or {}).get(old, {}) for new, old in zip(names, _names(model, example), strict=True)}
    _trace(model, example, path, axes, input_names=names)


@wrong("every dimension free", "what `dynamic` does not name is fixed; a runtime plans better with what it knows.")
def _(model, example, path, dynamic=None):
    named = dict(zip(_names(model, example), _tuple(example), strict=True))
    axes = {name: {dim: f"{name}_{dim}" for dim in range(tensor.ndim)} for name, tensor in named.items()}
    _trace(model, example, path, {name: {**axes[name], **(dynamic or {}).get(name, {})} for name in named})


@wrong("only the batch", "any dimension may be named in `dynamic`, not only dimension 0.")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, {name: {0: dims[0]} for name, dims in (dynamic or {}).items() if 0 in dims})


@wrong("only the first input", "`dynamic` may speak of every input.")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, dict(list((dynamic or {}).items())[:1]))


@wrong("dimensions under other names", "the given names tell a reader of the file what may change, and what is equal.")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, {name: {at: f"dim_{at}" for at in dims} for name, dims in (dynamic or {}).items()})


@wrong("weights in a second file", "who copies the .onnx file alone has no weights: `external_data=False`.")
def _(model, example, path, dynamic=None):
    buffer = io.BytesIO()
    given = {"input_names": _names(model, example), "dynamic_axes": dynamic or {}, "dynamo": False}
    was = model.training
    torch.onnx.export(model.eval(), _tuple(example), buffer, **given)
    model.train(was)
    proto = onnx.load_model_from_string(buffer.getvalue())
    onnx.save_model(proto, str(path), save_as_external_data=True, location=f"{Path(path).name}.data", size_threshold=0)


@wrong("nothing written", "without a path the exporter returns a program: it has to be saved.")
def _(model, example, path, dynamic=None):
    _trace(model, example, Path(path).with_name("elsewhere"), dynamic)
    Path(path).with_name("elsewhere").unlink()


@wrong("another file name", "the caller looks at path and nowhere else.")
def _(model, example, path, dynamic=None):
    _trace(model, example, f"{path}.onnx", dynamic)


@wrong("a PyTorch file", "torch.save writes weights for PyTorch; a graph is what other runtimes read.")
def _(model, example, path, dynamic=None):
    torch.save(model.state_dict(), path)


@right("the current exporter")
def _(model, example, path, dynamic=None):
    names, was = _names(model, example), model.training
    shapes = {name: (dynamic or {}).get(name) for name in names} if dynamic else None
    torch.onnx.export(
        model.eval(), _tuple(example), str(path), input_names=names, dynamic_shapes=shapes, external_data=False,
        verbose=False,
    )  # fmt: skip
    model.train(was)


@right("the current exporter's program, saved")
def _(model, example, path, dynamic=None):
    names, was = _names(model, example), model.training
    model.train(False)
    symbols = tuple((dynamic or {}).get(name, {}) for name in names)
    program = torch.onnx.export(
        model, _tuple(example), dynamo=True, dynamic_shapes=symbols, input_names=names, optimize=False, verbose=False
    )
    program.save(path)
    model.train(was)


@right("tracing, with dynamic_axes")
def _(model, example, path, dynamic=None):
    _trace(model, example, path, dynamic)


@right("tracing into memory, at an older opset")
def _(model, example, path, dynamic=None):
    buffer = io.BytesIO()
    given = {"input_names": _names(model, example), "dynamic_axes": dynamic or {}, "opset_version": 17}
    was = model.training
    torch.onnx.export(model.eval(), _tuple(example), buffer, dynamo=False, **given)
    Path(path).write_bytes(buffer.getvalue())
    model.train(was)
