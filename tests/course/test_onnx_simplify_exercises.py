"""Lab 03's checks: their oracle against brute force, what a learner reads, and what a hostile model can do to a judge.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import inspect
import time

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from labkit import onnx_simplify
from labkit.course.exercise import Case
from labkit.course.exercises.onnx_simplify import LAB, probe, running
from labkit.course.exercises.onnx_simplify.graph_case import GraphCase, graph_case, outside, parse
from labkit.course.exercises.onnx_simplify.random_models import random_chain, random_nest, random_sums
from labkit.course.exercises.onnx_simplify.reading import count_by_type, judge_model

NAMES = ("count_ops", "fold_constants", "drop_identities", "fuse_conv_bn")
PASSES = NAMES[1:]
ADD = graph_case("a sum", "(float[2] x) => (float[2] y) { a = Identity(x) y = Add(a, x) }", {"Add": 1})


def read(name: str, candidate: object) -> str:
    verdict = LAB.exercise(name).judge(candidate)
    assert not verdict.passed
    return str(verdict)


def value(model: onnx.ModelProto, **more: object) -> dict[str, object]:
    return {"model": model.SerializeToString(), "same": False, "changed": False, **more}


def judged(model: onnx.ModelProto | str, case: GraphCase = ADD, **more: object) -> str:
    """What a learner reads when this model comes back for the case."""
    model = parse(model) if isinstance(model, str) else model
    found = judge_model(case, value(model, **more))
    return f"{found.expected} | {found.came}" if found else ""


# --- the lab as a whole -----------------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(model: object) -> None:
        raise NotImplementedError(f"write {name}")

    assert str(LAB.exercise(name).judge(stub)).startswith(f"○ {name}: not written yet")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wrong, right = LAB.exercise(name).wrong_answers, LAB.exercise(name).right_answers
    assert len({each.name for each in wrong}) == len(wrong) >= 12
    assert len({each.name for each in right}) == len(right) >= 4


def test_what_runs_beside_a_learner_knows_no_oracle() -> None:
    source = inspect.getsource(probe)
    assert "labkit" not in source
    for name in NAMES:
        assert LAB.exercise(name).probe in (probe.probe_pass, probe.probe_count)


# --- the cases and their oracle ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PASSES)
def test_every_model_given_is_valid_and_runs(name: str) -> None:
    for case in LAB.exercise(name).make_cases(3):
        assert isinstance(case, GraphCase)
        if not any(tensor.data_location for tensor in case.model.graph.initializer):
            onnx.checker.check_model(case.model, full_check=True)
        assert running.how_they_differ(case.args[0], case.args[0]) == ""


def test_one_of_several_mistakes_is_named_by_what_a_graph_does() -> None:
    """Two mistakes at once: the identities that make an output stay, and so do those inside the branches."""

    def drop_identities(model: onnx.ModelProto) -> onnx.ModelProto:
        result = onnx_simplify.copy_of(model)
        outputs = {value.name for value in result.graph.output}
        for node in [each for each in result.graph.node if each.op_type == "Identity"]:
            if node.output[0] not in outputs:
                onnx_simplify.rename(result.graph, {node.output[0]: node.input[0]})
                result.graph.node.remove(node)
        return onnx_simplify.tidy(result)

    text = str(LAB.exercise("drop_identities").judge(drop_identities))
    assert "this behaves like *outputs left*" in text
    assert "on the others something else is wrong too" in text


@pytest.mark.parametrize("name", PASSES)
def test_doing_nothing_fails_on_more_than_half_of_the_cases(name: str) -> None:
    """And where it passes, something superfluous may stay, or has to."""
    cases = LAB.exercise(name).make_cases(0)
    passed = [case for case in cases if isinstance(case, GraphCase) and not judged(case.model, case)]
    assert len(passed) < len(cases) / 2
    for case in passed:
        assert set(case.keeps) | set(case.may) >= set(count_by_type(case.model))


def test_what_a_random_sum_keeps_is_what_changes_with_the_input() -> None:
    """Brute force: the values of all nodes, for several inputs; a node that never changes is known beforehand."""
    for seed in range(8):
        model, keeps = random_sums(np.random.default_rng(seed))
        names = [node.output[0] for node in model.graph.node]
        evaluator = ReferenceEvaluator(_with_outputs(model, names))
        rng = np.random.default_rng(seed)
        runs = [evaluator.run(None, {"x": rng.normal(size=(2, 3)).astype(np.float32)}) for _ in range(4)]
        # Relu of a value that is negative in all runs changes with the input and is always 0: ask for the nodes.
        known = {name for name, *values in zip(names, *runs, strict=True) if _equal(values)}
        folded = onnx_simplify.fold_constants(model)
        left = {node.output[0] for node in folded.graph.node}
        assert set(names) - left <= known
        assert dict(count_by_type(folded)) == keeps


def _with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    copy = onnx_simplify.copy_of(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name != "y")
    del copy.graph.output[0]
    copy.graph.output.append(onnx.ValueInfoProto(name="y"))
    return copy


def _equal(values: list[np.ndarray]) -> bool:
    return all(np.array_equal(values[0], each) for each in values)


def test_labkits_own_pass_reaches_what_a_random_chain_keeps() -> None:
    for seed in range(8):
        model, keeps = random_chain(np.random.default_rng(seed))
        assert dict(count_by_type(onnx_simplify.drop_identities(model))) == keeps


def test_the_counted_types_are_labkits() -> None:
    for seed in range(4):
        model = random_nest(np.random.default_rng(seed), 3)
        assert dict(count_by_type(model)) == onnx_simplify.count_ops(model)


def test_another_seed_gives_other_models() -> None:
    for name in NAMES:
        datas = [[case.args for case in LAB.exercise(name).make_cases(seed)] for seed in (1, 2, 1)]
        assert datas[0] == datas[2] != datas[1]


# --- what a learner reads ---------------------------------------------------------------------------------------


def test_the_smallest_failing_graph_is_shown_as_given_expected_and_came() -> None:
    def no_epsilon(model):
        result = onnx_simplify.copy_of(model)
        for graph in onnx_simplify.graphs(result):
            for node in graph.node:
                for each in node.attribute:
                    if node.op_type == "BatchNormalization" and each.name == "epsilon":
                        each.f = 1e-5
        return onnx_simplify.fuse_conv_bn(result)

    text = read("fuse_conv_bn", no_epsilon)
    places = [
        text.index(word) for word in ("given     a model", "c = Conv(x, f_w, f_b)", "expected", "came", "y = Conv")
    ]
    assert places == sorted(places)
    assert "y[0, 0, 0, 0] is" in text
    assert "behaves like *epsilon's default always*" in text


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (lambda model: None, "a value of type NoneType"),
        (lambda model: model, "the model given itself"),
        (lambda model: b"bytes", "a value of type bytes"),
        (lambda model: onnx.ModelProto(), "the inputs are [], and were ['x']"),
    ],
)
def test_answers_of_another_kind(candidate: object, said: str) -> None:
    assert said in read("drop_identities", candidate)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("(float[2] x) => (float[2] y) { y = Add(a, x) }", "Add reads 'a', which nothing makes before it"),
        ("(float[2] x) => (float[2] z) { z = Add(x, x) }", "the outputs are ['z'], and were ['y']"),
        ("(float[3] x) => (float[2] y) { y = Add(x, x) }", "an input has another type or shape"),
        ("(float[2] x) => (float[2] y) { a = Add(x, x) }", "the output 'y' is made by no node"),
        ("(float[2] x) => (float[2] y) { y = Add(x, x) y = Add(x, x) }", "two values are called 'y'"),
        ("(float[2] x) => (float[2] y) { b = Neg(x) c = Neg(b) y = Add(c, x) }", "left: Add 1, Neg 2"),
        ("(float[2] x) => (float[2] y) { y = Sub(x, x) }", "is 0, and was"),
        ("(float[2] x) => (float[2] y) <float[2] w = {1.0, 1.0}> { y = Add(x, x) }", "w: nobody reads that any more"),
        ("(float[2] x) => (float[2] y) { y = Nonsense(x) }", "onnx.checker refuses it"),
    ],
)
def test_a_model_that_is_not_right_is_said_in_words(model: str, said: str) -> None:
    assert said in judged(model)


def test_the_right_model_is_right() -> None:
    assert judged("(float[2] x) => (float[2] y) { y = Add(x, x) }") == ""


def test_a_case_can_be_tried_as_a_model() -> None:
    (model,) = LAB.exercise("fold_constants").make_cases(0)[0].for_learner()
    assert isinstance(model, onnx.ModelProto)


# --- a hostile model --------------------------------------------------------------------------------------------


def test_bytes_that_are_no_model_and_too_many_bytes() -> None:
    assert "bytes that are no model" in str(judge_model(ADD, {"model": b"\x08\xff\xff", "changed": False}))
    assert "2,000,000 bytes" in str(judge_model(ADD, {"model": bytes(2_000_000), "changed": False}))
    assert judge_model(ADD, 7) is not None


def test_a_model_that_asks_for_more_memory_than_there_is_fails_and_ends_nothing() -> None:
    huge = parse("""(float[2] x) => (float[2] y) <int64[1] n = {1000000000000}> {
        z = ConstantOfShape(n) s = ReduceSum<keepdims = 0>(z) a = Add(x, s) y = Add(a, x) }""")
    assert "refuses it" in judged(huge) or "ended badly" in judged(huge)


def test_a_model_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LIMIT_S", 1.0)
    endless = parse("""(float[2] x) => (float[2] y) <int64 n = {9223372036854775807}, bool c = {1}> {
        y = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w)
            { co = Identity(ci) w = Add(v, v) }> }""")
    began = time.monotonic()
    assert "no answer within 1 s" in judged(endless)
    assert time.monotonic() - began < 20


def test_weights_in_another_file_are_never_opened() -> None:
    model = outside(parse("(float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}> { y = Add(x, w) }"), "w")
    model.graph.initializer[0].external_data[0].value = "/etc/hostname"
    assert "and was" in judged(model)


def test_the_inputs_depend_on_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no answer can be made for them."""
    drawn = []
    draw = running._draw
    monkeypatch.setattr(running, "_draw", lambda *args: [drawn.append(each) or each for each in draw(*args)])
    given = ADD.args[0]
    for text in ("y = Add(x, x)", "a = Identity(x) y = Add(x, a)", "y = Add(x, x)"):
        running.how_they_differ(given, parse(f"(float[2] x) => (float[2] y) {{ {text} }}").SerializeToString())
    first, second, third = (array for _name, array in drawn)
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)


def test_a_case_of_the_course_reads_as_a_graph() -> None:
    case = Case("plain", ([1.0],))
    assert case.for_learner() == ([1.0],)
    assert ADD.given() == "a model" + "".join(
        f"\n            {line}" for line in ("(float[2] x) -> (float[2] y)", "  a = Identity(x)", "  y = Add(a, x)")
    )
