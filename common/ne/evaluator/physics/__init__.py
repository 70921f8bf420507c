"""Batched physics of gymnasium's classic environments: NumPy alone, and compiled where Numba is installed."""

from common.ne.evaluator.physics.acrobot import Acrobot
from common.ne.evaluator.physics.base import Physics
from common.ne.evaluator.physics.cartpole import CartPole
from common.ne.evaluator.physics.mountain_car import MountainCar
from common.ne.evaluator.physics.mountain_car_continuous import MountainCarContinuous
from common.ne.evaluator.physics.pendulum import Pendulum

PHYSICS: dict[str, Physics] = {
    physics.name: physics for physics in (CartPole(), Acrobot(), MountainCar(), MountainCarContinuous(), Pendulum())
}
"""All environments that have physics of their own here, by their ids in gymnasium."""
