"""The command that runs a run again, from restored code."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cli.groups import read_config, read_yaml
from common.cli.runs import Run
from common.config import CONTINUE
from common.engine import Engine
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


def chosen_settings(checkpoint: dict[str, Any], engine: Engine) -> dict[str, int]:
    """Returns what a run chose by itself, by key, such as a batch size.

    Args:
        checkpoint: The run's last checkpoint.
        engine: Says what its runs may choose.
    """
    states = [value for value in checkpoint.values() if isinstance(value, dict)]
    chosen = engine.chosen.items()
    return {key: state[name] for key, name in chosen for state in states if isinstance(state.get(name), int)}


def budget_spent(run: Run) -> dict[str, int | str]:
    """Returns what ends a reproduction where the run ended: one that was stopped, or that had its end by the clock."""
    step, budgets = run.metrics.get("step"), run.record.engine.budgets
    exact = next((budget for budget in budgets if budget.column == "step"), None)
    clocks = [budget.key for budget in budgets if budget.is_clock]
    is_finished = run.state == "finished"
    if step is None or exact is None or (is_finished and not any(key in run.record.budget for key in clocks)):
        return {}
    # Where rows count from 0, a run that is finished has a last one for its end.
    return {exact.key: int(step) + (0 if is_finished else exact.offset), **dict.fromkeys(clocks, "null")}


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
