"""Every combination of what the trainer and the launcher say of processes: the launcher's own run, or refused.

    python benchmarks/ranks.py [--evaluations 20]

24 combinations of `trainer.devices`, `trainer.num_nodes`, `trainer.strategy` and `hydra.launcher.tasks_per_node` are
typed as commands. One that starts is ended in its training (SIGKILL, SIGTERM or SIGINT to all its processes, or
SIGKILL to the last rank alone) and typed again; it must end with the parameters of a run that nobody touched and that
leaves the trainer's keys out, in one folder. One that is refused must have status 2, name both keys, and leave no
folder.
With `--evaluations` a checkpoint is then evaluated so often on two ranks: every process must end well.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

PROGRAM = Path(__file__).resolve().parents[1] / "projects" / "classify_mnist" / "train.py"
SETTINGS = ("task=fnn", "datamodule.config.source=digits", "trainer.max_epochs=4", "hydra.launcher.cpus_per_task=1")
OFFLINE = {"WANDB_MODE": "offline", "OMP_WAIT_POLICY": "passive"}
ATTACKS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGKILL to one rank")
POLL_S = 0.02


@dataclass
class Outcome:
    """What came of a combination.

    Attributes:
        statuses: The exit status of each launch.
        num_folders: How many runs there are.
        attack: What ended the first launch.
        problems: What is wrong.
    """

    statuses: list[int]
    num_folders: int
    attack: str = ""
    problems: list[str] = field(default_factory=list)


def start(root: Path, *overrides: str) -> subprocess.Popen[str]:
    """Starts a command in a session of its own; its output goes to a file."""
    with (root / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), *SETTINGS, *overrides],
            env=os.environ | OFFLINE | {"AI_RESEARCH_PATH": str(root)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )


def folders_of(root: Path) -> list[Path]:
    """Returns the folders of runs, hidden ones included."""
    return list(root.glob("data/classify_mnist/fnn/*"))


def parameters_of(root: Path) -> dict[str, torch.Tensor]:
    """Returns the parameters at the end of the one run."""
    (folder,) = folders_of(root)
    checkpoint = torch.load(folder / "lightning" / "last.ckpt", weights_only=True)
    parameters: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return parameters


def is_training(root: Path) -> bool:
    """Returns whether the run has taken a step that the next launch will find in a checkpoint."""
    return any((folder / "lightning" / "last.ckpt").is_file() for folder in folders_of(root))


def members_of(session: int) -> list[int]:
    """Returns the ids of a session's Python processes that run the program, in the order in which they began."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if os.getsid(int(path.name)) == session and str(PROGRAM).encode() in words:
                found.append(int(path.name))
        except (OSError, ValueError):
            continue
    return sorted(found)


def attack_in_training(process: subprocess.Popen[str], root: Path, attack: str) -> None:
    """Waits until the run is in its training, and ends it."""
    while process.poll() is None and not is_training(root):
        time.sleep(POLL_S)
    if process.poll() is not None:
        return
    if attack.endswith("one rank"):
        os.kill(members_of(process.pid)[-1], signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.Signals[attack])


def try_combination(overrides: tuple[str, ...], attack: str, reference: dict[str, torch.Tensor]) -> Outcome:
    """Types a combination, ends it in its training if it starts, types it again, and judges what is there."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        process = start(root, *overrides)
        attack_in_training(process, root, attack)
        statuses = [process.wait()]
        if statuses == [2]:
            outcome = Outcome(statuses, len(folders_of(root)))
            text = (root / "output.txt").read_text()
            outcome.problems += [] if "trainer." in text and "hydra.launcher" in text else ["the keys are not named"]
            outcome.problems += ["a folder"] if outcome.num_folders else []
            return outcome
        statuses.append(start(root, *overrides).wait())
        outcome = Outcome(statuses, len(folders_of(root)), attack)
        outcome.problems += [] if statuses[1] == 0 and statuses[0] != 0 else ["another status"]
        outcome.problems += [] if outcome.num_folders == 1 else ["a ghost folder"]
        if not outcome.problems:
            found = parameters_of(root)
            is_same = all(torch.equal(value, found[name]) for name, value in reference.items())
            outcome.problems += [] if is_same else ["other parameters"]
        return outcome


def reference_of(num_ranks: int) -> dict[str, torch.Tensor]:
    """Returns the parameters of the launcher's own run, which nobody touches."""
    with tempfile.TemporaryDirectory() as place:
        assert start(Path(place), f"hydra.launcher.tasks_per_node={num_ranks}").wait() == 0
        return parameters_of(Path(place))


def evaluate(times: int) -> list[int]:
    """Returns the statuses of so many evaluations of a checkpoint on two ranks."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        ranks = ("hydra.launcher.tasks_per_node=2", "logger=none")
        assert start(root, *ranks).wait() == 0
        (folder,) = folders_of(root)
        checkpoint = f"config.ckpt_path={folder / 'lightning' / 'best.ckpt'}"
        return [start(root, *ranks, "config.evaluate_only=true", checkpoint).wait() for _ in range(times)]


def main() -> None:
    """Prints a row for each combination."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=0, help="how often to evaluate a checkpoint on two ranks")
    arguments = parser.parse_args()
    references = {num_ranks: reference_of(num_ranks) for num_ranks in (1, 2)}
    attacks = itertools.cycle(ATTACKS)
    num_wrong = 0
    print("| devices | num_nodes | strategy | tasks_per_node | came out | status | folders | |\n|" + "---|" * 8)
    for devices, nodes, strategy, tasks in itertools.product((1, 2), (1, 2), ("auto", "ddp", "nonsense"), (1, 2)):
        keys = (f"trainer.devices={devices}", f"trainer.num_nodes={nodes}", f"trainer.strategy={strategy}")
        outcome = try_combination((*keys, f"hydra.launcher.tasks_per_node={tasks}"), next(attacks), references[tasks])
        what = f"continued after {outcome.attack}" if outcome.attack else "refused"
        statuses = ", ".join(map(str, outcome.statuses))
        said = "; ".join(outcome.problems) or "right"
        num_wrong += bool(outcome.problems)
        row = (devices, nodes, strategy, tasks, what, statuses, outcome.num_folders, said)
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    if arguments.evaluations:
        statuses = evaluate(arguments.evaluations)
        print(f"evaluations on two ranks: {statuses.count(0)} of {len(statuses)} ended well")
        num_wrong += len(statuses) - statuses.count(0)
    sys.exit(num_wrong > 0)


if __name__ == "__main__":
    main()
