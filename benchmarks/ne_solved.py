"""Evolves every control task for several seeds, and prints which are solved.

    python benchmarks/ne_solved.py                                     # all tasks but lunarlander, 5 seeds each
    python benchmarks/ne_solved.py --tasks pendulum --seeds 5
    python benchmarks/ne_solved.py --tasks cartpole_es --overrides algorithm=pgpe
    python benchmarks/ne_solved.py --tasks lunarlander --seeds 3       # minutes on two cores, an hour at most

Solved means that the champion's mean total reward over 100 episodes that nobody has played is at least the threshold
that gymnasium registers for the environment; Pendulum has none, and -200 is taken. Each run is the command that a
person would type, in a process of its own, with seeds from 0 on, none left out.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = "ne_control_score"
THRESHOLDS = {"cartpole": 475, "acrobot": -100, "mountaincar": -110, "mountaincar_continuous": 90}
THRESHOLDS |= {"pendulum": -200, "lunarlander": 200}
THRESHOLDS |= {f"cartpole_{kind}": 475 for kind in ("dynamic", "recurrent", "es")}


@dataclass
class Solution:
    """What came of one run.

    Attributes:
        mean: The champion's mean over 100 episodes.
        generations: How many were evolved.
        num_steps: Steps of all training episodes.
        seconds: From the command to its end.
    """

    mean: float
    generations: int
    num_steps: int
    seconds: float


def main() -> int:
    """Runs the benchmark; returns 1 if a run did not solve its task."""
    arguments = _parse_arguments()
    num_unsolved = 0
    for task in arguments.tasks:
        solutions = []
        for seed in range(arguments.seeds):
            solutions.append(evolve(task, seed, arguments.overrides))
            print(f"  {task} seed {seed}: {solutions[-1]}", flush=True)
        num_unsolved += report(task, solutions)
    return 1 if num_unsolved else 0


def evolve(task: str, seed: int, overrides: list[str]) -> Solution:
    """Runs a task to its end."""
    with tempfile.TemporaryDirectory() as root:
        started_s = time.monotonic()
        command = [sys.executable, str(REPOSITORY / "projects" / PROJECT / "train.py"), f"task={task}"]
        result = subprocess.run(
            [*command, f"config.seed={seed}", "logger=none", *overrides],
            env={**os.environ, "AI_RESEARCH_PATH": root, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            sys.exit(f"task={task} config.seed={seed} failed:\n{result.stderr[-2000:]}")
        (folder,) = (path for path in (Path(root) / "data" / PROJECT / task).glob("[!.]*") if path.is_dir())
        with (folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        mean = json.loads((folder / "provenance.json").read_text())["result"]
        seconds = time.monotonic() - started_s
        return Solution(mean, len(rows) - 1, int(rows[-2]["steps/total"]), round(seconds, 1))


def report(task: str, solutions: list[Solution]) -> int:
    """Prints a task's line of the table; returns how many runs did not solve it."""
    num_solved = sum(solution.mean >= THRESHOLDS[task] for solution in solutions)
    cells = [
        task,
        f"{num_solved} of {len(solutions)}",
        f"{THRESHOLDS[task]}",
        ", ".join(f"{solution.mean:.1f}" for solution in solutions),
        ", ".join(str(solution.generations) for solution in solutions),
        ", ".join(f"{solution.num_steps / 1e6:.2f}" for solution in solutions),
        ", ".join(f"{solution.seconds:.0f}" for solution in solutions),
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    return len(solutions) - num_solved


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[task for task in THRESHOLDS if task != "lunarlander"])
    parser.add_argument("--seeds", type=int, default=5, help="runs per task, with the seeds from 0 on")
    parser.add_argument("--overrides", nargs="*", default=[], help="further settings of every run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
