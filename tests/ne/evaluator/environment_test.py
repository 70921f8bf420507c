"""Environments as people write them: what they show, what they give, and what they must not spoil."""

import random
import re
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from omegaconf import OmegaConf

from common.errors import ConfigError, RunError
from common.ne.evaluator.base import Cancelled
from common.ne.evaluator.environment import register_again, registration_of, small_picture
from common.ne.evaluator.score_gym import MAX_PICTURES, Film, ScoreGym
from common.ne.population.networks.base import Arrays
from common.ne.random_numbers import episode_seeds
from tests.ne.conftest import evaluator_of

SEEDS = episode_seeds(0, 0, "training", 4, 3, is_shared=False)


def played(evaluator: ScoreGym, actors: Any, part: slice = slice(None), arrays: Arrays | None = None) -> Any:
    """Plays three episodes of each of four individuals, or some of them."""
    individuals = np.repeat(np.arange(4), 3)
    return evaluator.play(actors, arrays or actors.arrays, individuals[part], SEEDS.reshape(-1)[part])


# --- what they show


@pytest.mark.parametrize(("kind", "size"), [("discrete", 5), ("multi_discrete", 5), ("multi_binary", 4), ("matrix", 6)])
def test_what_is_no_vector_is_laid_out_as_one(make_actors, kind: str, size: int) -> None:
    evaluator = evaluator_of(f"Shows-{kind}-v0")
    assert evaluator.spaces.num_inputs == size
    episodes = played(evaluator, make_actors("feedforward", evaluator.spaces, size=4, observations="standardized"))
    assert episodes.lengths.tolist() == [5] * 12
    if kind == "discrete":  # Each observation has a 1 in one place.
        np.testing.assert_array_equal(episodes.sums.sum(axis=1), 5)


@pytest.mark.parametrize(("kind", "size"), [("dict", 5), ("tuple", 5), ("picture", 256)])
def test_parts_and_pictures_are_shown_too(make_actors, kind: str, size: int) -> None:
    evaluator = evaluator_of(f"Shows-{kind}-v0")
    assert evaluator.spaces.num_inputs == size
    episodes = played(evaluator, make_actors("feedforward", evaluator.spaces, size=4, observations="standardized"))
    assert np.isfinite(episodes.sums).all()
    if kind == "picture":
        np.testing.assert_allclose(episodes.sums / 5, 0.5, atol=0.15)


def test_what_has_no_fixed_number_of_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Shows-sequence-v0 shows what has no fixed number of parts \(Sequence"):
        evaluator_of("Shows-sequence-v0").spaces  # noqa: B018


@pytest.mark.parametrize("shape", [(4, 6, 3), (32, 48, 1), (33, 50, 3), (1, 1, 4)])
def test_a_picture_becomes_the_brightness_of_its_parts(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    rows, columns = (min(length, 16) for length in shape[:2])
    expected = [
        cell.mean() / 255
        for row in (picture[shape[0] * i // rows : shape[0] * (i + 1) // rows] for i in range(rows))
        for cell in (row[:, shape[1] * j // columns : shape[1] * (j + 1) // columns] for j in range(columns))
    ]
    np.testing.assert_allclose(small_picture(picture), expected, rtol=1e-6)


@pytest.mark.parametrize("blot", [np.inf, -np.inf, np.nan, 1e300])
def test_numbers_that_are_not_finite_are_left_out_counted_and_spoil_nothing(make_actors, blot: float) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"blot": blot})
    actors = make_actors("feedforward", evaluator.spaces, size=4, observations="standardized")
    episodes = played(evaluator, actors)
    assert episodes.num_unusable.tolist() == [2] * 12  # Observations 2 and 5 of the seven that are acted on.
    actors.take_up(episodes.lengths - episodes.num_unusable, episodes.sums, episodes.squares)
    assert actors.statistics.count == 12 * 5
    assert np.isfinite(actors.statistics.mean).all()
    np.testing.assert_allclose(actors.statistics.std, 1, atol=0.3)
    assert np.isfinite(actors.arrays["scale"]).all()


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1,), ()])
def test_another_shape_than_declared_is_an_error_that_says_where(make_actors, shape: tuple[int, ...]) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"shape": shape})
    text = f"individual 0 with start seed {SEEDS[0, 0]}, after 0 steps: it shows the shape {shape}, where"
    with pytest.raises(RunError, match=re.escape(text)):
        played(evaluator, make_actors("feedforward", evaluator.spaces, size=4))


@pytest.mark.parametrize("reward", [np.ones(1), np.ones((1, 2)), None, "1", [1.0]], ids=str)
def test_a_reward_that_is_no_number_is_an_error_that_says_where(make_actors, reward: Any) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"reward": reward})
    with pytest.raises(RunError, match=r"individual 0 .*after 0 steps: its reward is .*, where one number belongs"):
        played(evaluator, make_actors("feedforward", evaluator.spaces, size=4))


@pytest.mark.parametrize("reward", [1, np.float32(1), np.array(1.0), True], ids=repr)
def test_every_kind_of_number_is_a_reward(make_actors, reward: Any) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"reward": reward})
    assert played(evaluator, make_actors("feedforward", evaluator.spaces, size=4)).rewards.tolist() == [7.0] * 12


# --- random numbers


def test_global_random_numbers_are_those_of_the_episode_and_given_back(make_actors) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"uses_globals": True})
    actors = make_actors("feedforward", evaluator.spaces, size=4)
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    whole = played(evaluator, actors).rewards
    assert (random.random(), np.random.random()) == expected
    assert len(np.unique(whole)) == 12
    for index in (0, 5, 11):
        assert played(evaluator, actors, slice(index, index + 1)).rewards[0] == whole[index]


def test_start_seeds_have_31_bits() -> None:
    seeds = episode_seeds(0, 0, "training", 1000, 5, is_shared=False)
    assert seeds.max() < 2**31
    assert seeds.max() > 2**31 * 0.99
    assert len(np.unique(seeds)) == seeds.size


# --- ends


def test_an_endless_episode_ends_after_max_steps(make_actors) -> None:
    evaluator = evaluator_of("Odd-v0", kwargs={"is_endless": True}, max_steps=11)
    assert played(evaluator, make_actors("feedforward", evaluator.spaces, size=4)).lengths.tolist() == [11] * 12


@pytest.mark.parametrize(("environment", "backend"), [("Odd-v0", "gymnasium"), ("CartPole-v1", "numpy")])
def test_episodes_are_left_when_they_are_cancelled(make_actors, environment: str, backend: str) -> None:
    evaluator = evaluator_of(environment, backend)
    actors = make_actors("feedforward", evaluator.spaces, size=4)
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        evaluator.play(actors, actors.arrays, np.arange(4), SEEDS[:, 0], lambda: next(answers))
    assert next(answers, None) is None
    assert evaluator.can_be_cancelled


def test_no_time_limit_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    ScoreGym.settle(OmegaConf.create({"config": {"environment": "Odd-v0"}}))
    assert "Odd-v0 has no time limit" in caplog.text
    caplog.clear()
    ScoreGym.settle(OmegaConf.create({"config": {"environment": "Odd-v0", "max_steps": 5}}))
    ScoreGym.settle(OmegaConf.create({"config": {"environment": "CartPole-v1", "backend": "gymnasium"}}))
    assert "time limit" not in caplog.text


# --- how they are made


def test_arguments_and_wrappers_reach_the_environment(make_actors) -> None:
    evaluator = evaluator_of("FrozenLake-v1", kwargs={"is_slippery": False, "map_name": "8x8"})
    assert evaluator.spaces.num_inputs == 64
    wrappers = [{"name": "FrameStackObservation", "stack_size": 3}, {"name": "TimeAwareObservation"}]
    assert evaluator_of("CartPole-v1", wrappers=wrappers).spaces.num_inputs == 13
    capped = evaluator_of("Odd-v0", kwargs={"reward": 5.0}, wrappers=[{"name": "ClipReward", "max_reward": 2.0}])
    assert played(capped, make_actors("feedforward", capped.spaces, size=4)).rewards.tolist() == [14.0] * 12


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"wrappers": [{"name": "RecordVideo", "video_folder": "/"}]}, "'RecordVideo', which is not among AtariPrepro"),
        ({"wrappers": [{"name": "ClipRewards"}]}, r"Did you mean ClipReward\?"),
        ({"wrappers": [{}]}, "names None"),
        (
            {"wrappers": [{"name": "FrameStackObservation"}]},
            r"FrameStackObservation\(\{\}\) does not fit: .*stack_size",
        ),
        ({"kwargs": {"gravity": 3}}, "cannot be made: .*gravity"),
        ({"backend": "numba", "max_steps": 3}, "backend=numba cannot play CartPole-v1: kwargs, wrappers and max_steps"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ScoreGym.settle(OmegaConf.create({"config": {"environment": "CartPole-v1", **settings}}))


@pytest.mark.parametrize("settings", [{"max_steps": 10}, {"kwargs": {"sutton_barto_reward": True}}], ids=str)
def test_an_environment_that_is_changed_is_played_by_gymnasium(settings: dict[str, Any]) -> None:
    node = OmegaConf.create({"config": {"environment": "CartPole-v1", "backend": "auto", **settings}})
    ScoreGym.settle(node)
    assert node.config.backend == "gymnasium"


def test_numba_that_does_not_work_is_passed_over_with_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "common.ne.compiled.rollout", None)
    node = OmegaConf.create({"config": {"environment": "CartPole-v1", "backend": "auto"}})
    ScoreGym.settle(node)
    assert node.config.backend == "numpy"
    assert "played by numpy, which is slower: Numba does not work here (ModuleNotFoundError: import of" in caplog.text


# --- a champion's own


def test_an_environment_of_a_project_is_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = dict(gymnasium.registry)
    monkeypatch.setattr(gymnasium.envs.registration, "registry", registry)
    monkeypatch.setattr(gymnasium, "registry", registry)
    place = "projects.ne_control_score.train:TaskRunner"  # Any name in a module of a project.
    gymnasium.register("Own-v3", place, max_episode_steps=40, kwargs={"size": 3})
    registration = registration_of("Own-v3")
    assert registration == {"id": "Own-v3", "entry_point": place, "max_episode_steps": 40, "kwargs": {"size": 3}}
    del registry["Own-v3"]
    register_again(registration)
    assert registry["Own-v3"].max_episode_steps == 40
    assert registration_of("CartPole-v1") == {}
    register_again({})


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("antigravity:x", "of antigravity, which is not in projects/"),
        ("projects.gone:Env", r"projects\.gone\.Env, which does not exist"),
        ("projects.ne_control_score.train:Env", r"projects\.ne_control_score\.train\.Env, which does not exist"),
    ],
)
def test_an_environment_that_is_gone_or_not_a_project_s_is_refused(place: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        register_again({"id": "Own-v4", "entry_point": place, "max_episode_steps": None, "kwargs": {}})


# --- films


def test_a_film_is_thinned_out_as_it_grows() -> None:
    film = Film()
    for number in range(1000):
        film.add(np.full((2, 2, 3), number % 256, np.uint8))
    assert len(film.pictures) <= MAX_PICTURES
    assert [picture[0, 0, 0] for picture in film.pictures] == [number % 256 for number in range(0, 1000, film.every)]


def test_what_cannot_be_drawn_is_told(make_actors) -> None:
    evaluator = evaluator_of("Odd-v0")
    actors = make_actors("feedforward", evaluator.spaces, size=1)
    with pytest.warns(UserWarning, match="render"), pytest.raises(ConfigError, match="drawn as human, not as rgb_arr"):
        evaluator.record(actors, actors.arrays, 0)
