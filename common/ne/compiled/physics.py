"""The same physics for one episode at a time, compiled by Numba: bit for bit what the NumPy classes compute.

Imported only where Numba is wanted. Sources and constants: the NumPy modules beside this one. The functions carry no
annotations, because Numba derives types itself and cannot compile the checks that are put around annotated functions.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from common.ne.evaluator.physics import acrobot, cartpole, mountain_car, mountain_car_continuous, pendulum

_jit: Any = njit(error_model="numpy", nogil=True)
"""Divides by zero as NumPy does, which leaves loops free of branches. No option that changes a bit of a result."""


class CompiledPhysics(NamedTuple):
    """One environment's physics, for calls from other compiled functions.

    Attributes:
        step: `step(state, action) -> (reward, terminated)` changes the state in place; an action is a whole number from
            0, or a float, which is rounded to float32.
        observe: `observe(state, observation)` fills an array of float32 or float64 with the observation, in either
            case rounded to float32.
    """

    step: Callable[..., Any]
    observe: Callable[..., Any]


def compiled(name: str) -> CompiledPhysics:
    """Returns the compiled physics of one of `PHYSICS`; what it is called with decides what is compiled.

    Args:
        name: The environment's id in gymnasium.
    """
    return COMPILED[name]


@no_type_check
def _square(x):
    """Calls the C library's `pow` with an exponent of 2 that the compiler cannot see: it would multiply instead."""
    return math.pow(x, 2.0 + 0.0 * x)


@no_type_check
def _square_single(x):
    """The same for float32."""
    return math.pow(x, np.float32(2.0) + np.float32(0.0) * x)


@no_type_check
def _rounded(x):
    """Rounds to float32, and goes on in float64; Numba's `float` would leave a float32 as it is."""
    return np.float64(np.float32(x))


@no_type_check
def _clip(x, bound):
    return min(max(x, -bound), bound)


_square, _square_single, _rounded, _clip = _jit(_square), _jit(_square_single), _jit(_rounded), _jit(_clip)


@no_type_check
def _observe_state(state, observation):
    for index in range(len(observation)):
        observation[index] = np.float32(state[index])


@no_type_check
def _step_cartpole(state, action):
    x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
    cos, sin = math.cos(theta), math.sin(theta)
    force = cartpole.FORCE if action == 1 else -cartpole.FORCE
    push = (force + cartpole.MASS_LENGTH * (theta_dot * theta_dot) * sin) / cartpole.MASS_TOTAL
    theta_acc = (cartpole.GRAVITY * sin - cos * push) / (
        cartpole.HALF_LENGTH * (4.0 / 3.0 - cartpole.MASS_POLE * (cos * cos) / cartpole.MASS_TOTAL)
    )
    x_acc = push - cartpole.MASS_LENGTH * theta_acc * cos / cartpole.MASS_TOTAL
    state[0] = x + cartpole.SECONDS_PER_STEP * x_dot
    state[1] = x_dot + cartpole.SECONDS_PER_STEP * x_acc
    state[2] = theta + cartpole.SECONDS_PER_STEP * theta_dot
    state[3] = theta_dot + cartpole.SECONDS_PER_STEP * theta_acc
    return 1.0, abs(state[0]) > cartpole.MAX_POSITION or abs(state[2]) > cartpole.MAX_ANGLE


@no_type_check
def _step_mountain_car(state, action):
    velocity = state[1] + ((action - 1) * mountain_car.FORCE + math.cos(3 * state[0]) * -mountain_car.GRAVITY)
    velocity = _clip(velocity, mountain_car.MAX_SPEED)
    position = min(max(state[0] + velocity, mountain_car.MIN_POSITION), mountain_car.MAX_POSITION)
    if position == mountain_car.MIN_POSITION and velocity < 0:
        velocity = 0.0
    state[0], state[1] = position, velocity
    return -1.0, position >= mountain_car.GOAL_POSITION and velocity >= 0


@no_type_check
def _step_mountain_car_continuous(state, action):
    position, velocity, is_first = state[0], state[1], state[2] == 1
    action = np.float32(action)
    angle = 3 * position if is_first else _rounded(3 * position)
    pull = mountain_car_continuous.GRAVITY * math.cos(angle)
    if action > 1:
        push = mountain_car_continuous.POWER - pull
    elif action < -1:
        push = -mountain_car_continuous.POWER - pull
    else:
        push = action * np.float32(mountain_car_continuous.POWER) - np.float32(pull)
    velocity = velocity + push if is_first else _rounded(velocity + _rounded(push))
    velocity = _clip(velocity, mountain_car_continuous.MAX_SPEED)
    position = position + velocity if is_first else _rounded(position + velocity)
    position = min(max(position, mountain_car_continuous.MIN_POSITION), mountain_car_continuous.MAX_POSITION)
    if position == mountain_car_continuous.MIN_POSITION and velocity < 0:
        velocity = 0.0
    state[0], state[1], state[2] = np.float32(position), np.float32(velocity), 0.0
    terminated = position >= mountain_car_continuous.GOAL_POSITION and velocity >= 0
    reward = mountain_car_continuous.GOAL_REWARD if terminated else 0.0
    return reward - np.float64(action) * np.float64(action) * mountain_car_continuous.ACTION_COST, terminated


@no_type_check
def _step_pendulum(state, action):
    theta, theta_dot = state[0], state[1]
    torque = _clip(np.float32(action), np.float32(pendulum.MAX_TORQUE))
    angle = (theta + math.pi) % (2 * math.pi) - math.pi
    torque_cost = np.float32(pendulum.TORQUE_COST) * _square_single(torque)
    cost = _square(angle) + pendulum.SPEED_COST * _square(theta_dot) + torque_cost
    theta_acc = pendulum.GRAVITY_FACTOR * math.sin(theta) + np.float32(pendulum.TORQUE_FACTOR) * torque
    state[1] = _clip(theta_dot + theta_acc * pendulum.SECONDS_PER_STEP, pendulum.MAX_SPEED)
    state[0] = theta + state[1] * pendulum.SECONDS_PER_STEP
    return -cost, False


@no_type_check
def _observe_pendulum(state, observation):
    observation[0] = np.float32(math.cos(state[0]))
    observation[1] = np.float32(math.sin(state[0]))
    observation[2] = np.float32(state[1])


@no_type_check
def _accelerations(theta_1, theta_2, speed_1, speed_2, torque):
    """Returns the second derivatives of the angles."""
    cos_2, sin_2 = math.cos(theta_2), math.sin(theta_2)
    d1 = 0.25 + (1.25 + cos_2) + 1.0 + 1.0
    d2 = 0.25 + 0.5 * cos_2 + 1.0
    phi_2 = 0.5 * acrobot.GRAVITY * math.cos(theta_1 + theta_2 - math.pi / 2.0)
    phi_1 = (
        -0.5 * _square(speed_2) * sin_2
        - speed_2 * speed_1 * sin_2
        + 1.5 * acrobot.GRAVITY * math.cos(theta_1 - math.pi / 2)
        + phi_2
    )
    acc_2 = (torque + d2 / d1 * phi_1 - 0.5 * _square(speed_1) * sin_2 - phi_2) / (1.25 - _square(d2) / d1)
    return -(d2 * acc_2 + phi_1) / d1, acc_2


@no_type_check
def _wrapped(angle):
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


_accelerations, _wrapped = _jit(_accelerations), _jit(_wrapped)


@no_type_check
def _step_acrobot(state, action):
    y1, y2, y3, y4 = state[0], state[1], state[2], state[3]
    torque = action - 1.0
    step = acrobot.SECONDS_PER_STEP
    half = step / 2.0
    a1, a2 = y3, y4
    a3, a4 = _accelerations(y1, y2, y3, y4, torque)
    b1, b2 = y3 + half * a3, y4 + half * a4
    b3, b4 = _accelerations(y1 + half * a1, y2 + half * a2, b1, b2, torque)
    c1, c2 = y3 + half * b3, y4 + half * b4
    c3, c4 = _accelerations(y1 + half * b1, y2 + half * b2, c1, c2, torque)
    d1, d2 = y3 + step * c3, y4 + step * c4
    d3, d4 = _accelerations(y1 + step * c1, y2 + step * c2, d1, d2, torque)
    theta_1 = _wrapped(y1 + step / 6.0 * (a1 + 2 * b1 + 2 * c1 + d1))
    theta_2 = _wrapped(y2 + step / 6.0 * (a2 + 2 * b2 + 2 * c2 + d2))
    state[0], state[1] = theta_1, theta_2
    state[2] = _clip(y3 + step / 6.0 * (a3 + 2 * b3 + 2 * c3 + d3), acrobot.MAX_SPEED_1)
    state[3] = _clip(y4 + step / 6.0 * (a4 + 2 * b4 + 2 * c4 + d4), acrobot.MAX_SPEED_2)
    state[4], state[5] = math.cos(theta_1), math.sin(theta_1)
    state[6], state[7] = math.cos(theta_2), math.sin(theta_2)
    terminated = -state[4] - math.cos(theta_2 + theta_1) > 1.0
    return 0.0 if terminated else -1.0, terminated


@no_type_check
def _observe_acrobot(state, observation):
    for index in range(4):
        observation[index] = np.float32(state[4 + index])
    observation[4], observation[5] = np.float32(state[2]), np.float32(state[3])


COMPILED = {
    name: CompiledPhysics(_jit(step), _jit(observe))
    for name, step, observe in (
        ("CartPole-v1", _step_cartpole, _observe_state),
        ("Acrobot-v1", _step_acrobot, _observe_acrobot),
        ("MountainCar-v0", _step_mountain_car, _observe_state),
        ("MountainCarContinuous-v0", _step_mountain_car_continuous, _observe_state),
        ("Pendulum-v1", _step_pendulum, _observe_pendulum),
    )
}
"""The compiled physics, by the environment's id in gymnasium."""
