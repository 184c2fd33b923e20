"""Small models with a convolution and a normalization behind it, one for each thing that can go wrong.

Weights are called after what reads them: convolution f has f_w and f_b, normalization n has n_gamma, n_beta, n_mean
and n_var. Numbers of channels differ everywhere but where they are meant to be mistaken for each other.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from labkit.course.exercises.onnx_simplify.graph_case import GraphCase, graph_case, outside, parse, with_weights

X = "float[b, 3, 5, 4] x"
Y = "float[b, m, h, w] y"
CONV, BOTH = {"Conv": 1}, {"Conv": 1, "BatchNormalization": 1}
TRANSPOSED = {"ConvTranspose": 1}
PLAIN = {"f_w": (4, 3, 2, 2)}


def norm(name: str, value: str, settings: str = "") -> str:
    """The text of a normalization of a value."""
    return f"BatchNormalization{settings}({value}, {name}_gamma, {name}_beta, {name}_mean, {name}_var)"


N_OF_C = norm("n", "c")


def conv_cases(seed: int) -> list[GraphCase]:
    """The cases of `fuse_conv_bn`, the small and plain ones first; what comes from the seed is at the end.

    The inputs that a model is run on are fresh for every answer (see running.py), whatever its weights are.
    """
    rng = np.random.default_rng(0)
    return [
        graph_case("nothing to do", _model(rng, "y = Conv(x, f_w)", PLAIN, {}), CONV),
        *_plain(rng),
        *_transposed(rng),
        *_shared(rng),
        *_must_stay(rng),
        *_inside(rng),
        graph_case("double precision",
                   _model(rng, f"c = Conv(x, f_w) y = {N_OF_C}", PLAIN, {"n": 4}, kind="double"), CONV),
        *_random(np.random.default_rng(seed)),
    ]  # fmt: skip


def _model(
    rng: np.random.Generator,
    body: str,
    weights: Mapping[str, tuple[int, ...]],
    norms: Mapping[str, int],
    inputs: str = X,
    outputs: str = Y,
    kind: str = "float",
) -> onnx.ModelProto:
    """A model from the text of its nodes, with random weights: their shapes, and the channels of normalizations."""
    dtype = {"float": np.float32, "double": np.float64}[kind]
    arrays = {name: rng.normal(size=shape) for name, shape in weights.items()}
    for name, channels in norms.items():
        arrays |= {f"{name}_{part}": rng.normal(size=channels) for part in ("gamma", "beta", "mean")}
        arrays[f"{name}_var"] = rng.uniform(0.01, 1.5, channels)  # small ones, so that a forgotten epsilon shows
    text = f"({inputs}) => ({outputs}) {{ {body} }}".replace("float[", f"{kind}[")
    return with_weights(parse(text), **{name: array.astype(dtype) for name, array in arrays.items()})


def _plain(rng: np.random.Generator) -> Iterator[GraphCase]:
    with_bias = {**PLAIN, "f_b": (4,)}
    one = f"c = Conv(x, f_w) y = {N_OF_C}"
    two = f"c = Conv(x, f_w, f_b) y = {N_OF_C}"
    yield graph_case("without a bias", _model(rng, one, PLAIN, {"n": 4}), CONV)
    yield graph_case("with a bias", _model(rng, two, with_bias, {"n": 4}), CONV)
    large = f"c = Conv(x, f_w, f_b) y = {norm('n', 'c', '<epsilon = 0.05>')}"
    yield graph_case("another epsilon", _model(rng, large, with_bias, {"n": 4}), CONV)
    yield graph_case("as many filters as channels and taps", _model(rng, one, {"f_w": (3, 3, 3, 3)}, {"n": 3}), CONV)
    on = f"c = Conv(x, f_w) a = {N_OF_C} b = Relu(a) y = Neg(b)"
    yield graph_case("read on", _model(rng, on, PLAIN, {"n": 4}), {"Conv": 1, "Relu": 1, "Neg": 1})
    line = _model(rng, one, {"f_w": (4, 3, 2)}, {"n": 4}, "float[b, 3, 6] x", "float[b, m, h] y")
    yield graph_case("a convolution along one axis", line, CONV)
    groups = f"c = Conv<group = 3>(x, f_w, f_b) y = {N_OF_C}"
    yield graph_case("groups", _model(rng, groups, {"f_w": (6, 1, 2, 2), "f_b": (6,)}, {"n": 6}), CONV)


def _transposed(rng: np.random.Generator) -> Iterator[GraphCase]:
    one = f"c = ConvTranspose(x, f_w, f_b) y = {N_OF_C}"
    yield graph_case("transposed", _model(rng, one, {"f_w": (3, 4, 2, 2), "f_b": (4,)}, {"n": 4}), TRANSPOSED)
    square = f"c = ConvTranspose(x, f_w) y = {N_OF_C}"
    yield graph_case("transposed, as many filters as channels", _model(rng, square, {"f_w": (3, 3, 2, 2)}, {"n": 3}),
                     TRANSPOSED)  # fmt: skip
    groups = f"c = ConvTranspose<group = 3>(x, f_w) y = {N_OF_C}"
    yield graph_case("transposed, groups", _model(rng, groups, {"f_w": (3, 2, 2, 2)}, {"n": 6}), TRANSPOSED)
    pairs = f"c = ConvTranspose<group = 2>(x, f_w, f_b) y = {N_OF_C}"
    four = _model(rng, pairs, {"f_w": (4, 2, 2, 2), "f_b": (4,)}, {"n": 4}, "float[b, 4, 3, 3] x")
    yield graph_case("transposed, groups, as many filters as channels", four, TRANSPOSED)


def _shared(rng: np.random.Generator) -> Iterator[GraphCase]:
    norms = {"n": 4, "k": 4}
    weight = f"a = Conv(x, f_w) c = {norm('n', 'a')} d = Conv(x, f_w) e = {norm('k', 'd')} y = Sub(c, e)"
    yield graph_case("one weight for two convolutions", _model(rng, weight, PLAIN, norms), {"Conv": 2, "Sub": 1})
    plain = f"a = Conv(x, f_w) c = Conv(x, f_w) d = {N_OF_C} y = Sub(a, d)"
    yield graph_case("one weight, one of the two normalized", _model(rng, plain, PLAIN, {"n": 4}),
                     {"Conv": 2, "Sub": 1})  # fmt: skip
    order = f"a = Conv(x, f_w) c = Conv(x, g_w) d = {norm('n', 'a')} e = {norm('k', 'c')} y = Sub(d, e)"
    yield graph_case("two pairs, one after the other", _model(rng, order, {**PLAIN, "g_w": (4, 3, 2, 2)}, norms),
                     {"Conv": 2, "Sub": 1})  # fmt: skip
    stats = f"a = Conv(x, f_w) c = Conv(x, g_w) d = {norm('n', 'a')} e = {norm('n', 'c')} y = Sub(d, e)"
    same = _model(rng, stats, {**PLAIN, "g_w": (4, 3, 2, 2)}, {"n": 4})
    yield graph_case("one normalization's weights for two", same, {"Conv": 2, "Sub": 1})


def _must_stay(rng: np.random.Generator) -> Iterator[GraphCase]:
    both = f"c = Conv(x, f_w) a = {N_OF_C} d = {norm('k', 'c')} y = Add(a, d)"
    yield graph_case("one convolution, two normalizations", _model(rng, both, PLAIN, {"n": 4, "k": 4}),
                     {"Conv": 1, "BatchNormalization": 2, "Add": 1},
                     why="two nodes read what the convolution makes")  # fmt: skip
    other = f"c = Conv(x, f_w) a = {N_OF_C} y = Add(a, c)"
    yield graph_case("the convolution is read by another", _model(rng, other, PLAIN, {"n": 4}), {**BOTH, "Add": 1},
                     why="another node reads what the convolution makes")  # fmt: skip
    seen = _model(rng, f"c = Conv(x, f_w) y = {N_OF_C}", PLAIN, {"n": 4}, outputs=f"{Y}, float[b, m, h, w] c")
    yield graph_case("the convolution is an output", seen, BOTH, why="a caller reads what the convolution makes")
    between = f"c = Conv(x, f_w) r = Relu(c) y = {norm('n', 'r')}"
    yield graph_case("a Relu between them", _model(rng, between, PLAIN, {"n": 4}), {**BOTH, "Relu": 1},
                     why="it normalizes what the Relu makes")  # fmt: skip
    before = f"a = {norm('n', 'x')} y = Conv<pads = [1, 1, 1, 1]>(a, f_w)"
    yield graph_case("a normalization in front", _model(rng, before, PLAIN, {"n": 3}), BOTH,
                     why="the padding stands between the two")  # fmt: skip
    train = f"c = Conv(x, f_w) y, u, v = {norm('n', 'c', '<training_mode = 1>')}"
    yield graph_case("in training", _model(rng, train, PLAIN, {"n": 4}), BOTH,
                     why="in training it normalizes by the statistics of the batch")  # fmt: skip
    free = _model(rng, f"c = Conv(x, f_w) y = {N_OF_C}", PLAIN, {"n": 4})
    free.graph.input.append(onnx.helper.make_tensor_value_info("n_mean", onnx.TensorProto.FLOAT, [4]))
    yield graph_case("a mean that a caller may override", free, BOTH, why="n_mean is an input with a default")
    made = _model(rng, f"k = Relu(f_w) c = Conv(x, k) y = {N_OF_C}", PLAIN, {"n": 4})
    yield graph_case("a computed weight", made, {**BOTH, "Relu": 1}, why="the weight is made by a node")
    two = f"a = Conv(x, f_w) c = {norm('k', 'a')} d = Conv(c, g_w) y = {norm('n', 'd')}"
    far = outside(_model(rng, two, {**PLAIN, "g_w": (2, 4, 2, 2)}, {"k": 4, "n": 2}), "f_w")
    yield graph_case("a weight in another file", far, {"Conv": 2, "BatchNormalization": 1},
                     why="the values of f_w were not read in")  # fmt: skip


def _inside(rng: np.random.Generator) -> Iterator[GraphCase]:
    inputs = f"bool q, {X}"
    branch = f"""y = If(q) <then_branch = t () => (float[b, m, h, w] p) {{ c = Conv(x, f_w) p = {N_OF_C} }},
                           else_branch = e () => (float[b, m, h, w] r) {{ d = Conv(x, f_w) r = Neg(d) }}>"""
    yield graph_case("inside a branch, its weights around it", _model(rng, branch, PLAIN, {"n": 4}, inputs),
                     {"If": 1, "Conv": 2, "Neg": 1})  # fmt: skip
    across = f"""c = Conv(x, f_w)
                 y = If(q) <then_branch = t () => (float[b, m, h, w] p) {{ p = {N_OF_C} }},
                            else_branch = e () => (float[b, m, h, w] r) {{ r = Neg(c) }}>"""
    yield graph_case("the normalization in a branch", _model(rng, across, PLAIN, {"n": 4}, inputs),
                     {**BOTH, "If": 1, "Neg": 1}, why="the other branch reads the convolution too")  # fmt: skip
    reads = f"""c = Conv(x, f_w) a = {N_OF_C}
                y = If(q) <then_branch = t () => (float[b, m, h, w] p) {{ p = Neg(c) }},
                           else_branch = e () => (float[b, m, h, w] r) {{ r = Relu(a) }}>"""
    yield graph_case("the convolution is read in a branch", _model(rng, reads, PLAIN, {"n": 4}, inputs),
                     {**BOTH, "If": 1, "Neg": 1, "Relu": 1}, why="a branch reads the convolution too")  # fmt: skip


def _random(rng: np.random.Generator) -> Iterator[GraphCase]:
    m = int(rng.integers(2, 6))
    strided = f"c = Conv<strides = [2, 1]>(x, f_w, f_b) y = {N_OF_C}"
    yield graph_case("random", _model(rng, strided, {"f_w": (m, 3, 3, 2), "f_b": (m,)}, {"n": m}), CONV)
    groups = f"c = ConvTranspose<group = 3, strides = [1, 2]>(x, f_w, f_b) r = Relu(c) y = {norm('n', 'r')}"
    stays = _model(rng, groups, {"f_w": (3, m, 2, 2), "f_b": (3 * m,)}, {"n": 3 * m})
    yield graph_case("random, a Relu between them", stays, {**TRANSPOSED, "BatchNormalization": 1, "Relu": 1})
    grouped = groups.replace(" r = Relu(c)", "").replace("(r,", "(c,")
    together = _model(rng, grouped, {"f_w": (3, m, 2, 2), "f_b": (3 * m,)}, {"n": 3 * m})
    yield graph_case("random, transposed, groups", together, TRANSPOSED)
