"""MountainCarContinuous-v0: MountainCar with an engine of any strength, which costs.

Source: `gymnasium/envs/classic_control/continuous_mountain_car.py`, after Moore 1990, "Efficient memory-based learning
for robot control". Gymnasium computes an episode's first step in float64 and all others in float32, because `reset`
and `step` leave states of different types. So a state here also says whether its episode has just started; numbers are
float64 throughout, rounded to float32 where gymnasium rounds.

Axes: n episodes; state (3): position, velocity, 1 at the start and 0 later; obs (2): position, velocity.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt64
from typing_extensions import override

from common.ne.evaluator.physics.base import Physics, uniform
from common.utils.beartype import shape_checked

POWER = 0.0015
GRAVITY = 0.0025
GOAL_REWARD = 100.0
ACTION_COST = 0.1
START_LOW, START_HIGH = -0.6, -0.4
# The first step comes near none of these, so they are compared in float32 alone.
MIN_POSITION, MAX_POSITION, GOAL_POSITION, MAX_SPEED = (float(np.float32(bound)) for bound in (-1.2, 0.6, 0.45, 0.07))


class MountainCarContinuous(Physics):
    """Reward 100 at the goal, less a tenth of each action's square; ends on the hill to the right."""

    name = "MountainCarContinuous-v0"
    observation_size = 2
    action_low = np.full(1, -1.0, np.float32)
    action_high = np.full(1, 1.0, np.float32)
    max_steps = 999
    state_size = 3

    @override
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        """Starts with the position uniform in [−0.6, −0.4), at rest."""
        position = START_LOW + (START_HIGH - START_LOW) * uniform(seeds, 1)
        return np.hstack((position, np.zeros_like(position), np.ones_like(position)))

    @override
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 2"]:
        return states[:, :2].astype(np.float32)

    @override
    @shape_checked
    def step(
        self, states: Float64[np.ndarray, "n 3"], actions: Float32[np.ndarray, "n 1"]
    ) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        position, velocity, first = states.T
        action, is_later = actions[:, 0], first == 0
        pull = GRAVITY * np.cos(_rounded(3 * position, is_later))
        # An action out of bounds is clipped to a Python float, which leaves the sum in float64.
        inside = action * np.float32(POWER) - pull.astype(np.float32)
        outside = np.where(action > 0, POWER, -POWER) - pull
        push = np.where(np.abs(action) > 1, outside, inside)
        velocity = np.clip(_rounded(velocity + _rounded(push, is_later), is_later), -MAX_SPEED, MAX_SPEED)
        position = np.clip(_rounded(position + velocity, is_later), MIN_POSITION, MAX_POSITION)
        velocity = np.where((position == MIN_POSITION) & (velocity < 0), 0.0, velocity)
        terminated = (position >= GOAL_POSITION) & (velocity >= 0)
        rewards = np.where(terminated, GOAL_REWARD, 0.0) - np.square(action.astype(np.float64)) * ACTION_COST
        following = np.stack((position, velocity, np.zeros_like(position))).astype(np.float32).astype(np.float64)
        return following.T, rewards, terminated


def _rounded(numbers: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Returns numbers of which some are rounded to float32."""
    return np.where(where, numbers.astype(np.float32), numbers)
