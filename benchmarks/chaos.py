"""Kills runs at random moments, gives the very same command again, and compares with a run that was left in peace.

    python benchmarks/chaos.py                           # 30 interrupted runs of each task
    python benchmarks/chaos.py --tasks mlp --runs 5 --data-dir ../shared/data
    python benchmarks/chaos.py --tasks mlp --runs 6 --ranks 2
    python benchmarks/chaos.py --project oscillator_pred --tasks dit --overrides trainer.max_epochs=2
    python benchmarks/chaos.py --project ne_control_score --tasks cartpole cartpole_dynamic pendulum --runs 7 \
        --overrides config.target_fitness=null
    python benchmarks/chaos.py --matrix 200 --seed 1     # configurations instead of tasks: benchmarks/matrix
    python benchmarks/chaos.py --repeat learning --interruptions SIGTERM@train:5 --overrides trainer.max_epochs=2

Each interrupted run is killed one to three times, by SIGKILL, SIGTERM, SIGINT or SIGUSR2: at a random moment, while it
starts, trains or validates, or while it writes a checkpoint. On several ranks SIGKILL hits either one of them or all.
Every process must then be gone within 30 seconds. In the end there must be one folder and one W&B run, with the
parameters and the metrics of the run that was left in peace, to the last bit; and no launch may have repeated more than
`config.save_every_n_minutes` of work, or one step after a signal that can be caught.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.killed_runs import (  # noqa: E402  # Found by the line before, from wherever this is started.
    NEUROEVOLUTION,
    Task,
    differences,
    folders_of,
    has_logged,
    is_finished,
    is_step,
    phase_of,
    read_rows,
)

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
MOMENTS = ("any", "start-up", "training", "validation", "checkpoint")
"""When a run is killed: the first two after a random time, the others when a random part of the metrics is written."""

STOPPED_STATUS = 75
FAILED_STATUS = 1
INTERRUPTED_STATUS = 130
MAX_LAUNCHES = 12
SAVE_EVERY_S = 3.0
SLACK_S = 3.0
"""What a step and the writing of a checkpoint may add to the interval between two checkpoints."""

START: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen
"""Starts a launch's process."""

GONE_WITHIN_S = 30.0
POLL_S = 0.01


@dataclass
class Outcome:
    """What came of one interrupted run.

    Attributes:
        kills: The signals sent and where the run was, as far as its folder told.
        problems: What differs from the undisturbed run; empty where nothing does.
        num_repeated_steps: Most steps that a launch took again after a signal that can be caught.
        repeated_s: Longest work, in seconds, that a launch did again after a SIGKILL.
        gone_after_s: Longest time from a kill to the end of the last process.
    """

    kills: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_repeated_steps: int = 0
    repeated_s: float = 0.0
    gone_after_s: float = 0.0


@dataclass
class Peaceful:
    """The run that was left in peace.

    Attributes:
        folder: Its folder.
        duration_s: From its start to its end.
        num_rows: Rows of its metrics.csv.
    """

    folder: Path
    duration_s: float
    num_rows: int


def main() -> int:
    """Runs the benchmark; returns 1 if any run did not come out as it should."""
    arguments = _parse_arguments()
    if arguments.matrix is not None or arguments.repeat is not None:
        return _run_matrix(arguments)
    source = [f"config.data_dir={arguments.data_dir.resolve()}"] if arguments.data_dir else []
    if not source and arguments.project == "classify_mnist":
        source = ["datamodule.config.source=digits"]
    num_bad = 0
    for name in arguments.tasks:
        task = Task(name, (*source, *arguments.overrides), arguments.ranks, arguments.project)
        outcomes = chaos(task, arguments.runs, random.Random(arguments.seed))
        num_bad += report(task, outcomes)
    return 1 if num_bad else 0


def _run_matrix(arguments: argparse.Namespace) -> int:
    """Tries configurations; returns 1 if any was neither identical nor refused."""
    from benchmarks.matrix.draw import Configuration
    from benchmarks.matrix.matrix import table, try_again, try_matrix

    if arguments.repeat is not None:
        configuration = Configuration(arguments.repeat, tuple(arguments.overrides), arguments.terminal, {})
        outcomes = [try_again(configuration, arguments.interruptions)]
    else:
        outcomes = try_matrix(arguments.matrix, arguments.seed)
        print(table(outcomes))
    return int(any(outcome.problems for outcome in outcomes))


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
        peaceful = run_in_peace(task, Path(scratch) / "peaceful")
        outcomes = []
        for index in range(num_runs):
            outcomes.append(interrupted_run(task, Path(scratch) / f"run{index}", peaceful, rng))
            print(f"  {task.name} {index + 1}/{num_runs}: {', '.join(outcomes[-1].kills)}", end="")
            print(f" -> {'; '.join(outcomes[-1].problems) or 'identical'}", flush=True)
        return outcomes


def run_in_peace(task: Task, root: Path) -> Peaceful:
    """Runs a task from its start to its end."""
    started_s = time.monotonic()
    if launch(task, root).wait() != 0:
        sys.exit(f"The run that was left in peace failed:\n{(root / 'output.txt').read_text()[-2000:]}")
    (folder,) = folders_of(task, root)
    return Peaceful(folder, time.monotonic() - started_s, len(read_rows(folder)))


def interrupted_run(task: Task, root: Path, peaceful: Peaceful, rng: random.Random) -> Outcome:
    """Launches a task until it finishes, killing its first launches, and compares the result."""
    outcome = Outcome()
    num_kills = rng.randint(1, 3)
    for _ in range(MAX_LAUNCHES):
        process = launch(task, root)
        expected = {0}
        if len(outcome.kills) < num_kills:
            expected |= kill(process, task, root, peaceful, rng, outcome)
        status = process.wait()
        outcome.problems += problems_of_group(process, outcome)
        if status == 0 or is_finished(task, root):  # A kill may come when all is done but the process's own end.
            break
        if status not in expected:
            tail = (root / "output.txt").read_text(errors="replace").strip().splitlines()[-3:]
            outcome.problems.append(f"a launch ended with status {status}: {' / '.join(tail)}")
            break
    else:
        outcome.problems.append(f"not finished after {MAX_LAUNCHES} launches")
    outcome.problems += differences(task, root, peaceful.folder)
    return outcome


def launch(task: Task, root: Path) -> subprocess.Popen[bytes]:
    """Starts the command, always the same for a task, with its own root of outputs and its own process group."""
    command = [sys.executable, str(REPOSITORY / "projects" / task.project / "train.py"), f"task={task.name}"]
    if task.project not in NEUROEVOLUTION:
        command += ["trainer.log_every_n_steps=1"]
    command += [f"config.save_every_n_minutes={SAVE_EVERY_S / 60}", f"hydra.launcher.tasks_per_node={task.num_ranks}"]
    root.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "AI_RESEARCH_PATH": str(root), "PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "offline"}
    with (root / "output.txt").open("a") as output:
        return START(
            [*command, *task.overrides],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(
    process: subprocess.Popen[bytes], task: Task, root: Path, peaceful: Peaceful, rng: random.Random, outcome: Outcome
) -> set[int]:
    """Sends a signal at a moment of some kind, unless the process ends before.

    Returns:
        With which statuses the process may end, beside 0.
    """
    moments = [moment for moment in MOMENTS if moment != "validation" or task.project not in NEUROEVOLUTION]
    number, moment = rng.choice(SIGNALS), rng.choice(moments)
    launched_at_s = time.time()
    at_s = launched_at_s + {"any": 0.9, "start-up": 0.4}.get(moment, 0.0) * peaceful.duration_s * rng.random()
    num_rows = peaceful.num_rows * rng.random()
    has_come: Callable[[], bool] = {
        "training": lambda: has_logged(task, root, num_rows, launched_at_s),
        "validation": lambda: has_logged(task, root, num_rows, launched_at_s) and phase_of(task, root) == "validation",
        "checkpoint": lambda: (
            has_logged(task, root, num_rows, launched_at_s) and phase_of(task, root) == "a checkpoint's writing"
        ),
    }.get(moment, lambda: time.time() > at_s)
    while not has_come():
        if process.poll() is not None:
            return set()
        time.sleep(POLL_S)
    victims = processes_of(process)
    is_one = task.num_ranks > 1 and len(victims) > 1 and rng.random() < 0.5
    whom = f" to rank {rng.randrange(task.num_ranks)}" if is_one else ""
    outcome.kills.append(f"{number.name}{whom} in {phase_of(task, root)}")
    for victim in [victims[int(whom[-1]) % len(victims)]] if is_one else victims:
        os.kill(victim, number)
    process.wait()
    note_repeated_work(task, root, number, launched_at_s, outcome)
    in_start_up = {INTERRUPTED_STATUS} if number == signal.SIGINT else set()
    return {STOPPED_STATUS, -number} | in_start_up | ({FAILED_STATUS, -signal.SIGABRT} if is_one else set())


def processes_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Returns the ids of a launch's ranks, the first one's first."""
    ranks = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_child = int((path / "stat").read_text().rpartition(")")[2].split()[1]) == process.pid
            variables = (path / "environ").read_bytes().split(b"\0") if is_child else []
        except OSError:  # It has ended meanwhile.
            continue
        if b"LOCAL_RANK" in {variable.partition(b"=")[0] for variable in variables}:
            is_python = (path / "cmdline").read_bytes().find(b"train.py") >= 0
            ranks.update({int(path.name): None} if is_python else {})
    return [process.pid, *ranks]


def problems_of_group(process: subprocess.Popen[bytes], outcome: Outcome) -> list[str]:
    """Waits until every process of a launch is gone."""
    started_s = time.monotonic()
    while time.monotonic() - started_s < GONE_WITHIN_S:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            outcome.gone_after_s = max(outcome.gone_after_s, time.monotonic() - started_s)
            return []
        time.sleep(POLL_S)
    os.killpg(process.pid, signal.SIGKILL)
    return [f"not all processes were gone {GONE_WITHIN_S} s after the first one's end"]


def note_repeated_work(task: Task, root: Path, number: signal.Signals, launched_at_s: float, outcome: Outcome) -> None:
    """Compares what a launch logged before it was killed with the checkpoint that the next one continues from."""
    import torch

    for folder in folders_of(task, root)[:1]:
        path = folder / "lightning" / "last.ckpt"
        if not path.is_file():
            continue
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        num_saved = checkpoint["generation" if task.project in NEUROEVOLUTION else "global_step"]
        times_s = [
            float(row["time"])
            for row in read_rows(folder)
            if is_step(row) and row.get("time") and int(row["step"]) >= num_saved
        ]
        times_s = [time_s for time_s in times_s if time_s > launched_at_s]  # Earlier rows are cut off by continuing.
        repeated_s = max(times_s) - min(times_s) if times_s else 0.0
        if number == signal.SIGKILL:
            outcome.repeated_s = max(outcome.repeated_s, repeated_s)
            if repeated_s > SAVE_EVERY_S + SLACK_S:
                outcome.problems.append(f"{repeated_s:.1f} s of work lost")
        else:
            outcome.num_repeated_steps = max(outcome.num_repeated_steps, len(times_s))
            if len(times_s) > 1:
                outcome.problems.append(f"{len(times_s)} steps lost to {number.name}")


def report(task: Task, outcomes: list[Outcome]) -> int:
    """Prints a task's outcomes; returns how many were not as they should be."""
    bad = [outcome for outcome in outcomes if outcome.problems]
    kills = Counter(kill for outcome in outcomes for kill in outcome.kills)
    print(f"{task.name}: {len(outcomes) - len(bad)} of {len(outcomes)} reached the end with the identical result,")
    print(
        f"  after {sum(kills.values())} kills: {', '.join(f'{count}× {what}' for what, count in sorted(kills.items()))}"
    )
    print(
        f"  repeated after a signal: at most {max(outcome.num_repeated_steps for outcome in outcomes)} steps; after "
        f"SIGKILL: at most {max(outcome.repeated_s for outcome in outcomes):.1f} s (saved every {SAVE_EVERY_S:.0f} s)"
    )
    print(f"  all processes gone at most {max(outcome.gone_after_s for outcome in outcomes):.1f} s after the first one")
    return len(bad)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="classify_mnist", help="folder below projects/ that has the tasks")
    parser.add_argument("--tasks", nargs="+", default=["fnn", "mlp"])
    parser.add_argument("--runs", type=int, default=30, help="interrupted runs per task")
    parser.add_argument("--ranks", type=int, default=1, help="processes per run, on the CPU")
    parser.add_argument("--seed", type=int, default=0, help="of when and how runs are killed")
    parser.add_argument("--data-dir", type=Path, help="holds MNIST/raw; without it the shipped digits serve")
    parser.add_argument("--matrix", type=int, help="instead of tasks, draw this many configurations")
    parser.add_argument("--repeat", choices=("learning", "evolving"), help="instead, one of the matrix's projects")
    parser.add_argument("--terminal", action="store_true", help="with --repeat: on a pseudo-terminal")
    parser.add_argument("--interruptions", nargs="*", default=[], help="with --repeat: such as SIGTERM@train:5")
    parser.add_argument("--overrides", nargs="*", default=[], help="further settings of every launch")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
