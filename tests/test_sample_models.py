"""labkit.sample_models: deterministic, trainable in seconds, and exportable with the sizes that they promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from labkit.onnx_export import check_parity, export_onnx, open_session, random_inputs
from labkit.onnx_file import load_model
from labkit.onnx_simplify import count_ops, num_nodes, simplify
from labkit.sample_models import SAMPLES, Detector, Trained, accuracy, load_digits, train_digits_cnn


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_digits_cnn(epochs=4)  # as many as the labs train


def test_the_digits_are_split_evenly_and_the_same_each_time() -> None:
    digits, again = load_digits(), load_digits()
    assert torch.equal(digits.train_images, again.train_images)
    assert digits.train_images.shape == (1347, 1, 8, 8)
    assert digits.test_images.shape == (450, 1, 8, 8)
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    assert min(digits.test_labels.bincount()) >= 43
    assert not torch.equal(digits.train_images, load_digits(seed=1).train_images)


def test_the_cnn_learns_the_digits(trained: Trained) -> None:
    assert trained.accuracy > 0.95
    assert trained.num_test == 450
    assert not trained.model.training
    assert str(trained).startswith(f"{trained.accuracy:.1%} of 450 unseen digits right")


def test_training_is_the_same_each_time_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = (train_digits_cnn(epochs=1).model.state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = train_digits_cnn(epochs=1, seed=1).model.state_dict()
    assert not torch.equal(first["classify.weight"], other["classify.weight"])


def test_accuracy_is_that_of_any_call(trained: Trained, tmp_path: Path) -> None:
    export_onnx(
        trained.model, torch.rand(4, 1, 8, 8), tmp_path / "digits.onnx", {"images": {0: "n"}}, exporter="torchscript"
    )
    session = open_session(tmp_path / "digits.onnx", "cpu")
    assert accuracy(lambda images: session.run(None, {"images": images.numpy()})[0]) == trained.accuracy
    assert accuracy(lambda images: torch.zeros(len(images), 10)) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "digits"])
def test_models_and_examples_are_the_same_each_time(name: str) -> None:
    sample = SAMPLES[name]
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = sample.build().state_dict(), sample.build().state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(value, sample.build(seed=1).state_dict()[key]) for key, value in first.items())
    assert torch.equal(sample.example(), sample.example())
    assert not torch.equal(sample.example(), sample.example(seed=1))


@pytest.mark.parametrize("name", list(SAMPLES))
def test_every_sample_exports_with_the_sizes_that_it_promises_and_simplifies(name: str, tmp_path: Path) -> None:
    """By tracing, which leaves most to simplify and takes 0.1 s; the current exporter has the next test."""
    sample, path = SAMPLES[name], tmp_path / f"{name}.onnx"
    model = sample.build()
    export_onnx(model, sample.example(), path, sample.dynamic, exporter="torchscript")
    report = check_parity(model, path, sample.example(), sample.dynamic)
    assert report.passed, str(report)
    before = load_model(path)
    after = simplify(before)
    assert num_nodes(after) <= num_nodes(before)
    assert not {"Constant", "Identity", "Dropout", "BatchNormalization"} & set(count_ops(after))
    feeds = random_inputs(before)
    results = [open_session(each.SerializeToString(), "cpu", level="none").run(None, feeds) for each in (before, after)]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(torch.tensor(theirs), torch.tensor(ours), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "transformer", "detector"])
def test_the_current_exporter_follows_every_sample(name: str, tmp_path: Path) -> None:
    sample, path = SAMPLES[name], tmp_path / f"{name}.onnx"
    model = sample.build()
    done = export_onnx(model, sample.example(), path, sample.dynamic, optimize=False)
    assert done.frozen == {}
    report = check_parity(model, path, sample.example(), sample.dynamic)
    assert report.passed, str(report)
    assert num_nodes(simplify(load_model(path))) < 0.7 * num_nodes(load_model(path))


def test_boxes_lie_around_the_image_whatever_its_size() -> None:
    for height, width in ((32, 48), (17, 30)):
        found = SAMPLES["detector"].build()(torch.randn(2, 3, height, width))
        boxes, scores = found["boxes"], found["scores"]
        num_boxes = -(-height // 2) * -(-width // 2)
        assert boxes.shape == (2, num_boxes, 4)
        assert scores.shape == (2, num_boxes, Detector().classes)
        assert (boxes[..., 2:] > boxes[..., :2]).all()
        center_x, center_y = boxes[..., 0::2].mean(-1), boxes[..., 1::2].mean(-1)
        assert ((center_x > -0.1 * width) & (center_x < 1.1 * width)).all()
        assert ((center_y > -0.1 * height) & (center_y < 1.1 * height)).all()


def test_the_decoder_sees_only_the_past() -> None:
    model = SAMPLES["transformer"].build()
    tokens = SAMPLES["transformer"].example()
    changed = tokens.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % 128
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :8], after[:, :8])
    assert not torch.allclose(before[:, 8:], after[:, 8:])
