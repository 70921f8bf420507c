"""Episodes: the same whoever plays them, from start states that follow from seeds, and never beyond their ends."""

import gymnasium
import numpy as np
import pytest
from omegaconf import OmegaConf

from common.errors import ConfigError, RunError
from common.ne.evaluator.base import never
from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.rollout import BatchedRollout, Players
from common.ne.evaluator.score_gym import ScoreGym
from common.ne.population.networks.base import taken
from common.ne.random_numbers import episode_seeds
from tests.ne.conftest import NETWORKS, evaluator_of
from tests.ne.environments import ACTION_SPACES, Toy

BACKENDS = ("numba", "numpy")
FAST = "MountainCar-v0"


def played(evaluator: ScoreGym, actors, num_episodes: int = 2, first: int = 0, last: int | None = None):
    """Plays episodes of all individuals, or some of them."""
    seeds = episode_seeds(0, 0, "training", actors.size, num_episodes, is_shared=False).reshape(-1)
    individuals = np.repeat(np.arange(actors.size), num_episodes)
    return evaluator.play(actors, actors.arrays, individuals[first:last], seeds[first:last])


def assert_equal(ours, theirs, *names: str) -> None:
    for name in names or ("rewards", "lengths", "sums", "squares", "memory"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    ("environment", "kind"),
    [("CartPole-v1", kind) for kind in NETWORKS]
    + [(environment, "feedforward") for environment in PHYSICS if environment != "CartPole-v1"],
)
def test_the_compiled_rollout_plays_like_numpy(
    make_actors, environment: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    evaluator = evaluator_of(environment, "numpy")
    actors = make_actors(kind, evaluator.spaces, size=3, seed=3, observations="standardized")
    monkeypatch.setattr(type(PHYSICS[environment]), "max_steps", 150)  # So that it is over soon.
    ours, theirs = played(evaluator_of(environment, "numba"), actors), played(evaluator, actors)
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)
    for name in ("rewards", "sums", "squares", "memory"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("backend", [*BACKENDS, "gymnasium"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_episode_does_not_depend_on_which_others_are_played_beside_it(make_actors, backend: str, kind: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    environment = "Toy-bounded-v0" if backend == "gymnasium" else FAST
    evaluator = evaluator_of(environment, backend)
    actors = make_actors(kind, evaluator.spaces, observations="standardized")
    whole = played(evaluator, actors)
    for index in (0, 4, 9):
        part = played(evaluator, actors, first=index, last=index + 1)
        for name in ("rewards", "lengths", "sums", "squares", "memory"):
            np.testing.assert_array_equal(getattr(whole, name)[index], getattr(part, name)[0])


@pytest.mark.parametrize("environment", ["CartPole-v1", "Acrobot-v1"])
def test_batched_physics_scores_like_gymnasium(make_actors, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both start in the same states: gymnasium's environment is put there."""
    physics = PHYSICS[environment]
    evaluator = evaluator_of(environment, "numpy")
    actors = make_actors("feedforward", evaluator.spaces, size=2)
    own = played(evaluator, actors)
    inner = type(gymnasium.make(environment).unwrapped)

    def reset(self, *, seed=None, options=None):
        gymnasium.Env.reset(self, seed=seed)
        states = physics.start(np.array([seed], np.uint64))
        self.state, self.steps_beyond_terminated = states[0, :4].copy(), None
        return physics.observe(states)[0], {}

    monkeypatch.setattr(inner, "reset", reset)
    theirs = played(evaluator_of(environment, "gymnasium"), actors)
    assert_equal(own, theirs, "rewards", "lengths")


@pytest.mark.parametrize("kind", [kind for kind in ACTION_SPACES if kind != "binary"])
def test_only_live_episodes_are_stepped_whatever_the_action_space(make_actors, kind: str) -> None:
    evaluator = evaluator_of(f"Toy-{kind}-v0")
    actors = make_actors("feedforward", evaluator.spaces, size=7)
    Toy.num_steps = 0
    episodes = played(evaluator, actors, num_episodes=20)  # More than there are environments side by side.
    assert Toy.num_steps == episodes.lengths.sum()
    assert set(episodes.lengths) <= set(range(3, 10))
    assert len(set(episodes.lengths)) > 3


def test_batched_physics_is_of_live_episodes_alone(make_actors, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = evaluator_of("CartPole-v1", "numpy")
    actors = make_actors("feedforward", evaluator.spaces, size=9)
    num_stepped, step = [], type(PHYSICS["CartPole-v1"]).step
    monkeypatch.setattr(
        type(PHYSICS["CartPole-v1"]),
        "step",
        lambda self, states, actions: num_stepped.append(len(states)) or step(self, states, actions),
    )
    assert played(evaluator, actors).lengths.sum() == sum(num_stepped)


def test_networks_of_finished_episodes_are_dropped(make_actors) -> None:
    evaluator = evaluator_of("CartPole-v1", "numpy")
    actors = make_actors("feedforward", evaluator.spaces, size=20)
    seeds = episode_seeds(0, 0, "training", 20, 1, is_shared=False).reshape(-1)
    rollout = BatchedRollout(PHYSICS["CartPole-v1"], actors, actors.arrays, seeds)
    rollout.play(never)
    assert len(rollout.players.arrays["parameters"]) == 0


def test_statistics_count_every_observation_that_was_acted_on(make_actors) -> None:
    evaluator = evaluator_of("Toy-discrete-v0")
    actors = make_actors("feedforward", evaluator.spaces, observations="standardized")
    episodes = played(evaluator, actors, num_episodes=60)
    actors.take_up(episodes.lengths, episodes.sums, episodes.squares)
    assert actors.statistics.count == episodes.lengths.sum()
    np.testing.assert_allclose(actors.statistics.mean, 0, atol=0.1)
    np.testing.assert_allclose(actors.statistics.std, 1, atol=0.1)


def test_start_states_are_new_in_each_generation_and_shared_only_on_request() -> None:
    shared = episode_seeds(0, 3, "training", 4, 5, is_shared=True)
    own = episode_seeds(0, 3, "training", 4, 5, is_shared=False)
    assert len(np.unique(shared)) == 5
    assert len(np.unique(own)) == 20
    np.testing.assert_array_equal(own, episode_seeds(0, 3, "training", 4, 5, is_shared=False))
    for other in (
        episode_seeds(0, 4, "training", 4, 5, is_shared=False),
        episode_seeds(1, 3, "training", 4, 5, is_shared=False),
    ):
        assert not np.isin(other, own).any()
    assert not np.isin(episode_seeds(0, 3, "validation", 4, 5, is_shared=False), own).any()


def test_a_crashed_environment_is_reported_with_individual_and_seed(make_actors) -> None:
    evaluator = evaluator_of("Toy-failing-v0")
    actors = make_actors("feedforward", evaluator.spaces, size=2)
    seed = episode_seeds(0, 0, "training", 2, 2, is_shared=False)[0, 0]
    with pytest.raises(
        RunError,
        match=f"failed in an episode of individual 0 with start seed {seed}, after 2 steps: "
        "ZeroDivisionError: a mistake in somebody's environment",
    ):
        played(evaluator, actors)


def settled(environment: str, backend: str = "auto"):
    node = OmegaConf.create({"config": {"environment": environment, "backend": backend}})
    return ScoreGym.settle(node), node.config.backend


def test_the_backend_is_settled_so_that_it_is_a_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    data, backend = settled("CartPole-v1")
    assert data == {"environment": "CartPole-v1", "gymnasium": gymnasium.__version__}
    assert backend == "numba"
    assert settled("Toy-discrete-v0")[1] == "gymnasium"
    assert settled("CartPole-v1", "gymnasium")[1] == "gymnasium"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert settled("CartPole-v1")[1] == "numpy"
    with pytest.raises(ConfigError, match=r"backend=numba cannot play CartPole-v1: Numba is not installed. Use numpy"):
        settled("CartPole-v1", "numba")
    with pytest.raises(ConfigError, match="backend=numpy cannot play Toy-discrete-v0: only CartPole-v1, "):
        settled("Toy-discrete-v0", "numpy")


def test_an_unknown_environment_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"'CartPol-v1': gymnasium has no such environment. Did you mean CartPole-v1\?"
    ):
        settled("CartPol-v1")
    with pytest.raises(ConfigError, match=r"'projects\.no_such_module:X-v0' cannot be made: "):
        settled("projects.no_such_module:X-v0")


def test_only_modules_of_projects_may_be_named() -> None:
    with pytest.raises(ConfigError, match="'antigravity:X-v0': a configuration may name the modules of projects alone"):
        settled("antigravity:X-v0")
    with pytest.raises(ConfigError, match="may name the modules of projects alone"):
        evaluator_of("antigravity:X-v0").spaces  # noqa: B018  # As a champion's file may say.


def test_networks_without_a_compiled_form_are_refused(make_actors, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    evaluator = evaluator_of(FAST, "numba")
    actors = make_actors("feedforward", evaluator.spaces)
    monkeypatch.setattr(type(actors.networks), "for_kernel", lambda self, arrays: None)
    with pytest.raises(ConfigError, match="FeedforwardNetworks have no compiled form"):
        played(evaluator, actors)


def test_any_number_of_threads_plays_the_same(make_actors) -> None:
    pytest.importorskip("numba")
    from common.ne.compiled.rollout import CompiledRollout

    evaluator = evaluator_of("CartPole-v1", "numba")
    actors = make_actors("feedforward", evaluator.spaces, size=30)
    seeds = episode_seeds(0, 0, "training", 30, 1, is_shared=False).reshape(-1)
    one, three = (
        CompiledRollout("CartPole-v1", actors, threads).play(actors.arrays, np.arange(30), seeds) for threads in (1, 3)
    )
    assert_equal(one, three)


@pytest.mark.parametrize("kind", ["feedforward", "recurrent"])
def test_networks_play_alone_as_they_do_side_by_side(make_actors, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    from common.ne.compiled import rollout

    evaluator = evaluator_of(FAST, "numba")
    actors = make_actors(kind, evaluator.spaces, size=11, observations="standardized")
    side_by_side = played(evaluator, actors)
    monkeypatch.setattr(rollout, "MAX_SIDE_BY_SIDE", 0)
    assert_equal(side_by_side, played(evaluator, actors))


def test_an_episode_is_recorded_to_its_end(make_actors) -> None:
    evaluator = evaluator_of("CartPole-v1", "numpy")
    actors = make_actors("feedforward", evaluator.spaces, size=1)
    pictures, seconds = evaluator.record(actors, taken(actors.arrays, slice(0, 1)), 7)
    assert len(pictures) > 5
    assert pictures[0].shape == (400, 600, 3)
    assert seconds == pytest.approx(0.02)
    assert (pictures[0] != pictures[-1]).any()


@pytest.mark.parametrize("kind", ["feedforward", "recurrent"])
def test_gymnasium_s_episodes_are_those_of_a_plain_loop(make_actors, kind: str) -> None:
    evaluator = evaluator_of("Toy-bounded-v0")
    actors = make_actors(kind, evaluator.spaces, size=5, observations="standardized")
    episodes = played(evaluator, actors, num_episodes=20)  # More than there are environments side by side.
    seeds = episode_seeds(0, 0, "training", 5, 20, is_shared=False).reshape(-1)
    environment = gymnasium.make("Toy-bounded-v0")
    for number, seed in enumerate(seeds):
        player = Players(actors, taken(actors.arrays, slice(number // 20, number // 20 + 1)))
        shown, is_over, rewards, seen = environment.reset(seed=int(seed))[0], False, [], []
        while not is_over:
            seen.append(np.asarray(shown, np.float64))
            shown, reward, terminated, truncated, _ = environment.step(player.act(np.float32(shown)[None])[0])
            is_over = terminated or truncated
            rewards.append(reward)
        assert episodes.lengths[number] == len(rewards)
        assert episodes.rewards[number] == pytest.approx(sum(rewards), rel=1e-12)
        np.testing.assert_allclose(episodes.sums[number], np.sum(seen, axis=0), rtol=1e-12)
        np.testing.assert_allclose(episodes.squares[number], np.sum(np.square(seen), axis=0), rtol=1e-12)
        np.testing.assert_allclose(episodes.memory[number], player.memory[0], rtol=1e-9, atol=1e-12)
