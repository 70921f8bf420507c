"""Acrobot-v1: two links, one hanging from the other, swung up by a torque at the joint between them.

Source: `gymnasium/envs/classic_control/acrobot.py`, after Sutton 1996, "Generalization in reinforcement learning:
successful examples using sparse coarse coding", with the equations of Sutton and Barto 2018, "Reinforcement learning"
(gymnasium's `book`). Both links have mass 1, length 1, moment of inertia 1, and their centre of mass halfway; what that
leaves of the equations is computed in gymnasium's order. Squares: see `pendulum.py`.

A state holds the four numbers that gymnasium shows of the angles, because gymnasium takes the cosines of a start state,
and of no other, in float32.

Axes: n episodes; state (8): two angles, two angular velocities, and the cosine and sine of each angle; obs (6): cosine
and sine of each angle, two angular velocities.
"""

import math

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt64
from typing_extensions import override

from common.ne.evaluator.physics.base import Physics, uniform
from common.utils.beartype import shape_checked

GRAVITY = 9.8
SECONDS_PER_STEP = 0.2
MAX_SPEED_1 = 4 * math.pi
MAX_SPEED_2 = 9 * math.pi
START_BOUND = 0.1
SHOWN = [4, 5, 6, 7, 2, 3]


class Acrobot(Physics):
    """Reward −1 for each step but the last; ends when the free end swings above the line. Actions: torque −1, 0, 1."""

    name = "Acrobot-v1"
    observation_size = 6
    num_actions = 3
    max_steps = 500
    state_size = 8

    @override
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 8"]:
        """Starts with both angles and velocities uniform in ±0.1."""
        drawn = (-START_BOUND + 2 * START_BOUND * uniform(seeds, 4)).astype(np.float32)
        return _with_shown(*drawn.T)

    @override
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n 8"]) -> Float32[np.ndarray, "n 6"]:
        return states[:, SHOWN].astype(np.float32)

    @override
    @shape_checked
    def step(
        self, states: Float64[np.ndarray, "n 8"], actions: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n 8"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        theta_1, theta_2, speed_1, speed_2 = _integrated(states.T[:4], actions - 1.0)
        theta_1, theta_2 = _wrapped(theta_1), _wrapped(theta_2)
        speed_1 = np.clip(speed_1, -MAX_SPEED_1, MAX_SPEED_1)
        speed_2 = np.clip(speed_2, -MAX_SPEED_2, MAX_SPEED_2)
        following = _with_shown(theta_1, theta_2, speed_1, speed_2)
        terminated = -following[:, 4] - np.cos(theta_2 + theta_1) > 1.0
        return following, np.where(terminated, 0.0, -1.0), terminated


def _with_shown(theta_1: np.ndarray, theta_2: np.ndarray, speed_1: np.ndarray, speed_2: np.ndarray) -> np.ndarray:
    """Returns states, n × 8; cosines and sines are taken at the precision of the angles."""
    shown = (np.cos(theta_1), np.sin(theta_1), np.cos(theta_2), np.sin(theta_2))
    return np.stack((theta_1, theta_2, speed_1, speed_2, *shown)).astype(np.float64).T


def _integrated(y: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """Returns angles and velocities, 4 × n, a step later: one step of the classic Runge-Kutta method."""
    half = SECONDS_PER_STEP / 2.0
    k1 = _derivatives(y, torque)
    k2 = _derivatives(y + half * k1, torque)
    k3 = _derivatives(y + half * k2, torque)
    k4 = _derivatives(y + SECONDS_PER_STEP * k3, torque)
    following: np.ndarray = y + SECONDS_PER_STEP / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
    return following


def _derivatives(y: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """Returns the derivatives by time of angles and velocities, 4 × n."""
    theta_1, theta_2, speed_1, speed_2 = y
    cos_2, sin_2 = np.cos(theta_2), np.sin(theta_2)
    d1 = 0.25 + (1.25 + cos_2) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cos_2 + 1.0
    phi_2 = 0.5 * GRAVITY * np.cos(theta_1 + theta_2 - math.pi / 2.0)
    phi_1 = (
        -0.5 * np.float_power(speed_2, 2) * sin_2
        - speed_2 * speed_1 * sin_2
        + 1.5 * GRAVITY * np.cos(theta_1 - math.pi / 2)
        + phi_2
    )
    acc_2 = (torque + d2 / d1 * phi_1 - 0.5 * np.float_power(speed_1, 2) * sin_2 - phi_2) / (
        1.25 - np.float_power(d2, 2) / d1
    )
    acc_1 = -(d2 * acc_2 + phi_1) / d1
    return np.stack((speed_1, speed_2, acc_1, acc_2))


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Returns angles in ±π, turned by full circles one at a time, as gymnasium does."""
    while (is_above := angles > math.pi).any():
        angles = np.where(is_above, angles - 2 * math.pi, angles)
    while (is_below := angles < -math.pi).any():
        angles = np.where(is_below, angles + 2 * math.pi, angles)
    return angles
