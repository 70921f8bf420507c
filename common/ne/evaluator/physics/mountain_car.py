"""MountainCar-v0: an underpowered car that must swing itself out of a valley.

Source: `gymnasium/envs/classic_control/mountain_car.py`, after Moore 1990, "Efficient memory-based learning for robot
control".

Axes: n episodes; state (2): position, velocity; obs (2): the same.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt64
from typing_extensions import override

from common.ne.evaluator.physics.base import Physics, uniform
from common.utils.beartype import shape_checked

FORCE = 0.001
GRAVITY = 0.0025
MIN_POSITION = -1.2
MAX_POSITION = 0.6
MAX_SPEED = 0.07
GOAL_POSITION = 0.5
START_LOW, START_HIGH = -0.6, -0.4


class MountainCar(Physics):
    """Reward −1 for each step; ends on the hill to the right. Actions: push left, coast, push right."""

    name = "MountainCar-v0"
    observation_size = 2
    num_actions = 3
    max_steps = 200
    state_size = 2

    @override
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
        """Starts with the position uniform in [−0.6, −0.4), at rest."""
        position = START_LOW + (START_HIGH - START_LOW) * uniform(seeds, 1)
        return np.hstack((position, np.zeros_like(position)))

    @override
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
        return states.astype(np.float32)

    @override
    @shape_checked
    def step(
        self, states: Float64[np.ndarray, "n 2"], actions: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        position, velocity = states.T
        velocity = velocity + ((actions - 1) * FORCE + np.cos(3 * position) * -GRAVITY)
        velocity = np.clip(velocity, -MAX_SPEED, MAX_SPEED)
        position = np.clip(position + velocity, MIN_POSITION, MAX_POSITION)
        velocity = np.where((position == MIN_POSITION) & (velocity < 0), 0.0, velocity)
        terminated = (position >= GOAL_POSITION) & (velocity >= 0)
        return np.stack((position, velocity)).T, np.full(len(states), -1.0), terminated
