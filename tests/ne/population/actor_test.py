"""How actors see observations, and how outputs become actions."""

import numpy as np
import pytest
from gymnasium import spaces as gym

from common.errors import ConfigError
from common.ne.population.actor import network_inputs
from common.ne.population.spaces import Spaces, spaces_of
from tests.ne.conftest import NETWORKS, box_spaces, stored
from tests.ne.environments import ACTION_SPACES

OBSERVATIONS = gym.Box(-1, 1, (3,))


def spaces_with(action_space: object) -> Spaces:
    return spaces_of("Toy", OBSERVATIONS, action_space)


@pytest.mark.parametrize("kind", ACTION_SPACES)
def test_actions_belong_to_the_space(kind: str) -> None:
    spaces = spaces_with(ACTION_SPACES[kind])
    outputs = np.random.default_rng(0).standard_normal((50, spaces.num_outputs)) * 10
    actions = spaces.actions_of(outputs)
    assert all(ACTION_SPACES[kind].contains(action) for action in actions)
    assert len(np.unique(actions, axis=0)) > 2
    worst = spaces.actions_of(np.full((2, spaces.num_outputs), [[1e300], [-1e300]]))
    assert kind in ("unbounded", "half_bounded") or all(ACTION_SPACES[kind].contains(action) for action in worst)


def test_bounded_actions_reach_both_bounds_through_one_tanh() -> None:
    spaces = box_spaces(low=-2.0, high=6.0)
    actions = spaces.actions_of(np.array([[-50.0], [0.0], [50.0], [0.5]]))[:, 0]
    np.testing.assert_allclose(actions, [-2.0, 2.0, 6.0, 2 + 4 * np.tanh(0.5)], rtol=1e-6)


def test_unbounded_actions_are_the_outputs() -> None:
    outputs = np.array([[-50.0, 3.0]])
    np.testing.assert_array_equal(spaces_with(ACTION_SPACES["unbounded"]).actions_of(outputs), outputs)


def test_choices_are_the_largest_outputs_counted_from_the_first_choice() -> None:
    outputs = np.array([[0.0, 2.0, 1.0], [5.0, 5.0, 1.0]])
    assert spaces_with(ACTION_SPACES["discrete"]).actions_of(outputs).tolist() == [1, 0]
    assert spaces_with(ACTION_SPACES["discrete_from_minus_1"]).actions_of(outputs).tolist() == [0, -1]
    several = spaces_with(ACTION_SPACES["multi_discrete"]).actions_of(np.array([[0.0, 1.0, 0.0, 0.0, 3.0]]))
    assert several.tolist() == [[1, 2]]


def test_an_action_space_that_is_not_supported_is_named() -> None:
    with pytest.raises(ConfigError, match=r"Toy takes actions of a kind that is not supported: Text\(1, 3"):
        spaces_with(gym.Text(3))


def test_whole_numbers_are_the_nearest_ones_and_yes_is_above_0() -> None:
    whole = spaces_with(ACTION_SPACES["whole"]).actions_of(np.array([[-50.0, 50.0], [0.0, np.arctanh(0.4)]]))
    assert whole.tolist() == [[0, 4], [2, 3]]  # 2 + 2 · 0.4 = 2.8
    assert spaces_with(ACTION_SPACES["unbounded_whole"]).actions_of(np.array([[1.6]])).tolist() == [[2]]
    assert spaces_with(ACTION_SPACES["binary"]).actions_of(np.array([[0.1, -0.1]])).tolist() == [[1, 0]]


def test_actions_of_several_axes_have_them() -> None:
    matrix = spaces_with(ACTION_SPACES["matrix"]).actions_of(np.arctanh(np.linspace(-0.5, 0.5, 6))[None])
    np.testing.assert_allclose(matrix, [[[-0.5, -0.3, -0.1], [0.1, 0.3, 0.5]]])
    outputs = np.eye(11)[[1, 2, 5, 10]].sum(axis=0)[None]  # Choices of 2, 3, 4 and 2.
    assert spaces_with(ACTION_SPACES["choices_in_rows"]).actions_of(outputs).tolist() == [[[1, 0], [0, 1]]]


def test_scaled_observations_lie_between_minus_1_and_1_where_there_are_bounds(make_actors) -> None:
    spaces = Spaces(
        np.array([0.0, -np.inf, -4.0]),
        np.array([10.0, np.inf, 4.0]),
        *("discrete", (2,), (0,), np.zeros(0), np.zeros(0), (), np.dtype(np.int64)),
    )
    actors = make_actors("feedforward", spaces, size=1, observations="scaled")
    shown = network_inputs(actors.arrays, np.array([[0.0, 7.0, 4.0]], np.float32))
    np.testing.assert_allclose(shown, [[-1.0, 7.0, 1.0]])


def test_standardized_observations_follow_all_that_was_seen(make_actors) -> None:
    actors = make_actors("feedforward", box_spaces(), observations="standardized")
    seen = np.random.default_rng(0).normal([1.0, -2.0, 0.5], [3.0, 0.1, 20.0], (400, 3))
    for part in np.split(seen, [10, 150]):  # Three generations, of two episodes each.
        episodes = np.array_split(part, 2)
        actors.take_up(
            np.array([len(episode) for episode in episodes]),
            np.stack([episode.sum(axis=0) for episode in episodes]),
            np.stack([np.square(episode).sum(axis=0) for episode in episodes]),
        )
    np.testing.assert_allclose(actors.statistics.mean, seen.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(actors.statistics.std, seen.std(axis=0), rtol=1e-9)
    shown = network_inputs({name: np.repeat(array[:1], 400, axis=0) for name, array in actors.arrays.items()}, seen)
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(shown.std(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize("kind", NETWORKS)
def test_state_can_be_stored_safely_and_restored(make_actors, kind: str) -> None:
    actors, other = make_actors(kind, box_spaces(), seed=1), make_actors(kind, box_spaces(), seed=2)
    actors.take_up(np.array([4]), np.ones((1, 3)), np.full((1, 3), 2.0))
    other.load_state_dict(stored(actors.state_dict()))
    assert all(np.array_equal(array, other.arrays[name]) for name, array in actors.arrays.items())
    assert other.statistics.count == 4
    np.testing.assert_array_equal(other.statistics.std, actors.statistics.std)
