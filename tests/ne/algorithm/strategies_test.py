"""What every evolution strategy promises."""

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.cma_es import MAX_PARAMETERS
from tests.ne.algorithm.conftest import STRATEGIES

every_strategy = pytest.mark.parametrize("name", STRATEGIES)
Start = Callable[..., BaseAlgorithm]


def told(algorithm: BaseAlgorithm, generations: range) -> list[np.ndarray]:
    """Climbs towards 0 for some generations; returns what was asked for in each."""
    asked = []
    for generation in generations:
        algorithm.ask(generation)
        asked.append(algorithm.population.parameters.copy())
        algorithm.tell(-np.square(algorithm.population.parameters).sum(axis=1))
    return asked


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """Returns a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


@every_strategy
def test_candidates_depend_on_seed_and_generation_alone(name: str, start: Start) -> None:
    np.random.seed(1)
    first = told(start(name), range(4))
    np.random.seed(2)
    np.testing.assert_array_equal(first, told(start(name), range(4)))
    assert not np.array_equal(first, told(start(name, seed=1), range(4)))
    assert len({asked.tobytes() for asked in first}) == 4


@every_strategy
def test_candidates_spread_around_the_first_individual(name: str, start: Start) -> None:
    algorithm = start(name, size=1000, point=np.array([5.0, -3.0]), sigma=0.2)
    algorithm.ask(0)
    np.testing.assert_allclose(algorithm.population.parameters.mean(axis=0), [5.0, -3.0], atol=0.03)
    np.testing.assert_allclose(algorithm.population.parameters.std(axis=0), 0.2, rtol=0.1)


@every_strategy
def test_the_center_moves_uphill(name: str, start: Start) -> None:
    algorithm = start(name)
    told(algorithm, range(10))
    center = algorithm.center()
    assert center is not None
    assert np.square(center).sum() < np.square(np.full(3, 2.0)).sum()


@every_strategy
@pytest.mark.parametrize("size", [8, 9])
def test_a_run_continues_with_equal_bits(name: str, start: Start, size: int) -> None:
    whole = start(name, size)
    expected = told(whole, range(12))
    first = start(name, size)
    told(first, range(7))
    state = first.state_dict()
    told(first, range(7, 9))  # What was saved must not go on with it.
    second = start(name, size)
    second.load_state_dict(saved_and_loaded(state))
    np.testing.assert_array_equal(told(second, range(7, 12)), expected[7:])
    np.testing.assert_array_equal(second.center(), whole.center())
    assert second.metrics() == whole.metrics()


@every_strategy
def test_a_population_that_cannot_be_compared_is_refused(name: str, start: Start) -> None:
    smallest = 4 if name == "cma_es" else 2
    start(name, size=smallest)
    with pytest.raises(ConfigError) as refusal:
        start(name, size=smallest - 1)
    class_name = STRATEGIES[name][0].__name__  # type: ignore[attr-defined]
    assert str(refusal.value) == (
        f"{class_name} compares individuals: it needs a population of at least {smallest}, but got {smallest - 1}. Set "
        f"population.config.size to {smallest} or more."
    )


@every_strategy
def test_nan_is_the_worst_fitness(name: str, start: Start) -> None:
    outcomes = []
    for bad in (np.nan, -1e9):
        algorithm = start(name)
        for generation in range(3):
            algorithm.ask(generation)
            fitness = algorithm.population.parameters.sum(axis=1)
            fitness[2] = bad
            before = fitness.copy()
            algorithm.tell(fitness)
            np.testing.assert_array_equal(fitness, before)
        outcomes.append(algorithm.center())
    assert np.isfinite(outcomes[0]).all()
    np.testing.assert_array_equal(outcomes[0], outcomes[1])


@every_strategy
def test_a_generation_of_nan_ends_nothing(name: str, start: Start) -> None:
    algorithm = start(name)
    for generation in range(5):
        algorithm.ask(generation)
        algorithm.tell(np.full(8, np.nan))
    algorithm.ask(5)
    assert np.isfinite(algorithm.population.parameters).all()
    if name != "cma_es":  # It ranks equals in order of appearance.
        np.testing.assert_allclose(algorithm.center(), 2.0, atol=1e-12)


@pytest.mark.parametrize("name", ["openai_es", "pgpe"])
def test_individuals_mirror_each_other_and_an_odd_one_is_the_mean(name: str, start: Start) -> None:
    algorithm = start(name, size=9)
    algorithm.ask(0)
    offsets = algorithm.population.parameters - 2.0
    np.testing.assert_allclose(offsets[:4], -offsets[4:8], atol=1e-12)
    np.testing.assert_array_equal(offsets[8], 0.0)


def test_pgpe_learns_nothing_from_the_odd_one(start: Start) -> None:
    centers = []
    for size in (8, 9):
        algorithm = start("pgpe", size)
        algorithm.ask(0)
        algorithm.tell(np.arange(float(size)) ** 2 % 7)
        centers.append(algorithm.center())
    np.testing.assert_array_equal(centers[0], centers[1])


def test_pgpe_changes_its_noise_by_a_bounded_share(start: Start) -> None:
    algorithm = start("pgpe", sigma_lr=1e6, max_sigma_change=0.1)
    before = algorithm.metrics()["sigma"]
    for generation in range(5):
        told(algorithm, range(generation, generation + 1))
        after = algorithm.metrics()["sigma"]
        assert after != before
        assert 0.9 * before - 1e-12 <= after <= 1.1 * before + 1e-12
        before = after


def test_openai_es_shrinks_its_noise_to_a_limit(start: Start) -> None:
    algorithm = start("openai_es", sigma=1.0, sigma_decay=0.5, min_sigma=0.2)
    told(algorithm, range(2))
    assert algorithm.metrics()["sigma"] == pytest.approx(0.25)
    told(algorithm, range(2, 4))
    assert algorithm.metrics()["sigma"] == pytest.approx(0.2)


def test_openai_es_decays_weights(start: Start) -> None:
    algorithm = start("openai_es", weight_decay=0.1)
    for generation in range(5):
        algorithm.ask(generation)
        algorithm.tell(np.zeros(8))
    center = algorithm.center()
    assert center is not None
    assert (center < 2.0).all()


def test_cma_es_refuses_more_parameters_than_it_can_adapt(start: Start) -> None:
    with pytest.raises(ConfigError) as refusal:
        start("cma_es", point=np.zeros(MAX_PARAMETERS + 1))
    assert str(refusal.value) == (
        "CMAES adapts the covariance of all parameters: it takes at most 1000, but the network has 1001. Use a smaller "
        "network, or algorithm=snes."
    )


@pytest.mark.parametrize("package", ["cmaes", "threadpoolctl"])
def test_cma_es_names_the_package_that_is_missing(start: Start, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs the package {package}, .* pip install 'ai-research\[ne\]'"):
        start("cma_es")
