"""Finds runs: all of them, or the one that a person means."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from common.cli.runs import Run, names_of_subfolders, read_run, subfolders
from common.errors import ConfigError
from common.run.folder import outputs_root
from common.run.record import FILE_NAME as RECORD
from common.utils.misc import nearest

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")

LAST = "last"


def data_path() -> Path:
    """Returns the folder below which all outputs lie."""
    return outputs_root() / "data"


def task_folders(project: str | None = None, task: str | None = None) -> list[Path]:
    """Returns the folders of tasks that hold outputs.

    Args:
        project: Only this project's; None for all.
        task: Only this task's; None for all.

    Raises:
        ConfigError: there is no such project, or no such task in it.
    """
    projects = _named(data_path(), project, "project")
    return [folder for one in projects for folder in _named(one, task, "task")]


def newest_first(folders: list[Path]) -> Iterator[Run]:
    """Yields the runs and sweeps of tasks, newest first; each is read when its turn comes.

    The order is that of the timestamps, which are the folders' names.
    """
    found = [(is_timestamp, name, folder) for folder in folders for is_timestamp, name in _run_names(folder)]
    for _, name, folder in sorted(found, reverse=True):
        yield read_run(folder / name)


def all_points(runs: Iterator[Run]) -> Iterator[Run]:
    """Yields the runs, with each sweep replaced by its points."""
    for run in runs:
        yield from run.points if run.kind == "sweep" else [run]


def find_run(name: str) -> Run:
    """Returns the run or sweep that a person means.

    Args:
        name: A folder, a unique prefix of an identity or a timestamp, or `last`; a slash and a number behind a sweep's
            name mean that point of it.

    Raises:
        ConfigError: there is none, or there are several.
    """
    path = Path(name).expanduser()
    if path.is_dir() and name != LAST:
        return read_run(path.resolve())
    sweep, _, number = name.rpartition("/")
    if sweep and number.isdigit():
        return _point_of(find_run(sweep), int(number))
    runs = list(newest_first(task_folders()))
    if name == LAST:
        runs = [run for run in runs if not run.is_damaged]
        if not runs:
            raise ConfigError(f"There is no run yet below {data_path()}.")
        return runs[0]
    return _only(name, _matching(name, runs))


def _point_of(sweep: Run, number: int) -> Run:
    found = [point for point in sweep.points if int(point.title.rpartition("/")[2]) == number]
    if not found:
        raise ConfigError(f"{sweep.folder} has no point {number}; it has {len(sweep.points)}, counted from 0.")
    return found[0]


def _matching(name: str, runs: list[Run]) -> list[Run]:
    by_time = [run for run in runs if run.folder.name.startswith(name)]
    everyone = [*runs, *(point for run in runs for point in run.points)]
    by_identity = [run for run in everyone if run.identity.startswith(name)]
    exact = [run for run in by_time if run.folder.name == name]
    if len(exact) == 1:
        return exact
    if by_identity and len({run.identity for run in by_identity}) == 1 and not by_time:
        return [max(by_identity, key=lambda run: run.created_s)]  # The same run, made again.
    return [*by_time, *(run for run in by_identity if run not in by_time)]


def _only(name: str, found: list[Run]) -> Run:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"No run {name!r} below {data_path()}. Give a folder, the beginning of a timestamp or an identity, or "
            "`last`; `ai-research ls` lists them."
        )
    lines = [f"  {run.folder}  {run.identity}" for run in found[:10]] + (["  ..."] if len(found) > 10 else [])
    raise ConfigError("\n".join([f"{name!r} may be any of {len(found)} runs; give more of it:", *lines]))


def _named(folder: Path, name: str | None, what: str) -> list[Path]:
    """Returns the folders below a folder, or the one of a name."""
    there = sorted(subfolders(folder))
    if name is None:
        return there
    names = [path.name for path in there]
    if name not in names:
        meant = nearest(name, names)
        hint = f" Did you mean {meant!r}?" if meant else ""
        raise ConfigError(f"There is no output of a {what} {name!r} in {folder}.{hint}")
    return [folder / name]


def _run_names(task_folder: Path) -> list[tuple[bool, str]]:
    """Returns the names of the folders below a task's, foreign ones included, and whether each is a timestamp.

    There are none where nothing tells outputs from datasets.
    """
    names = [(TIMESTAMP.fullmatch(name) is not None, name) for name in names_of_subfolders(task_folder)]
    is_of_task = any(is_timestamp or os.path.lexists(task_folder / name / RECORD) for is_timestamp, name in names)
    return names if is_of_task else []
