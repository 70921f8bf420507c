"""The command that runs a run again, from restored code."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cli.groups import read_config, read_yaml
from common.cli.runs import Run
from common.config import CONTINUE
from common.errors import ConfigError
from common.run.identity import is_larger_budget

OWN_KEYS = ("task", "config.ckpt_path", "config.data_dir")
"""Overrides that a reproduction sets itself."""


def replaying_command(run: Run, code: Path, fixed: Mapping[str, int | str]) -> list[str]:
    """Returns the arguments that run a run again, from its restored code: its script and its overrides.

    Args:
        run: A plain run or a point.
        code: The restored work tree.
        fixed: What the run chose by itself, and how far it came; see `chosen_settings` and `budget_spent`.

    Raises:
        ConfigError: the script is not in the restored code, the overrides cannot be read, or one machine is too few.
    """
    script = code / script_of(run)
    if not script.is_file():
        raise ConfigError(f"{script_of(run)} is not part of the run's commit and changes: git ignores it, or it moved.")
    hydra = _hydra_settings(run.folder)
    launcher = hydra.get("launcher")
    nodes = launcher.get("nodes") if isinstance(launcher, dict) else None
    if isinstance(nodes, int) and nodes > 1:
        raise ConfigError(f"{run.folder} ran on {nodes} machines together, which one alone cannot make again.")
    overrides = [*hydra["overrides"]["task"], *hydra["overrides"]["hydra"]]
    replaced = {*OWN_KEYS, *fixed}
    kept = [text for text in overrides if _key_of(text) not in replaced]
    config = read_config(run.folder)["config"]
    own = {
        "config.ckpt_path": run.record.origin.path if run.record.origin else CONTINUE,
        "config.data_dir": config.get("data_dir", "null"),
    }
    return [str(script), f"task={run.task}", *kept, *(_override(key, value) for key, value in {**own, **fixed}.items())]


def budgets_before(run: Run) -> list[dict[str, Any]]:
    """Returns the smaller budgets at which a run finished before it went on, the first first."""
    earlier = [launch.budget for launch in run.record.launches[:-1] if launch.status == "finished"]
    return [budget for budget in earlier if is_larger_budget(run.record.budget, budget)]


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
    text = value if isinstance(value, str) else json.dumps(value)
    is_plain = not isinstance(value, str) or text.replace("_", "").isalnum()
    return f"{key}={text}" if is_plain else f"{key}='{text.replace(chr(39), chr(92) + chr(39))}'"


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
