"""Optimisers that evolution strategies follow their estimate of the gradient with, uphill.

Axes: d parameters.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from common.utils.beartype import shape_checked


class Adam:
    """Adam. Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1 with its defaults.

    Args:
        size: Number of parameters, d.
        lr: The step size, α.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, size: int, lr: float) -> None:
        self.lr = lr
        self.num_steps = 0
        self.first, self.second = np.zeros(size), np.zeros(size)

    @shape_checked
    def step(self, gradient: Float64[np.ndarray, " d"]) -> Float64[np.ndarray, " d"]:
        """Returns what to add to the parameters."""
        self.num_steps += 1
        self.first = self.BETA_1 * self.first + (1 - self.BETA_1) * gradient
        self.second = self.BETA_2 * self.second + (1 - self.BETA_2) * np.square(gradient)
        first = self.first / (1 - self.BETA_1**self.num_steps)
        second = self.second / (1 - self.BETA_2**self.num_steps)
        change: np.ndarray = self.lr * first / (np.sqrt(second) + self.EPSILON)
        return change

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next step depends on."""
        moments = {"first": torch.from_numpy(self.first.copy()), "second": torch.from_numpy(self.second.copy())}
        return {"num_steps": self.num_steps, **moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.num_steps = state["num_steps"]
        self.first, self.second = state["first"].numpy().copy(), state["second"].numpy().copy()


class ClipUp:
    """Momentum whose steps have one length: only the gradient's direction counts, and the speed has a limit.

    Source: Toklu, Liskowski and Srivastava 2020, "ClipUp: a simple and powerful optimizer for distribution-based policy
    evolution", algorithm 1; reference implementation: `ClipUp` in github.com/nnaisense/evotorch.

    Args:
        size: Number of parameters, d.
        lr: Length of a step.
        max_speed: Greatest length of the velocity.
        momentum: Share of the velocity that is kept.
    """

    def __init__(self, size: int, lr: float, max_speed: float, momentum: float) -> None:
        self.lr, self.max_speed, self.momentum = lr, max_speed, momentum
        self.velocity = np.zeros(size)

    @shape_checked
    def step(self, gradient: Float64[np.ndarray, " d"]) -> Float64[np.ndarray, " d"]:
        """Returns what to add to the parameters; a gradient of 0 gives no direction."""
        length = math.sqrt(np.square(gradient).sum())
        push = self.lr * gradient / length if length > 0 else gradient
        self.velocity = self.momentum * self.velocity + push
        speed = math.sqrt(np.square(self.velocity).sum())
        if speed > self.max_speed:
            self.velocity = self.velocity * (self.max_speed / speed)
        return self.velocity.copy()

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next step depends on."""
        return {"velocity": torch.from_numpy(self.velocity.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.velocity = state["velocity"].numpy().copy()
