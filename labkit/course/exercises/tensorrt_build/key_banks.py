"""The banks of plan_key: one right way to list what a plan depends on, with one thing spoiled at a time."""

import base64
import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np

from labkit.course.exercises.tensorrt_build.plan_key import plan_key

DEFAULTS = {"precision": "fp32", "targets": (), "workspace_bytes": None, "calibration": None}


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def _files(path):
    from labkit.onnx_file import model_files

    return [_sha256(file.read_bytes()) for file in model_files(path)]


def _shapes(profile):
    return {name: [[int(size) for size in shape] for shape in shapes] for name, shapes in profile.items()}


def _calibration(batches):
    return [
        [[name, _sha256(np.ascontiguousarray(array).tobytes())] for name, array in sorted(batch.items())]
        for batch in batches or ()
    ]


def _options(options):
    given = {**DEFAULTS, **options}
    workspace = given["workspace_bytes"]
    return {
        "precision": given["precision"],
        "targets": sorted(given["targets"]),
        "workspace_bytes": None if workspace is None else int(workspace),
        "calibration": _calibration(given["calibration"]),
    }


def _builder():
    from labkit.tensorrt import flavour

    builder = flavour()
    return [builder.name, builder.version, builder.device]


def _key(path, profile, options, *, model=_files, shapes=_shapes, chosen=_options, builder=_builder):
    parts = [model(path), shapes(profile), chosen(options), builder()]
    return _sha256(json.dumps(parts, sort_keys=True).encode())


def _without(*names):
    return lambda options: {name: value for name, value in _options(options).items() if name not in names}


# --- the model ----------------------------------------------------------------------------------------------


@plan_key.wrong("path for a key", "the same path holds other weights after the next training: hash the bytes.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=str)


@plan_key.wrong("path beside the bytes", "a model that was moved is still the same model: leave its path out.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: [str(path), _files(path)])


@plan_key.wrong("file name beside the bytes", "a model that was renamed is still the same model: leave its name out.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: [Path(path).name, _files(path)])


@plan_key.wrong("size and time for a key", "a copy can keep the time, and a weight can change without the size.")
def _(onnx_path, profile, **options):
    def model(path):
        return [os.stat(path).st_size, os.stat(path).st_mtime_ns]

    return _key(onnx_path, profile, options, model=model)


@plan_key.wrong(
    "time beside the bytes", "a file that was copied or checked out again has another time, not other bytes."
)
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: [os.stat(path).st_mtime_ns, _files(path)])


@plan_key.wrong("size for a key", "trained once more, a model has the same size and other weights.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: os.stat(path).st_size)


@plan_key.wrong("weights outside forgotten", "large weights lie in files beside the .onnx: follow them (model_files).")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: _sha256(Path(path).read_bytes()))


@plan_key.wrong("only the first weight file", "a model may keep its weights in several files: hash them all.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: _files(path)[:2])


@plan_key.wrong("the beginning of each file", "a weight near the end of the file counts as much as the first one.")
def _(onnx_path, profile, **options):
    from labkit.onnx_file import model_files

    def model(path):
        return [_sha256(file.read_bytes()[:1024]) for file in model_files(path)]

    return _key(onnx_path, profile, options, model=model)


@plan_key.wrong("files in any order", "which weights lie in which file matters: keep the files in the model's order.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, model=lambda path: sorted(_files(path)))


@plan_key.wrong("the whole folder", "files beside the model that it does not refer to change nothing in the plan.")
def _(onnx_path, profile, **options):
    def model(path):
        return [_sha256(file.read_bytes()) for file in sorted(Path(path).absolute().parent.iterdir())]

    return _key(onnx_path, profile, options, model=model)


# --- the profile --------------------------------------------------------------------------------------------


@plan_key.wrong("profile forgotten", "every shape of the profile changes the plan.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, shapes=lambda profile: None)


@plan_key.wrong("opt forgotten", "a plan tuned for another opt is another plan, with the same min and max.")
def _(onnx_path, profile, **options):
    return _key(
        onnx_path,
        profile,
        options,
        shapes=lambda profile: {name: [shapes[0], shapes[2]] for name, shapes in _shapes(profile).items()},
    )


@plan_key.wrong("opt alone", "min and max decide which shapes the plan serves at all.")
def _(onnx_path, profile, **options):
    return _key(
        onnx_path,
        profile,
        options,
        shapes=lambda profile: {name: shapes[1] for name, shapes in _shapes(profile).items()},
    )


@plan_key.wrong("batch sizes alone", "any dimension of a shape can be dynamic, not only the first.")
def _(onnx_path, profile, **options):
    def shapes(profile):
        return {name: [shape[0] for shape in shapes] for name, shapes in _shapes(profile).items()}

    return _key(onnx_path, profile, options, shapes=shapes)


@plan_key.wrong("input names forgotten", "the same shapes for another input are another profile.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, shapes=lambda profile: [v for _, v in sorted(_shapes(profile).items())])


@plan_key.wrong("shapes sorted without their names", "which input has which shapes must stay in the key.")
def _(onnx_path, profile, **options):
    def shapes(profile):
        return [sorted(profile), sorted(_shapes(profile).values())]

    return _key(onnx_path, profile, options, shapes=shapes)


@plan_key.wrong("digits run together", "(1, 12) and (11, 2) have the same digits: put something between the sizes.")
def _(onnx_path, profile, **options):
    def shapes(profile):
        return {name: ["".join(map(str, shape)) for shape in shapes] for name, shapes in _shapes(profile).items()}

    return _key(onnx_path, profile, options, shapes=shapes)


@plan_key.wrong(
    "repr of the profile", "repr shows lists, tuples, NumPy's integers and the dict's order: convert first."
)
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, shapes=repr)


@plan_key.wrong("inputs in the caller's order", "a dict remembers the order of writing, the plan does not: sort it.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, shapes=lambda profile: list(_shapes(profile).items()))


@plan_key.wrong("NumPy's integers as text", "np.int64(8) and 8 are the same size: int() first.")
def _(onnx_path, profile, **options):
    def shapes(profile):
        return {name: [[repr(size) for size in shape] for shape in shapes] for name, shapes in profile.items()}

    return _key(onnx_path, profile, options, shapes=shapes)


@plan_key.wrong("lists are not tuples", "a shape in a list is the same shape: bring both into one form.")
def _(onnx_path, profile, **options):
    def shapes(profile):
        return {name: repr([type(shape)(map(int, shape)) for shape in shapes]) for name, shapes in profile.items()}

    return _key(onnx_path, profile, options, shapes=shapes)


# --- the options --------------------------------------------------------------------------------------------


@plan_key.wrong("options forgotten", "precision, targets, workspace and calibration each change the plan.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=lambda options: None)


@plan_key.wrong("precision forgotten", "the same model in fp16 or int8 is another graph, and so another plan.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=_without("precision"))


@plan_key.wrong("targets forgotten", "a plan runs only on the GPUs that it was built for.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=_without("targets"))


@plan_key.wrong("workspace forgotten", "with less scratch memory the builder chooses other kernels.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=_without("workspace_bytes"))


@plan_key.wrong("calibration forgotten", "the ranges of int8 come from the calibration data: hash its bytes.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=_without("calibration"))


@plan_key.wrong("workspace in MiB", "another limit by one byte is another request: keep the bytes.")
def _(onnx_path, profile, **options):
    def chosen(options):
        found = _options(options)
        return {**found, "workspace_bytes": found["workspace_bytes"] and found["workspace_bytes"] // 2**20}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("workspace as text", "repr(np.int64(8)) is not repr(8): int() first.")
def _(onnx_path, profile, **options):
    def chosen(options):
        return {**_options(options), "workspace_bytes": repr(options.get("workspace_bytes"))}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("repr of an array", "NumPy prints only the corners of a large array: hash its bytes.")
def _(onnx_path, profile, **options):
    def chosen(options):
        data = [
            sorted((name, repr(array)) for name, array in batch.items()) for batch in options.get("calibration") or ()
        ]
        return {**_options(options), "calibration": data}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("calibration by identity", "the same numbers in another array are the same data: hash the bytes.")
def _(onnx_path, profile, **options):
    def chosen(options):
        return {**_options(options), "calibration": id(options.get("calibration")) if "calibration" in options else 0}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("targets in the caller's order", "the targets are a set: sort them.")
def _(onnx_path, profile, **options):
    def chosen(options):
        return {**_options(options), "targets": list(options.get("targets", ()))}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("the first target alone", "each further target adds its own kernels to the plan.")
def _(onnx_path, profile, **options):
    def chosen(options):
        return {**_options(options), "targets": _options(options)["targets"][:1]}

    return _key(onnx_path, profile, options, chosen=chosen)


@plan_key.wrong("options in the caller's order", "the order of keywords says nothing: sort them.")
def _(onnx_path, profile, **options):
    def chosen(options):
        return [[name, _options(options)[name]] for name in [*options, *sorted(set(DEFAULTS) - set(options))]]

    return _key(onnx_path, profile, {**options}, chosen=chosen)


@plan_key.wrong("defaults not filled in", "a default that is written out is the same request: fill in all of them.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, chosen=lambda options: {name: _options(options)[name] for name in options})


# --- the builder, and the key itself ------------------------------------------------------------------------


@plan_key.wrong("builder forgotten", "a plan of another TensorRT, or for another GPU, cannot be loaded.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, builder=lambda: None)


@plan_key.wrong("version forgotten", "after an update of TensorRT the plans of the old one cannot be loaded.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, builder=lambda: [_builder()[0], _builder()[2]])


@plan_key.wrong("flavour forgotten", "TensorRT and TensorRT-RTX do not read each other's plans.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, builder=lambda: _builder()[1:])


@plan_key.wrong("GPU forgotten", "full TensorRT builds for the GPU that it finds: flavour().device says which.")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options, builder=lambda: _builder()[:2])


@plan_key.wrong("Python's hash", "Python salts the hashes of strings anew in each process: use hashlib.")
def _(onnx_path, profile, **options):
    return f"{hash(_key(onnx_path, profile, options)) % 2**64:x}"


_counter = itertools.count()


@plan_key.wrong("a new key each time", "a random or counted name is never found again.")
def _(onnx_path, profile, **options):
    return f"plan{next(_counter)}"


@plan_key.wrong("one key for all", "every request would be served the first plan.")
def _(onnx_path, profile, **options):
    return "plan"


@plan_key.wrong("bytes for a key", "a file name is a str: hexdigest() instead of digest().")
def _(onnx_path, profile, **options):
    return bytes.fromhex(_key(onnx_path, profile, options))


# --- right ones ---------------------------------------------------------------------------------------------


@plan_key.right("JSON, hashed")
def _(onnx_path, profile, **options):
    return _key(onnx_path, profile, options)


@plan_key.right("one hash, fed piece by piece")
def _(onnx_path, profile, precision="fp32", targets=(), workspace_bytes=None, calibration=None):
    from labkit.onnx_file import model_files
    from labkit.tensorrt import flavour

    digest = hashlib.blake2b(digest_size=20)

    def feed(what, content):
        digest.update(f"{what} {len(content)}\n".encode() + content)

    for file in model_files(onnx_path):
        feed("file", file.read_bytes())
    for name in sorted(profile):
        feed("input", name.encode())
        for shape in profile[name]:
            feed("shape", ",".join(str(int(size)) for size in shape).encode())
    feed("precision", precision.encode())
    feed("targets", " ".join(sorted(set(targets))).encode())
    feed("workspace", b"" if workspace_bytes is None else str(int(workspace_bytes)).encode())
    for batch in calibration or []:
        for name in sorted(batch):
            feed(f"{name} {batch[name].dtype} {batch[name].shape}", batch[name].tobytes())
    feed("builder", f"{flavour()} {flavour().device}".encode())
    return base64.b32encode(digest.digest()).decode().lower()


@plan_key.right("weights read with onnx, external data followed by it")
def _(onnx_path, profile, **options):
    import onnx

    def model(path):
        return _sha256(onnx.load(path).SerializeToString(deterministic=True))

    return "plan-" + _key(onnx_path, profile, options, model=model)[:32]


@plan_key.right("tuples in one form, by repr")
def _(onnx_path, profile, **options):
    from labkit.onnx_file import model_files
    from labkit.tensorrt import flavour

    known = {**DEFAULTS, **options}
    shapes = tuple(sorted((name, *(tuple(map(int, shape)) for shape in bounds)) for name, bounds in profile.items()))
    data = tuple(tuple(sorted((name, array.tobytes()) for name, array in batch.items()))
                 for batch in known["calibration"] or ())  # fmt: skip
    memory = known["workspace_bytes"]
    form = (
        tuple(file.read_bytes() for file in model_files(onnx_path)),
        shapes,
        known["precision"],
        tuple(sorted(known["targets"])),
        memory if memory is None else int(memory),
        data,
        flavour().name,
        flavour().version,
        tuple(sorted((flavour().device or {}).items())),
    )
    return hashlib.sha1(repr(form).encode()).hexdigest()
