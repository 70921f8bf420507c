"""What the command line says: which project, which task, where."""

import re
import sys
from pathlib import Path

from common.errors import ConfigError
from common.foreign.hydra import get_args_parser
from common.utils.misc import nearest

SHOWING_OPTIONS = {"help", "hydra_help", "cfg", "info", "shell_completion"}
RUNNING_OPTIONS = {"run", "multirun"}
"""Options of Hydra's that change nothing: a comma in a value sweeps, with or without them."""

_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def overrides_first(arguments: list[str]) -> list[str]:
    """Returns a command's arguments with `key=value` before options such as `-m` or `--cfg job`.

    Hydra's parser takes all overrides in one piece: it refuses `task=fnn -m litmodule.optimizer.lr=1e-3,1e-2`.

    Args:
        arguments: The command line, without the program's name.
    """
    overrides: list[str] = get_args_parser().parse_intermixed_args(arguments).overrides
    return overrides + [argument for argument in arguments if argument not in overrides]


def overrides_to_run(arguments: list[str]) -> list[str] | None:
    """Returns the overrides of a command that runs something; None for one that only shows something.

    Args:
        arguments: The command line, without the program's name.

    Raises:
        ConfigError: an option would have Hydra read another configuration than the task's, or means nothing here.
    """
    given = {name: value for name, value in vars(get_args_parser().parse_args(arguments)).items() if value}
    overrides: list[str] = given.pop("overrides", [])
    if given.keys() & SHOWING_OPTIONS:
        return None
    for name in sorted(given.keys() - RUNNING_OPTIONS):
        raise ConfigError(f"A command that runs a task takes no --{name.replace('_', '-')}: leave it out.")
    return overrides


def get_absolute_project_path() -> Path:
    """Returns the folder of the project whose `train.py` is being run."""
    return Path(sys.argv[0]).resolve().parent


def get_project_name() -> str:
    """Returns the name of the project whose `train.py` is being run."""
    return get_absolute_project_path().name


def get_task_names() -> list[str]:
    """Returns the names of the running project's tasks, sorted."""
    return sorted(path.stem for path in (get_absolute_project_path() / "task").glob("*.yaml"))


def get_task_name() -> str:
    """Returns the task that the command names with `task=<name>`.

    Raises:
        ConfigError: there is no such argument, more than one task, or no such task.
    """
    values = [argument.partition("=")[2] for argument in sys.argv[1:] if re.match(r"\+{0,2}task=", argument)]
    tasks = ", ".join(get_task_names()) or f"none yet: add a YAML file to {get_absolute_project_path() / 'task'}"
    if not values:
        raise ConfigError(f"You must specify the task argument: task=<name>. Tasks of {get_project_name()}: {tasks}.")
    if len(values) > 1 or any(mark in values[0] for mark in ",()[]"):
        raise ConfigError(f"One task per command; received task={','.join(values)}. Run the command once for each.")
    task = values[0].strip("'\"")
    if not _TASK_NAME.fullmatch(task) or task not in get_task_names():
        meant = nearest(task, get_task_names())
        hint = f" Did you mean task={meant}?" if meant else ""
        raise ConfigError(f"There is no task {task!r} in {get_project_name()}.{hint} Tasks: {tasks}.")
    return task
