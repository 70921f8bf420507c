"""The slurm launcher: subtasks are submitted as jobs, each with its folder, and run from a copy of the code.

In a job the same command runs again, in the folder that was chosen for it, and `launch` hands it to the local launcher.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.utils import JobReturn

from common.errors import ConfigError, RunError
from common.launch import local
from common.launch.command import Command
from common.launch.display import Job
from common.launch.point import Composer, Point
from common.launch.resources import SlurmResources
from common.launch.slurm.batch import release, submit, write_job
from common.launch.slurm.follow import follow, how_to_follow
from common.launch.snapshot import FOLDER_NAME, snapshot_facts
from common.launch.sweep.folder import SweepFolder
from common.launch.sweep.outcome import outcome_of
from common.launch.sweep.run import result_of, run_sweep
from common.run.continuation import Run, folder_of_job
from common.run.record import SlurmTask


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
    run = local.choose_run(command, point)
    job = _left_to_job(point, run)
    job_id = _submit(command, run, [(job, run)], snapshot_facts(run.folder))
    if _resources_of(command).detach:
        print(how_to_follow(job_id, run.folder))
        return []
    failures = follow(job_id, run.folder, [job])
    if failures:
        raise RunError(f"{failures[0]}\n  {run.folder}; what it printed is in {run.folder}/.slurm/.")
    return [result_of(outcome_of(run.folder, None))]


def submit_batch(command: Command, sweep: SweepFolder, points: list[Point]) -> None:
    """Submits points of a sweep as one array and, unless `detach` is set, waits for them.

    Args:
        command: What is asked for.
        sweep: Holds the points' folders.
        points: What to run.
    """
    runs = [(point, sweep.reserve(point)) for point in points]
    jobs = [(_left_to_job(point, run), run) for point, run in runs if run is not None]
    if not jobs:
        return
    job_id = _submit(command, sweep.run, jobs, sweep.facts)
    sweep.is_left = True  # Whatever ends this process from here on: the jobs go on.
    if _resources_of(command).detach:
        print(how_to_follow(job_id, sweep.folder))
        return
    sweep.errors |= follow(job_id, sweep.folder, [job for job, _ in jobs])
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


def _left_to_job(point: Point, run: Run) -> Job:
    print(f"Folder {run.folder}: {run.reason}.")
    run.lock.release()
    return Job(point, run.folder)


def _submit(command: Command, whole: Run, jobs: list[tuple[Job, Run]], code_facts: dict[str, Any]) -> int:
    """Submits jobs that run from the copy of the code; returns the job's number.

    Args:
        command: What is asked for.
        whole: The plain run, or the sweep.
        jobs: Each with the run that it works on.
        code_facts: What the records say of the copy.
    """
    name = str(command.config.hydra.job.name)
    points, folders = [job.point for job, _ in jobs], [job.folder for job, _ in jobs]
    script = write_job(whole.folder, points, folders, name, _resources_of(command))
    job_id = submit(script)  # Held back: what a job writes must not be overwritten from here.
    whole.update(**code_facts, status="queued", slurm=SlurmTask(job_id))
    for task, (_, run) in enumerate(jobs):
        run.update(**code_facts, status="queued", error=None, slurm=SlurmTask(job_id, task if len(jobs) > 1 else None))
    release(job_id)
    print(f"Submitted job {job_id}, {len(jobs)} task(s), from the copy of the code in {whole.folder / FOLDER_NAME}.")
    return job_id
