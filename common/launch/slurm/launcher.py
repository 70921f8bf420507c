"""The slurm launcher: subtasks are submitted as jobs, each with its folder, and run from a copy of the code.

In a job the same command runs again, in the folder that was chosen for it, and `launch` hands it to the local launcher.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from common.errors import ConfigError, RunError
from common.launch import local
from common.launch.command import Command
from common.launch.display import Job
from common.launch.point import Composer, Point
from common.launch.resources import SlurmResources
from common.launch.role import folder_of_job
from common.launch.slurm.batch import release, submit, write_job
from common.launch.slurm.follow import follow, how_to_follow
from common.launch.snapshot import FOLDER_NAME, snapshot_facts
from common.launch.sweep.folder import SweepFolder
from common.launch.sweep.outcome import outcome_of
from common.launch.sweep.run import result_of, run_sweep
from common.run.continuation import Choice, choose_folder, newest_run, read_record, write_record


@dataclass
class SlurmLauncherConfig(SlurmResources):
    """Configures the slurm launcher; see `Resources` and `SlurmResources`."""

    _target_: str = "hydra_plugins.ai_research.slurm.SlurmLauncher"
    _convert_: str = "all"


def launch(command: Command) -> list[JobReturn]:
    """Submits every point of a command and, unless `detach` is set, waits for the results.

    Returns:
        The points' results; nothing where they go on without this process.

    Raises:
        ConfigError: the points depend on each other, and nobody would wait for the first ones.
        RunError: at least one job failed.
    """
    if folder_of_job() is not None:
        return local.launch(command)
    _check_detached(command)
    composer = Composer(command)
    points = composer.examples()
    if command.search.swept:
        return run_sweep(command, composer, partial(submit_batch, command))
    (point,) = points
    wanted, facts = Path(command.config.hydra.sweep.dir), point.launch()
    choice = choose_folder(wanted, facts, newest_run(wanted.parent, facts), may_continue=point.may_continue)
    job = _left_to_job(point, choice)
    job_id = _submit(command, choice.folder, [job], snapshot_facts(choice.folder))
    if _resources_of(command).detach:
        print(how_to_follow(job_id, choice.folder))
        return []
    failures = follow(job_id, choice.folder, [job])
    if failures:
        raise RunError(f"{failures[0]}\n  {choice.folder}; what it printed is in {choice.folder}/.slurm/.")
    return [result_of(outcome_of(choice.folder, None))]


def submit_batch(command: Command, sweep: SweepFolder, points: list[Point]) -> None:
    """Submits points of a sweep as one array and, unless `detach` is set, waits for them.

    Args:
        command: What is asked for.
        sweep: Holds the points' folders.
        points: What to run.
    """
    choices = [(point, sweep.reserve(point)) for point in points]
    jobs = [_left_to_job(point, choice) for point, choice in choices if choice is not None]
    if not jobs:
        return
    job_id = _submit(command, sweep.folder, jobs, sweep.facts)
    sweep.is_left = True  # Whatever ends this process from here on: the jobs go on.
    if _resources_of(command).detach:
        print(how_to_follow(job_id, sweep.folder))
        return
    sweep.errors |= follow(job_id, sweep.folder, jobs)
    sweep.is_left = False


def _check_detached(command: Command) -> None:
    """Raises if later points need the results of the first, and nobody would wait for these."""
    search = command.search
    if _resources_of(command).detach and search.num_together < search.num_points:
        raise ConfigError(
            f"hydra.launcher.detach=true with a search whose {search.num_points} trials are chosen "
            f"{search.num_together} at a time, by the results of those before: nobody would wait for these. Use "
            f"hydra.launcher.detach=false, or choose all at once with hydra.sweeper.n_jobs={search.num_points}."
        )


def _resources_of(command: Command) -> SlurmResources:
    assert isinstance(command.resources, SlurmResources)
    return command.resources


def _left_to_job(point: Point, choice: Choice) -> Job:
    print(f"Folder {choice.folder}: {choice.reason}.")
    choice.lock.release()
    return Job(point, choice.folder)


def _submit(command: Command, folder: Path, jobs: list[Job], code_facts: dict[str, Any]) -> int:
    """Submits jobs that run from the copy of the code; returns the job's number."""
    name = str(command.config.hydra.job.name)
    points, folders = [job.point for job in jobs], [job.folder for job in jobs]
    script = write_job(folder, points, folders, name, _resources_of(command))
    job_id = submit(script)  # Held back: what a job writes must not be overwritten from here.
    tasks = {job.folder: task if len(jobs) > 1 else None for task, job in enumerate(jobs)}
    for own, task in {folder: None, **tasks}.items():
        slurm = {"job_id": job_id, "task": task}
        write_record(own, read_record(own) | code_facts | {"status": "queued", "slurm": slurm})
    release(job_id)
    print(f"Submitted job {job_id}, {len(jobs)} task(s), from the copy of the code in {folder / FOLDER_NAME}.")
    return job_id
