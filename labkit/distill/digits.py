"""scikit-learn's digits as tensors: 1,797 handwritten digits of 8 by 8 pixels, which ship with it (no download)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from labkit.distill._arguments import DistillError, checked_whole

NUM_CLASSES = 10
NUM_IMAGES = 1797
NUM_TRAIN = 1000  # the other 797 are the test images: used in no training and for no choice
BRIGHTEST = 16  # pixels are 0 to 16


@dataclass(frozen=True)
class Digits:
    """Images (B, 1, 8, 8) from 0 to 1 in float32 and labels (B,), to train on and to test on."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device: str) -> Digits:
        """The same on another device; what is trained on them is trained there."""
        return Digits(
            self.images.to(device), self.labels.to(device), self.test_images.to(device), self.test_labels.to(device)
        )

    def few(self, per_class: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images and labels of `per_class` training images of every class, drawn with the seed.

        Raises DistillError when a class has fewer.
        """
        per_class = checked_whole(per_class, "per_class", at_least=1)
        draw = np.random.default_rng(seed)
        chosen: list[int] = []
        for digit in range(NUM_CLASSES):
            of_class = np.flatnonzero(self.labels.cpu().numpy() == digit)
            if per_class > len(of_class):
                raise DistillError(
                    f"per_class is {per_class}; of digit {digit} there are {len(of_class)} training images."
                )
            chosen.extend(draw.choice(of_class, per_class, replace=False))
        return self.images[chosen], self.labels[chosen]


def load_digits(seed: int = 0) -> Digits:
    """The digits, shuffled with the seed and split into 1,000 to train on and 797 to test on.

    >>> load_digits().images.shape
    torch.Size([1000, 1, 8, 8])
    """
    from sklearn.datasets import load_digits as load

    pixels, labels = load(return_X_y=True)
    order = np.random.default_rng(seed).permutation(NUM_IMAGES)
    images = torch.tensor(pixels[order] / BRIGHTEST, dtype=torch.float32).reshape(-1, 1, 8, 8)
    classes = torch.tensor(labels[order], dtype=torch.int64)
    return Digits(images[:NUM_TRAIN], classes[:NUM_TRAIN], images[NUM_TRAIN:], classes[NUM_TRAIN:])
