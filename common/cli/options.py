"""Arguments that several commands take, with their completion."""

from collections.abc import Callable
from typing import Any

import click


def complete_run(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Returns the timestamps, and `last`, that begin as typed."""
    from common.cli.find import LAST, data_path
    from common.cli.runs import subfolders

    tasks = [task for project in subfolders(data_path()) for task in subfolders(project)]
    names = {run.name for task in tasks for run in subfolders(task)}
    return [name for name in [LAST, *sorted(names, reverse=True)] if name.startswith(begun)]


def complete_project(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Returns the projects that have outputs and begin as typed."""
    from common.cli.find import data_path
    from common.cli.runs import subfolders

    return sorted(path.name for path in subfolders(data_path()) if path.name.startswith(begun))


def complete_task(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Returns the project's tasks that have outputs and begin as typed."""
    from common.cli.find import data_path
    from common.cli.runs import subfolders

    project = data_path() / str(context.params.get("project") or "")
    return sorted(path.name for path in subfolders(project) if path.name.startswith(begun))


run_argument: Callable[[Any], Any] = click.argument("run", shell_complete=complete_run)
runs_argument: Callable[[Any], Any] = click.argument("runs", nargs=-1, shell_complete=complete_run)
project_argument: Callable[[Any], Any] = click.argument("project", required=False, shell_complete=complete_project)
task_argument: Callable[[Any], Any] = click.argument("task", required=False, shell_complete=complete_task)
