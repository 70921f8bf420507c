"""Measures how many evaluations evolution strategies need to reach known optima, beside reference implementations.

    python benchmarks/evolution_strategies.py --peers-python PATH [--seeds N]

`--peers-python` names the Python of an environment with `requirements-peers.txt`: evosax for OpenAI-ES, SNES and PGPE,
pycma for CMA-ES. Both sides start from the same point with the same population and settings, and are there when the
function at the mean of their distribution falls below the precision. Prints medians over seeds, and the 95 % interval
of their ratio (from resampled seeds); exits with 1 if we need more: if the whole interval lies above 1.

Axes: n points; d numbers of each.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MAX_GENERATIONS = 4000
FUNCTIONS = {
    "sphere": lambda x, xp: xp.square(x).sum(axis=-1),
    "rosenbrock": lambda x, xp: (100 * xp.square(x[..., 1:] - xp.square(x[..., :-1])) + xp.square(1 - x[..., :-1])).sum(
        axis=-1
    ),
    "rastrigin": lambda x, xp: (10 + xp.square(x) - 10 * xp.cos(2 * xp.pi * x)).sum(axis=-1),
}
"""Functions whose least value is 0, for arrays of NumPy or JAX, whichever module is passed."""


@dataclass
class Case:
    """An algorithm on a function.

    Attributes:
        algorithm: Its name in the group `algorithm`.
        function: One of `FUNCTIONS`.
        size: The population's.
        start: Where every number of the mean starts; there are `num`.
        num: d.
        precision: Value at which the optimum counts as reached.
        settings: Of our configuration; what the references call otherwise is translated.
    """

    algorithm: str
    function: str
    size: int
    start: float
    num: int
    precision: float
    settings: dict[str, float] = field(default_factory=dict)


CASES = [
    Case("openai_es", "sphere", 32, 3.0, 10, 1e-3, {"sigma": 0.1, "lr": 0.05}),
    Case("openai_es", "rosenbrock", 32, 0.0, 2, 1e-2, {"sigma": 0.1, "lr": 0.02, "sigma_decay": 0.999}),
    Case("openai_es", "rastrigin", 256, 2.2, 5, 1e-1, {"sigma": 2.0, "lr": 0.1, "sigma_decay": 0.98}),
    Case("snes", "sphere", 32, 3.0, 10, 1e-6, {"sigma": 1.0}),
    Case("snes", "rosenbrock", 32, 0.0, 2, 1e-2, {"sigma": 0.5, "sigma_lr": 0.1}),
    Case("snes", "rastrigin", 256, 2.2, 5, 1e-3, {"sigma": 3.0}),
    Case("pgpe", "sphere", 32, 3.0, 10, 1e-2, {"sigma": 0.5, "lr": 0.02, "max_speed": 0.1}),
    Case("pgpe", "rosenbrock", 32, 0.0, 2, 1e-2, {"sigma": 0.2, "lr": 0.01, "max_speed": 0.02}),
    Case("pgpe", "rastrigin", 256, 2.2, 5, 1e-1, {"sigma": 3.0, "lr": 0.02, "max_speed": 0.04, "sigma_lr": 0.3}),
    Case("cma_es", "sphere", 32, 3.0, 10, 1e-8, {"sigma": 1.0}),
    Case("cma_es", "rosenbrock", 32, 0.0, 5, 1e-8, {"sigma": 0.5}),
    Case("cma_es", "rastrigin", 256, 2.2, 5, 1e-8, {"sigma": 3.0}),
]


def evaluations_of_ours(case: Case, seed: int) -> float:
    """Returns how many evaluations our implementation needs; infinite where it does not get there."""
    from common.ne.algorithm.cma_es import CMAES, CMAESConfig
    from common.ne.algorithm.openai_es import OpenAIES, OpenAIESConfig
    from common.ne.algorithm.pgpe import PGPE, PGPEConfig
    from common.ne.algorithm.snes import SNES, SNESConfig
    from common.ne.population.base import BasePopulation

    class Points(BasePopulation):
        """Individuals that are points."""

        has_parameters = True

        def mutate(self, first: int, rng: np.random.Generator) -> None:
            """Nobody asks for it."""

    classes: dict[str, tuple[Any, Any]] = {
        "openai_es": (OpenAIES, OpenAIESConfig),
        "snes": (SNES, SNESConfig),
        "pgpe": (PGPE, PGPEConfig),
        "cma_es": (CMAES, CMAESConfig),
    }
    make, make_config = classes[case.algorithm]
    algorithm, population = make(make_config(**case.settings)), Points()
    population.arrays = {"parameters": np.full((case.size, case.num), case.start)}
    algorithm.start(population, seed)
    function = FUNCTIONS[case.function]
    for generation in range(MAX_GENERATIONS):
        algorithm.ask(generation)
        algorithm.tell(-function(population.parameters, np))
        if function(algorithm.center(), np) < case.precision:
            return float((generation + 1) * case.size)
    return float("inf")


def evaluations_of_pycma(case: Case, seed: int) -> float:
    """The same for pycma."""
    import cma

    options = {"popsize": case.size, "seed": seed + 1, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(np.full(case.num, case.start), case.settings["sigma"], options)
    function = FUNCTIONS[case.function]
    for generation in range(MAX_GENERATIONS):
        points = strategy.ask()
        strategy.tell(points, function(np.array(points), np).tolist())
        if function(strategy.mean, np) < case.precision:
            return float((generation + 1) * case.size)
    return float("inf")


def make_evosax(case: Case) -> Callable[[int], float]:
    """Returns what gives, for a seed, the same for evosax, compiled by JAX."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    strategy, params = evosax_strategy(case)
    function = FUNCTIONS[case.function]

    def step(carry: Any) -> Any:
        state, key, generation = carry
        key, key_ask, key_tell = jax.random.split(key, 3)
        points, state = strategy.ask(key_ask, state, params)
        state, _ = strategy.tell(key_tell, points, function(points, jnp), state, params)
        return state, key, generation + 1

    def goes_on(carry: Any) -> Any:
        state, _, generation = carry
        return (generation < MAX_GENERATIONS) & (function(state.mean, jnp) >= case.precision)

    def run(seed: Any) -> Any:
        key, key_start = jax.random.split(jax.random.key(seed))
        state = strategy.init(key_start, jnp.full(case.num, case.start), params)
        state, _, generation = jax.lax.while_loop(goes_on, step, (state, key, 0))
        return jnp.where(function(state.mean, jnp) < case.precision, generation * case.size, jnp.inf)

    compiled = jax.jit(run)
    return lambda seed: float(compiled(seed))


def evosax_strategy(case: Case) -> tuple[Any, Any]:
    """Returns evosax's strategy and its parameters, with the case's settings under their names there."""
    import jax.numpy as jnp
    import optax
    from evosax.algorithms import PGPE, SNES, Open_ES
    from evosax.core.optimizer import clipup

    own = case.settings
    zeros = jnp.zeros(case.num)
    if case.algorithm == "openai_es":
        schedule = optax.exponential_decay(own["sigma"], 1, own.get("sigma_decay", 1.0))
        strategy: Any = Open_ES(case.size, zeros, optimizer=optax.adam(own["lr"]), std_schedule=schedule)
        return strategy, strategy.default_params
    if case.algorithm == "snes":
        strategy = SNES(case.size, zeros)
        params = strategy.default_params.replace(std_init=own["sigma"])
        return strategy, params.replace(lr_std_init=own.get("sigma_lr", params.lr_std_init))
    strategy = PGPE(case.size, zeros, optimizer=clipup(own["lr"], max_velocity=own["max_speed"]))
    params = strategy.default_params
    return strategy, params.replace(std_init=own["sigma"], std_lr=own.get("sigma_lr", params.std_lr))


def peers_evaluations(num_seeds: int) -> None:
    """Prints, as a line of JSON per case, what the references need; runs in their Python."""
    for case in CASES:
        if case.algorithm == "cma_es":
            counts = [evaluations_of_pycma(case, seed) for seed in range(num_seeds)]
        else:
            count = make_evosax(case)
            counts = [count(seed) for seed in range(num_seeds)]
        print(json.dumps(counts), flush=True)


def interval_of_ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of the ratio of medians, from 2000 times resampled seeds."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(ours), size=(2, 2000, len(ours)))
    ratios = np.median(ours[draws[0]], axis=1) / np.median(theirs[draws[1]], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Measures, prints, and exits with 1 if a reference needs fewer evaluations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", type=Path, help="a Python with requirements-peers.txt")
    parser.add_argument("--seeds", type=int, default=21)
    parser.add_argument("--side", choices=["peers"], help="used by this program itself")
    arguments = parser.parse_args()
    if arguments.side:
        return peers_evaluations(arguments.seeds)
    if arguments.peers_python is None:
        sys.exit("Give --peers-python: the Python of an environment with benchmarks/requirements-peers.txt.")
    command = [str(arguments.peers_python), __file__, "--side=peers", f"--seeds={arguments.seeds}"]
    peers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert peers.stdout is not None
    failed = False
    print(f"{'':24}{'population':>11}{'precision':>10}{'ours':>9}{'reference':>10}{'ratio':>7}  95 % interval")
    for case in CASES:
        ours = np.array([evaluations_of_ours(case, seed) for seed in range(arguments.seeds)])
        theirs = np.array(json.loads(peers.stdout.readline() or sys.exit("The peers failed.")))
        low, high = interval_of_ratio(ours, theirs)
        medians = np.median(ours), np.median(theirs)
        verdict = "pass" if low <= 1.0 else "FAIL"
        failed |= verdict == "FAIL"
        print(
            f"{case.algorithm + ', ' + case.function:24}{case.size:11}{case.precision:10.0e}{medians[0]:9.0f}"
            f"{medians[1]:10.0f}{medians[0] / medians[1]:7.2f}  {low:.2f} to {high:.2f}  {verdict}",
            flush=True,
        )
    return sys.exit(failed)


if __name__ == "__main__":
    main()
