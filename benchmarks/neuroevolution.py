"""Measures how many useful steps of an environment a second of computing buys, beside other libraries.

    python benchmarks/neuroevolution.py [--peers-python PATH] [--cores N] [--turns N] [--json FILE]

Prints tables and exits with 1 if a bound fails; see README.md beside this file. `--peers-python` names the Python of an
environment with `requirements-peers.txt`; without it the peers are left out. Contestants take turns, generation by
generation, so that a machine's good and bad minutes fall on all alike; times are those of CPU that a process used, and
a bound is judged by the median of the ratios within a turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CONTESTANTS = Path(__file__).with_name("ne_contestants.py")
SIZE = 256
NUM_RUN, NUM_EVOLVED = 5, 30
"""Generations of which `run` consists, and after which a population counts as evolved."""

PEERS = ("evosax", "evosax_fitness", "evotorch")
SLOW = ("evotorch", "sync_vector_env")
"""Who takes part in the first turns alone."""

NUM_SLOW_TURNS = 2
BOUNDS = (
    ("ours_numba", "evosax", 3),
    ("ours_numba", "evosax_fitness", 3),
    ("ours_numba", "evotorch", 100),
    ("ours_numpy", "sync_vector_env", 15),
    ("ours_numba", "sync_vector_env", None),
)
"""Who must be how many times as fast as whom, where a bound is set."""

ENVIRONMENTS = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")
SCALING = (64, 256, 1024, 4096, 8192)


@dataclass
class Turn:
    """What a contestant did in a turn.

    Attributes:
        steps: Useful ones.
        seconds: As a clock shows.
        cpu_seconds: Of computing.
        memory_mb: The most that the process has held so far.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    memory_mb: float

    @property
    def rate(self) -> float:
        """Useful steps per second of CPU."""
        return self.steps / self.cpu_seconds


@dataclass
class Contestant:
    """A program of `ne_contestants.py`, which waits for its turns."""

    process: "subprocess.Popen[str]"

    def play(self, files: Sequence[Path]) -> Turn:
        """Lets it play a generation for each file of networks; returns what that took together.

        Raises:
            SystemExit: it failed.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        turns = []
        for file in files:
            print(file, file=self.process.stdin, flush=True)
            turns.append(Turn(**json.loads(self.process.stdout.readline() or sys.exit("A contestant failed."))))
        sums = {name: sum(getattr(turn, name) for turn in turns) for name in ("steps", "seconds", "cpu_seconds")}
        return Turn(**sums, memory_mb=turns[-1].memory_mb)


@contextmanager
def contestant(name: str, environment: str, peers_python: Path | None) -> Iterator[Contestant]:
    """Starts a contestant, and ends it."""
    python = str(peers_python) if name in PEERS else sys.executable
    variables = {**os.environ, "PYTHONPATH": "" if name in PEERS else str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [python, str(CONTESTANTS), name, environment]
    process = subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    try:
        yield Contestant(process)
    finally:
        process.communicate()


def save_populations(folder: Path, environment: str, size: int, generations: int) -> list[Path]:
    """Evolves a population with the genetic algorithm, and writes its networks, one file per generation."""
    from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
    from common.ne.evaluator.score_gym import ScoreGym, ScoreGymConfig
    from common.ne.population.actor import Actors, ActorsConfig
    from common.ne.population.networks.layered import FeedforwardNetworks, LayeredNetworksConfig
    from common.ne.random_numbers import episode_seeds

    evaluator = ScoreGym(ScoreGymConfig(environment, backend="numba"))
    networks = partial(FeedforwardNetworks, config=LayeredNetworksConfig(hidden_sizes=[32]))
    actors, algorithm = Actors(ActorsConfig(size), networks, evaluator.spaces, 0), SimpleGA(SimpleGAConfig())
    algorithm.start(actors, 0)
    files = []
    for generation in range(generations):
        algorithm.ask(generation)
        files.append(folder / f"{environment}_{size}_{generation}.npz")
        np.savez(files[-1], **layers_of(actors.parameters, actors.spaces.num_inputs, actors.spaces.num_outputs))
        seeds = episode_seeds(0, generation, "training", size, 1, is_shared=True).reshape(-1)
        if generation + 1 < generations:
            algorithm.tell(evaluator.play(actors, actors.arrays, np.arange(size), seeds).rewards)
    return files


def layers_of(parameters: np.ndarray, num_inputs: int, num_outputs: int) -> dict[str, np.ndarray]:
    """Returns the weights and biases of networks with 32 hidden units, by the names that contestants know."""
    ends = np.cumsum([32 * num_inputs, 32, 32 * num_outputs])
    weights_1, biases_1, weights_2, biases_2 = np.split(parameters, ends, axis=1)
    return {
        "weights_1": weights_1.reshape(-1, num_inputs, 32),
        "biases_1": biases_1,
        "weights_2": weights_2.reshape(-1, 32, num_outputs),
        "biases_2": biases_2,
    }


def race(
    names: Sequence[str], environment: str, files: Sequence[Path], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Lets contestants take turns, after one that compiles; returns the turns of each."""
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    with _all(contestant(name, environment, arguments.peers_python) for name in names) as contestants:
        for number in range(arguments.turns + 1):
            for name, player in zip(names, contestants, strict=True):
                if number > NUM_SLOW_TURNS and name in SLOW:
                    continue
                turn = player.play(files if number or name in SLOW else files[:1])
                turns[name] += [turn] if number else []
    return turns


@contextmanager
def _all(managers: Iterator[Any]) -> Iterator[list[Any]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield [stack.enter_context(manager) for manager in managers]


def ratio_of(turns: dict[str, list[Turn]], name: str, other: str, rate: Callable[[Turn], float]) -> float:
    """Returns the median, over turns, of one contestant's rate divided by another's."""
    return statistics.median(rate(mine) / rate(theirs) for mine, theirs in zip(turns[name], turns[other], strict=False))


def report(title: str, turns: dict[str, list[Turn]], *, is_judged: bool) -> bool:
    """Prints who was how fast; returns whether all bounds hold."""
    length = turns["ours_numba"][0].steps
    print(
        f"\n{title}: {length:,} useful steps a turn\n  {'':18}{'steps per CPU second':>21}{'per second':>13}{'MB':>7}"
    )
    for name, own in turns.items():
        rates = (
            statistics.median(turn.rate for turn in own),
            statistics.median(turn.steps / turn.seconds for turn in own),
        )
        print(f"  {name:18}{rates[0]:21,.0f}{rates[1]:13,.0f}{own[-1].memory_mb:7.0f}")
    passed = True
    for name, other, bound in BOUNDS:
        if other not in turns:
            continue
        ratio = ratio_of(turns, name, other, lambda turn: turn.rate)
        wall = ratio_of(turns, name, other, lambda turn: turn.steps / turn.seconds)
        verdict = ""
        if is_judged and bound is not None:
            verdict = f"   bound >= {bound}: {'pass' if ratio >= bound else 'FAIL'}"
            passed &= ratio >= bound
        print(f"  {name + ' / ' + other:32}{ratio:8.1f} by CPU{wall:8.1f} by the clock{verdict}", flush=True)
    return passed


def parse_arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", type=Path, help="a Python with requirements-peers.txt")
    parser.add_argument("--cores", type=int, default=1, help="that everybody may use")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path, help="receives every turn")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, and exits with 1 if a bound fails."""
    arguments = parse_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    peers = PEERS if arguments.peers_python else ()
    if not peers:
        print("No --peers-python: evosax, gymnax and EvoTorch are left out.")
    results: dict[str, Any] = {}
    passed = True
    with tempfile.TemporaryDirectory() as scratch:
        files = save_populations(Path(scratch), "CartPole-v1", SIZE, NUM_EVOLVED + 1)
        names = ("ours_numba", "ours_numpy", "sync_vector_env", *peers)
        sets = {"as drawn": files[:1], f"generations 0 to {NUM_RUN - 1}": files[:NUM_RUN], "evolved": files[-1:]}
        for title, chosen in sets.items():
            results[title] = race(names, "CartPole-v1", chosen, arguments)
            passed &= report(f"CartPole-v1, population {SIZE}, {title}", results[title], is_judged=title != "evolved")
        for environment in ENVIRONMENTS:
            drawn = save_populations(Path(scratch), environment, SIZE, 1)
            results[environment] = race(names[:3], environment, drawn, arguments)
            report(f"{environment}, population {SIZE}, as drawn", results[environment], is_judged=False)
        for size in SCALING:
            drawn = save_populations(Path(scratch), "CartPole-v1", size, 1)
            names = ("ours_numba", "ours_numpy", *peers[1:2])
            results[f"population {size}"] = race(names, "CartPole-v1", drawn, arguments)
            report(f"CartPole-v1, population {size}, as drawn", results[f"population {size}"], is_judged=False)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2, default=vars))
    sys.exit(not passed)


if __name__ == "__main__":
    main()
