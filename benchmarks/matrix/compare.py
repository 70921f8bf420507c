"""The matrix's own judge: compares two runs' files bit by bit, and a run with what it says of itself."""

import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from hydra_zen import instantiate
from omegaconf import OmegaConf
from torch.nn import functional

from benchmarks.matrix.history import history_of, ids_of
from benchmarks.matrix.learning.datamodule import samples_of

TOLERANCES = {"bf16-mixed": 2e-2, "bf16-true": 5e-2}
"""How far a loss may be from one that is computed in full precision; 1e-5 elsewhere."""

TIMELESS = ("step", "epoch", "train/loss", "fitness/best", "fitness/mean")
"""What rows of training say that no clock decides."""

UNCOMPARED = re.compile(
    r"metrics_file|elapsed|time_|wandb_step|records|num_threads|\.loops\..*is_last_batch|val_loader_epoch"
)
"""Of a checkpoint: times, offsets into files that hold times, and when Lightning asked for a loader that it keeps."""


def differences(ours: Path, theirs: Path, *, num_ranks: int, is_timed: bool) -> list[str]:
    """Returns how a run that was interrupted differs from one that was left in peace.

    Args:
        ours: The interrupted run's folder.
        theirs: The other's.
        num_ranks: How many processes share each run.
        is_timed: Whether a clock ended the runs, so that only what both did can be compared.
    """
    problems = [*_leftovers(ours), *_self_contradictions(ours, num_ranks)]
    problems += rows_differ(read_rows(ours), read_rows(theirs), is_timed=is_timed)
    problems += _wandb_differs(ours, theirs, is_timed=is_timed)
    if is_timed:
        return problems
    for path in sorted(theirs.glob("lightning/*.ckpt")):
        if path.name != "previous.ckpt":
            problems += _checkpoint_differs(ours / "lightning" / path.name, path)
    problems += _champion_differs(ours / "champion.pt", theirs / "champion.pt")
    names = [{path.name for path in folder.glob("*.png")} for folder in (ours, theirs)]
    problems += [f"pictures: {sorted(names[0])} instead of {sorted(names[1])}"] if names[0] != names[1] else []
    return problems


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of a run's metrics.csv as text, without times."""
    if not (folder / "metrics.csv").is_file():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "time"} for row in csv.DictReader(file)]


def _leftovers(folder: Path) -> list[str]:
    paths = [*folder.parent.glob(".new-*"), *folder.rglob(".*.tmp")]
    return [f"left behind: {path.relative_to(folder.parent)}" for path in paths]


def rows_differ(ours: list[dict[str, str]], theirs: list[dict[str, str]], *, is_timed: bool) -> list[str]:
    """Returns where the rows of two runs first differ.

    Args:
        ours: Those of one.
        theirs: Those of the other.
        is_timed: Whether a clock ended the runs: then only training is compared, as far as both went. A batch in which
            the time is up has a row whatever `trainer.log_every_n_steps` says, so no run's last one counts.
    """
    if is_timed:
        ours, theirs = (
            [row for row in rows if row.get("train/loss") or row.get("fitness/best")][:-1] for rows in (ours, theirs)
        )
        count = min(len(ours), len(theirs))
        ours, theirs = (
            [{key: row.get(key, "") for key in TIMELESS} for row in rows[:count]] for rows in (ours, theirs)
        )
    for number, (our, their) in enumerate(zip(ours, theirs, strict=False), start=1):
        if our != their:
            keys = [key for key in {**our, **their} if our.get(key) != their.get(key)]
            texts = [f"{key} {our.get(key)!r} instead of {their.get(key)!r}" for key in keys[:3]]
            return [f"metrics.csv, row {number}: {', '.join(texts)}"]
    return [f"metrics.csv: {len(ours)} rows instead of {len(theirs)}"] if len(ours) != len(theirs) else []


def _wandb_differs(ours: Path, theirs: Path, *, is_timed: bool) -> list[str]:
    if bool(ids_of(ours)) != bool(ids_of(theirs)) or len(ids_of(ours)) > 1:
        return [f"{len(ids_of(ours))} W&B runs instead of {len(ids_of(theirs))}"]
    (our, problems), (their, _) = history_of(ours), history_of(theirs)
    if is_timed or problems:
        return problems[:3]
    for step in sorted(our.keys() | their.keys()):
        if our.get(step) != their.get(step):
            return [f"W&B's history, step {step}: {our.get(step)} instead of {their.get(step)}"]
    return []


def _checkpoint_differs(ours: Path, theirs: Path) -> list[str]:
    if not ours.is_file():
        return [f"{ours.name} is missing"]
    our, their = (torch.load(path, map_location="cpu", weights_only=True) for path in (ours, theirs))
    keys = [key for key in _unlike(our, their, "") if not UNCOMPARED.search(key)]
    return [f"{ours.name} differs in {', '.join(keys[:4])}{' …' if len(keys) > 4 else ''}"] if keys else []


def _champion_differs(ours: Path, theirs: Path) -> list[str]:
    if not theirs.is_file():
        return []
    return _checkpoint_differs(ours, theirs)


def _unlike(our: Any, their: Any, path: str) -> Iterator[str]:
    """Yields the paths of what is not bit-identical."""
    if isinstance(our, dict) and isinstance(their, dict):
        for key in {**our, **their}:
            if key not in our or key not in their:
                yield f"{path}.{key}"
            else:
                yield from _unlike(our[key], their[key], f"{path}.{key}")
    elif isinstance(our, list | tuple) and isinstance(their, list | tuple) and len(our) == len(their):
        for index, (one, other) in enumerate(zip(our, their, strict=True)):
            yield from _unlike(one, other, f"{path}.{index}")
    elif isinstance(our, torch.Tensor) and isinstance(their, torch.Tensor):
        same = our.dtype == their.dtype and our.shape == their.shape
        if not (same and _bytes(our) == _bytes(their)):
            yield path
    elif our != their and not (_is_nan(our) and _is_nan(their)):
        yield path


def _bytes(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist())


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _self_contradictions(folder: Path, num_ranks: int) -> list[str]:
    """Returns what a finished run says that is not so: its state, and which network is its best."""
    status = json.loads((folder / "provenance.json").read_text())["status"]
    problems = [] if status == "finished" else [f"its record says {status}"]
    best = folder / "lightning" / "best.ckpt"
    *losses, reported = [float(row["val/loss"]) for row in read_rows(folder) if row.get("val/loss")] or [math.nan]
    if not losses or not best.is_file():
        return problems
    config: Any = OmegaConf.load(folder / ".hydra" / "config.yaml")
    tolerance = TOLERANCES.get(str(config.trainer.precision), 1e-5)
    found = {"best of the series": min(losses), "evaluated again": _evaluate(best, config, num_ranks)}
    for what, loss in found.items():
        if not math.isclose(loss, reported, rel_tol=tolerance, abs_tol=tolerance):
            problems.append(f"val/loss reported {reported}, {what} {loss}")
    return problems


def _evaluate(path: Path, config: Any, num_ranks: int) -> float:
    """Returns the validation loss of a checkpoint, by a plain loop over the samples."""
    network = instantiate(config.litmodule.nnmodule)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "average.module." if "average.n_averaged" in state else "nnmodule."
    own = {key.removeprefix(prefix): value.double() for key, value in state.items() if key.startswith(prefix)}
    network.load_state_dict(own)
    inputs, labels = samples_of("val")
    count = _num_validated(config, len(labels), num_ranks)
    with torch.no_grad():
        return float(functional.cross_entropy(network.double().eval()(inputs[:count].double()), labels[:count]))


def _num_validated(config: Any, num_samples: int, num_ranks: int) -> int:
    """Returns how many samples a validation sees."""
    size = config.datamodule.config.fixed_per_device_batch_size * num_ranks
    num_batches = math.ceil(num_samples / size)
    limit = config.trainer.overfit_batches or config.trainer.limit_val_batches
    allowed = num_batches if limit is None else limit if isinstance(limit, int) else int(num_batches * limit)
    return min(num_samples, allowed * size)
