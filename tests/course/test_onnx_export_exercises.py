"""Lab 02's checks: graphs that are not to be trusted, oracles that are somebody else's, machines that are played.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

import labkit
from labkit import onnx_export as tool
from labkit.course.exercise import Case, Exercise
from labkit.course.exercises.onnx_export import LAB, graphs, machines
from labkit.course.exercises.onnx_export.frozen_dims import make_model
from labkit.course.exercises.onnx_export.graphs import read_graph, run_graph
from labkit.course.exercises.onnx_export.max_error import GRAPHS, expected_error, make_graph

NAMES = (
    *("export_onnx", "frozen_dims", "max_error", "TokenMean", "LastTokens", "Rounded"),
    *("open_session", "ParkedModel"),
)
CPU = "CPUExecutionProvider"


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


def parse(graph: str) -> bytes:
    content: bytes = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 18]> {graph}').SerializeToString()
    return content


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    assert LAB.points == 22
    assert all(len({wrong.name for wrong in each.wrong_answers}) >= 8 for each in LAB.exercises)


@pytest.mark.parametrize("name", ["frozen_dims", "max_error", "open_session"])
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    assert str(exercise(name).judge(stub)).startswith(f"○ {name}: not written yet: write {name}")


def test_a_module_whose_forward_is_a_stub_is_not_written_yet() -> None:
    class TokenMean(nn.Module):
        def forward(self, x: Any) -> Any:
            raise NotImplementedError("write TokenMean, about 1 line")

    assert str(exercise("TokenMean").judge(TokenMean)).startswith(
        "○ TokenMean: not written yet: `forward`: write TokenMean"
    )


def test_a_card_does_not_wait_for_torch() -> None:
    code = "import sys; from labkit.course.exercises.onnx_export import LAB; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- graphs of a stranger's ---------------------------------------------------------------------------------


def test_a_graph_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Loop with neither a count nor a condition that becomes false."""
    endless = parse("""g (float[1] x) => (float[1] y) {
        y = Loop <body = body (int64 i, bool go, float[1] a) => (bool go_on, float[1] b) {
            go_on = Identity(go) b = Identity(a) }> (, , x) }""")
    monkeypatch.setattr(graphs, "RUN_LIMIT_S", 3.0)
    started = time.monotonic()
    (found,) = run_graph(endless, [{"x": np.ones(1, np.float32)}])
    assert "no answer within 3 s" in str(found)
    assert time.monotonic() - started < 60


def test_weights_in_a_file_of_this_machine_are_not_read() -> None:
    model = onnx.load_model_from_string(parse("g (float[1] x) => (float[1] y) { y = Add(x, w) }"))
    weight = model.graph.initializer.add(name="w", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../etc/hostname")
    with pytest.raises(ValueError, match=r"the \.onnx file alone is not the model"):
        read_graph(model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04zip", b"\x08\x09"])
def test_what_is_no_graph_is_said_so(content: bytes) -> None:
    with pytest.raises(ValueError, match="is no ONNX model"):
        read_graph(content)


def test_a_refusal_of_the_runtime_is_an_answer_for_each_input() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    good, bad = run_graph(graph, [{"x": np.array([-1, 1], np.float32)}, {"x": np.ones(3, np.float32)}])
    assert good[0].tolist() == [0, 1]  # type: ignore[union-attr]
    assert str(bad).startswith("ONNX Runtime refuses: ")
    assert "\n" not in str(bad)


# --- what a learner gets to try an answer on ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["export_onnx", "frozen_dims", "max_error"])
def test_a_case_is_what_the_answer_is_called_with(name: str) -> None:
    lab = labkit.open_lab("02_onnx_export")
    for case in exercise(name).make_cases(0):
        given = lab.case(name, case.name)
        assert given
        if name == "export_onnx":
            model, example, path, dynamic = given
            tool.export_onnx(model, example, path, dynamic, exporter="torchscript")
            inputs = example if isinstance(example, tuple) else (example,)
            names = [value.name for value in onnx.load(path).graph.input]
            assert tool.max_error(model, path, dict(zip(names, inputs, strict=True))) < 1e-5
        elif name == "frozen_dims":
            value = exercise(name).right_answers[0].candidate(*given)
            assert exercise(name).judge_case(case, value) is None
        elif "broadcast" not in case.name:
            assert isinstance(given[0], nn.Module)
            value = {"error": tool.max_error(*given), "training": given[0].training}
            assert exercise(name).judge_case(case, value) is None


def test_a_parked_models_case_is_a_file_and_a_script() -> None:
    path, script = labkit.open_lab("02_onnx_export").case("ParkedModel", "parked again and again")
    (answer,) = ort.InferenceSession(str(path), providers=[CPU]).run(None, {"x": np.zeros(2, np.float32)})
    assert answer[0] >= 2
    assert script == ["run", "park", "run", "run", "park", "run"]


def test_a_case_of_another_machine_can_be_played() -> None:
    path, prefer, machine = labkit.open_lab("02_onnx_export").case("open_session", "CUDA compiled in, no GPU")
    with machine as said:
        assert "CUDAExecutionProvider" in ort.get_available_providers()
        session = exercise("open_session").right_answers[0].candidate(path, prefer)
        assert session.get_providers() == [CPU]
    assert said == []


def test_a_modules_case_is_tensors() -> None:
    example, inputs = labkit.open_lab("02_onnx_export").case("TokenMean", "exported at 2 x 6")
    assert example.shape == (2, 6, 20)
    assert all(isinstance(x, torch.Tensor) for x in inputs)


# --- the words ------------------------------------------------------------------------------------------------


def test_a_min_is_told_in_words_that_fit_it() -> None:
    class LastTokens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, -min(8, x.shape[1]) :].mean(1)

    text = str(exercise("LastTokens").judge(LastTokens))
    assert "*branch of the example*: what Python decides (an `if`, a `min`, a `max`) is decided while exporting" in text


def test_the_first_hint_of_the_export_speaks_of_both_modes() -> None:
    assert "goes on training the model. Which mode does each need" in exercise("export_onnx").hints[0]


# --- modules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TokenMean", "LastTokens", "Rounded"])
def test_the_oracle_agrees_with_the_bank_in_float64(name: str) -> None:
    """The oracle is NumPy's, the right answers are torch's; here on inputs that no case has."""
    each = exercise(name)
    x = np.random.default_rng(5).normal(0.3, 1.0, (3, 11, 4))
    for right in each.right_answers:
        got = right.candidate()(torch.tensor(x)).numpy()
        np.testing.assert_allclose(got, each.oracle(x), rtol=1e-12)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["TokenMean", "LastTokens", "Rounded"])
def test_the_broken_one_is_right_before_its_export_and_at_the_examples_shape(name: str) -> None:
    each = exercise(name)
    broken = each.wrong_answers[0].candidate()
    example, inputs = each.make_cases(0)[0].args
    for x in (example, *inputs):
        np.testing.assert_allclose(broken(torch.tensor(x)).numpy(), each.oracle(x), rtol=1e-4, atol=1e-4)  # type: ignore[attr-defined]
    verdict = str(each.judge(each.wrong_answers[0].candidate))
    assert "the graph, exported from an example of" in verdict
    assert "the module itself" not in verdict


def test_a_mended_module_has_to_be_the_same_function() -> None:
    class TokenMean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x.mean(1)

    verdict = exercise("TokenMean").judge(TokenMean)
    assert "the module itself, before any export, at" in str(verdict)


def test_a_class_with_a_name_of_its_own_for_the_input_is_taken() -> None:
    class LastTokens(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens[:, -8:].mean(dim=1)

    verdict = exercise("LastTokens").judge(LastTokens, seed=9)
    assert verdict.passed, str(verdict)


def test_what_the_tracer_cannot_export_is_a_reason_and_no_noise(capfd: pytest.CaptureFixture[str]) -> None:
    class TokenMean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.trunc(x).sum(1)  # no operator of the tracer's

    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(1) + 0 * torch.trunc(x).sum(1)

    assert not exercise("TokenMean").judge(TokenMean).passed
    verdict = str(exercise("TokenMean").judge(Same))
    assert "ExportError: tracing cannot follow Same" in verdict
    assert capfd.readouterr() == ("", "")


# --- export_onnx --------------------------------------------------------------------------------------------


def test_labkits_own_export_passes_and_so_does_its_parity() -> None:
    def export_onnx(model: nn.Module, example: Any, path: Path, dynamic: Any = None) -> None:
        tool.export_onnx(model, example, path, dynamic, exporter="torchscript")

    def max_error(model: nn.Module, path: Path, inputs: Any) -> float:
        return tool.max_error(model, path, inputs)

    for candidate in (export_onnx, max_error):
        verdict = exercise(candidate.__name__).judge(candidate, seed=8)
        assert verdict.passed, str(verdict)


# --- frozen_dims, max_error ---------------------------------------------------------------------------------


def test_the_graphs_of_frozen_dims_say_what_the_case_says() -> None:
    model = make_model({"x": [0, "n", None, 7]})
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.WhichOneof("value") for dim in dims] == ["dim_value", "dim_param", None, "dim_value"]
    assert tool.export._frozen(model, {"x": {0: "a", 1: "b", 2: "c"}}) == {"x, dim 0 (a)": 0}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(GRAPHS))
def test_the_expected_error_is_what_onnx_runtime_finds_too(name: str) -> None:
    """The judge uses ONNX's reference evaluator; here the same graph runs in ONNX Runtime."""
    rng = np.random.default_rng(1)
    inputs = {key: rng.normal(size=(4, 6)).astype(np.float32) for key in ("x", "scale")}
    session = ort.InferenceSession(make_graph(name, 4).SerializeToString(), providers=[CPU])
    known = {value.name for value in session.get_inputs()}
    same = ort.InferenceSession(make_graph("the same function", 4).SerializeToString(), providers=[CPU])
    y, z = same.run(None, inputs)
    z = z if "scale" in known else y
    theirs = session.run(None, {key: array for key, array in inputs.items() if key in known})
    if theirs[0].shape != y.shape:
        assert expected_error(name, inputs) is None
        return
    found = np.max([np.abs(y - theirs[0]).max(), np.abs(z - theirs[1]).max()])
    np.testing.assert_allclose(expected_error(name, inputs), found, atol=1e-5)


# --- played machines ----------------------------------------------------------------------------------------


def test_a_played_machine_warns_where_the_real_one_does(tmp_path: Path) -> None:
    """The real rules, of onnxruntime as installed: what is not compiled in, and what stands twice, is warned of."""
    path = tmp_path / "relu.onnx"
    path.write_bytes(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    for providers in ([CPU], ["CUDAExecutionProvider", CPU], [CPU, CPU]):
        if "CUDAExecutionProvider" in ort.get_available_providers():
            pytest.skip("this build has CUDA")
        with warnings.catch_warnings(record=True) as real:
            warnings.simplefilter("always")
            really = ort.InferenceSession(str(path), providers=providers).get_providers()
        with machines.played_machine([CPU], [CPU]) as played:
            other = ort.InferenceSession(str(path), providers=providers)
            assert other.get_providers() == really == [CPU]
        assert len(played) == len(real) == len(providers) - 1


def test_onnx_runtime_is_itself_again_afterwards(tmp_path: Path) -> None:
    available, start = ort.get_available_providers, ort.InferenceSession.__init__
    with machines.played_machine(["CUDAExecutionProvider"], []):
        assert ort.get_available_providers() == ["CUDAExecutionProvider"]
    with pytest.raises(ZeroDivisionError), machines.played_machine([CPU], [CPU]):
        raise ZeroDivisionError
    with machines.counted_sessions():
        pass
    assert ort.get_available_providers is available
    assert ort.InferenceSession.__init__ is start
    path = tmp_path / "relu.onnx"
    path.write_bytes(parse("g (float[2] x) => (float[2] y) { y = Relu(x) }"))
    assert ort.InferenceSession(str(path), providers=[CPU]).get_providers() == [CPU]


def test_a_dropped_session_is_counted_out() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    with machines.counted_sessions() as made:
        session = ort.InferenceSession(graph, providers=[CPU])
        assert [reference() is not None for reference in made] == [True]
        del session
        assert [reference() is not None for reference in made] == [False]


def test_a_session_imported_by_name_is_played_too() -> None:
    from onnxruntime import InferenceSession

    def open_session(path: str, prefer: list[str]) -> Any:
        wanted = [name for name in prefer if name in ort.get_available_providers() and name != CPU]
        return InferenceSession(path, providers=[*wanted, CPU])

    verdict = exercise("open_session").judge(open_session, seed=6)
    assert verdict.passed, str(verdict)


def test_a_parked_model_that_leaks_by_a_closure_is_found() -> None:
    class ParkedModel:
        def __init__(self, path: str) -> None:
            self.content = Path(path).read_bytes()
            self.runner: Any = None

        def run(self, feeds: Any) -> Any:
            if self.runner is None:
                session = ort.InferenceSession(self.content, providers=[CPU])
                self.runner = lambda feeds: session.run(None, feeds)
            return self.runner(feeds)

        def park(self) -> None:
            self.kept, self.runner = self.runner, None

    verdict = exercise("ParkedModel").judge(ParkedModel)
    assert "no session alive while it is parked" in str(verdict)
    assert isinstance(verdict.findings[0].case, Case)
