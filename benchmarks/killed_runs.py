"""What the folders of killed runs tell: how far they are, whether they have ended, and how they differ."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

NEUROEVOLUTION = ("ne_control_score",)
"""Projects whose steps are generations."""

NEUROEVOLUTION_STATE = ("generation", "num_steps", "algorithm", "population", "champion")
"""What a checkpoint of theirs holds that must be the same."""


@dataclass
class Task:
    """What is run.

    Attributes:
        name: A task of the project.
        overrides: Settings that every launch is given.
        num_ranks: Processes of each launch.
        project: A folder below projects/.
    """

    name: str
    overrides: tuple[str, ...]
    num_ranks: int = 1
    project: str = "classify_mnist"


def folders_of(task: Task, root: Path) -> list[Path]:
    """Returns the run folders of a task."""
    return sorted(path for path in (root / "data" / task.project / task.name).glob("[!.]*") if path.is_dir())


def is_finished(task: Task, root: Path) -> bool:
    """Returns whether a run has recorded its end."""
    records = [folder / "provenance.json" for folder in folders_of(task, root)]
    return any(record.is_file() and json.loads(record.read_text())["status"] == "finished" for record in records)


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of a run's metrics.csv as text."""
    if not (folder / "metrics.csv").is_file():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def has_logged(task: Task, root: Path, num_rows: float, launched_at_s: float) -> bool:
    """Returns whether a run has as many rows of metrics, the last of them from this launch."""
    rows = [row for folder in folders_of(task, root) for row in read_rows(folder)]
    return len(rows) > num_rows and float(rows[-1]["time"] or 0) > launched_at_s


def is_step(row: dict[str, str]) -> bool:
    """Returns whether a row of metrics is that of an optimiser step or a generation."""
    return bool(row.get("train/loss") or row.get("fitness/best"))


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
    if rows[-1].get("test/loss") or rows[-1].get("champion/test"):
        return "evaluation"
    if task.project in NEUROEVOLUTION:
        return "training"
    epochs = [row["epoch"] for row in rows if row.get("train/loss")]
    num_steps = epochs.count(epochs[0]) if epochs else 0
    is_epoch_over = len(set(epochs)) > 1 and epochs.count(epochs[-1]) == num_steps
    return "validation" if is_epoch_over and not rows[-1].get("val/loss") else "training"


def differences(task: Task, root: Path, peaceful: Path) -> list[str]:
    """Returns how a run's folder differs from the undisturbed one's."""
    folders = folders_of(task, root)
    if len(folders) != 1:
        return [f"{len(folders)} folders: {', '.join(folder.name for folder in folders)}"]
    problems = []
    if [_timeless(row) for row in read_rows(folders[0])] != [_timeless(row) for row in read_rows(peaceful)]:
        problems.append("metrics.csv differs")
    names = ("last.ckpt",) if task.project in NEUROEVOLUTION else ("last.ckpt", "best.ckpt")
    problems += [f"{name} differs" for name in names if not same_parameters(folders[0], peaceful, name)]
    ids = {path.name.rpartition("-run-")[2].split("-", 1)[1] for path in folders[0].glob("wandb/offline-run-*")}
    if len(ids) > 1:
        problems.append(f"{len(ids)} W&B runs")
    status = json.loads((folders[0] / "provenance.json").read_text())["status"]
    return problems if status == "finished" else [*problems, f"status {status}"]


def same_parameters(folder: Path, peaceful: Path, name: str) -> bool:
    """Returns whether two runs' checkpoints hold bit-identical parameters and states of optimiser or algorithm."""
    import torch

    ours, theirs = (
        torch.load(path / "lightning" / name, map_location="cpu", weights_only=True) for path in (folder, peaceful)
    )
    keys = [key for key in ("state_dict", "optimizer_states", *NEUROEVOLUTION_STATE) if key in theirs]
    return all(_same(ours[key], theirs[key]) for key in keys)


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
