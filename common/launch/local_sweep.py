"""A sweep in this process: its points one after the other, in one folder that a second launch continues."""

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction

from common.errors import RunError, RunStoppedError, message_of
from common.launch.job import run_job
from common.launch.point import Point
from common.run.choice import (
    Choice,
    Launch,
    choose_folder,
    newest_run,
    obstacle_to_continuing,
    read_record,
    write_record,
)
from common.run.folder import name_of_point


def launch_sweep(
    context: HydraContext, task_function: TaskFunction, points: list[Point], wanted: Path
) -> list[JobReturn]:
    """Runs a sweep's points.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        points: The settled points.
        wanted: The sweep's folder, if a new one is made.

    Raises:
        RunError: at least one point failed; the others were finished first.
        RunStoppedError: the sweep was asked to stop.
    """
    launches = [point.launch() for point in points]
    choice = choose_sweep(points, launches, wanted)
    print(f"Sweep of {len(points)} points in {choice.folder} ({choice.reason}).")
    status = "failed"
    try:
        results = [
            _run_point(context, task_function, point, launch, choice.folder, len(points))
            for point, launch in zip(points, launches, strict=True)
        ]
        _raise_failures(results, choice.folder)
        status = "finished"
    except RunStoppedError:
        status = "stopped"
        raise
    finally:
        with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
            write_record(choice.folder, choice.record | {"status": status})
        choice.lock.release()
    return results


def choose_sweep(points: list[Point], launches: list[Launch], wanted: Path) -> Choice:
    """Chooses and locks a sweep's folder: the one of the same sweep, unfinished, or a new one.

    Args:
        points: The settled points.
        launches: What each point's folder is chosen by.
        wanted: A new folder's path.
    """
    sweep = replace(launches[0], kind="sweep", identity=_identity_of_sweep(launches))
    may_continue = all(point.may_continue for point in points)
    return choose_folder(wanted, sweep, newest_run(wanted.parent, sweep), may_continue=may_continue)


def finished_earlier(point: Point, launch: Launch, folder: Path) -> JobReturn | None:
    """Returns the result that lies in a point's folder if it is finished and finished points are skipped."""
    if not (folder.is_dir() and point.config.config.skip_finished and _is_finished(folder, launch)):
        return None
    print("  finished earlier, skipped")
    return stored_result(folder)


def stored_result(folder: Path) -> JobReturn:
    """Returns the result that a finished run has recorded."""
    result: Any = JobReturn()
    result.status = JobStatus.COMPLETED
    result.return_value = read_record(folder)["result"]
    return result  # type: ignore[no-any-return]


def _run_point(
    context: HydraContext, task_function: TaskFunction, point: Point, launch: Launch, folder: Path, num_points: int
) -> JobReturn:
    """Runs a point, or returns its result if it is finished and finished points are skipped."""
    wanted = folder / name_of_point(point.index, num_points, point.own_overrides)
    print(f"\n[{point.index + 1}/{num_points}] {' '.join(point.own_overrides)}")
    earlier = finished_earlier(point, launch, wanted)
    if earlier is not None:
        return earlier
    choice = choose_folder(wanted, launch, wanted if wanted.is_dir() else None, may_continue=point.may_continue)
    result = run_job(context, task_function, point, choice)
    if result.status == JobStatus.FAILED:
        if isinstance(result._return_value, RunStoppedError):
            raise result._return_value
        print(message_of(result._return_value))
    return result


def _is_finished(folder: Path, launch: Launch) -> bool:
    record = read_record(folder)
    is_same = record["identity"] == launch.identity and record["status"] == "finished"
    return is_same and obstacle_to_continuing(record, launch, folder) is not None


def _identity_of_sweep(launches: list[Launch]) -> str:
    # In their order, which is in the names of the points' folders.
    identities = "".join(launch.identity for launch in launches)
    return hashlib.sha256(identities.encode()).hexdigest()[: len(launches[0].identity)]


def _raise_failures(results: list[JobReturn], folder: Path) -> None:
    failed = [index for index, result in enumerate(results) if result.status == JobStatus.FAILED]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(results)} points failed: numbers {', '.join(map(str, failed))}. "
            f"Their logs are in their folders below {folder}."
        )
