"""`labkit onnx`: tables for people, JSON alone on standard output, and one sentence for what went wrong."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.commands import onnx as command
from labkit.onnx_file import load_model, save_model
from labkit.onnx_simplify import TOOLS, count_ops, simplify


@pytest.fixture
def net(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20]> g (float[b, 2] x) => (float[b, 2] y) {
        a = Identity(x) k = Constant<value_float = 2.0>() m = Mul(a, k) y = Relu(m)
    }""")
    save_model(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(main, ["onnx", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_report_prints_both_tables(net: Path) -> None:
    out, _err = run("report", net, "--dim", "b=3")
    assert "net.onnx: what each tool made of it" in out
    assert all(tool.split()[0] in out for tool in TOOLS)
    assert "Identity" in out


def test_report_as_json_is_alone_on_standard_output(net: Path, tmp_path: Path) -> None:
    out, _err = run(
        "report", net, "--tool", "labkit", "--json", "--picture", tmp_path / "r.png", "--keep", tmp_path / "kept"
    )
    report = json.loads(out)
    assert [outcome["tool"] for outcome in report["outcomes"]] == ["original", "labkit"]
    assert report["outcomes"][1]["ops"] == {"Mul": 1, "Relu": 1}
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert count_ops(load_model(tmp_path / "kept" / "labkit.onnx")) == {"Mul": 1, "Relu": 1}


def test_diff_says_what_became_of_the_nodes(net: Path, tmp_path: Path) -> None:
    save_model(simplify(load_model(net)), tmp_path / "after.onnx")
    out, _err = run("diff", net, tmp_path / "after.onnx", "--picture", tmp_path / "d.png")
    assert out == "4 nodes before, 2 after: 1 folded into constants (Constant 1); 1 removed (Identity 1).\n"
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


def test_view_serves_the_model_until_it_is_interrupted(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(seconds: float) -> None:
        """In place of the sleep: what a browser would see, then Ctrl-C."""
        from labkit.widgets.netron_server import viewer_server

        server = viewer_server()
        with urllib.request.urlopen(server.url(list(server._models)[-1])) as page:
            seen.append(page.read())
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", look)
    out, _err = run("view", net, "--no-browser")
    assert out.startswith("net.onnx is at http://127.0.0.1:")
    assert b'<meta name="name" content="net.onnx">' in seen[0]


def test_view_as_a_picture(net: Path, tmp_path: Path) -> None:
    out, _err = run("view", net, "--picture", tmp_path / "p.png")
    assert out == "net.onnx: 4 nodes, Constant 1, Identity 1, Mul 1, Relu 1.\n"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_samples_are_listed_and_exported(tmp_path: Path) -> None:
    out, _err = run("sample")
    assert [line.split()[0] for line in out.splitlines()] == ["digits", "residual", "transformer", "detector"]
    out, _err = run("sample", "residual", tmp_path / "r.onnx", "--exporter", "torchscript", "--static")
    assert out.startswith("r.onnx: image -> output, opset")
    assert load_model(tmp_path / "r.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["view", "NET", "--picture", "FILE"],
        ["report", "NET", "--picture", "FILE"],
        ["diff", "NET", "NET", "--picture", "FILE"],
        ["sample", "digits", "FILE"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_folder_that_is_not_there_is_said_before_any_work(net: Path, arguments: list[str]) -> None:
    file = net.parent / "no" / "such" / "out.png"
    named = {"NET": net, "FILE": file}
    out, err = run(*(named.get(argument, argument) for argument in arguments), code=1)
    assert out == ""
    assert err == f"Error: there is no folder {file.parent} to write out.png into\n"


@contextmanager
def no_file_beyond(num_bytes: int) -> Iterator[None]:
    """A write fails in its middle, as on a full disk, and with another word for it."""
    resource = pytest.importorskip("resource", reason="limits on the size of files are POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_picture_that_does_not_fit_is_one_sentence_and_leaves_nothing(net: Path, tmp_path: Path) -> None:
    with no_file_beyond(500):
        _out, err = run("view", net, "--picture", tmp_path / "p.png", code=1)
    assert err == f"Error: {tmp_path / 'p.png'}: File too large\n"
    assert not (tmp_path / "p.png").exists()


def test_simplified_models_that_do_not_fit_are_told_and_leave_nothing(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 20]> g (float[b, 4000] x) =>
        (float[b, 4000] y) { a = Identity(x) y = Mul(a, w) }""")
    weight = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    save_model(model, tmp_path / "net.onnx")
    with no_file_beyond(8000):
        out, _err = run("report", tmp_path / "net.onnx", "--keep", tmp_path / "kept", "--json")
    outcomes = json.loads(out)["outcomes"][1:]
    assert [outcome["tool"] for outcome in outcomes] == list(TOOLS)
    assert all(outcome["error"] for outcome in outcomes), outcomes
    assert "File too large" in outcomes[0]["error"]
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("verb", ["report", "view"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"no model at all", "is not an ONNX model"),
        ("half", "begins like an ONNX model but breaks off"),
        ("lost", "is not beside it: copy the two together"),
    ],
)
def test_bad_input_is_one_sentence(net: Path, verb: str, content: bytes | str | None, said: str) -> None:
    path = net.with_name("bad.onnx")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "half":
        path.write_bytes(net.read_bytes()[:60])
    elif content == "lost":
        model = load_model(net)
        weight = model.graph.initializer.add(name="w", data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value="weights.bin")
        path.write_bytes(model.SerializeToString())
    out, err = run(verb, path, code=1)
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert err.startswith("Error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "NET", "--dim", "batch=2"], "no symbolic dimension 'batch'; it has b"),
        (["report", "NET", "--dim", "b"], "--dim is NAME=SIZE, as batch=8, and at least 1; got 'b'"),
        (["report", "NET", "--dim", "b=0"], "--dim is NAME=SIZE, as batch=8, and at least 1; got 'b=0'"),
        (["sample", "digits", "."], ". is a folder: name the file to write in it"),
        (["report", "NET", "--tool", "magic"], "no tool 'magic'; there is labkit"),
        (["sample", "resnet"], "no sample 'resnet'; there is digits"),
    ],
)
def test_bad_arguments_are_one_sentence(net: Path, arguments: list[str], said: str) -> None:
    _out, err = run(*(net if argument == "NET" else argument for argument in arguments), code=1)
    assert said in err
