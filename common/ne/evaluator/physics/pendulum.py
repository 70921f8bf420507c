"""Pendulum-v1: a pendulum swung up and held by a torque that is too weak to lift it.

Source: `gymnasium/envs/classic_control/pendulum.py` (mass and length 1, gravity 10). Gymnasium squares its scalars with
`**`, for which NumPy calls the C library's `pow`; that differs from a product in the last bit for one argument in a
thousand, and so do the loops that NumPy has for arrays, but for `float_power`, which always is float64.

Axes: n episodes; state (2): angle from upright, angular velocity; obs (3): cosine, sine, angular velocity.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt64
from typing_extensions import override

from common.ne.evaluator.physics.base import Physics, uniform
from common.utils.beartype import shape_checked

MAX_SPEED = 8
MAX_TORQUE = 2.0
SECONDS_PER_STEP = 0.05
GRAVITY_FACTOR = 15.0
TORQUE_FACTOR = 3.0
SPEED_COST = 0.1
TORQUE_COST = 0.001


class Pendulum(Physics):
    """Reward 0 at rest upright, less for angle, speed and torque; never ends."""

    name = "Pendulum-v1"
    observation_size = 3
    action_low = np.full(1, -MAX_TORQUE, np.float32)
    action_high = np.full(1, MAX_TORQUE, np.float32)
    max_steps = 200
    state_size = 2

    @override
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
        """Starts with the angle uniform in ±π, angular velocity uniform in ±1."""
        high = np.array([math.pi, 1.0])
        states: np.ndarray = -high + 2 * high * uniform(seeds, 2)
        return states

    @override
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 3"]:
        theta, theta_dot = states.T
        return np.stack((np.cos(theta), np.sin(theta), theta_dot)).T.astype(np.float32)

    @override
    @shape_checked
    def step(
        self, states: Float64[np.ndarray, "n 2"], actions: Float32[np.ndarray, "n 1"]
    ) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        theta, theta_dot = states.T
        torque = np.clip(actions[:, 0], -MAX_TORQUE, MAX_TORQUE)
        angle = (theta + math.pi) % (2 * math.pi) - math.pi
        torque_squared = np.array([number**2 for number in torque], np.float32)  # As scalars: see above.
        cost = np.float_power(angle, 2) + SPEED_COST * np.float_power(theta_dot, 2) + TORQUE_COST * torque_squared
        theta_acc = GRAVITY_FACTOR * np.sin(theta) + TORQUE_FACTOR * torque
        theta_dot = np.clip(theta_dot + theta_acc * SECONDS_PER_STEP, -MAX_SPEED, MAX_SPEED)
        theta = theta + theta_dot * SECONDS_PER_STEP
        return np.stack((theta, theta_dot)).T, -cost, np.zeros(len(states), bool)
