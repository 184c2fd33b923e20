"""Small, real models to export, simplify and build: each shows what the others cannot.

    digits       a CNN trained in seconds on scikit-learn's digits: accuracy, not only closeness, can be compared
    residual     shortcuts, grouped and transposed convolutions, dropout: what a fusion pass must not break
    transformer  token ids through embeddings, attention and feed-forward blocks: reshapes and broadcast masks
    detector     a feature pyramid with a resize and boxes computed from the input's own size: shape arithmetic

    sample = SAMPLES["detector"]
    export_onnx(sample.build(), sample.example(), "detector.onnx", sample.dynamic)

Every model and example is made from a seed and is the same each time; the caller's random state is not touched.
Axes: B batch, C channels, H height, W width, T tokens, D width of the model, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from labkit.distill import one_thread

DIGIT_CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images of digits as scikit-learn ships them, scaled to 0 … 1. images: (N, 1, 8, 8) float32, labels: (N,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Trained:
    """A trained model with its accuracy (0 … 1) on images that it has not seen."""

    model: nn.Module
    accuracy: float
    num_test: int
    elapsed_ms: float

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} of {self.num_test} unseen digits right, trained in {self.elapsed_ms / 1000:.1f} s"


def load_digits(test_share: float = 0.25, seed: int = 0) -> Digits:
    """The 1,797 digits, split the same way for the same seed, each class in the same proportion in both parts."""
    from sklearn.datasets import load_digits as sklearn_digits
    from sklearn.model_selection import train_test_split

    bunch = sklearn_digits()
    images = (bunch.images[:, None] / 16).astype(np.float32)
    parts = train_test_split(
        images, bunch.target.astype(np.int64), test_size=test_share, random_state=seed, stratify=bunch.target
    )
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, parts)
    return Digits(train_images, train_labels, test_images, test_labels)


def train_digits_cnn(epochs: int = 8, seed: int = 0) -> Trained:
    """A DigitsCNN trained on the spot: a few seconds on one core."""
    digits = load_digits(seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DigitsCNN()
        started = perf_counter()
        with one_thread():
            _train(model, digits, epochs)
        elapsed_ms = 1000 * (perf_counter() - started)
    return Trained(model, accuracy(model, digits), len(digits.test_labels), elapsed_ms)


def accuracy(predict: Callable[[Tensor], Any], digits: Digits | None = None) -> float:
    """The share (0 … 1) of the test digits whose largest score is the right class.

    predict: a model, or any call from images (N, 1, 8, 8) to scores (N, 10), a tensor or an array; so the same
    number can be had of an ONNX session or a plan.
    """
    digits = digits or load_digits()
    with torch.no_grad():
        scores = torch.as_tensor(predict(digits.test_images))
    return (scores.argmax(1) == digits.test_labels).double().mean().item()


def _train(model: nn.Module, digits: Digits, epochs: int, batch: int = 64) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(epochs):
        for picked in torch.randperm(len(digits.train_labels)).split(batch):
            optimizer.zero_grad()
            functional.cross_entropy(model(digits.train_images[picked]), digits.train_labels[picked]).backward()
            optimizer.step()
    model.eval()


class DigitsCNN(nn.Module):
    """(B, 1, 8, 8) -> scores (B, 10): two convolutions with batch normalization, then a linear layer."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.classify = nn.Linear(2 * width * 4 * 4, DIGIT_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.features(images)  # (B, 2 * width, 4, 4)
        return self.classify(x.flatten(1))  # (B, 10)


class ResidualBlock(nn.Module):
    """(B, C, H, W) -> the same: x + two grouped convolutions of x."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(x + self.drop(y))


class ResidualNet(nn.Module):
    """(B, 3, H, W) -> (B, 3, H, W): down by two, residual blocks, up by two. H and W are even."""

    def __init__(self, channels: int = 16, blocks: int = 3, groups: int = 4) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.down_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(ResidualBlock(channels, groups) for _ in range(blocks))
        self.up = nn.ConvTranspose2d(channels, channels, 2, stride=2, groups=groups)
        self.up_norm = nn.BatchNorm2d(channels)
        self.out = nn.Conv2d(channels, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = functional.relu(self.down_norm(self.down(image)))  # (B, C, H/2, W/2)
        for block in self.blocks:
            x = block(x)
        x = functional.relu(self.up_norm(self.up(x)))  # (B, C, H, W)
        return self.out(x)  # (B, 3, H, W)


class TransformerBlock(nn.Module):
    """(B, T, D) -> the same: attention and a feed-forward part, each behind a normalization (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, D / heads)
        scores = q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask  # (B, heads, T, T)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.project(y)
        return x + self.feed(self.feed_norm(x))


class TransformerStack(nn.Module):
    """Token ids (B, T) -> scores (B, T, V): a small decoder that sees only the past."""

    def __init__(
        self, vocabulary: int = 128, width: int = 64, layers: int = 2, heads: int = 4, context: int = 64
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(0.02 * torch.randn(context, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        num_tokens = tokens.shape[1]
        x = self.embed(tokens) + self.position[:num_tokens]  # (B, T, D)
        past = torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
        mask = torch.zeros(num_tokens, num_tokens, dtype=x.dtype).masked_fill(~past, float("-inf"))
        for block in self.blocks:
            x = block(x, mask)
        return self.scores(self.norm(x))  # (B, T, V)


class Detector(nn.Module):
    """(B, 3, H, W) -> boxes (B, N, 4) in pixels and scores (B, N, classes): a tiny feature pyramid.

    The coarse map is resized to the fine one's size, whatever that is, and the boxes are computed from a grid made for
    the input's size: the shape arithmetic that clutters exported detectors.
    """

    def __init__(self, channels: int = 16, classes: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.fine = _conv_norm(3, channels)
        self.coarse = _conv_norm(channels, channels)
        self.head = nn.Conv2d(channels, 4 + classes, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        batch, _, height, width = image.shape
        fine = self.fine(image)  # (B, C, H/2, W/2)
        coarse = self.coarse(fine)  # (B, C, H/4, W/4)
        merged = fine + functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        rows, columns = merged.shape[-2:]
        head = self.head(merged).permute(0, 2, 3, 1).reshape(batch, rows * columns, 4 + self.classes)
        y = ((torch.arange(rows, dtype=head.dtype) + 0.5) * (height / rows))[:, None].expand(rows, columns)
        x = ((torch.arange(columns, dtype=head.dtype) + 0.5) * (width / columns))[None, :].expand(rows, columns)
        center_x = x.reshape(-1) + 0.1 * width * head[..., 0].tanh()  # (B, N), pixels
        center_y = y.reshape(-1) + 0.1 * height * head[..., 1].tanh()
        half_width, half_height = width / 2 * head[..., 2].sigmoid(), height / 2 * head[..., 3].sigmoid()
        left, right = center_x - half_width, center_x + half_width
        top, bottom = center_y - half_height, center_y + half_height
        boxes = torch.stack([left, top, right, bottom], -1)  # (B, N, 4)
        return {"boxes": boxes, "scores": head[..., 4:].sigmoid()}


def _conv_norm(channels_in: int, channels_out: int) -> nn.Module:
    """Half the height and width, each rounded up."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(),
    )


@dataclass(frozen=True)
class Sample:
    """A model to work on: what it shows, how to make it, an example input, and which dimensions may change."""

    name: str
    what: str
    make: Callable[[int], nn.Module]  # from a seed; what is only drawn needs none, it is drawn under it
    draw: Callable[[torch.Generator], Tensor]
    dynamic: dict[str, dict[int, str]] = field(default_factory=dict)

    def build(self, seed: int = 0) -> nn.Module:
        """The model in evaluation mode, the same for the same seed, its normalizations with statistics worth fusing."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.make(seed)
            _give_statistics(model)
        return model.eval()

    def example(self, seed: int = 0) -> Tensor:
        """An input, the same for the same seed."""
        return self.draw(torch.Generator().manual_seed(seed))


def _give_statistics(model: nn.Module) -> None:
    """Fresh normalizations have mean 0 and variance 1: fusing those would hide every mistake in the formula."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked == 0:
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            "digits",
            "a CNN trained on the spot on scikit-learn's digits",
            lambda seed: train_digits_cnn(seed=seed).model,
            lambda generator: torch.rand(4, 1, 8, 8, generator=generator),
            {"images": {0: "batch"}},
        ),
        Sample(
            "residual",
            "shortcuts, grouped and transposed convolutions, dropout",
            lambda _seed: ResidualNet(),
            lambda generator: torch.randn(2, 3, 16, 16, generator=generator),
            {"image": {0: "batch"}},
        ),
        Sample(
            "transformer",
            "embeddings, attention with a causal mask, feed-forward blocks",
            lambda _seed: TransformerStack(),
            lambda generator: torch.randint(0, 128, (2, 16), generator=generator),
            {"tokens": {0: "batch", 1: "num_tokens"}},
        ),
        Sample(
            "detector",
            "a feature pyramid with a resize, and boxes computed from the input's size",
            lambda _seed: Detector(),
            lambda generator: torch.randn(2, 3, 32, 48, generator=generator),
            {"image": {0: "batch", 2: "height", 3: "width"}},
        ),
    )
}
