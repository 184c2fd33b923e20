"""SGD and Adam, element by element: what an optimizer must be for its state to be split.

Both work on flat arrays of any length and give back new ones, so a shard is updated exactly as the same
elements of the whole would be.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from labkit.zero.ring import Array

State = dict[str, Any]  # arrays as long as the parameters, and plain numbers


class Optimizer(Protocol):
    """An element-wise optimizer."""

    def start(self, params: Array) -> State:
        """The state before the first step."""
        ...

    def update(self, params: Array, grads: Array, state: State) -> tuple[Array, State]:
        """New parameters and new state after one step."""
        ...


@dataclass(frozen=True)
class SGD:
    """p - lr·v with v = momentum·v + g, as `torch.optim.SGD`; without momentum there is no state."""

    lr: float = 0.1
    momentum: float = 0.0

    def start(self, params: Array) -> State:
        return {"momentum": np.zeros_like(params)} if self.momentum else {}

    def update(self, params: Array, grads: Array, state: State) -> tuple[Array, State]:
        if not self.momentum:
            return params - self.lr * grads, {}
        velocity = self.momentum * state["momentum"] + grads
        return params - self.lr * velocity, {"momentum": velocity}


@dataclass(frozen=True)
class Adam:
    """`torch.optim.Adam` without weight decay. Its step counter is part of the state."""

    lr: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8  # keeps the step finite where the variance is 0

    def start(self, params: Array) -> State:
        return {"step": 0, "momentum": np.zeros_like(params), "variance": np.zeros_like(params)}

    def update(self, params: Array, grads: Array, state: State) -> tuple[Array, State]:
        step = state["step"] + 1
        momentum = self.beta1 * state["momentum"] + (1 - self.beta1) * grads
        variance = self.beta2 * state["variance"] + (1 - self.beta2) * grads**2
        corrected = np.sqrt(variance / (1 - self.beta2**step)) + self.eps
        params = params - self.lr / (1 - self.beta1**step) * momentum / corrected
        return params, {"step": step, "momentum": momentum, "variance": variance}


@dataclass(frozen=True)
class MasterCopy:
    """Mixed precision around another optimizer: an fp32 copy of the parameters takes the small steps.

    With Adam inside and float16 parameters this is the paper's 2 + 2 + 12 bytes.
    """

    inner: Optimizer

    def start(self, params: Array) -> State:
        master = params.astype(np.float32)
        return {"master": master, **self.inner.start(master)}

    def update(self, params: Array, grads: Array, state: State) -> tuple[Array, State]:
        inner_state = {name: value for name, value in state.items() if name != "master"}
        master, inner_state = self.inner.update(state["master"], grads.astype(np.float32), inner_state)
        return master.astype(params.dtype), {"master": master, **inner_state}
