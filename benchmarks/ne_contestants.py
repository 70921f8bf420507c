"""The programs that `neuroevolution.py` compares, each in a process of its own, some in another environment.

All play one episode per individual, to its end or the environment's time limit, with the same networks of one hidden
layer of 32 tanh units, and take the greatest output as the action. A useful step is one before an episode's end. Each
line on the standard input names a file of networks; the answer is a line of JSON: useful steps, seconds, and the
seconds of CPU that the process used meanwhile.

Imports nothing of this repository but for contestants of our own, because the peers' Python does not have it.

Axes: p individuals; i inputs; h hidden units; o outputs.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Networks = dict[str, np.ndarray]
"""Weights and biases of all individuals: `weights_1` p × i × h, `biases_1` p × h, `weights_2` p × h × o, `biases_2`."""


def ours(name: str, backend: str) -> Callable[[Networks, int], int]:
    """Returns what plays a generation with this repository's evaluator."""
    import os
    from functools import partial

    import torch

    from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
    from common.ne.population.actor import Actors, ActorsConfig
    from common.ne.population.networks.layered import FeedforwardNetworks, LayeredNetworksConfig
    from common.ne.random_numbers import episode_seeds

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    evaluator = ScoreGym(ScoreGymConfig(name, backend=backend))  # type: ignore[arg-type]
    networks = partial(FeedforwardNetworks, config=LayeredNetworksConfig(hidden_sizes=[32]))
    populations: dict[int, Actors] = {}

    def play(weights: Networks, generation: int) -> int:
        size = len(weights["biases_1"])
        if size not in populations:
            populations[size] = Actors(ActorsConfig(size), networks, evaluator.spaces, 0)
        actors = populations[size]
        parts = [weights[key].reshape(size, -1) for key in ("weights_1", "biases_1", "weights_2", "biases_2")]
        actors.parameters = np.concatenate(parts, axis=1)
        seeds = episode_seeds(0, generation, "training", size, 1, is_shared=True).reshape(-1)
        return int(evaluator.play(actors, actors.arrays, np.arange(size), seeds).lengths.sum())

    return play


def sync_vector_env(name: str) -> Callable[[Networks, int], int]:
    """Returns a loop over gymnasium's own vector environment, until the last episode has ended."""
    import gymnasium

    environments: dict[int, Any] = {}

    def play(weights: Networks, generation: int) -> int:
        size = len(weights["biases_1"])
        if size not in environments:
            environments[size] = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(name)] * size)
        environment = environments[size]
        space = environment.single_action_space
        observations, _ = environment.reset(seed=generation)
        is_live, num_steps = np.ones(size, bool), 0
        while is_live.any():
            outputs = forward(weights, observations)
            actions = (
                outputs.argmax(axis=1) if hasattr(space, "n") else space.high * np.tanh(outputs).astype(np.float32)
            )
            observations, _, terminated, truncated, _ = environment.step(actions)
            num_steps += int(is_live.sum())
            is_live &= ~(terminated | truncated)
        return num_steps

    return play


def forward(weights: Networks, observations: np.ndarray) -> np.ndarray:
    """Returns the networks' outputs, p × o."""
    hidden = np.tanh((observations[:, None] @ weights["weights_1"])[:, 0] + weights["biases_1"])
    outputs: np.ndarray = (hidden[:, None] @ weights["weights_2"])[:, 0] + weights["biases_2"]
    return outputs


def evosax(name: str, *, fitness_alone: bool) -> Callable[[Networks, int], int]:
    """Returns evosax's problem for gymnax's environment, compiled by JAX for each size of population.

    Args:
        name: The environment's id.
        fitness_alone: Whether the compiler may leave out the states of all steps, which evosax returns.
    """
    import jax
    import jax.numpy as jnp
    from evosax.problems import GymnaxProblem
    from evosax.problems.networks import MLP

    policy = MLP(layer_sizes=(32, 2), output_fn=lambda outputs, _: jnp.argmax(outputs, axis=-1))
    problem = GymnaxProblem(name, policy, episode_length=500, use_normalize_obs=False)
    state = problem.init(jax.random.key(0))

    def evaluate(key: Any, solutions: Any) -> Any:
        fitness, _, metrics = problem.eval(key, solutions, state)
        return fitness if fitness_alone else (fitness, metrics)

    compiled = jax.jit(evaluate)

    def play(weights: Networks, generation: int) -> int:
        single = {key: jnp.asarray(value, jnp.float32) for key, value in weights.items()}
        layers = {
            f"Dense_{index}": {"kernel": single[f"weights_{index + 1}"], "bias": single[f"biases_{index + 1}"]}
            for index in range(2)
        }
        answer = jax.block_until_ready(compiled(jax.random.key(generation), {"params": layers}))
        return round(float((answer if fitness_alone else answer[0]).sum()))  # Reward is 1 for each step.

    return play


def evotorch(name: str) -> Callable[[Networks, int], int]:
    """Returns EvoTorch's problem for gymnasium's environment, in this process."""
    import torch
    from evotorch.neuroevolution import GymNE

    problem = GymNE(name, "Linear(obs_length, 32) >> Tanh() >> Linear(32, act_length)")

    def play(weights: Networks, generation: int) -> int:
        problem.manual_seed(generation)
        batch = problem.generate_batch(len(weights["biases_1"]))
        batch.set_values(torch.as_tensor(rows_for_torch(weights), dtype=torch.float32))
        before = problem.interaction_count
        problem.evaluate(batch)
        return int(problem.interaction_count - before)

    return play


def rows_for_torch(weights: Networks) -> np.ndarray:
    """Returns the parameters of all individuals in the order of torch's linear layers, p × any."""
    parts = [weights["weights_1"].swapaxes(1, 2), weights["biases_1"]]
    parts += [weights["weights_2"].swapaxes(1, 2), weights["biases_2"]]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


CONTESTANTS: dict[str, Callable[[str], Callable[[Networks, int], int]]] = {
    "ours_numba": lambda name: ours(name, "numba"),
    "ours_numpy": lambda name: ours(name, "numpy"),
    "sync_vector_env": sync_vector_env,
    "evosax": lambda name: evosax(name, fitness_alone=False),
    "evosax_fitness": lambda name: evosax(name, fitness_alone=True),
    "evotorch": evotorch,
}
"""What makes each contestant from an environment's id."""


def memory_mb() -> float:
    """Returns the most memory that this process has held so far, on Linux."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Plays generations until the input ends."""
    contestant, environment = sys.argv[1:]
    play = CONTESTANTS[contestant](environment)
    print("ready", flush=True)
    for generation, line in enumerate(sys.stdin):
        with np.load(line.strip()) as file:
            weights = dict(file)
        started, started_cpu = time.perf_counter(), time.process_time()
        num_steps = play(weights, generation)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
        answer = {"steps": num_steps, "seconds": seconds, "cpu_seconds": cpu_seconds, "memory_mb": memory_mb()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
