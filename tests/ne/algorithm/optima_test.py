"""Every evolution strategy reaches known optima. How fast, beside others: `benchmarks/evolution_strategies.py`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from common.ne.algorithm.base import BaseAlgorithm


def sphere(x: np.ndarray) -> np.ndarray:
    """Returns 0 at 0, more elsewhere; n points in rows."""
    values: np.ndarray = np.square(x).sum(axis=1)
    return values


def rosenbrock(x: np.ndarray) -> np.ndarray:
    """Returns 0 where every number is 1, at the end of a bent valley."""
    valley, along = x[:, 1:] - np.square(x[:, :-1]), 1 - x[:, :-1]
    values: np.ndarray = (100 * np.square(valley) + np.square(along)).sum(axis=1)
    return values


def rastrigin(x: np.ndarray) -> np.ndarray:
    """Returns 0 at 0, which lies among many lesser optima, one at each whole number."""
    values: np.ndarray = (10 + np.square(x) - 10 * np.cos(2 * np.pi * x)).sum(axis=1)
    return values


class Task(NamedTuple):
    """A function to minimise from a starting point, within a precision."""

    function: Callable[[np.ndarray], np.ndarray]
    start: np.ndarray
    size: int
    precision: float


SPHERE = Task(sphere, np.full(10, 3.0), 32, 1e-3)
ROSENBROCK = Task(rosenbrock, np.zeros(2), 32, 1e-2)
RASTRIGIN = Task(rastrigin, np.full(5, 2.2), 256, 1e-1)

CASES = {
    "openai_es": [
        (SPHERE, {"sigma": 0.1, "lr": 0.05}),
        (ROSENBROCK, {"sigma": 0.1, "lr": 0.02, "sigma_decay": 0.999}),
        (RASTRIGIN, {"sigma": 2.0, "lr": 0.1, "sigma_decay": 0.98}),
    ],
    "snes": [
        (SPHERE, {"sigma": 1.0}),
        (ROSENBROCK, {"sigma": 0.5, "sigma_lr": 0.1}),
        (RASTRIGIN, {"sigma": 3.0}),
    ],
    "pgpe": [
        (SPHERE, {"sigma": 0.5, "lr": 0.02, "max_speed": 0.1}),
        (ROSENBROCK, {"sigma": 0.2, "lr": 0.01, "max_speed": 0.02}),
        (RASTRIGIN, {"sigma": 3.0, "lr": 0.02, "max_speed": 0.04, "sigma_lr": 0.3}),
    ],
    "cma_es": [
        (SPHERE, {"sigma": 1.0}),
        (ROSENBROCK, {"sigma": 0.5}),
        (RASTRIGIN, {"sigma": 3.0}),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task", "config"),
    [
        pytest.param(name, task, config, id=f"{name}-{task.function.__name__}")
        for name, cases in CASES.items()
        for task, config in cases
    ],
)
def test_the_center_reaches_the_optimum(
    name: str, task: Task, config: dict[str, Any], start: Callable[..., BaseAlgorithm]
) -> None:
    algorithm = start(name, size=task.size, point=task.start, **config)
    for generation in range(2000):
        algorithm.ask(generation)
        algorithm.tell(-task.function(algorithm.population.parameters))
        center = algorithm.center()
        assert center is not None
        if task.function(center[None])[0] < task.precision:
            break
    else:
        pytest.fail(f"after 2000 generations still {task.function(center[None])[0]:.3g}")
