"""What a generation does, for every algorithm with every network and every kind of action."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra_zen import instantiate

from common.errors import ConfigError
from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.evolution import Evolution
from common.ne.evolve import Loop
from common.ne.outputs.records import records_of
from common.ne.outputs.wandb import NoRun
from common.ne.population.actor import Actors
from common.run.checkpoint import FOLDER_NAME, LAST, read_checkpoint, write_checkpoint
from common.run.ranks import Ranks
from tests.ne.conftest import ALGORITHMS, NETWORKS, evaluator_of, same, stored
from tests.ne.environments import ACTION_SPACES

KINDS = tuple(kind for kind in ACTION_SPACES if kind != "binary")


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
        **config: Any,
    ) -> Evolution:
        evaluator = evaluator_of(environment, backend, num_episodes=2)
        sizes = {} if hidden_sizes is None else {"hidden_sizes": hidden_sizes}
        actors = make_actors(kind, evaluator.spaces, size, seed, observations, **sizes)
        live = instantiate(store["algorithm", algorithm]) if isinstance(algorithm, str) else algorithm
        config = {"num_generations": 3, **config}
        settings = NeuroevolutionSubtaskConfig(seed=seed, data_dir="x", output_dir=str(tmp_path), **config)
        return Evolution(live, evaluator, actors, settings, Ranks())

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
    assert "Generation 1: the fitness of 6 individuals is NaN." in caplog.text


def test_the_champion_is_chosen_on_episodes_that_selection_does_not_see(make, monkeypatch: pytest.MonkeyPatch) -> None:
    evolution = make(num_challengers=3, num_validation_episodes=40)
    played: list[tuple[int, set[int]]] = []
    inner = evolution.evaluator.play

    def play(actors: Actors, arrays: Any, individuals: np.ndarray, seeds: np.ndarray) -> Any:
        played.append((len(individuals), {int(seed) for seed in seeds}))
        return inner(actors, arrays, individuals, seeds)

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


def test_minutes_are_a_budget(make) -> None:
    evolution = make(num_generations=50, num_minutes=1e-9)
    looped(evolution)
    assert evolution.generation == 1  # It is looked at between two generations.


def test_minutes_of_earlier_launches_count(make, tmp_path: Path) -> None:
    looped(make(num_generations=2))
    path = tmp_path / FOLDER_NAME / LAST
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
