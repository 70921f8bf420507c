"""What a generation does, for every algorithm with every network and every kind of action."""

import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hydra_zen import instantiate

from common.errors import ConfigError, RunError, RunStoppedError
from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
from common.ne.algorithm.snes import SNES, SNESConfig
from common.ne.compatibility import check_start
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.engine import NEUROEVOLUTION
from common.ne.evaluator.base import BaseEvaluator, Episodes
from common.ne.evolution import Evolution
from common.ne.evolve import Loop
from common.ne.outputs.records import records_of
from common.ne.outputs.wandb import NoRun
from common.ne.population.actor import Actors
from common.ne.population.networks.base import taken
from common.run import stop
from common.run.checkpoint import LAST, read_checkpoint, write_checkpoint
from common.run.ranks import Ranks
from tests.ne.conftest import ALGORITHMS, NETWORKS, evaluator_of, same, stored
from tests.ne.environments import ACTION_SPACES

KINDS = tuple(ACTION_SPACES)


@pytest.fixture
def make(store, make_actors, tmp_path: Path):
    """Returns a function that builds an evolution."""

    def build(
        algorithm: Any = "simple_ga",
        kind: str = "feedforward",
        environment: str = "Toy-discrete-v0",
        size: int = 6,
        seed: int = 0,
        observations: str = "raw",
        backend: str = "gymnasium",
        hidden_sizes: list[int] | None = None,
        settings: dict[str, Any] | None = None,
        **config: Any,
    ) -> Evolution:
        evaluator = evaluator_of(environment, backend, num_episodes=2, **settings or {})
        sizes = {} if hidden_sizes is None else {"hidden_sizes": hidden_sizes}
        actors = make_actors(kind, evaluator.spaces, size, seed, observations, **sizes)
        live = instantiate(store["algorithm", algorithm]) if isinstance(algorithm, str) else algorithm
        config = {"num_generations": 3, **config}
        subtask = NeuroevolutionSubtaskConfig(seed=seed, data_dir="x", output_dir=str(tmp_path), **config)
        return Evolution(live, evaluator, actors, subtask, Ranks())

    return build


def test_the_store_offers_these_algorithms(store) -> None:
    assert {entry["name"] for entry in store if entry["group"] == "algorithm"} == set(ALGORITHMS)


def combinations() -> list[tuple[str, str, str]]:
    """Returns every algorithm with every network that it can move, kinds of action taking turns."""
    pairs = [(algorithm, kind) for algorithm in ALGORITHMS for kind in NETWORKS]
    pairs = [pair for pair in pairs if pair[1] != "dynamic" or pair[0] in ("simple_ga", "tournament")]
    return [(*pair, KINDS[index % len(KINDS)]) for index, pair in enumerate(pairs)]


@pytest.mark.parametrize(("algorithm", "kind", "action"), combinations())
def test_a_run_that_was_saved_continues_to_the_same_bits(make, algorithm: str, kind: str, action: str) -> None:
    settings: dict[str, Any] = {
        "kind": kind,
        "environment": f"Toy-{action}-v0",
        "observations": "standardized",
        "size": 7,
    }
    settings |= {} if kind == "dynamic" else {"hidden_sizes": [6, 4]}
    straight, first, second = (make(algorithm, **settings) for _ in range(3))
    expected = [straight.advance() for _ in range(4)]
    assert [first.advance() for _ in range(2)] == expected[:2]
    second.load_state_dict(stored(first.state_dict()))
    assert [second.advance() for _ in range(2)] == expected[2:]
    assert same(second.state_dict(), straight.state_dict())
    assert all(np.isfinite(value) for row in expected for value in row.values())
    assert straight.actors.size == 7


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_seed_decides(make, kind: str) -> None:
    rows = [make(kind=kind, seed=seed).advance() for seed in (0, 0, 1)]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_population_keeps_its_size(make, size: int) -> None:
    evolution = make(SimpleGA(SimpleGAConfig(num_elites=min(1, size - 1))), size=size)
    for _ in range(3):
        evolution.advance()
    assert evolution.actors.size == size


def told(algorithm: SimpleGA, actors: Actors, fitness: list[float]) -> np.ndarray:
    """Starts an algorithm, tells it a fitness, and returns the initial index of each individual now."""
    before = actors.arrays["parameters"].copy()
    algorithm.start(actors, 0)
    algorithm.ask(0)
    algorithm.tell(np.array(fitness))
    return np.array([np.flatnonzero((before == row).all(axis=1))[0] for row in actors.arrays["parameters"]])


def test_elites_come_first_unmutated_and_parents_are_the_fittest(make) -> None:
    evolution = make(size=8)
    algorithm = SimpleGA(SimpleGAConfig(num_elites=2, parent_fraction=0.375))
    fitness = [0.0, 5.0, np.nan, 1.0, 7.0, -np.inf, 6.0, 2.0]
    ancestors = told(algorithm, evolution.actors, fitness)
    assert ancestors[:2].tolist() == [4, 6]
    assert set(ancestors[2:]) <= {4, 6, 1}
    before = evolution.actors.arrays["parameters"].copy()
    algorithm.ask(1)
    is_kept = (evolution.actors.arrays["parameters"] == before).all(axis=1)
    assert is_kept.tolist() == [True, True] + [False] * 6


def test_tournaments_prefer_the_fitter_but_shut_out_few(make) -> None:
    evolution = make(size=300)
    algorithm = SimpleGA(SimpleGAConfig(num_elites=0, selection="tournament", tournament_size=3))
    ancestors = told(algorithm, evolution.actors, list(np.arange(300.0)))
    assert 215 < ancestors.mean() < 235  # The expected best of three is at three quarters.
    assert ancestors.min() < 100


def test_nan_counts_as_worst_is_counted_and_does_not_end_the_run(make, caplog: pytest.LogCaptureFixture) -> None:
    evolution = make(environment="Toy-nan-v0")
    metrics = [evolution.advance() for _ in range(2)]
    assert [row["fitness/num_nan"] for row in metrics] == [6, 6]
    assert "Generation 1: the fitness of 6 individuals is no finite number." in caplog.text


def test_the_champion_is_chosen_on_episodes_that_selection_does_not_see(make, monkeypatch: pytest.MonkeyPatch) -> None:
    evolution = make(num_challengers=3, num_validation_episodes=40)
    played: list[tuple[int, set[int]]] = []
    inner = evolution.evaluator.play

    def play(actors: Actors, arrays: Any, individuals: np.ndarray, seeds: np.ndarray, *others: Any) -> Any:
        played.append((len(individuals), {int(seed) for seed in seeds}))
        return inner(actors, arrays, individuals, seeds, *others)

    monkeypatch.setattr(evolution.evaluator, "play", play)
    evolution.advance()
    evolution.advance()
    evolution.judge("test", 100)
    assert [number for number, _ in played] == [12, 3 * 40, 12, 4 * 40, 100]
    assert [len(seeds) for _, seeds in played] == [2, 40, 2, 40, 100]  # Shared by all who play.
    assert len(set.union(*(seeds for _, seeds in played))) == 184  # None of them twice.


def test_the_champion_stays_until_somebody_is_better_on_the_same_episodes(make) -> None:
    evolution = make()
    for _ in range(5):
        before = evolution.champion
        evolution.advance()
        assert evolution.champion is not None
        if before is not None and evolution.champion.generation == before.generation:
            assert same_arrays(evolution.champion.arrays, before.arrays)


def same_arrays(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, theirs[name]) for name, array in ours.items())


def test_evolution_improves(make) -> None:
    evolution = make(environment="Toy-bounded-v0", size=40)
    means = []
    for _ in range(12):
        means.append(evolution.advance()["champion/validation"])
    assert means[-1] > means[0] + 2


def test_more_elites_than_individuals_are_refused(make) -> None:
    with pytest.raises(
        ConfigError, match=r"num_elites=6 leaves no children in a population of population\.config\.size=6"
    ):
        make(SimpleGA(SimpleGAConfig(num_elites=6)))


def test_an_evolution_strategy_with_networks_that_grow_is_refused(make) -> None:
    with pytest.raises(ConfigError, match=r"SNES moves a fixed number of parameters, and these networks grow"):
        make("snes", kind="dynamic")


def looped(evolution: Evolution) -> Loop:
    """Evolves until a budget is spent, as one launch of a run does."""
    folder = Path(evolution.config.output_dir)
    with records_of(folder, NoRun(), is_first=True) as records:
        loop = Loop(evolution, records, evolution.config, evolution.ranks)
        loop.run()
    return loop


def test_minutes_are_a_budget(make, caplog: pytest.LogCaptureFixture) -> None:
    """A generation that they cut off does not count."""
    with pytest.raises(RunError, match=r"config\.num_minutes=1e-09 were over before the first generation was"):
        looped(make(num_generations=50, num_minutes=1e-9))
    evolution, expected = (make(num_generations=50, num_minutes=1, observations="standardized") for _ in range(2))
    expected.advance()
    before, play = stored(expected.state_dict()), evolution.evaluator.play

    def late(*given: Any) -> Any:
        if evolution.generation == 1:
            loop.started_s -= 60
        return play(*given)

    evolution.evaluator.play = late
    with records_of(Path(evolution.config.output_dir), NoRun(), is_first=True) as records, caplog.at_level("INFO"):
        loop = Loop(evolution, records, evolution.config, evolution.ranks)
        loop.run()
    assert same(stored(evolution.state_dict()), before)
    assert "config.num_minutes were over within generation 1, which does not count" in caplog.text


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("simple_ga", "dynamic"), ("cma_es", "feedforward"), ("snes", "recurrent")]
)
@pytest.mark.parametrize("num_calls", [3, 4])  # The second generation's episodes, and the play for the title.
def test_a_signal_is_heard_within_a_generation_which_is_played_again(
    make, tmp_path: Path, algorithm: str, kind: str, num_calls: int
) -> None:
    settings: dict[str, Any] = {"algorithm": algorithm, "kind": kind, "observations": "standardized"}
    settings |= {} if kind == "dynamic" else {"hidden_sizes": [4]}
    straight, stopped, again = (make(num_generations=4, **settings) for _ in range(3))
    for _ in range(4):
        straight.advance()
    play, left = stopped.evaluator.play, iter(range(1, num_calls + 1))

    def interrupted(*given: Any) -> Any:
        if next(left, None) == num_calls:
            os.kill(os.getpid(), signal.SIGTERM)
        return play(*given)

    stopped.evaluator.play = interrupted
    with (
        stop.stop_on_signals(says_so=False),
        pytest.raises(RunStoppedError, match="SIGTERM within generation 1"),
    ):
        looped(stopped)
    assert read_checkpoint(tmp_path / NEUROEVOLUTION.checkpoints / LAST)["generation"] == 1
    looped(again)
    assert same(again.state_dict(), straight.state_dict())


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"hidden_sizes": [8]}, "networks FeedforwardNetworks[8] there, FeedforwardNetworks[6, 4] here"),
        ({"hidden_sizes": [4, 6]}, "networks FeedforwardNetworks[4, 6] there"),
        ({"kind": "recurrent"}, "networks RecurrentNetworks[6, 4] there"),
        ({"algorithm": "snes"}, "algorithm SNES there, SimpleGA here"),
        ({"observations": "standardized"}, "observations standardized there, raw here"),
        ({"size": 9}, "individuals 9 there, 6 here"),
        ({"environment": "Odd-v0"}, "population/mean 2 there, 3 here"),
        ({"environment": "Toy-bounded-v0"}, "actions box there, discrete here"),
    ],
    ids=str,
)
def test_a_start_from_another_kind_of_run_is_refused_with_all_that_does_not_fit(
    make, other: dict[str, Any], text: str
) -> None:
    state = stored(make(**{"hidden_sizes": [6, 4], **other}).state_dict())
    with pytest.raises(ConfigError, match=f"x.ckpt is no start for this run: .*{re.escape(text)}"):
        check_start(make(hidden_sizes=[6, 4]), state, "x.ckpt")
    check_start(make(hidden_sizes=[6, 4]), stored(make(hidden_sizes=[6, 4], seed=5).state_dict()), "x.ckpt")


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ("simple_ga", "tournament")])
def test_fitness_without_a_difference_moves_no_strategy(make, algorithm: str) -> None:
    evolution = make(algorithm)
    before = evolution.algorithm.center()
    evolution.algorithm.ask(0)
    evolution.algorithm.tell(np.full(6, 3.0))
    np.testing.assert_allclose(evolution.algorithm.center(), before, rtol=0, atol=1e-12)  # But for rounding.


def test_an_infinite_reward_makes_nobody_champion(make) -> None:
    evolution = make(environment="Odd-v0", settings={"kwargs": {"reward": float("inf")}})
    assert evolution.advance()["fitness/num_nan"] == 6
    assert np.isnan(evolution.champion.mean)


def test_minutes_of_earlier_launches_count(make, tmp_path: Path) -> None:
    looped(make(num_generations=2))
    path = tmp_path / NEUROEVOLUTION.checkpoints / LAST
    state = read_checkpoint(path)
    write_checkpoint(path, {**state, "elapsed_s": 3600.0})
    spent, unspent = make(num_generations=4, num_minutes=59), make(num_generations=4, num_minutes=61)
    assert looped(spent).elapsed_s == 3600
    assert spent.generation == 2
    assert looped(unspent).elapsed_s > 3600
    assert unspent.generation == 4
    assert read_checkpoint(path)["elapsed_s"] > 3600


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "no budget: give config.num_generations"),
        ({"num_generations": 1, "device": "gpu"}, "neuroevolution runs on the CPU"),
        ({"num_generations": 1, "compile": True}, "there is no torch network to compile"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NeuroevolutionSubtaskConfig(data_dir="x", output_dir="x", **settings)


REWARDS = np.array([[1.0, 2.0, 9.0], [5.0, 5.0, 5.0], [3.0, -6.0, 0.0]])
"""Three episodes of each of three individuals: their means are 4, 5 and −1, their best 9, 5 and 3."""


class Known(BaseEvaluator):
    """Gives each individual, whoever it is, the rewards on its row; each episode is one step longer than the last."""

    def __init__(self, spaces: Any, rewards: np.ndarray) -> None:
        super().__init__(SimpleNamespace(num_episodes=rewards.shape[1], start_states="shared"))
        self._spaces, self.rewards = spaces, rewards

    @property
    def spaces(self) -> Any:
        return self._spaces

    def play(self, actors: Actors, arrays: Any, individuals: np.ndarray, seeds: np.ndarray, *_: Any) -> Episodes:
        episode = np.arange(len(seeds)) % self.rewards.shape[1]
        rewards = self.rewards[individuals % len(self.rewards), episode]
        none = np.zeros((len(seeds), 0))
        return Episodes(rewards, episode + 1, none, none, np.zeros(len(seeds), np.int64), none)

    def record(self, *arguments: Any) -> Any:
        raise AssertionError


@pytest.fixture
def make_known(store, make_actors, tmp_path: Path):
    """Returns a function that builds an evolution of three individuals whose rewards are known."""

    def build(algorithm: Any, rewards: np.ndarray = REWARDS, **config: Any) -> Evolution:
        spaces = evaluator_of("Toy-discrete-v0").spaces
        config = {"num_validation_episodes": 30, "num_challengers": 1, "num_generations": 3, **config}
        settings = NeuroevolutionSubtaskConfig(seed=0, data_dir="x", output_dir=str(tmp_path), **config)
        actors = make_actors("feedforward", spaces, len(rewards))
        return Evolution(algorithm, Known(spaces, rewards), actors, settings, Ranks())

    return build


class Listener(SimpleGA):
    """Notes the fitness that it is told, and the champion that it is shown."""

    def tell(self, fitness: np.ndarray) -> None:
        self.told = fitness
        super().tell(fitness)

    def welcome(self, champion: Any) -> None:
        self.shown = champion
        super().welcome(champion)


def test_fitness_is_the_mean_of_an_individuals_episodes(make_known) -> None:
    algorithm = Listener(SimpleGAConfig())
    evolution = make_known(algorithm)
    row = evolution.advance()
    assert algorithm.told.tolist() == [4.0, 5.0, -1.0]
    assert row["fitness/best"] == 5.0
    assert row["fitness/mean"] == pytest.approx(8 / 3)
    assert row["steps/generation"] == 3 * (1 + 2 + 3)
    assert evolution.advance()["steps/total"] == 36


def test_the_fittest_is_the_challenger_and_becomes_champion(make_known) -> None:
    """Alone on validation episodes, it is their first player, whose mean is 4."""
    evolution = make_known(Listener(SimpleGAConfig()))
    fittest = taken(evolution.actors.arrays, slice(1, 2))
    row = evolution.advance()
    assert row["champion/validation"] == 4.0
    assert row["champion/generation"] == 0
    assert same_arrays(evolution.champion.arrays, fittest)
    assert same_arrays(evolution.algorithm.shown, fittest)


def test_a_champion_that_wins_stays_and_another_takes_its_place_with_its_own_generation(make_known) -> None:
    """In validation the champion plays first; rows say what first, second and third players get."""
    evolution = make_known(SimpleGA(SimpleGAConfig()), REWARDS[[1, 0, 2]])
    evolution.advance()
    champion = evolution.champion.arrays
    assert evolution.advance()["champion/generation"] == 0
    assert same_arrays(evolution.champion.arrays, champion)
    evolution.evaluator.rewards = REWARDS[[0, 1, 2]]
    fittest = taken(evolution.actors.arrays, slice(1, 2))
    evolution.algorithm.ask = lambda generation: fittest.update(taken(evolution.actors.arrays, slice(1, 2)))
    row = evolution.advance()
    assert (row["champion/validation"], row["champion/generation"]) == (5.0, 2)
    assert same_arrays(evolution.champion.arrays, fittest)


def test_the_champion_returns_to_the_population_as_its_first_elite(make_known) -> None:
    """The fittest of the second generation is another: the champion lives on before it all the same."""
    evolution = make_known(SimpleGA(SimpleGAConfig(num_elites=1)), REWARDS[[1, 0, 2]])
    evolution.advance()
    champion = evolution.champion.arrays
    evolution.evaluator.play = lambda *given: replaced(Known.play(evolution.evaluator, *given), len(given[2]))
    evolution.advance()
    assert same_arrays(evolution.champion.arrays, champion)
    assert same_arrays(taken(evolution.actors.arrays, slice(0, 1)), champion)


def replaced(episodes: Episodes, num: int) -> Episodes:
    """Makes the last of nine episodes' individuals the fittest; leaves validation as it is."""
    if num == 9:
        episodes.rewards[6:] = 100.0
    return episodes


def test_without_elites_the_champion_does_not_return(make_known) -> None:
    evolution = make_known(SimpleGA(SimpleGAConfig(num_elites=0)))
    evolution.advance()
    champion = evolution.champion.arrays["parameters"]
    evolution.algorithm.ask(1)
    assert not (evolution.actors.arrays["parameters"] == champion).all(axis=1).any()


@pytest.mark.parametrize("best", [0, 1])
def test_the_mean_of_the_distribution_plays_for_the_title(make_known, best: int) -> None:
    """The second player of the first validation, after the only challenger."""
    evolution = make_known(SNES(SNESConfig()), np.array([[float(best == 0)], [float(best == 1)], [-1.0]]))
    evolution.algorithm.ask(0)
    challenger = evolution.actors.parameters[best].copy()
    evolution.advance()
    expected = challenger if best == 0 else evolution.algorithm.mean
    np.testing.assert_array_equal(evolution.champion.arrays["parameters"][0], expected)


def test_nan_wins_no_title(make_known) -> None:
    evolution = make_known(SimpleGA(SimpleGAConfig()), np.array([[1.0], [np.nan], [0.0]]), num_challengers=2)
    first = taken(evolution.actors.arrays, slice(0, 1))
    evolution.advance()
    assert same_arrays(evolution.champion.arrays, first)
