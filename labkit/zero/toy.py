"""A model small enough to read, for training on virtual ranks: one hidden layer, flat parameters.

Axes: B batch, I inputs, H hidden units.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.zero.ring import Array


@dataclass(frozen=True)
class TanhRegression:
    """y = tanh(x W) v, trained on the mean squared error. Φ = I·H + H.

    A batch is `(x, y)` of the shapes (B, I) and (B,).
    """

    inputs: int
    hidden: int

    @property
    def num_params(self) -> int:
        return self.inputs * self.hidden + self.hidden

    def start(self, seed: int = 0) -> Array:
        """Small random parameters, float64."""
        return np.random.default_rng(seed).normal(0.0, 0.5, self.num_params)

    def forward(self, params: Array, batch: tuple[Array, Array]) -> Any:
        """Input, hidden activations and error: what backward needs."""
        x, y = batch
        W, v = self._split(params)
        activations = np.tanh(x @ W)  # B H
        return x, activations, activations @ v - y

    def backward(self, params: Array, saved: Any) -> Array:
        """The gradient of the mean squared error, flat: (Φ,)."""
        x, activations, error = saved  # B I, B H, B
        _, v = self._split(params)
        d_output = 2 * error / error.size  # B
        d_hidden = np.outer(d_output, v) * (1 - activations**2)  # B H
        return np.concatenate([(x.T @ d_hidden).ravel(), activations.T @ d_output])

    def loss(self, params: Array, batch: tuple[Array, Array]) -> float:
        return float(np.mean(self.forward(params, batch)[2] ** 2))

    def _split(self, params: Array) -> tuple[Array, Array]:
        if params.size != self.num_params:
            raise ValueError(f"The model has {self.num_params} parameters, got {params.size}: was padding cut off?")
        cut = self.inputs * self.hidden
        return params[:cut].reshape(self.inputs, self.hidden), params[cut:]


def make_batches(
    model: TanhRegression, world_size: int, micro_batches: int = 1, size: int = 4, seed: int = 0
) -> list[list[tuple[Array, Array]]]:
    """Random data: for each rank K micro-batches of `size` examples, all of one size."""
    rng = np.random.default_rng(seed)
    return [
        [(rng.normal(size=(size, model.inputs)), rng.normal(size=size)) for _ in range(micro_batches)]
        for _ in range(world_size)
    ]
