"""CartPole-v1: a pole balanced on a cart that is pushed left or right.

Source: `gymnasium/envs/classic_control/cartpole.py`, after Barto, Sutton and Anderson 1983, "Neuronlike adaptive
elements that can solve difficult learning control problems", with the equations of Florian 2007, "Correct equations
for the dynamics of the cart-pole system".

Axes: n episodes; state (4): position, velocity, angle, angular velocity; obs (4): the same.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt64
from typing_extensions import override

from common.ne.evaluator.physics.base import Physics, uniform
from common.utils.beartype import shape_checked

GRAVITY = 9.8
MASS_POLE = 0.1
MASS_TOTAL = MASS_POLE + 1.0
HALF_LENGTH = 0.5
MASS_LENGTH = MASS_POLE * HALF_LENGTH
FORCE = 10.0
SECONDS_PER_STEP = 0.02
MAX_POSITION = 2.4
MAX_ANGLE = 12 * 2 * math.pi / 360
START_BOUND = 0.05


class CartPole(Physics):
    """Reward 1 for each step; ends when the cart or the pole has gone too far."""

    name = "CartPole-v1"
    observation_size = 4
    num_actions = 2
    max_steps = 500
    state_size = 4

    @override
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4"]:
        """Starts with all four numbers uniform in ±0.05."""
        return -START_BOUND + 2 * START_BOUND * uniform(seeds, 4)

    @override
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
        return states.astype(np.float32)

    @override
    @shape_checked
    def step(
        self, states: Float64[np.ndarray, "n 4"], actions: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n 4"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        x, x_dot, theta, theta_dot = states.T
        cos, sin = np.cos(theta), np.sin(theta)
        force = np.where(actions == 1, FORCE, -FORCE)
        push = (force + MASS_LENGTH * np.square(theta_dot) * sin) / MASS_TOTAL
        theta_acc = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4.0 / 3.0 - MASS_POLE * np.square(cos) / MASS_TOTAL))
        x_acc = push - MASS_LENGTH * theta_acc * cos / MASS_TOTAL
        x = x + SECONDS_PER_STEP * x_dot
        x_dot = x_dot + SECONDS_PER_STEP * x_acc
        theta = theta + SECONDS_PER_STEP * theta_dot
        theta_dot = theta_dot + SECONDS_PER_STEP * theta_acc
        terminated = (np.abs(x) > MAX_POSITION) | (np.abs(theta) > MAX_ANGLE)
        return np.stack((x, x_dot, theta, theta_dot)).T, np.ones(len(states)), terminated
