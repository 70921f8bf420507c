"""The batched physics computes what gymnasium computes, to the last bit, for every environment that has one."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.physics.base import Physics, uniform

NUM_EPISODES = 24
TO_GYMNASIUM: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "CartPole-v1": lambda state: state,
    "Acrobot-v1": lambda state: state[:4].astype(np.float32),
    "MountainCar-v0": lambda state: state,
    "MountainCarContinuous-v0": lambda state: state[:2],
    "Pendulum-v1": lambda state: state,
}
"""From a start state of ours to what gymnasium's `reset` leaves in `state`."""

every_environment = pytest.mark.parametrize("physics", PHYSICS.values(), ids=lambda physics: physics.name)


def seeds_of(count: int, first: int = 0) -> np.ndarray:
    """Returns seeds that follow each other."""
    return np.arange(first, first + count, dtype=np.uint64)


def random_actions(physics: Physics, steps: int, count: int) -> np.ndarray:
    """Returns actions, steps × count (× 1): in each fourth episode constant, some out of bounds, some at a bound."""
    rng = np.random.default_rng(7)
    if physics.num_actions is not None:
        actions = rng.integers(physics.num_actions, size=(steps, count))
        actions[:, ::4] = actions[0, ::4]
        return actions
    assert physics.action_high is not None
    actions = (rng.uniform(-1.5, 1.5, (steps, count, 1)) * physics.action_high).astype(np.float32)
    actions[::7] = physics.action_high
    actions[3::7] = -physics.action_high
    actions[:, ::4] = actions[0, ::4]
    return actions


def gymnasium_at(physics: Physics, start: np.ndarray) -> gymnasium.Env[Any, Any]:
    """Returns gymnasium's environment in a start state of ours."""
    environment = gymnasium.make(physics.name)
    environment.reset(seed=0)
    environment.unwrapped.state = TO_GYMNASIUM[physics.name](start)
    return environment


@pytest.fixture(scope="module")
def episodes() -> Callable[[Physics], list[dict[str, np.ndarray]]]:
    """Returns a function that plays an environment's random episodes with ours, all at once, and keeps every step."""
    played: dict[str, list[dict[str, np.ndarray]]] = {}

    def play(physics: Physics) -> list[dict[str, np.ndarray]]:
        if physics.name not in played:
            states = physics.start(seeds_of(NUM_EPISODES))
            steps = []
            for actions in random_actions(physics, physics.max_steps, NUM_EPISODES):
                following, rewards, terminated = physics.step(states, actions)
                steps.append(
                    {"states": states, "actions": actions, "following": following, "rewards": rewards}
                    | {"terminated": terminated, "observations": physics.observe(following)}
                )
                states = following
            played[physics.name] = steps
        return played[physics.name]

    return play


@every_environment
def test_it_says_of_the_environment_what_gymnasium_says(physics: Physics) -> None:
    environment = gymnasium.make(physics.name)
    space: Any = environment.action_space
    assert environment.observation_space.shape == (physics.observation_size,)
    assert physics.start(seeds_of(3)).shape == (3, physics.state_size)
    assert environment.spec is not None
    assert environment.spec.max_episode_steps == physics.max_steps
    if physics.num_actions is None:
        np.testing.assert_array_equal(space.low, physics.action_low, strict=True)
        np.testing.assert_array_equal(space.high, physics.action_high, strict=True)
    else:
        assert space == gymnasium.spaces.Discrete(physics.num_actions)


@every_environment
def test_random_episodes_are_gymnasium_s(physics: Physics, episodes: Callable[..., Any]) -> None:
    steps = episodes(physics)
    for episode in range(NUM_EPISODES):
        environment = gymnasium_at(physics, steps[0]["states"][episode])
        for number, step in enumerate(steps, start=1):
            action = step["actions"][episode]
            observation, reward, terminated, truncated, _ = environment.step(action)
            np.testing.assert_array_equal(step["observations"][episode], observation, strict=True)
            assert step["rewards"][episode] == reward
            assert step["terminated"][episode] == terminated
            assert truncated == (number == physics.max_steps)
            if terminated:
                break
        assert terminated or truncated


def test_some_random_episodes_end_and_some_do_not(episodes: Callable[..., Any]) -> None:
    """Otherwise the comparison above proves little."""
    ends = np.any([step["terminated"] for step in episodes(PHYSICS["Acrobot-v1"])], axis=0)
    assert set(ends.tolist()) == {True, False}


@pytest.mark.parametrize("name", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_the_goal_is_gymnasium_s(name: str) -> None:
    """Random actions never reach it: push where the car is going."""
    physics = PHYSICS[name]
    for seed in range(4):
        states = physics.start(seeds_of(1, first=seed))
        environment, terminated = gymnasium_at(physics, states[0]), False
        while not terminated:
            direction = 1 if states[0, 1] >= 0 else -1
            action = np.array([[direction]], np.float32) if physics.num_actions is None else np.array([1 + direction])
            states, rewards, ends = physics.step(states, action)
            observation, reward, terminated, truncated, _ = environment.step(action[0])
            np.testing.assert_array_equal(physics.observe(states)[0], observation, strict=True)
            assert (rewards[0], ends[0], truncated) == (reward, terminated, False)


@every_environment
def test_start_states_are_distributed_as_gymnasium_s(physics: Physics) -> None:
    ours = physics.start(seeds_of(2000, first=1_000_000))
    environment = gymnasium.make(physics.name)
    states = [environment.reset(seed=seed) and environment.unwrapped.state for seed in range(500)]  # type: ignore[attr-defined]
    columns = np.array([TO_GYMNASIUM[physics.name](state) for state in ours]).T
    for mine, theirs in zip(columns, np.array(states).T, strict=True):
        scale = theirs.max() - theirs.min() or 1.0
        assert abs(mine.min() - theirs.min()) < 0.02 * scale
        assert abs(mine.max() - theirs.max()) < 0.02 * scale
        quantiles = np.linspace(0.1, 0.9, 9)
        assert np.abs(np.quantile(mine, quantiles) - np.quantile(theirs, quantiles)).max() < 0.08 * scale


@every_environment
def test_the_first_observation_is_gymnasium_s(physics: Physics) -> None:
    states = physics.start(seeds_of(50))
    for state, observation in zip(states, physics.observe(states), strict=True):
        environment: Any = gymnasium_at(physics, state).unwrapped
        shown = environment._get_obs() if physics.name == "Pendulum-v1" else environment.state
        shown = environment._get_ob() if physics.name == "Acrobot-v1" else shown
        np.testing.assert_array_equal(observation, np.array(shown, np.float32), strict=True)


@every_environment
def test_a_start_state_depends_on_its_own_seed_alone(physics: Physics) -> None:
    seeds = seeds_of(64)
    states = physics.start(seeds)
    np.testing.assert_array_equal(physics.start(seeds[::-1])[::-1], states)
    np.testing.assert_array_equal(physics.start(seeds[5:6]), states[5:6])
    assert len(np.unique(states[:, 0])) == 64


@every_environment
def test_an_episode_does_not_depend_on_those_beside_it(physics: Physics, episodes: Callable[..., Any]) -> None:
    for step in episodes(physics)[::50]:
        rows = np.arange(NUM_EPISODES)[::-5]
        following, rewards, terminated = physics.step(step["states"][rows], step["actions"][rows])
        np.testing.assert_array_equal(following, step["following"][rows])
        np.testing.assert_array_equal(rewards, step["rewards"][rows])
        np.testing.assert_array_equal(terminated, step["terminated"][rows])


@every_environment
def test_no_argument_is_changed(physics: Physics) -> None:
    states = physics.start(seeds_of(8))
    actions = random_actions(physics, 1, 8)[0]
    before = states.copy(), actions.copy()
    physics.step(states, actions)
    physics.observe(states)
    np.testing.assert_array_equal(states, before[0])
    np.testing.assert_array_equal(actions, before[1])


def test_uniform_numbers_fill_the_unit_interval_without_correlation() -> None:
    numbers = uniform(seeds_of(20_000), 3)
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    counts = np.array([np.histogram(column, bins=20, range=(0, 1))[0] for column in numbers.T])
    assert np.abs(counts - 1000).max() < 150  # Five standard deviations.
    correlations = np.corrcoef(np.vstack((numbers[:-1].T, numbers[1:].T))) - np.eye(6)
    assert np.abs(correlations).max() < 0.035


@pytest.mark.parametrize("speeds", [(13.0, 29.0), (-13.0, -29.0), (12.5, -28.0), (-12.5, 28.0)])
def test_acrobot_s_speeds_have_gymnasium_s_limits(speeds: tuple[float, float]) -> None:
    """4π and 9π, which random actions come near too seldom; a hanging link first speeds up, or slows down, a little."""
    physics = PHYSICS["Acrobot-v1"]
    angles = np.array([0.3, -0.2])
    states = np.concatenate((angles, speeds, [np.cos(0.3), np.sin(0.3), np.cos(-0.2), np.sin(-0.2)]))[None]
    for action in range(3):
        following, _, _ = physics.step(states, np.array([action]))
        observation, *_ = gymnasium_at(physics, states[0]).step(action)
        np.testing.assert_allclose(physics.observe(following)[0], observation, rtol=1e-5)
