"""Restores the code that a run ran on, and the command that runs it again."""

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.cli.groups import read_config, read_yaml
from common.cli.runs import Run
from common.engine import Engine
from common.errors import ConfigError
from common.launch.resources import Resources, SlurmResources
from common.run.record import Git
from common.utils.misc import repository_path

OWN_KEYS = ("task", "config.ckpt_path", "config.data_dir", "hydra/launcher")
"""Overrides that a reproduction sets itself."""

CLUSTERS_OWN_KEYS = {
    f"hydra.launcher.{name}"
    for name in {one.name for one in fields(SlurmResources)} - {one.name for one in fields(Resources)}
}
"""What the local launcher does not know."""


def restore_code(git: Git | None, folder: Path) -> None:
    """Makes a work tree with the commit and the uncommitted changes that a run recorded.

    It is a clone that borrows this repository's objects: the repository itself is not touched.

    Args:
        git: What the run recorded of its code.
        folder: The work tree to make.

    Raises:
        ConfigError: nothing was recorded, the commit is gone, or the changes do not apply.
    """
    if git is None or not git.commit:
        raise ConfigError("The run recorded no commit: it was made outside of a git work tree, or without git.")
    repository, commit = repository_path(), git.commit
    if _git(repository, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise ConfigError(
            f"The run's commit {commit} (branch {git.branch}) is not in {repository} any more. Fetch it from "
            f"where it still is (git fetch <remote> {commit}), and give the command again."
        )
    _must(_git(repository, "clone", "--quiet", "--shared", "--no-checkout", str(repository), str(folder)))
    _must(_git(folder, "checkout", "--quiet", "--detach", commit))
    if git.uncommitted_diff:
        applied = _git(folder, "apply", "--binary", "--whitespace=nowarn", "-", given=git.uncommitted_diff)
        if applied.returncode:
            raise ConfigError(f"The run's uncommitted changes do not apply to its commit: {applied.stderr.strip()}")


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
        "config.ckpt_path": run.record.origin or "null",
        "config.data_dir": config.get("data_dir", "null"),
        "hydra/launcher": "local",
    }
    return [str(script), f"task={run.task}", *kept, *(_override(key, value) for key, value in {**own, **fixed}.items())]


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


def _git(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    words = ["git", "-C", str(folder), *arguments]
    options: Any = {"capture_output": True, "encoding": "utf-8", "errors": "surrogateescape", "check": False}
    return subprocess.run(words, input=given, **options)


def _must(result: subprocess.CompletedProcess[str]) -> None:
    if result.returncode:
        raise ConfigError(f"git could not restore the code: {result.stderr.strip()}")
