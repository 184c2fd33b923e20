"""Random small models from a seed: nested branches, sums of known and unknown values, chains of identities."""

import numpy as np
import onnx

from labkit.course.exercises.onnx_simplify.graph_case import parse, with_weights

UNARY = ("Relu", "Exp", "Neg", "Tanh", "Sigmoid")
BINARY = ("Add", "Mul", "Sub", "Max")


def random_nest(rng: np.random.Generator, depth: int) -> onnx.ModelProto:
    """If nodes in If nodes, with some nodes beside them at each level."""
    numbers = iter(range(1000))

    def branch(name: str, left: int) -> str:
        lines, last = [], "x"
        for _ in range(int(rng.integers(1, 4))):
            new = f"v{next(numbers)}"
            lines.append(f"{new} = {rng.choice(UNARY)}({last})")
            last = new
        if left:
            new = f"v{next(numbers)}"
            inner = [branch(f"g{next(numbers)}", left - 1) for _ in range(2)]
            lines.append(f"{new} = If(c) <then_branch = {inner[0]}, else_branch = {inner[1]}>")
            last = new
        return f"{name} () => (float[2] {last}) {{ {' '.join(lines)} }}"

    inner = [branch(name, depth - 1) for name in ("t", "e")]
    return parse(
        f"(bool c, float[2] x) => (float[2] y) {{ y = If(c) <then_branch = {inner[0]}, else_branch = {inner[1]}> }}"
    )


def random_sums(rng: np.random.Generator, num_nodes: int = 12) -> tuple[onnx.ModelProto, dict[str, int]]:
    """A graph in which some nodes read only weights, and the types of those that depend on the input.

    Every value is read in the end, so that nothing is superfluous but what is known.
    """
    known, varying = ["w", "v"], ["x"]
    lines, stays, unread = [], [], {"w", "v", "x"}
    for at in range(num_nodes):
        from_known = bool(rng.integers(2))
        pool = known if from_known else known + varying
        op, num_inputs = (rng.choice(BINARY), 2) if rng.integers(2) else (rng.choice(UNARY), 1)
        names = [str(name) for name in rng.choice(pool, num_inputs)]
        depends = any(name in varying for name in names)
        lines.append(f"n{at} = {op}({', '.join(names)})")
        (varying if depends else known).append(f"n{at}")
        stays += [str(op)] if depends else []
        unread = (unread - set(names)) | {f"n{at}"}
    ends = sorted(unread | {"x"})
    lines.append(f"s = Sum({', '.join(ends)})")
    lines.append("y = Tanh(s)")
    stays += ["Sum", "Tanh"]
    model = parse(f"(float[n, 3] x) => (float[n, 3] y) {{ {' '.join(lines)} }}")
    with_weights(model, w=rng.normal(size=3).astype(np.float32), v=rng.normal(size=(1, 3)).astype(np.float32))
    return model, {op: stays.count(op) for op in stays}


def random_chain(rng: np.random.Generator, num_nodes: int = 10) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Nodes with identities between them, several outputs, some of which are identities; and the types that stay.

    An identity stays only where it makes an output out of the model's input or of another output.
    """
    values, lines, stays = ["x"], [], []
    source = {"x": "x"}  # through identities
    for at in range(num_nodes):
        name, read = f"n{at}", str(rng.choice(values[-3:]))
        if rng.integers(2):
            lines.append(f"{name} = Identity({read})")
            source[name] = source[read]
        else:
            op = str(rng.choice(UNARY))
            lines.append(f"{name} = {op}({read})")
            stays.append(op)
            source[name] = name
        values.append(name)
    outputs = [f"y{at}" for at in range(3)]
    taken = {"x"}
    for name in outputs:
        read = str(rng.choice(values[1:]))
        lines.append(f"{name} = Identity({read})")
        if source[read] in taken:
            stays.append("Identity")
        taken.add(source[read])
    unread = [name for name in values if not any(f"({name})" in line for line in lines)]
    lines.append(f"z = Sum({', '.join(unread or ['x'])})")
    stays.append("Sum")
    declared = ", ".join(f"float[n, 2] {name}" for name in [*outputs, "z"])
    model = parse(f"(float[n, 2] x) => ({declared}) {{ {' '.join(lines)} }}")
    return model, {op: stays.count(op) for op in stays}
