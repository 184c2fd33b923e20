"""labkit.onnx_file: what is written can be read, weights in other files too; what is no model is refused in words."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from labkit.onnx_file import (
    OnnxFileError,
    external_tensors,
    files_bytes,
    graphs,
    load_model,
    model_files,
    num_bytes,
    save_model,
    tensors,
)


def small_model(elements: int = 4096) -> onnx.ModelProto:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 20]> g (float[n] x) => (float[n] y) { y = Add(x, w) }
    """)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(elements, dtype=np.float32), "w"))
    return model


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model whose weight lies in net.onnx.data."""
    path = tmp_path / "net.onnx"
    save_model(small_model(), path, one_file_bytes=1000)
    return path


def test_one_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = small_model()
    assert save_model(model, tmp_path / "net.onnx") == (tmp_path / "net.onnx",)
    assert load_model(tmp_path / "net.onnx") == model
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_large_weights_go_beside_the_model_and_come_back(external: Path) -> None:
    assert load_model(external) == small_model()
    assert [file.name for file in model_files(external)] == ["net.onnx", "net.onnx.data"]
    assert files_bytes(external) == sum(file.stat().st_size for file in external.parent.iterdir())
    assert [tensor.name for tensor in external_tensors(load_model(external, weights=False))] == ["w"]


def test_saving_leaves_the_model_in_memory_alone(tmp_path: Path) -> None:
    model = small_model()
    save_model(model, tmp_path / "net.onnx", one_file_bytes=1000)
    assert model == small_model()


def test_saving_again_does_not_append_to_the_old_weights(external: Path) -> None:
    before = files_bytes(external)
    save_model(small_model(), external, one_file_bytes=1000)
    assert files_bytes(external) == before
    assert load_model(external) == small_model()


def test_a_failed_write_leaves_the_old_model_and_nothing_else(external: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    files = sorted(external.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "save_model", full_disk)
        with pytest.raises(OSError, match="No space left"):
            save_model(small_model(8192), external, one_file_bytes=1000)
    assert sorted(external.parent.iterdir()) == files
    assert load_model(external) == small_model()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"hello, world", "it begins with b'hello, w'"),
        (b"PK\x03\x04 and so on", "zip archive, as torch.save writes"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x80\x04pickled", "pickle"),
        (onnx.GraphProto(name="g").SerializeToString(), "is not an ONNX model"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(content)
    with pytest.raises(OnnxFileError, match=said) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = small_model(64).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(OnnxFileError):
            load_model(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match="there is no file"):
        load_model(tmp_path / "no.onnx")
    with pytest.raises(OnnxFileError, match="is a folder"):
        load_model(tmp_path)


def test_missing_external_weights_name_the_weight_and_the_file(external: Path) -> None:
    model_files(external)[1].unlink()
    with pytest.raises(OnnxFileError, match=r"keeps weight 'w' in 'net\.onnx\.data', and that file is not beside it"):
        load_model(external)


def test_external_weights_that_are_too_short(external: Path) -> None:
    data = model_files(external)[1]
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(OnnxFileError, match=r"ends at byte 16,383, but weight 'w' of net\.onnx reaches to byte 16,384"):
        load_model(external, weights=False)


def test_weights_outside_the_folder_of_the_model_are_not_opened(external: Path) -> None:
    (external.parent.parent / "elsewhere").write_bytes(b"secret" * 10_000)
    model = load_model(external, weights=False)
    location = next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location")
    location.value = "../elsewhere"
    external.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxFileError, match="outside its own folder"):
        load_model(external)


def test_tensors_and_graphs_inside_nodes_are_found() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 20]> g (bool c) => (float[1] y) <float[1] w = {1.0}> {
          y = If(c) <then_branch = t () => (float[1] a) { a = Constant<value = float[1] {2.0}>() },
                     else_branch = e () => (float[1] b) { b = Identity(w) }>
        }
    """)
    assert {graph.name for graph in graphs(model)} == {"g", "t", "e"}
    assert len(list(tensors(model))) == 2
    assert num_bytes(model) == len(model.SerializeToString())
