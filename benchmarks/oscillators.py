"""How well each task of oscillator_pred predicts held-out motions, beside the best linear model on the same data.

    python benchmarks/oscillators.py                                # every task, three seeds
    python benchmarks/oscillators.py --tasks dit --seeds 0 --cpus 1

Errors are those on the test forces, free-running, as a part of the targets' spread (NRMSE). `ratio` is the error over
the linear model's; `coverage` the part of the test points within the 90 % interval, for tasks that draw samples.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common.run.metrics import read_metrics

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = REPOSITORY / "projects" / "oscillator_pred"
TASKS = tuple(sorted(path.stem for path in (PROJECT / "task").glob("*.yaml")))


def main() -> None:
    """Trains, and prints a row for each run."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.root or Path(scratch)
        print("task         seed  nrmse   linear  ratio  coverage  parameters  seconds", flush=True)
        for task in arguments.tasks:
            for seed in arguments.seeds:
                print(describe(task, seed, train(task, seed, root, arguments.cpus)), flush=True)


def train(task: str, seed: int, root: Path, num_cpus: int) -> Path:
    """Runs a task to its end.

    Args:
        task: A task of the project.
        seed: Its seed.
        root: Where data and outputs go.
        num_cpus: CPUs that it may use.

    Returns:
        The run's folder.
    """
    command = [sys.executable, str(PROJECT / "train.py"), f"task={task}", f"config.seed={seed}", "logger=none"]
    command += [f"hydra.launcher.cpus_per_task={num_cpus}", "trainer.enable_progress_bar=false"]
    done = subprocess.run(command, env={**os.environ, "AI_RESEARCH_PATH": str(root)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return max((root / "data" / "oscillator_pred" / task).glob("[!.]*"))


def describe(task: str, seed: int, folder: Path) -> str:
    """Returns a run's row of the table."""
    last: dict[str, float] = {}
    for row in read_metrics(folder):
        last |= row
    record = json.loads((folder / "provenance.json").read_text())
    log = (folder / f"{task}.log").read_text()
    parameters = log.partition("Network: ")[2].partition(" ")[0]
    error, linear = last["test/nrmse"], last["test/baseline_nrmse"]
    coverage = f"{last['test/coverage']:.3f}" if "test/coverage" in last else "-"
    figures = f"{error:.4f}  {linear:.4f}  {error / linear:.3f}  {coverage:>8}  {parameters:>10}"
    return f"{task:<12} {seed:>4}  {figures}  {record['seconds']:>7.0f}"


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--root", type=Path, help="keeps data and runs there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
