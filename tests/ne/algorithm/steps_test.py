"""One generation of each evolution strategy, against the papers' equations as plain loops over known noise.

Every strategy starts at the mean (2, −1) with a standard deviation of 0.5, and is told a fitness whose ranks are known.
"""

import math
from collections.abc import Callable
from typing import Any

import cmaes
import numpy as np
import pytest
import threadpoolctl
import torch

from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.cma_es import CMAESConfig
from common.ne.algorithm.gaussian import weighted_sum
from common.ne.algorithm.openai_es import OpenAIESConfig
from common.ne.algorithm.pgpe import PGPEConfig
from common.ne.algorithm.snes import SNESConfig
from common.ne.random_numbers import generator
from tests.ne.algorithm.conftest import STRATEGIES, Vectors

MEAN, SIGMA = [2.0, -1.0], 0.5
NOISE = [[2.0, 0.5], [-1.0, 1.5], [0.25, -0.75], [-0.5, -1.25]]
Start = Callable[..., BaseAlgorithm]


def told(start: Start, name: str, noise: list[list[float]], fitness: list[float], **config: Any) -> Any:
    """Returns a strategy after one generation with the given noise."""
    algorithm: Any = start(name, size=len(noise), point=np.array(MEAN), sigma=SIGMA, **config)
    algorithm.ask(0)
    algorithm.noise = np.array(noise)
    algorithm.tell(np.array(fitness))
    return algorithm


def test_snes_follows_algorithm_6_of_wierstra_et_al(start: Start) -> None:
    """Utilities of four: ln 3 and ln 3 − ln 2 as parts of their sum, and 0 twice, each less a quarter."""
    best, second = math.log(3), math.log(3) - math.log(2)
    worth = {4: best / (best + second) - 0.25, 3: second / (best + second) - 0.25, 2: -0.25, 1: -0.25}
    fitness = [2.0, 4.0, 3.0, 1.0]
    for config, rate in (({}, (3 + math.log(2)) / (5 * math.sqrt(2))), ({"sigma_lr": 0.3}, 0.3)):
        algorithm = told(start, "snes", NOISE, fitness, lr=0.7, **config)
        for axis in range(2):
            uphill = sum(worth[value] * noise[axis] for value, noise in zip(fitness, NOISE, strict=True))
            spread = sum(worth[value] * (noise[axis] ** 2 - 1) for value, noise in zip(fitness, NOISE, strict=True))
            assert algorithm.mean[axis] == pytest.approx(MEAN[axis] + 0.7 * SIGMA * uphill, rel=1e-12)
            assert algorithm.sigma[axis] == pytest.approx(SIGMA * math.exp(rate / 2 * spread), rel=1e-12)


def test_openai_es_climbs_its_estimate_as_torch_s_adam_does(start: Start) -> None:
    """Of five individuals, −½, −¼, 0, ¼ and ½ by rank; weight decay makes the gradient's length count."""
    noise = [*NOISE[:2], [-2.0, -0.5], [1.0, -1.5], [0.0, 0.0]]
    worths = [0.25, -0.5, 0.0, 0.5, -0.25]
    theirs = torch.tensor(MEAN, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=0.1, maximize=True)
    algorithm: Any = start("openai_es", size=5, point=np.array(MEAN), sigma=SIGMA, lr=0.1, weight_decay=0.2)
    for generation in range(3):
        algorithm.ask(generation)
        algorithm.noise = np.roll(noise, generation, axis=0)
        algorithm.tell(np.array([3.0, -9.0, 1.0, 4.0, 0.0]))
        gradient = [
            sum(worth * row[axis] for worth, row in zip(worths, algorithm.noise, strict=True)) / (5 * SIGMA)
            - 0.2 * theirs[axis].item()
            for axis in range(2)
        ]
        theirs.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        np.testing.assert_allclose(algorithm.mean, theirs.detach().numpy(), rtol=1e-12)
    np.testing.assert_array_equal(algorithm.sigma, SIGMA)


@pytest.mark.parametrize(("min_sigma", "expected"), [(1e-8, 0.25), (0.4, 0.4), (3.0, 0.5)])
def test_openai_es_shrinks_its_deviation_to_a_limit_and_never_grows_it(
    start: Start, min_sigma: float, expected: float
) -> None:
    algorithm = told(start, "openai_es", NOISE, [1.0, 2.0, 3.0, 4.0], sigma_decay=0.5, min_sigma=min_sigma)
    assert algorithm.sigma.tolist() == [expected, expected]


def test_pgpe_follows_section_3_3_of_sehnke_et_al(start: Start) -> None:
    """Pairs (0, 2) and (1, 3), with ranks worth −½ and ½, and −1/6 and 1/6: a step of lr along what they say."""
    pairs = [NOISE[0], NOISE[1]]
    fitness = [0.0, 5.0, 9.0, 6.0]
    plus, minus = [-1 / 2, -1 / 6], [1 / 2, 1 / 6]
    noise = [*pairs, *[[-number for number in row] for row in pairs]]
    algorithm = told(start, "pgpe", noise, fitness, lr=0.15, sigma_lr=0.4, max_sigma_change=0.9)
    uphill = [
        sum((up - down) / 2 * SIGMA * row[axis] for up, down, row in zip(plus, minus, pairs, strict=True)) / 2
        for axis in range(2)
    ]
    length = math.hypot(*uphill)
    np.testing.assert_allclose(algorithm.mean, [m + 0.15 * u / length for m, u in zip(MEAN, uphill, strict=True)])
    np.testing.assert_allclose(algorithm.sigma, SIGMA)  # Both of a pair add up to 0.


def test_pgpe_widens_where_both_of_a_far_pair_do_well(start: Start) -> None:
    """The far pair (2, ½) is worth ½ and 1/6, the near one (−1, 3/2) the same below 0."""
    pairs = [NOISE[0], NOISE[1]]
    noise = [*pairs, *[[-number for number in row] for row in pairs]]
    means = [(1 / 2 + 1 / 6) / 2, (-1 / 6 - 1 / 2) / 2]
    expected = []
    for axis in range(2):
        spreads = [((SIGMA * row[axis]) ** 2 - SIGMA**2) / SIGMA for row in pairs]
        expected.append(SIGMA + 0.4 * sum(mean * spread for mean, spread in zip(means, spreads, strict=True)) / 2)
    algorithm = told(start, "pgpe", noise, [9.0, 2.0, 7.0, 1.0], sigma_lr=0.4, max_sigma_change=0.9)
    np.testing.assert_allclose(algorithm.sigma, expected, rtol=1e-12)
    bounded = told(start, "pgpe", noise, [9.0, 2.0, 7.0, 1.0], sigma_lr=0.4, max_sigma_change=0.05)
    np.testing.assert_allclose(bounded.sigma, [0.525, 0.475], rtol=1e-12)  # 0.1 and −0.067 asked for, by 0.5.


@pytest.mark.parametrize("name", ["openai_es", "snes", "pgpe"])
def test_individuals_are_the_mean_and_scaled_noise(start: Start, name: str) -> None:
    algorithm: Any = start(name, size=4, point=np.array(MEAN), sigma=SIGMA)
    algorithm.sigma = np.array([0.5, 0.1])
    algorithm.ask(3)
    noise = algorithm.noise
    expected = [[MEAN[0] + 0.5 * row[0], MEAN[1] + 0.1 * row[1]] for row in noise]
    np.testing.assert_allclose(algorithm.population.parameters, expected, rtol=1e-12)
    assert algorithm.metrics() == {"sigma": pytest.approx(0.3)}


def test_cma_es_is_told_what_the_package_is_told_downhill(start: Start) -> None:
    """Covariance, paths and step size as a second strategy of the package has them, which sees the same losses."""
    algorithm: Any = start("cma_es", size=6, point=np.array(MEAN), sigma=SIGMA)
    peer: Any = cmaes.CMA(np.array(MEAN), SIGMA, population_size=6)
    for generation in range(4):
        algorithm.ask(generation)
        points = algorithm.population.parameters
        fitness = -np.square(points).sum(axis=1)
        algorithm.tell(fitness)
        peer.tell([(point, -value) for point, value in zip(points, fitness, strict=True)])
        for name in ("_mean", "_C", "_p_sigma", "_pc", "_sigma", "_g"):
            np.testing.assert_array_equal(getattr(algorithm.cma, name), getattr(peer, name))
        np.testing.assert_array_equal(algorithm.center(), peer.mean)
        assert algorithm.metrics() == {"sigma": peer._sigma}


def test_cma_es_draws_from_the_covariance_that_it_has(start: Start) -> None:
    algorithm: Any = start("cma_es", size=6, point=np.array(MEAN), sigma=0.3)
    algorithm.cma._C = np.array([[4.0, 1.8], [1.8, 1.0]])
    algorithm.population = Vectors(40_000, np.array(MEAN))
    algorithm.ask(0)
    drawn = algorithm.population.parameters
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), 0.09 * np.array([[4.0, 1.8], [1.8, 1.0]]), rtol=0.03)


def test_a_weighted_sum_weighs_rows() -> None:
    assert weighted_sum(np.array([2.0, -1.0]), np.array([[1.0, 10.0, 5.0], [3.0, 4.0, 5.0]])).tolist() == [-1, 16, 5]


@pytest.mark.parametrize(("name", "is_mirrored"), [("snes", False), ("openai_es", True), ("pgpe", True)])
@pytest.mark.parametrize("size", [6, 7])
def test_noise_follows_from_seed_generation_and_purpose(start: Start, name: str, is_mirrored: bool, size: int) -> None:
    algorithm: Any = start(name, size=size, point=np.array(MEAN), seed=3)
    algorithm.ask(5)
    rng = generator(3, 5, "sampling")
    if is_mirrored:
        half = rng.standard_normal((3, 2))
        expected = [*half, *-half, *np.zeros((size - 6, 2))]
    else:
        expected = [*rng.standard_normal((size, 2))]
    np.testing.assert_array_equal(algorithm.noise, expected)


def test_cma_es_begins_with_round_noise_of_seed_generation_and_purpose(start: Start) -> None:
    algorithm: Any = start("cma_es", size=6, point=np.array(MEAN), sigma=0.3, seed=3)
    algorithm.ask(5)
    noise = generator(3, 5, "sampling").standard_normal((6, 2))
    distances = np.linalg.norm(algorithm.population.parameters - MEAN, axis=1)  # However axes are ordered and turned.
    np.testing.assert_allclose(distances, 0.3 * np.linalg.norm(noise, axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (SNESConfig, {"sigma": 0.5, "lr": 1.0, "sigma_lr": None}),
        (OpenAIESConfig, {"sigma": 0.1, "sigma_decay": 1.0, "min_sigma": 1e-8, "lr": 0.05, "weight_decay": 0.0}),
        (
            PGPEConfig,
            {"sigma": 0.5, "lr": 0.15, "max_speed": 0.3, "momentum": 0.9, "sigma_lr": 0.1, "max_sigma_change": 0.2},
        ),
        (CMAESConfig, {"sigma": 0.5}),
    ],
)
def test_defaults_are_what_benchmarks_were_made_with(make: Callable[[], Any], values: dict[str, Any]) -> None:
    assert vars(make()) == values


def test_cma_es_computes_on_one_thread(start: Start) -> None:
    """The last bits of its linear algebra depend on their number."""
    algorithm: Any = start("cma_es", size=6, point=np.array(MEAN))
    seen: list[set[int]] = []

    def noting(inner: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            seen.append({pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"})
            return inner(*given)

        return noted

    algorithm.cma._eigen_decomposition = noting(algorithm.cma._eigen_decomposition)
    algorithm.cma.tell = noting(algorithm.cma.tell)
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        algorithm.ask(0)
        algorithm.tell(np.arange(6.0))
    assert len(seen) > 1
    assert all(threads == {1} for threads in seen)


def test_cma_es_takes_as_many_parameters_as_it_says(start: Start) -> None:
    start("cma_es", size=4, point=np.zeros(1000))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_search_begins_at_the_first_individual(name: str) -> None:
    make, make_config = STRATEGIES[name]
    population = Vectors(6, np.array(MEAN))
    population.arrays["parameters"] = np.arange(12.0).reshape(6, 2)
    algorithm: Any = make(make_config())
    algorithm.start(population, 0)
    np.testing.assert_array_equal(algorithm.center(), [0.0, 1.0])
    population.arrays["parameters"][:] = 7.0  # What is asked for later does not move it.
    np.testing.assert_array_equal(algorithm.center(), [0.0, 1.0])
