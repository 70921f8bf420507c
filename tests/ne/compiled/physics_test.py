"""The compiled physics gives the NumPy physics' bits."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.physics.base import Physics

pytest.importorskip("numba")

NUM_EPISODES = 200


def random_actions(physics: Physics, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an action for each episode: mostly random ones, some out of bounds, some at a bound.

    Every tenth pushes where the second number of the state points, so that cars reach their goal.
    """
    ahead = states[::10, 1] >= 0
    if physics.num_actions is not None:
        actions = rng.integers(physics.num_actions, size=NUM_EPISODES)
        actions[::10] = np.where(ahead, physics.num_actions - 1, 0)
        return actions
    assert physics.action_high is not None
    actions = (rng.uniform(-1.5, 1.5, (NUM_EPISODES, 1)) * physics.action_high).astype(np.float32)
    actions[::10, 0] = np.where(ahead, physics.action_high, -physics.action_high)
    actions[1::10] = -physics.action_high
    return actions


@pytest.mark.slow
@pytest.mark.parametrize("physics", PHYSICS.values(), ids=lambda physics: physics.name)
def test_random_episodes_have_equal_bits(physics: Physics) -> None:
    from numba import njit

    from common.ne.compiled.physics import compiled

    step, observe = compiled(physics.name)

    @njit
    def step_all(states: Any, actions: Any, rewards: Any, terminated: Any, observations: Any) -> None:
        for row in range(len(states)):
            rewards[row], terminated[row] = step(states[row], actions[row])
            observe(states[row], observations[row])

    rng = np.random.default_rng(1)
    states = physics.start(np.arange(NUM_EPISODES, dtype=np.uint64))
    alive = np.ones(NUM_EPISODES, bool)
    for number in range(physics.max_steps):
        actions = random_actions(physics, states, rng)
        following, rewards, terminated = physics.step(states, actions)
        results = np.ascontiguousarray(states), np.empty(NUM_EPISODES), np.empty(NUM_EPISODES, bool)
        observations = np.empty((NUM_EPISODES, physics.observation_size), [np.float32, np.float64][number % 2])
        step_all(results[0], actions.reshape(NUM_EPISODES), results[1], results[2], observations)
        for result, expected in zip(results, (following, rewards, terminated), strict=True):
            np.testing.assert_array_equal(result[alive], expected[alive])
        np.testing.assert_array_equal(observations[alive], physics.observe(following)[alive])
        states, alive = following, alive & ~terminated
    assert not alive.all() or physics.name == "Pendulum-v1"


def test_the_first_observation_has_equal_bits() -> None:
    from common.ne.compiled.physics import compiled

    for physics in PHYSICS.values():
        states = physics.start(np.arange(9, dtype=np.uint64))
        observations = np.empty((9, physics.observation_size))
        for state, observation in zip(np.ascontiguousarray(states), observations, strict=True):
            compiled(physics.name).observe(state, observation)
        np.testing.assert_array_equal(observations, physics.observe(states))


def test_there_is_one_for_every_environment() -> None:
    from common.ne.compiled.physics import COMPILED

    assert COMPILED.keys() == PHYSICS.keys()


def test_numba_is_not_loaded_unasked() -> None:
    code = "import sys, common.ne.evaluator.physics; sys.exit('numba' in sys.modules or 'gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
