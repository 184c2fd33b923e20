"""`fuse_conv_bn(model)`: a convolution with the batch normalization behind it is a convolution with other weights."""

from typing import Any

import numpy as np
import onnx

from labkit import onnx_simplify
from labkit.course.exercise import Case
from labkit.course.exercises.onnx_simplify.conv_models import conv_cases
from labkit.course.exercises.onnx_simplify.graph_exercise import (
    GraphExercise,
    GraphPass,
    add_mistakes_of_any_pass,
    nodes_saved,
)
from labkit.course.exercises.onnx_simplify.probe import probe_pass
from labkit.course.exercises.onnx_simplify.reading import judge_model
from labkit.onnx_simplify import (
    add_weight,
    all_names,
    attribute,
    count_reads,
    fresh_name,
    graphs_with_weights,
)


def _cases(seed: int, tier: str) -> list[Case]:
    return list(conv_cases(seed))


fuse_conv_bn = GraphExercise(
    name="fuse_conv_bn",
    signature="fuse_conv_bn(model)",
    goal="Return a new model in which each Conv and ConvTranspose has taken in the BatchNormalization behind it, where"
    " nobody else reads what the convolution makes and all weights are known.",
    cases=_cases,
    judge_case=judge_model,
    probe=probe_pass,
    hints=(
        "For one output channel the normalization is y = factor · x + shift. What are factor and shift, and what do"
        " they do to the filter that makes this channel, and to its bias?",
        "factor = gamma / sqrt(var + epsilon); filter · factor, and (bias - mean) · factor + beta. In a Conv's weight"
        " the output channels are axis 0. In a ConvTranspose's weight (C, M/G, KH, KW) output channel m stands in group"
        " m // (M/G): give each group of C/G rows its own M/G factors. Other nodes may read the same weight: write a"
        " new one.",
        "`for graph, weights in graphs_with_weights(result): reads = count_reads(graph); makers = {output: node} of the"
        " convolutions`; `for each BatchNormalization not in training: conv = makers.get(its input); skip unless"
        " reads[that input] == 1 and all weights are known`; new weight and bias; `add_weight` under fresh names;"
        " `conv.output[0] = norm.output[0]`; note the normalization's position. Delete, tidy.",
    ),
    points=5,
    minutes=40,
    difficulty=3,
    num_lines=28,
    names_in_part=True,
    note=nodes_saved,
)


wrong, right = fuse_conv_bn.wrong, fuse_conv_bn.right


class Fuse(GraphPass):
    """A right answer, step by step."""

    kinds: tuple[str, ...] = ("Conv", "ConvTranspose")

    def change(self, model: onnx.ModelProto) -> None:
        taken = all_names(model)
        for graph, weights in self.graphs(model):
            self.graph(graph, weights, taken)

    def graphs(self, model: onnx.ModelProto) -> Any:
        return graphs_with_weights(model)

    def graph(self, graph: onnx.GraphProto, weights: dict[str, np.ndarray], taken: set[str]) -> None:
        gone = []
        makers = {node.output[0]: node for node in graph.node if node.op_type in self.kinds}
        for position, norm in enumerate(graph.node):
            conv = self.maker(graph, position, makers) if norm.op_type == "BatchNormalization" else None
            if conv is None or not self.may(graph, conv, norm):
                continue
            if all(name in weights for name in [*conv.input[1:], *norm.input[1:]]):
                self.write(graph, conv, norm, self.fused(conv, norm, weights), taken)
                gone.append(position)
        self.delete(graph, gone)

    def maker(self, graph: onnx.GraphProto, position: int, makers: dict[str, Any]) -> Any:
        return makers.get(graph.node[position].input[0])

    def may(self, graph: onnx.GraphProto, conv: onnx.NodeProto, norm: onnx.NodeProto) -> bool:
        return count_reads(graph)[conv.output[0]] == 1 and not attribute(norm, "training_mode", 0)

    def fused(self, conv: onnx.NodeProto, norm: onnx.NodeProto, weights: Any) -> tuple[np.ndarray, np.ndarray]:
        weight, *biases = (weights[name] for name in conv.input[1:])
        gamma, beta, mean, var = (weights[name] for name in norm.input[1:5])
        factor = self.factor(gamma, var, np.array(attribute(norm, "epsilon", 1e-5), weight.dtype))
        bias = self.bias(biases[0] if biases else np.zeros_like(beta), mean, factor, beta)
        return self.scaled(conv, weight, factor), bias

    def factor(self, gamma: np.ndarray, var: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
        return gamma / np.sqrt(var + epsilon)

    def bias(self, bias: np.ndarray, mean: np.ndarray, factor: np.ndarray, beta: np.ndarray) -> np.ndarray:
        return (bias - mean) * factor + beta

    def scaled(self, conv: onnx.NodeProto, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
        ones = (1,) * (weight.ndim - 2)
        if conv.op_type == "Conv":
            return weight * factor.reshape(-1, 1, *ones)
        groups = attribute(conv, "group", 1)
        by_group = weight.reshape(groups, -1, *weight.shape[1:]) * factor.reshape(groups, 1, -1, *ones)
        return by_group.reshape(weight.shape)

    def write(self, graph: onnx.GraphProto, conv: Any, norm: Any, fused: Any, taken: set[str]) -> None:
        names = []
        for what, array in zip(("weight", "bias"), fused, strict=True):
            names.append(self.name(conv, what, taken))
            add_weight(graph, names[-1], array)
        conv.input[1:] = names
        self.hand_on(graph, conv, norm)

    def name(self, conv: onnx.NodeProto, what: str, taken: set[str]) -> str:
        return fresh_name(f"{conv.input[1]}.{what}", taken)

    def hand_on(self, graph: onnx.GraphProto, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
        conv.output[0] = norm.output[0]


# --- the numbers ------------------------------------------------------------------------------------------


@wrong("epsilon forgotten", "epsilon keeps the root away from zero, and with a small variance it shows.")
class EpsilonForgotten(Fuse):
    def factor(self, gamma, var, epsilon):
        return gamma / np.sqrt(var)


@wrong("epsilon's default always", "epsilon is an attribute of the node; 1e-5 only where it is not given.")
class EpsilonDefaultAlways(Fuse):
    def factor(self, gamma, var, epsilon):
        return gamma / np.sqrt(var + var.dtype.type(1e-5))


@wrong("divided by the variance", "it is the standard deviation that one divides by: take the root.")
class DividedByTheVariance(Fuse):
    def factor(self, gamma, var, epsilon):
        return gamma / (var + epsilon)


@wrong("epsilon outside the root", "epsilon is added to the variance, under the root.")
class EpsilonOutsideTheRoot(Fuse):
    def factor(self, gamma, var, epsilon):
        return gamma / (np.sqrt(var) + epsilon)


@wrong("mean and variance swapped", "the inputs of a BatchNormalization are x, scale, bias, mean, variance.")
class MeanAndVarianceSwapped(Fuse):
    def fused(self, conv, norm, weights):
        inputs = list(norm.input)
        swapped = onnx.helper.make_node("BatchNormalization", [*inputs[:3], inputs[4], inputs[3]], ["y"])
        swapped.attribute.extend(norm.attribute)
        return super().fused(conv, swapped, weights)


@wrong("the convolution's bias lost", "a bias of the convolution is normalized as well: (bias - mean) · factor + beta.")
class TheConvolutionBiasLost(Fuse):
    def bias(self, bias, mean, factor, beta):
        return beta - mean * factor


@wrong("the convolution's bias not scaled", "the bias goes through the normalization like everything else.")
class TheConvolutionBiasNotScaled(Fuse):
    def bias(self, bias, mean, factor, beta):
        return bias - mean * factor + beta


@wrong("the mean not scaled", "first the mean is subtracted, then all is scaled.")
class TheMeanNotScaled(Fuse):
    def bias(self, bias, mean, factor, beta):
        return bias * factor - mean + beta


@wrong("beta scaled too", "beta is added at the end, after the scaling.")
class BetaScaledToo(Fuse):
    def bias(self, bias, mean, factor, beta):
        return (bias - mean + beta) * factor


@wrong("scaled along the last axis", "NumPy lines up last axes: a factor per filter needs the shape (M, 1, 1, 1).")
class ScaledAlongTheLastAxis(Fuse):
    def scaled(self, conv, weight, factor):
        return weight * factor if conv.op_type == "Conv" else super().scaled(conv, weight, factor)


@wrong("scaled along the input channels", "a Conv's weight is (M, C/G, KH, KW): the filters are the first axis.")
class ScaledAlongTheInputChannels(Fuse):
    def scaled(self, conv, weight, factor):
        if conv.op_type != "Conv":
            return super().scaled(conv, weight, factor)
        return weight * factor.reshape(1, -1, *(1,) * (weight.ndim - 2))


@wrong("always two axes", "a convolution may go along one axis or three: as many ones as the weight has axes behind.")
class AlwaysTwoAxes(Fuse):
    def scaled(self, conv, weight, factor):
        return weight * factor[:, None, None, None] if conv.op_type == "Conv" else super().scaled(conv, weight, factor)


@wrong("transposed like a Conv", "a ConvTranspose's weight is (C, M/G, KH, KW): the filters are the second axis.")
class TransposedLikeAConv(Fuse):
    def scaled(self, conv, weight, factor):
        return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))


@wrong(
    "groups of a transposed one forgotten",
    "a ConvTranspose's weight is (C, M/G, KH, KW): each group of C/G rows has its own M/G filters.",
)
class GroupsOfATransposedOneForgotten(Fuse):
    def scaled(self, conv, weight, factor):
        if conv.op_type == "Conv":
            return super().scaled(conv, weight, factor)
        return weight * factor.reshape(1, -1, *(1,) * (weight.ndim - 2))[:, : weight.shape[1]]


@wrong("everything double", "a weight keeps the type of the model, whatever precision the formula was computed in.")
class EverythingDouble(Fuse):
    def fused(self, conv, norm, weights):
        return tuple(array.astype(np.float64) for array in super().fused(conv, norm, weights))


# --- the graph --------------------------------------------------------------------------------------------


@wrong("transposed ones left", "a ConvTranspose is a convolution too, with its filters on another axis.")
class TransposedOnesLeft(Fuse):
    kinds = ("Conv",)


@wrong(
    "the weight itself changed", "another node may read the same weight and gets the scaled one: write a new weight."
)
class TheWeightItselfChanged(Fuse):
    def write(self, graph, conv, norm, fused, taken):
        for tensor in [each for each in graph.initializer if each.name == conv.input[1]]:
            graph.initializer.remove(tensor)
            add_weight(graph, conv.input[1], fused[0])
        name = self.name(conv, "bias", taken)
        add_weight(graph, name, fused[1])
        conv.input[2:] = [name]
        self.hand_on(graph, conv, norm)


@wrong("the same name twice", "two convolutions may read one weight; what becomes of it needs a name for each.")
class TheSameNameTwice(Fuse):
    def name(self, conv, what, taken):
        return f"{conv.input[1]}.{what}"


@wrong("other readers forgotten", "somebody else reads what the convolution makes: count the reads, outputs included.")
class OtherReadersForgotten(Fuse):
    def may(self, graph, conv, norm):
        return not attribute(norm, "training_mode", 0)


@wrong("outputs not counted as readers", "a caller reads the outputs: a convolution that makes one has to stay.")
class OutputsNotCountedAsReaders(Fuse):
    def may(self, graph, conv, norm):
        named = {value.name for value in graph.output}
        reads = count_reads(graph)[conv.output[0]] - (conv.output[0] in named)
        return reads == 1 and not attribute(norm, "training_mode", 0)


@wrong("readers inside a branch forgotten", "a branch reads what the graph around it makes: count_reads looks inside.")
class ReadersInsideABranchForgotten(Fuse):
    def may(self, graph, conv, norm):
        here = [name for node in graph.node for name in node.input] + [value.name for value in graph.output]
        return here.count(conv.output[0]) == 1 and not attribute(norm, "training_mode", 0)


@wrong("training taken for inference", "with training_mode it normalizes by the batch, which nobody knows beforehand.")
class TrainingTakenForInference(Fuse):
    def may(self, graph, conv, norm):
        return count_reads(graph)[conv.output[0]] == 1


@wrong("the node before it in the list", "who makes a value is told by its name; the list has other nodes in between.")
class TheNodeBeforeItInTheList(Fuse):
    def maker(self, graph, position, makers):
        before = graph.node[position - 1] if position else None
        return before if before is not None and before.op_type in self.kinds else None


@wrong("the output renamed", "a caller may know the normalization's output: the convolution takes its name.")
class TheOutputRenamed(Fuse):
    def hand_on(self, graph, conv, norm):
        for node in graph.node:
            node.input[:] = [conv.output[0] if name == norm.output[0] else name for name in node.input]


@wrong("defaults taken for weights", "an initializer that is an input too may be overridden: it is not known.")
class DefaultsTakenForWeights(Fuse):
    def graphs(self, model):
        for graph, weights in graphs_with_weights(model):
            listed = {value.name for value in model.graph.input}
            defaults = {each.name: each for each in model.graph.initializer if each.name in listed}
            yield graph, weights | {name: onnx_simplify.array_of(each) for name, each in defaults.items()}


@wrong("main graph only", "a branch may hold a convolution too, and read weights of the graph around it.")
class MainGraphOnly(Fuse):
    def graphs(self, model):
        return list(graphs_with_weights(model))[:1]


@wrong("the normalization stays", "its work is done by the convolution now; a second time it would be wrong.")
class TheNormalizationStays(Fuse):
    def hand_on(self, graph, conv, norm):
        pass

    def delete(self, graph, gone):
        pass


add_mistakes_of_any_pass(fuse_conv_bn, Fuse)


# --- right answers ----------------------------------------------------------------------------------------


@right("the formula")
class TheFormula(Fuse):
    pass


@right("an einsum per kind, in double precision")
class AnEinsumPerKindInDoublePrecision(Fuse):
    def fused(self, conv, norm, weights):
        wide = {name: array.astype(np.float64) for name, array in weights.items()}
        return tuple(array.astype(weights[conv.input[1]].dtype) for array in super().fused(conv, norm, wide))

    def scaled(self, conv, weight, factor):
        if conv.op_type == "Conv":
            return np.einsum("m...,m->m...", weight, factor)
        groups = np.split(weight, attribute(conv, "group", 1), axis=0)
        per_group = factor.reshape(len(groups), -1)
        return np.concatenate([np.einsum("cm...,m->cm...", w, f) for w, f in zip(groups, per_group, strict=True)])


@right("channel by channel, from what the normalization does to 0 and to 1")
class ChannelByChannelFromWhatTheNormalizationDoesToAndTo(Fuse):
    def fused(self, conv, norm, weights):
        weight, *biases = (weights[name] for name in conv.input[1:])
        probe = {**weights, norm.input[0]: np.stack([np.zeros_like(weights[norm.input[1]])[:, None]] * 2)}
        probe[norm.input[0]][1] = 1
        model = onnx.helper.make_model(onnx.GraphProto(name="none"), opset_imports=[onnx.helper.make_opsetid("", 20)])
        at_zero, at_one = onnx_simplify.run_node(norm, probe, model)[norm.output[0]][..., 0]
        factor = (at_one - at_zero).astype(weight.dtype)
        bias = biases[0] * factor + at_zero if biases else at_zero
        groups = 1 if conv.op_type == "Conv" else attribute(conv, "group", 1)
        scaled = weight.copy()
        filters = weight.shape[0] if conv.op_type == "Conv" else weight.shape[1] * groups
        for m in range(filters):
            if conv.op_type == "Conv":
                scaled[m] *= factor[m]
            else:
                rows, per_group = weight.shape[0] // groups, weight.shape[1]
                group = m // per_group
                scaled[group * rows : (group + 1) * rows, m % per_group] *= factor[m]
        return scaled, bias.astype(weight.dtype)


@right("labkit's own")
def _(model):
    return onnx_simplify.fuse_conv_bn(model)
