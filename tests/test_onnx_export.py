"""labkit.onnx_export: readable files, silent failures made loud. Oracles: PyTorch itself and ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit import onnx_export
from labkit.onnx_export import (
    ExportError,
    FrozenDimensionWarning,
    NarrowedDimensionWarning,
    SessionError,
    check_parity,
    export_onnx,
    max_error,
    open_session,
    random_inputs,
    random_like,
    shapes_to_try,
)
from labkit.onnx_export.export import Exported
from labkit.onnx_export.inputs import sizes_around
from labkit.onnx_export.parity import DIFFERS, NOT_VALID, REFUSED, SAME, SHAPE, difference
from labkit.onnx_export.session import NOT_COMPILED, NOT_STARTED
from labkit.onnx_file import OnnxFileError, load_model, save_model

BATCH = {"x": {0: "batch"}}


class Net(nn.Module):
    """Two inputs, a dict of outputs, a dropout that must not act."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        y = self.drop(self.linear(x))
        return {"logits": y * scale[:, None], "mean": y.mean(1)}


class SizeAsInt(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]), -1) * torch.ones(int(x.shape[0]), 1)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] > 4 else x * 3


class Captured(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - float(x.mean())


class FixedSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.ones(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def example(batch: int = 3) -> Tensor:
    return torch.randn(batch, 4, generator=torch.Generator().manual_seed(0))


def traced(model: nn.Module, path: Path, x: Any, dynamic: Any = None, **options: Any) -> Exported:
    """By the old exporter: it takes 0.1 s, the current one a second and more."""
    return export_onnx(model, x, path, dynamic, exporter="torchscript", **options)


# --- export -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Exported]:
    model = Net()
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    dynamic = {"x": {0: "batch"}, "scale": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # this one has nothing to warn of
        done = export_onnx(model, {"x": example(), "scale": torch.rand(3)}, path, dynamic)
    return model, done


def test_names_are_those_of_the_model(exported: tuple[nn.Module, Exported]) -> None:
    _model, done = exported
    assert (done.inputs, done.outputs) == (("x", "scale"), ("logits", "mean"))
    graph = onnx.load(done.path).graph
    dims = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert dims == {"x": ["batch", 4], "scale": ["batch"]}
    assert done.warnings == ()
    assert str(done) == f"net.onnx: x, scale -> logits, mean, opset {done.opset}"


def test_the_file_stands_alone_and_the_folder_is_clean(exported: tuple[nn.Module, Exported]) -> None:
    _model, done = exported
    assert [file.name for file in done.path.parent.iterdir()] == ["net.onnx"]


def test_the_model_keeps_its_mode_and_dropout_does_not_act(exported: tuple[nn.Module, Exported]) -> None:
    model, done = exported
    assert model.training
    inputs = {"x": example(5), "scale": torch.rand(5)}
    assert max_error(model, done.path, inputs) < 1e-6
    assert model.training


def test_the_exporters_are_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        export_onnx(nn.Linear(4, 2), example(), tmp_path / "a.onnx")
        traced(nn.Linear(4, 2), tmp_path / "b.onnx", example())
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in caught] == []


def test_what_the_exporter_warns_about_the_model_is_kept(tmp_path: Path) -> None:
    done = traced(Captured(), tmp_path / "net.onnx", example())
    assert len(done.warnings) == 1
    assert "Converting a tensor to a Python float" in done.warnings[0]
    assert "the exporter warns: Converting a tensor" in str(done)


def test_tuples_and_chosen_names(tmp_path: Path) -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            return x + 1, (x + 2, x + 3)

    assert traced(Pair(), tmp_path / "net.onnx", example()).outputs == ("output_0", "output_1_0", "output_1_1")
    assert traced(Pair(), tmp_path / "net.onnx", example(), outputs=["a", "b", "c"]).outputs == ("a", "b", "c")


def test_opset_and_optimizer_can_be_chosen(tmp_path: Path) -> None:
    assert traced(nn.Linear(4, 2), tmp_path / "net.onnx", example(), opset=17).opset == 17
    raw = export_onnx(nn.Dropout(), example(), tmp_path / "raw.onnx", optimize=False)
    assert len(load_model(raw.path).graph.node) > 0


def test_large_weights_go_to_an_external_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.onnx_export.export.ONE_FILE_BYTES", 1000)
    model = nn.Linear(4, 1000)
    done = export_onnx(model, example(), tmp_path / "net.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert max_error(model, done.path, example()) < 1e-5


def test_a_branch_decided_by_the_example_is_said(tmp_path: Path) -> None:
    with pytest.warns(NarrowedDimensionWarning, match="holds only for batch <= 4: the model's Python code decided"):
        done = export_onnx(Branch(), example(), tmp_path / "net.onnx", BATCH)
    assert done.ranges == {"batch": (0, 4)}
    assert "holds only for batch <= 4" in str(done)


def test_a_dimension_that_the_model_fixes_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"what was there")
    with pytest.raises(ExportError, match=r"fixed by the model: dim 0 of 'x' is 3\. Mend the model") as caught:
        export_onnx(FixedSize(), example(), tmp_path / "net.onnx", BATCH)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "net.onnx").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_frozen_dimension_is_warned_of(tmp_path: Path) -> None:
    """The current exporter refuses instead; an older one freezes. What is reported is read from the file."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 20]> g (float[3, n] x) => (float[3, n] y) { y = Relu(x) }'
    )
    frozen = onnx_export.export._frozen(model, {"x": {0: "batch", 1: "length"}})
    assert frozen == {"x, dim 0 (batch)": 3}
    done = Exported(tmp_path / "net.onnx", ("x",), ("y",), 20, 1.0, frozen=frozen)
    with pytest.warns(
        FrozenDimensionWarning, match=r"x, dim 0 \(batch\) was asked to be dynamic and is 3 in net\.onnx"
    ):
        onnx_export.export._warn(done)
    assert "frozen: x, dim 0 (batch) is 3 for ever" in str(done)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dynamic": {"images": {0: "batch"}}}, "dynamic names the input 'images'; the inputs are x"),
        ({"dynamic": {"x": {2: "batch"}}}, r"dynamic asks for dim 2 of 'x', which has 2 dims \(0 to 1\)"),
        ({"example": ()}, "the example is empty: give Branch.forward its inputs x"),
        ({"example": (torch.ones(2), torch.ones(2))}, r"takes 1 input\(s\) \(x\); the example has 2"),
        ({"example": {"z": torch.ones(2)}}, "has no input 'z'; it has x"),
        ({"example": np.ones((2, 4))}, "the example is a ndarray; give a torch tensor, a tuple of them, or a dict"),
        ({"example": (3,)}, "input 'x' of the example is a int; give a torch tensor"),
        ({"exporter": "caffe"}, "exporter is 'dynamo' or 'torchscript'; got 'caffe'"),
    ],
)
def test_arguments_that_do_not_fit_are_one_sentence(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    options = {"example": example(), "dynamic": None, **wrong}
    with pytest.raises(ValueError, match=said):
        export_onnx(Branch(), options.pop("example"), tmp_path / "net.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_path_of_a_model_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the model is a str; give a torch\.nn\.Module"):
        export_onnx("net.pt", example(), tmp_path / "net.onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no/net.onnx", "there is no folder .*no to write net.onnx to: make it first"),
        (".", "is a folder: name the .onnx"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        traced(nn.Linear(4, 2), tmp_path / name, example())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_disk_with_no_room_is_one_sentence_and_leaves_nothing(tmp_path: Path, exporter: str) -> None:
    """No file may grow beyond 2,000 bytes here, which fails in the middle of the write as a full disk does."""
    resource = pytest.importorskip("resource", reason="limits on the size of files are POSIX")
    (tmp_path / "net.onnx").write_bytes(b"what was there")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = nn.Linear(4, 2000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(
            ExportError, match=r"net\.onnx cannot be written: File too large; nothing was left"
        ) as caught:
            export_onnx(model, example(), tmp_path / "net.onnx", exporter=exporter)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == b"what was there"


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_an_operator_that_cannot_be_exported_is_one_sentence(
    tmp_path: Path, exporter: str, capfd: pytest.CaptureFixture[str]
) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svd(x)[1]

    with pytest.raises(ExportError, match=r"cannot follow Odd: .*linalg_svd") as caught:
        export_onnx(Odd(), torch.ones(3, 3), tmp_path / "net.onnx", exporter=exporter)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_operators_is_built_once_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    from labkit.onnx_export import operator_tables

    original = ONNXRegistry.__dict__["from_torchlib"]
    monkeypatch.setattr(operator_tables, "_tables", {})
    for _ in range(2):
        export_onnx(nn.Identity(), example(), tmp_path / "net.onnx")
    assert len(operator_tables._tables) == 1
    assert ONNXRegistry.__dict__["from_torchlib"] is original


# --- parity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "statuses"),
    [(SizeAsInt(), {SAME, SHAPE, REFUSED}), (Branch(), {SAME, DIFFERS}), (Captured(), {DIFFERS})],
    ids=["a size as an int", "a branch", "a captured value"],
)
def test_the_three_silent_failures_are_found(tmp_path: Path, model: nn.Module, statuses: set[str]) -> None:
    traced(model, tmp_path / "net.onnx", example(), BATCH)
    report = check_parity(model, tmp_path / "net.onnx", example(), BATCH)
    assert not report.passed
    assert {row.status for row in report.rows} == statuses
    assert report.reference == "float64"
    assert f"of {len(report.rows)} shapes fail" in str(report)


def test_at_the_examples_own_shape_a_branch_is_never_seen(tmp_path: Path) -> None:
    traced(Branch(), tmp_path / "net.onnx", example(), BATCH)
    assert check_parity(Branch(), tmp_path / "net.onnx", example(), shapes=[{"x": (3, 4)}]).passed
    assert not check_parity(Branch(), tmp_path / "net.onnx", example(), shapes=[{"x": (5, 4)}]).passed


def test_a_good_export_passes_and_says_how_well(exported: tuple[nn.Module, Exported]) -> None:
    model, done = exported
    inputs = {"x": example(), "scale": torch.rand(3)}
    report = check_parity(model, done.path, inputs, {"x": {0: "batch"}, "scale": {0: "batch"}})
    assert report.passed
    assert {row.shapes["x"][0] for row in report.rows} >= {1, 2, 3, 4, 6, 7, 12}
    assert all(row.shapes["x"][0] == row.shapes["scale"][0] for row in report.rows)
    assert all(row.max_rel < 1e-5 and row.where for row in report.rows)
    assert str(report).startswith(f"same function at {len(report.rows)} of {len(report.rows)} shapes tried")
    assert report.table().row_count == len(report.rows)


def test_inputs_are_fresh_at_every_shape() -> None:
    generator = np.random.default_rng(0)
    named = {"x": example(), "ids": torch.tensor([5, 9]), "mask": torch.tensor([True, False])}
    shapes = {"x": (3, 4), "ids": (200,), "mask": (50,)}
    first, second = (random_like(named, shapes, generator) for _ in range(2))
    assert not torch.equal(first["x"], second["x"])
    assert set(first["ids"].tolist()) == {5, 6, 7, 8, 9}
    assert set(first["mask"].tolist()) == {True, False}
    assert abs(float(random_like(named, {**shapes, "x": (500, 4)}, generator)["x"].mean() - named["x"].mean())) > 0.3


def test_a_shape_that_the_model_itself_refuses_is_no_failure(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Unflatten(0, (-1, 2)))
    traced(model, tmp_path / "net.onnx", example(4), {"input": {0: "batch"}})
    report = check_parity(model, tmp_path / "net.onnx", example(4), {"input": {0: "batch"}})
    assert {row.status for row in report.rows} == {SAME, NOT_VALID}
    assert report.passed


def test_nothing_compared_is_not_passed(tmp_path: Path) -> None:
    traced(nn.Linear(4, 2), tmp_path / "net.onnx", example())
    report = check_parity(nn.Linear(4, 2), tmp_path / "net.onnx", example(), shapes=[{"input": (3, 5)}])
    assert not report.passed
    assert str(report) == "nothing was compared: the model itself refuses every shape"


def test_what_the_runtime_refuses_is_a_failure(tmp_path: Path) -> None:
    traced(nn.Linear(4, 2), tmp_path / "net.onnx", example())  # a static graph
    report = check_parity(nn.Linear(4, 2), tmp_path / "net.onnx", example(), shapes=[{"input": (5, 4)}])
    assert [row.status for row in report.rows] == [REFUSED]
    assert "Got invalid dimensions" in report.rows[0].reason


def test_max_error_is_the_largest_over_all_outputs(tmp_path: Path) -> None:
    model = Net()
    traced(model, tmp_path / "net.onnx", (example(), torch.rand(3)))
    with torch.no_grad():
        model.linear.bias[1] += 0.25
    inputs = (example(), torch.full((3,), 2.0))
    assert max_error(model, tmp_path / "net.onnx", inputs) == pytest.approx(0.5, rel=1e-4)


def test_max_error_refuses_another_shape(tmp_path: Path) -> None:
    traced(nn.Flatten(), tmp_path / "net.onnx", torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match=r"output 0 has shape \(2, 12\) in net.onnx, \(2, 3, 4\) in the model"):
        max_error(nn.Identity(), tmp_path / "net.onnx", torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    ("expected", "got", "max_abs", "max_rel", "where"),
    [
        ([1.0, 4.0], [1.0, 3.0], 1.0, 0.25, (1,)),
        ([0.0, 0.0], [0.0, 0.0], 0.0, 0.0, (0,)),
        ([0.0], [1.0], 1.0, np.inf, (0,)),
        ([1.0, np.nan], [1.0, np.nan], 0.0, 0.0, (0,)),
        ([1.0, np.nan], [1.0, 2.0], np.inf, np.inf, (1,)),
        ([1.0, np.inf], [1.0, np.inf], 0.0, 0.0, (0,)),
        ([1.0, 2.0], [np.nan, 2.0], np.inf, np.inf, (0,)),
        ([], [], 0.0, 0.0, ()),
    ],
)
def test_difference(expected: list[float], got: list[float], max_abs: float, max_rel: float, where: tuple[int]) -> None:
    found = difference(np.array(expected), np.array(got))
    assert (found.max_abs, found.max_rel, found.where) == (max_abs, max_rel, where)


@given(st.integers(1, 10_000))
def test_sizes_stand_on_both_sides_of_the_examples(size: int) -> None:
    sizes = sizes_around(size)
    assert sizes == sorted(set(sizes) - {size})
    assert max(sizes) > 2 * size
    assert {1, 2, size + 1, 2 * size} - {size} <= set(sizes)
    assert any(n % 2 for n in sizes)
    assert any(n % 2 == 0 for n in sizes)
    assert size == 1 or min(sizes) < size


def test_dims_of_one_name_move_together() -> None:
    shapes = shapes_to_try({"x": torch.ones(2, 5), "y": torch.ones(2)}, {"x": {0: "b", 1: "t"}, "y": {0: "b"}})
    assert shapes[0] == {"x": (2, 5), "y": (2,)}
    assert all(tried["x"][0] == tried["y"][0] for tried in shapes)
    assert {"x": (3, 6), "y": (3,)} in shapes


# --- sessions ---------------------------------------------------------------------------------------------------


@pytest.fixture
def relu(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 20]> g (float[n] x) => (float[n] y) { a = Identity(x) y = Relu(a) }'
    )
    save_model(model, tmp_path / "relu.onnx")
    return tmp_path / "relu.onnx"


def test_a_session_says_what_it_runs_on_and_why(relu: Path, capfd: pytest.CaptureFixture[str]) -> None:
    session = open_session(relu, ["cuda", "cpu"])
    assert session.run(None, {"x": np.array([-1, 1], np.float32)})[0].tolist() == [0, 1]
    if "CUDAExecutionProvider" not in session.get_providers():
        assert session.provider == "CPUExecutionProvider"
        compiled = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        why = NOT_STARTED if compiled else NOT_COMPILED
        assert session.refusals == {"CUDAExecutionProvider": why}
        assert repr(session) == f"<Session on CPUExecutionProvider; CUDAExecutionProvider: {why}>"
    assert capfd.readouterr() == ("", "")


def test_the_cpu_comes_last_and_by_itself(relu: Path) -> None:
    for prefer in ("cpu", [], ["cpu", "cuda"], "CPUExecutionProvider"):
        assert open_session(relu, prefer).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_is_compiled_in_but_does_not_start_is_no_provider(
    relu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onnxruntime-gpu on a machine with no GPU: it lists CUDA, and a session falls back without an exception."""
    monkeypatch.setattr(
        "onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr("labkit.onnx_export.session.Session.get_providers", lambda self: ["CPUExecutionProvider"])
    session = open_session(relu, "cuda")
    assert session.provider == "CPUExecutionProvider"
    assert "could not start on this machine" in session.refusals["CUDAExecutionProvider"]


def test_levels_and_the_optimized_graph(relu: Path, tmp_path: Path) -> None:
    for level, nodes in (("none", 2), ("basic", 1)):
        open_session(relu, "cpu", level=level, optimized_path=tmp_path / "out.onnx")
        assert len(load_model(tmp_path / "out.onnx").graph.node) == nodes


def test_a_model_in_memory(relu: Path) -> None:
    assert open_session(relu.read_bytes(), "cpu").provider == "CPUExecutionProvider"
    with pytest.raises(SessionError, match="ONNX Runtime refuses a model of 4 bytes"):
        open_session(b"junk", "cpu")


def test_sessions_that_cannot_be(relu: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no provider 'gpu'; say one of cpu, cuda"):
        open_session(relu, "gpu")
    with pytest.raises(ValueError, match="level is one of none, basic, extended, all; got 'max'"):
        open_session(relu, "cpu", level="max")
    with pytest.raises(OnnxFileError, match="there is no file"):
        open_session(tmp_path / "no.onnx", "cpu")
    bad = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 20, "my": 1]> g (float[n] x) => (float[n] y) { y = my.Own(x) }'
    )
    save_model(bad, tmp_path / "bad.onnx")
    with pytest.raises(SessionError, match=r"ONNX Runtime refuses .*bad\.onnx: .*my:Own") as caught:
        open_session(tmp_path / "bad.onnx", "cpu")
    assert "\n" not in str(caught.value)


# --- random inputs of a file ------------------------------------------------------------------------------------


def test_random_inputs_fit_the_model() -> None:
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20]>
        g (float[b, 3] x, int64[b] ids, bool[1] m, float16[2] h, float[2] w = {1.0, 2.0}) => (float[b, 3] y) {
            y = Relu(x)
        }""")
    inputs = random_inputs(model, dims={"b": 5})
    assert {name: (array.shape, str(array.dtype)) for name, array in inputs.items()} == {
        "x": ((5, 3), "float32"),
        "ids": ((5,), "int64"),
        "m": ((1,), "bool"),
        "h": ((2,), "float16"),
    }
    assert np.array_equal(inputs["x"], random_inputs(model, dims={"b": 5})["x"])
    assert random_inputs(model, dims={"b": 5}, seed=1)["x"].tolist() != inputs["x"].tolist()
    with pytest.raises(ValueError, match="no symbolic dimension 'batch'; it has b"):
        random_inputs(model, dims={"batch": 1})
