"""`trtexec_command(onnx_path, plan_path, profile, **options)`: the same build as a command, in today's flags."""

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from labkit.course.compare import Difference, describe_typed
from labkit.course.describe import describe
from labkit.course.exercise import Case
from labkit.course.played import PlayedExercise

# Flags of older versions -> what to write today. Most commands on the web hold some of them.
OLD_FLAGS = {
    "--explicitBatch": "leave it out: explicit batch is all there is",
    "--workspace": "--memPoolSize=workspace:MiB",
    "--fp16": "a converted graph: precision is in the ONNX file",
    "--int8": "a converted graph: precision is in the ONNX file",
    "--best": "a converted graph: precision is in the ONNX file",
    "--batch": "--minShapes, --optShapes, --maxShapes: the batch is a dimension like the others",
    "--maxBatch": "--minShapes, --optShapes, --maxShapes: the batch is a dimension like the others",
    "--deploy": "--onnx: Caffe went with its parser",
    "--model": "--onnx: Caffe went with its parser",
    "--uff": "--onnx: UFF went with its parser",
    "--buildOnly": "--skipInference",
}
BOUNDS = ("min", "opt", "max")
ALSO_ALLOWED = {"--verbose"}
MIB = 2**20


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)
    image = {"x": ((1, 3, 32, 32), (8, 3, 32, 32), (64, 3, 32, 32))}
    low, step = (int(n) for n in rng.integers(1, 9, size=2))
    tokens = {"tokens": ((low, 1), (low + step, 16), (low + 2 * step, 512))}
    small: list[tuple[str, tuple[Any, ...]]] = [
        ("a static model", ("net.onnx", "net.plan", {}, {})),
        ("one input", ("net.onnx", "net.plan", image, {})),
        ("two inputs", ("net.onnx", "net.plan", {**image, "mask": ((1, 1), (8, 1), (64, 1))}, {})),
        ("a name with a colon", ("net.onnx", "net.plan", {"image:0": image["x"]}, {})),
        ("a path with a space", ("my nets/net.onnx", "my plans/net.plan", {}, {})),
        ("1 GiB of workspace", ("net.onnx", "net.plan", {}, {"workspace_bytes": 2**30})),
        ("half a MiB of workspace", ("net.onnx", "net.plan", {}, {"workspace_bytes": 2**19})),
        ("one byte more than a MiB", ("net.onnx", "net.plan", {}, {"workspace_bytes": 2**20 + 1})),
        ("in fp16", ("net.onnx", "net.plan", {}, {"precision": "fp16"})),
        ("in int8, in a folder", ("nets/net.v2.onnx", "net.plan", {}, {"precision": "int8"})),
        ("fp32 written out", ("net.onnx", "net.plan", image, {"precision": "fp32"})),
        ("one target", ("net.onnx", "net.plan", {}, {"targets": ("SM86",)})),
        ("two targets", ("net.onnx", "net.plan", {}, {"targets": ("SM86", "SM120")})),
        ("a vector", ("net.onnx", "net.plan", {"x": ((1,), (8,), (64,))}, {})),
        ("all at once, random", (f"net{seed}.onnx", "out.plan", {**tokens, "a,b": ((2, low), (2, low), (2, low))}, {
            "precision": "fp16", "workspace_bytes": int(rng.integers(1, 2**31)) | 1, "targets": ("SM89",),
        })),
        ("random, whole MiB", ("n.onnx", "o.plan", tokens, {"workspace_bytes": int(rng.integers(2, 4096)) * MIB})),
    ]  # fmt: skip
    return [Case(name, args, ("onnx_path", "plan_path", "profile", "options")) for name, args in small]


def _probe(candidate: Any, case: Case) -> Any:
    onnx_path, plan_path, profile, options = case.args
    return candidate(onnx_path, plan_path, profile, **options)


# --- judging: the command is read back, and must say what was asked for -------------------------------------


def _judge(case: Case, value: Any) -> Difference | None:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(part, str) for part in value):
        return Difference("a list of strings: the tool, then one string for each flag", describe_typed(value))
    wanted = _wanted(*case.args)
    flags: dict[str, str | None] = {}
    for part in value[1:]:
        name, equals, text = part.partition("=")
        if name in OLD_FLAGS:
            return Difference("flags that there still are", f"{part}: gone. Write {OLD_FLAGS[name]}")
        if name not in {*wanted, *_KNOWN}:
            return Difference("flags of the form --name=value", f"{part!r}: no such flag")
        if name in flags:
            return Difference("each flag once", f"{name} twice: the second replaces the first")
        flags[name] = text if equals else None
    return _first_difference(wanted, {"the tool": value[0], **flags})


def _wanted(onnx_path: str, plan_path: str, profile: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Flag -> what it has to mean."""
    source, precision = PurePosixPath(onnx_path), options.get("precision", "fp32")
    suffix = ".onnx" if precision == "fp32" else f".{precision}.onnx"
    wanted: dict[str, Any] = {
        "the tool": "tensorrt_rtx" if options.get("targets") else "trtexec",
        "--onnx": str(source.parent / (source.name.removesuffix(".onnx") + suffix)),
        "--saveEngine": plan_path,
        "--skipInference": None,
    }
    if profile:
        for index, bound in enumerate(BOUNDS):
            wanted[f"--{bound}Shapes"] = {name: tuple(shapes[index]) for name, shapes in profile.items()}
    if options.get("workspace_bytes"):
        wanted["--memPoolSize"] = {"workspace": options["workspace_bytes"]}
    if options.get("targets"):
        wanted["--computeCapabilities"] = sorted(target.removeprefix("SM") for target in options["targets"])
    return wanted


def _first_difference(wanted: dict[str, Any], flags: dict[str, str | None]) -> Difference | None:
    for name, meaning in wanted.items():
        if name not in flags:
            return Difference(f"{name}, meaning {describe(meaning)}" if meaning else name, f"no {name}")
        try:
            came = _READERS.get(name, lambda text: text)(flags[name])
        except ValueError as error:
            return Difference(f"{name}, meaning {describe(meaning)}", f"{name}={flags[name]}: {error}")
        if came != meaning:
            return Difference(f"{name}, meaning {describe(meaning)}", f"{name}={flags[name]}, meaning {describe(came)}")
    if surplus := [name for name in flags if name not in wanted and name not in ALSO_ALLOWED]:
        return Difference(f"no {surplus[0]}: nobody asked for it", f"{surplus[0]}={flags[surplus[0]]}")
    return None


def _seen(case: Case, value: Any) -> Any:
    """What a command says, whatever order and spelling it says it in; what tells one mistake from another."""
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        return value
    return [value[:1], sorted((_meant(part) for part in value[1:]), key=str)]


def _meant(part: str) -> list[Any]:
    name, _, text = part.partition("=")
    try:
        return [name, _READERS.get(name, str)(text)]
    except ValueError:
        return [name, text]


def _read_shapes(text: str | None) -> dict[str, tuple[int, ...]]:
    """trtexec's own reading: items between commas, name:1x3x8, a name with : or , in single quotes."""
    shapes: dict[str, tuple[int, ...]] = {}
    rest = f"{text or ''},"
    while rest:
        match = re.match(r"(?:'([^']+)'|([^':,]+)):(\d+(?:x\d+)*),", rest)
        if match is None:
            raise ValueError(f"cannot be read from {rest.removesuffix(',')!r} on")
        shapes[match[1] or match[2]] = tuple(map(int, match[3].split("x")))
        rest = rest[match.end() :]
    return shapes


def _read_pool(text: str | None) -> dict[str, int]:
    match = re.fullmatch(r"(\w+):(\d+(?:\.\d+)?)([BKMG]?)", text or "")
    if match is None:
        raise ValueError("expected POOL:NUMBER, with B, K, M or G behind the number, or nothing for MiB")
    unit = {"B": 1, "K": 2**10, "M": MIB, "": MIB, "G": 2**30}[match[3]]
    return {match[1]: int(float(match[2]) * unit)}


def _read_targets(text: str | None) -> list[str]:
    targets = (text or "").split(",")
    if not all(target.isdigit() for target in targets):
        raise ValueError("expected numbers like 86,89")
    return sorted(targets)


_READERS: dict[str, Any] = {
    "--minShapes": _read_shapes,
    "--optShapes": _read_shapes,
    "--maxShapes": _read_shapes,
    "--memPoolSize": _read_pool,
    "--computeCapabilities": _read_targets,
}
_KNOWN = {"--onnx", "--saveEngine", "--skipInference", "--shapes", *_READERS, *ALSO_ALLOWED}


trtexec_command = PlayedExercise(
    name="trtexec_command",
    signature="trtexec_command(onnx_path, plan_path, profile, **options)",
    goal="Return the command that builds the same plan, as a list of strings, with flags that exist today.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    seen=_seen,
    hints=(
        "Which part of an option is a flag of the tool, and which part is in the file that the tool reads?",
        "Begin with the tool and three flags that are always there. Each of the other flags stands only when its option"
        " is given. One --minShapes holds all inputs, with commas between them.",
        "tool = 'tensorrt_rtx' if targets else 'trtexec'; then --onnx, --saveEngine, --skipInference; for each bound"
        " '--%sShapes=' + ','.join(name:1x3x8); workspace: f'{n}B' is exact for every number of bytes.",
    ),
    points=3,
    minutes=15,
    difficulty=1,
    num_lines=14,
    names_in_part=True,
)


def _command(onnx_path, plan_path, profile, *, spoil=lambda flags: flags, **options):
    """A right answer, for others to spoil: a dict of flags, joined at the end."""
    flags = {"--onnx": onnx_path, "--saveEngine": str(plan_path), "--skipInference": None}
    if options.get("precision", "fp32") != "fp32":
        flags["--onnx"] = onnx_path.removesuffix("onnx") + options["precision"] + ".onnx"
    if profile:
        for index, bound in enumerate(BOUNDS):
            flags[f"--{bound}Shapes"] = ",".join(_item(name, shapes[index]) for name, shapes in profile.items())
    if options.get("workspace_bytes"):
        flags["--memPoolSize"] = f"workspace:{options['workspace_bytes']}B"
    if options.get("targets"):
        flags["--computeCapabilities"] = ",".join(target[2:] for target in options["targets"])
    tool = "tensorrt_rtx" if options.get("targets") else "trtexec"
    return [tool, *(name if text is None else f"{name}={text}" for name, text in spoil(flags).items())]


def _item(name, shape):
    return f"{_in_quotes(name)}:{'x'.join(map(str, shape))}"


def _in_quotes(name):
    return f"'{name}'" if ":" in name or "," in name else name


@trtexec_command.wrong("one string", "a list of arguments needs no quotes and no shell; a string needs both.")
def _(onnx_path, plan_path, profile, **options):
    return " ".join(_command(onnx_path, plan_path, profile, **options))


@trtexec_command.wrong("flag and value apart", "trtexec wants --name=value in one string, not two.")
def _(onnx_path, plan_path, profile, **options):
    return [part for flag in _command(onnx_path, plan_path, profile, **options) for part in flag.split("=", 1)]


@trtexec_command.wrong("the old workspace flag", "--workspace is gone: there are several pools of memory to limit.")
def _(onnx_path, plan_path, profile, **options):
    command = _command(onnx_path, plan_path, profile, **{**options, "workspace_bytes": None})
    workspace = options.get("workspace_bytes")
    return [*command, f"--workspace={workspace // MIB}"] if workspace else command


@trtexec_command.wrong("a precision flag", "no flag says fp16 or int8 any more: name the converted graph instead.")
def _(onnx_path, plan_path, profile, **options):
    precision = options.pop("precision", "fp32")
    command = _command(onnx_path, plan_path, profile, **options)
    return command if precision == "fp32" else [*command, f"--{precision}"]


@trtexec_command.wrong("the unconverted graph", "precision is in the graph: the command must name the converted file.")
def _(onnx_path, plan_path, profile, **options):
    return _command(onnx_path, plan_path, profile, **{**options, "precision": "fp32"})


@trtexec_command.wrong("the explicit-batch flag", "--explicitBatch is gone: explicit batch is all there is.")
def _(onnx_path, plan_path, profile, **options):
    return [*_command(onnx_path, plan_path, profile, **options), "--explicitBatch"]


@trtexec_command.wrong("bytes taken for MiB", "a number without a suffix counts MiB; bytes take a B.")
def _(onnx_path, plan_path, profile, **options):
    return [part.removesuffix("B") if "--mem" in part else part
            for part in _command(onnx_path, plan_path, profile, **options)]  # fmt: skip


@trtexec_command.wrong("rounded to whole MiB", "another limit is another build: with the suffix B any number is exact.")
def _(onnx_path, plan_path, profile, **options):
    num_bytes = options.get("workspace_bytes")
    rounded = {"workspace_bytes": num_bytes // MIB * MIB} if num_bytes else {}
    if rounded.get("workspace_bytes") == 0:
        return [*_command(onnx_path, plan_path, profile, **{**options, **rounded}), "--memPoolSize=workspace:0"]
    return _command(onnx_path, plan_path, profile, **{**options, **rounded})


@trtexec_command.wrong("the tuned shape only", "--shapes gives one shape; a profile has three of them.")
def _(onnx_path, plan_path, profile, **options):
    def spoil(flags):
        shapes = {"--shapes": flags["--optShapes"]} if profile else {}
        return {**{name: text for name, text in flags.items() if "Shapes" not in name}, **shapes}

    return _command(onnx_path, plan_path, profile, spoil=spoil, **options)


@trtexec_command.wrong("commas between sizes", "sizes stand with x between them; a comma begins the next input.")
def _(onnx_path, plan_path, profile, **options):
    def spoil(flags):
        return {name: re.sub(r"(?<=\d)x(?=\d)", ",", text) if "Shapes" in name else text
                for name, text in flags.items()}  # fmt: skip

    return _command(onnx_path, plan_path, profile, spoil=spoil, **options)


@trtexec_command.wrong("a flag for each input", "a second --minShapes replaces the first: put all inputs into one.")
def _(onnx_path, plan_path, profile, **options):
    command = _command(onnx_path, plan_path, {}, **options)
    shapes = [
        f"--{bound}Shapes={_item(name, profile[name][index])}" for name in profile for index, bound in enumerate(BOUNDS)
    ]
    return [*command, *shapes]


@trtexec_command.wrong("quotes for a shell", "no shell reads a list of arguments: the quotes become part of the name.")
def _(onnx_path, plan_path, profile, **options):
    return [re.sub(r"=(.* .*)", r"='\1'", part) for part in _command(onnx_path, plan_path, profile, **options)]


@trtexec_command.wrong("a name without its quotes", "trtexec splits at : and , outside of single quotes.")
def _(onnx_path, plan_path, profile, **options):
    def spoil(flags):
        return {name: text.replace("'", "") if "Shapes" in name else text for name, text in flags.items()}

    return _command(onnx_path, plan_path, profile, spoil=spoil, **options)


@trtexec_command.wrong("opt before min", "the three shapes are in the order min, opt, max.")
def _(onnx_path, plan_path, profile, **options):
    turned = {name: (opt, low, high) for name, (low, opt, high) in profile.items()}
    return _command(onnx_path, plan_path, turned, **options)


@trtexec_command.wrong("targets with SM", "the flag takes numbers: SM86 is 86.")
def _(onnx_path, plan_path, profile, **options):
    def spoil(flags):
        if "--computeCapabilities" not in flags:
            return flags
        return {**flags, "--computeCapabilities": ",".join(options["targets"])}

    return _command(onnx_path, plan_path, profile, spoil=spoil, **options)


@trtexec_command.wrong("targets left out", "a plan for other GPUs is another plan: say --computeCapabilities.")
def _(onnx_path, plan_path, profile, **options):
    return _command(onnx_path, plan_path, profile, **{**options, "targets": ()})


@trtexec_command.wrong("trtexec for every build", "full TensorRT's trtexec knows no targets; tensorrt_rtx does.")
def _(onnx_path, plan_path, profile, **options):
    return ["trtexec", *_command(onnx_path, plan_path, profile, **options)[1:]]


@trtexec_command.wrong("empty shapes", "a static model takes no shapes: leave the three flags out.")
def _(onnx_path, plan_path, profile, **options):
    command = _command(onnx_path, plan_path, profile, **options)
    return command if profile else [*command, "--minShapes=", "--optShapes=", "--maxShapes="]


@trtexec_command.wrong("builds and runs", "running needs a GPU: without --skipInference the build fails after its end.")
def _(onnx_path, plan_path, profile, **options):
    return [part for part in _command(onnx_path, plan_path, profile, **options) if part != "--skipInference"]


@trtexec_command.right("flags in a dict")
def _(onnx_path, plan_path, profile, **options):
    return _command(onnx_path, plan_path, profile, **options)


@trtexec_command.right("appended one by one, in another order")
def _(onnx_path, plan_path, profile, precision="fp32", workspace_bytes=None, targets=()):
    command = ["tensorrt_rtx" if targets else "trtexec", "--skipInference", f"--saveEngine={plan_path}"]
    if targets:
        command.append("--computeCapabilities=" + ",".join(sorted(target.strip("SM") for target in targets)))
    if workspace_bytes:
        mib, rest = divmod(workspace_bytes, MIB)
        command.append(f"--memPoolSize=workspace:{workspace_bytes}B" if rest else f"--memPoolSize=workspace:{mib}")
    if profile:
        for flag, shapes in zip(
            ("--minShapes", "--optShapes", "--maxShapes"), zip(*profile.values(), strict=True), strict=True
        ):
            command.append(f"{flag}={','.join(map(_item, profile, shapes))}")
    stem = onnx_path[: -len(".onnx")]
    return [*command, f"--onnx={stem}.onnx" if precision == "fp32" else f"--onnx={stem}.{precision}.onnx"]


@trtexec_command.right("every name in quotes")
def _(onnx_path, plan_path, profile, **options):
    path = PurePosixPath(onnx_path)
    if options.get("precision") in ("fp16", "int8"):
        path = path.with_suffix(f".{options['precision']}.onnx")
    command = ["trtexec", f"--onnx={path}", f"--saveEngine={plan_path}", "--skipInference", "--verbose"]
    for index, bound in enumerate(BOUNDS if profile else ()):
        items = [f"'{name}':{'x'.join(str(size) for size in shapes[index])}" for name, shapes in profile.items()]
        command.append(f"--{bound}Shapes={','.join(items)}")
    if workspace := options.get("workspace_bytes"):
        command.append(f"--memPoolSize=workspace:{workspace / 1024:.0f}K" if workspace % 1024 == 0
                       else f"--memPoolSize=workspace:{workspace}B")  # fmt: skip
    if targets := options.get("targets"):
        command[0] = "tensorrt_rtx"
        command.append(f"--computeCapabilities={','.join(target.replace('SM', '') for target in targets)}")
    return command
