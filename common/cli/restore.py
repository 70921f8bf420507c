"""The command that runs a run again, from restored code."""

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.cli.groups import read_config, read_yaml
from common.cli.runs import Run
from common.errors import ConfigError
from common.launch.resources import Resources, SlurmResources

OWN_KEYS = ("task", "config.ckpt_path", "config.data_dir", "hydra/launcher")
"""Overrides that a reproduction sets itself."""

CLUSTERS_OWN_KEYS = {
    f"hydra.launcher.{name}"
    for name in {one.name for one in fields(SlurmResources)} - {one.name for one in fields(Resources)}
}
"""What the local launcher does not know."""


def replaying_command(run: Run, code: Path, fixed: Mapping[str, int | str]) -> list[str]:
    """Returns the arguments that run a run again, from its restored code: its script and its overrides.

    Args:
        run: A plain run or a point.
        code: The restored work tree.
        fixed: What the run chose by itself, and how far it came; see `chosen_settings` and `budget_spent`.

    Raises:
        ConfigError: the script is not part of the restored code, or the overrides cannot be read.
    """
    script = code / script_of(run)
    if not script.is_file():
        raise ConfigError(f"{script_of(run)} is not part of the run's commit and changes: git ignores it, or it moved.")
    hydra = _hydra_settings(run.folder)
    overrides = [*hydra["overrides"]["task"], *hydra["overrides"]["hydra"]]
    replaced = {*OWN_KEYS, *CLUSTERS_OWN_KEYS, *fixed}
    kept = [text for text in overrides if _key_of(text) not in replaced]
    config = read_config(run.folder)["config"]
    own = {
        "config.ckpt_path": run.record.origin.path if run.record.origin else "null",
        "config.data_dir": config.get("data_dir", "null"),
        "hydra/launcher": "local",
    }
    return [str(script), f"task={run.task}", *kept, *(_override(key, value) for key, value in {**own, **fixed}.items())]


def script_of(run: Run) -> Path:
    """Returns the script that made a run, relative to the repository."""
    words = shlex.split(run.record.command or "")
    name = next((Path(word).name for word in words if word.endswith(".py")), "train.py")
    return Path("projects") / run.project / name


def chosen_settings(checkpoint: dict[str, Any]) -> dict[str, int]:
    """Returns what a deep-learning run chose by itself: batch size, workers, threads; nothing for other runs.

    Args:
        checkpoint: The run's last checkpoint.
    """
    states = [value for value in checkpoint.values() if isinstance(value, dict)]
    names = {
        "batch_size": "datamodule.config.fixed_per_device_batch_size",
        "num_workers": "datamodule.config.fixed_per_device_num_workers",
        "num_threads": "hydra.launcher.cpus_per_task",
    }
    return {key: state[name] for name, key in names.items() for state in states if isinstance(state.get(name), int)}


def budget_spent(run: Run) -> dict[str, int | str]:
    """Returns what ends a reproduction where the run ended: one that was stopped, or that had its end by the clock."""
    step = run.metrics.get("step")
    if step is None:
        return {}
    is_finished, budget = run.state == "finished", run.record.budget
    if "trainer.max_steps" in budget:
        return {} if is_finished else {"trainer.max_steps": int(step)}
    if is_finished and "config.num_minutes" not in budget:
        return {}
    # Generations count from 0, and a run that is finished has a last row for its end.
    return {"config.num_generations": int(step) + (not is_finished), "config.num_minutes": "null"}


def _key_of(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _override(key: str, value: Any) -> str:
    """Returns an override in which Hydra takes the value as it is, whatever a path contains."""
    text = str(value)
    return f"{key}={text}" if text.replace("_", "").isalnum() else f"{key}='{text.replace(chr(39), chr(92) + chr(39))}'"


def _hydra_settings(folder: Path) -> dict[str, Any]:
    name = ".hydra/hydra.yaml"
    try:
        settings: dict[str, Any] = read_yaml(folder, name)["hydra"]
        overrides = [settings["overrides"][part] for part in ("task", "hydra")]
    except (TypeError, KeyError):
        overrides = [None]
    if not all(isinstance(part, list) and all(isinstance(text, str) for text in part) for part in overrides):
        raise ConfigError(f"{folder / name} is damaged, so the run's overrides are unknown.")
    return settings
