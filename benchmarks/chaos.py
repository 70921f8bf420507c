"""Kills runs at random moments, gives the very same command again, and compares with a run that was left in peace.

    python benchmarks/chaos.py                           # 30 interrupted runs of each task
    python benchmarks/chaos.py --tasks mlp --runs 5 --data-dir ../shared/data

Each interrupted run is killed one to three times, by SIGKILL, SIGTERM or SIGUSR2: while it starts, trains, validates,
writes a checkpoint or evaluates. Afterwards it must have ended in one folder and one W&B run, with the parameters and
the metrics of the run that was left in peace, to the last bit.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2)
STOPPED_STATUS = 75
MAX_LAUNCHES = 12
PHASES = ("start-up", "training", "validation", "checkpoint", "evaluation")


@dataclass
class Outcome:
    """What came of one interrupted run.

    Attributes:
        kills: The signals sent and where the run was, as far as its folder told.
        problems: What differs from the undisturbed run; empty where nothing does.
        num_repeated_steps: Most steps that a launch took again after a kill.
    """

    kills: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_repeated_steps: int = 0


@dataclass
class Task:
    """What is run.

    Attributes:
        name: A task of classify_mnist.
        overrides: Settings that every launch is given.
    """

    name: str
    overrides: tuple[str, ...]


def main() -> int:
    """Runs the benchmark; returns 1 if any run did not come out as it should."""
    arguments = _parse_arguments()
    source = [f"config.data_dir={arguments.data_dir.resolve()}"] if arguments.data_dir else []
    source = source or ["datamodule.config.source=digits"]
    num_bad = 0
    for name in arguments.tasks:
        task = Task(name, (*source, "trainer.enable_progress_bar=false", *arguments.overrides))
        outcomes = chaos(task, arguments.runs, random.Random(arguments.seed))
        num_bad += report(task, outcomes)
    return 1 if num_bad else 0


def chaos(task: Task, num_runs: int, rng: random.Random) -> list[Outcome]:
    """Interrupts runs of a task.

    Args:
        task: What to run.
        num_runs: How many runs to interrupt.
        rng: Decides when and how.

    Returns:
        One outcome for each.
    """
    with tempfile.TemporaryDirectory() as scratch:
        peaceful_root = Path(scratch) / "peaceful"
        started = time.monotonic()
        assert launch(task, peaceful_root).wait() == 0
        duration_s = time.monotonic() - started
        peaceful = only_folder(task, peaceful_root)
        outcomes = []
        for index in range(num_runs):
            outcomes.append(interrupted_run(task, Path(scratch) / f"run{index}", peaceful, duration_s, rng))
            print(f"  {task.name} {index + 1}/{num_runs}: {', '.join(outcomes[-1].kills)}", end="")
            print(f" -> {'; '.join(outcomes[-1].problems) or 'identical'}", flush=True)
        return outcomes


def interrupted_run(task: Task, root: Path, peaceful: Path, duration_s: float, rng: random.Random) -> Outcome:
    """Launches a task until it finishes, killing its first launches, and compares the result."""
    outcome = Outcome()
    num_kills = rng.randint(1, 3)
    for _ in range(MAX_LAUNCHES):
        process = launch(task, root)
        if len(outcome.kills) < num_kills:
            kill(process, task, root, duration_s * rng.random(), rng.choice(SIGNALS), outcome)
        status = process.wait()
        if status == 0 or is_finished(task, root):  # A kill may come when all is done but the process's own end.
            break
        if status not in (STOPPED_STATUS, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGUSR2):
            tail = (root / "output.txt").read_text(errors="replace").strip().splitlines()[-3:]
            outcome.problems.append(f"a launch ended with status {status}: {' / '.join(tail)}")
            break
    else:
        outcome.problems.append(f"not finished after {MAX_LAUNCHES} launches")
    outcome.problems += differences(task, root, peaceful)
    return outcome


def launch(task: Task, root: Path) -> subprocess.Popen[bytes]:
    """Starts the command, always the same for a task, with its own root of outputs."""
    command = [sys.executable, str(REPOSITORY / "projects/classify_mnist/train.py"), f"task={task.name}"]
    root.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "AI_RESEARCH_PATH": str(root), "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "offline"}
    with (root / "output.txt").open("a") as output:
        return subprocess.Popen(
            [*command, *task.overrides],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(
    process: subprocess.Popen[bytes], task: Task, root: Path, delay_s: float, number: signal.Signals, outcome: Outcome
) -> None:
    """Sends a signal after a delay, unless the process has ended before."""
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        outcome.kills.append(f"{number.name} in {phase_of(task, root)}")
        process.send_signal(number)


def phase_of(task: Task, root: Path) -> str:
    """Returns what a run was doing, as far as its folder tells."""
    folders = folders_of(task, root)
    if not folders or not (folders[0] / "metrics.csv").is_file():
        return "start-up"
    if list(folders[0].glob("lightning/.*.tmp")):
        return "a checkpoint's writing"
    rows = read_rows(folders[0])
    if not rows:
        return "training"
    return "evaluation" if rows[-1].get("test/loss") else f"training after step {rows[-1]['step']}"


def differences(task: Task, root: Path, peaceful: Path) -> list[str]:
    """Returns how a run's folder differs from the undisturbed one's."""
    folders = folders_of(task, root)
    if len(folders) != 1:
        return [f"{len(folders)} folders: {', '.join(folder.name for folder in folders)}"]
    problems = []
    if [_timeless(row) for row in read_rows(folders[0])] != [_timeless(row) for row in read_rows(peaceful)]:
        problems.append("metrics.csv differs")
    problems += [
        f"{name} differs" for name in ("last.ckpt", "best.ckpt") if not same_parameters(folders[0], peaceful, name)
    ]
    ids = {path.name.rpartition("-run-")[2].split("-", 1)[1] for path in folders[0].glob("wandb/offline-run-*")}
    if len(ids) > 1:
        problems.append(f"{len(ids)} W&B runs")
    status = json.loads((folders[0] / "provenance.json").read_text())["status"]
    return problems if status == "finished" else [*problems, f"status {status}"]


def same_parameters(folder: Path, peaceful: Path, name: str) -> bool:
    """Returns whether two runs' checkpoints hold bit-identical parameters and optimiser states."""
    import torch

    ours, theirs = (
        torch.load(path / "lightning" / name, map_location="cpu", weights_only=True) for path in (folder, peaceful)
    )
    return _same(ours["state_dict"], theirs["state_dict"]) and _same(
        ours["optimizer_states"], theirs["optimizer_states"]
    )


def folders_of(task: Task, root: Path) -> list[Path]:
    """Returns the run folders of a task."""
    return sorted(path for path in (root / "data/classify_mnist" / task.name).glob("[!.]*") if path.is_dir())


def is_finished(task: Task, root: Path) -> bool:
    """Returns whether a run has recorded its end."""
    records = [folder / "provenance.json" for folder in folders_of(task, root)]
    return any(record.is_file() and json.loads(record.read_text())["status"] == "finished" for record in records)


def only_folder(task: Task, root: Path) -> Path:
    """Returns the one run folder of a task."""
    (folder,) = folders_of(task, root)
    return folder


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of a run's metrics.csv as text."""
    if not (folder / "metrics.csv").is_file():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def report(task: Task, outcomes: list[Outcome]) -> int:
    """Prints a task's outcomes; returns how many were not as they should be."""
    bad = [outcome for outcome in outcomes if outcome.problems]
    kills = Counter(kill.split(" after step")[0] for outcome in outcomes for kill in outcome.kills)
    print(f"{task.name}: {len(outcomes) - len(bad)} of {len(outcomes)} reached the end with the identical result,")
    print(
        f"  after {sum(kills.values())} kills: {', '.join(f'{count}× {what}' for what, count in sorted(kills.items()))}"
    )
    return len(bad)


def _same(ours: object, theirs: object) -> bool:
    import torch

    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return ours == theirs


def _timeless(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name != "time"}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["fnn", "mlp"])
    parser.add_argument("--runs", type=int, default=30, help="interrupted runs per task")
    parser.add_argument("--seed", type=int, default=0, help="of when and how runs are killed")
    parser.add_argument("--data-dir", type=Path, help="holds MNIST/raw; without it the shipped digits serve")
    parser.add_argument("--overrides", nargs="*", default=[], help="further settings of every launch")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
