"""The slurm launcher: subtasks are submitted as jobs, each with its folder, and run from a copy of the code.

In a job the same command runs again, in the folder that was chosen for it, and `launch` hands it to the local launcher.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from common.errors import ConfigError, RunError, RunStoppedError
from common.launch import local
from common.launch.command import Command
from common.launch.display import Job
from common.launch.point import Composer, Point
from common.launch.resources import SlurmResources
from common.launch.role import folder_of_job, is_replay
from common.launch.slurm.batch import FOLDER_NAME as SLURM
from common.launch.slurm.batch import HELD, write_jobs
from common.launch.slurm.commands import cancel, jobs_from, largest_array, release, submit
from common.launch.slurm.follow import follow, how_to_follow
from common.launch.snapshot import FOLDER_NAME, list_for_copy, snapshot_facts
from common.launch.sweep.folder import SweepFolder
from common.launch.sweep.outcome import outcome_of
from common.launch.sweep.run import result_of, run_sweep
from common.run.continuation import Run
from common.run.lock import FolderLock
from common.run.queue import Task, UnansweredError
from common.run.record import Record, SlurmTask, read_record, write_record


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
    if folder_of_job() is not None or is_replay():
        return local.launch(command)
    _check_detached(command)
    cancel_abandoned(Path(command.config.hydra.sweep.dir).parent)
    composer = Composer(command)
    points = composer.examples()
    if command.search.swept:
        return run_sweep(command, composer, partial(submit_batch, command))
    (point,) = points
    listing = list_for_copy()
    run = local.choose_run(command, point)
    tasks = _submit(command, run, [(point, run)], snapshot_facts(run.folder, listing, composer.code_state))
    if _resources_of(command).detach:
        print(how_to_follow(tasks, run.folder))
        return []
    follow(tasks, run.folder)
    outcome = outcome_of(run.folder, None, point.record.budget)
    if outcome.status == "stopped":
        raise RunStoppedError(f"The job was stopped; the same command continues it.\n  {run.folder}")
    if outcome.status != "finished":
        raise RunError(f"{outcome.error}\n  {run.folder}; what it printed is in {run.folder}/.slurm/.")
    return [result_of(outcome)]


def submit_batch(command: Command, sweep: SweepFolder, points: list[Point]) -> None:
    """Submits points of a sweep as one array and, unless `detach` is set, waits for them.

    Args:
        command: What is asked for.
        sweep: Holds the points' folders.
        points: What to run.
    """
    reserved = [(point, sweep.reserve(point)) for point in points]
    chosen = [(point, run) for point, run in reserved if run is not None]
    if not chosen:
        return
    tasks = _submit(command, sweep.run, chosen, sweep.facts)
    sweep.is_left = True  # Whatever ends this process from here on: the jobs go on.
    if _resources_of(command).detach:
        print(how_to_follow(tasks, sweep.folder))
        return
    follow(tasks, sweep.folder)
    sweep.is_left = False


def cancel_abandoned(parent: Path) -> None:
    """Cancels what commands that are gone have left held in the queue: nobody would ever release it.

    Args:
        parent: Holds the runs' and sweeps' folders.

    Raises:
        RunError: SLURM does not do it.
    """
    for marker in parent.glob(f"*/{SLURM}/{HELD}"):
        lock = FolderLock(marker.parents[1])
        try:
            if not lock.acquire():  # The command is still at it.
                continue
        except OSError as error:  # It is another person's, who alone can cancel it.
            print(f"{marker.parents[1]}, which waits for its jobs, is passed over: {error.strerror}.", flush=True)
            continue
        try:
            for job_id in jobs_from(marker.parent):
                problem = cancel(job_id)
                if problem is not None:
                    raise RunError(f"An earlier command left job {job_id} held, and it cannot be cancelled. {problem}")
                print(f"Job {job_id}, which an earlier command left held in the queue, was cancelled.", flush=True)
            marker.unlink()
        finally:
            lock.release()


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


def _submit(
    command: Command, whole: Run, chosen: list[tuple[Point, Run]], code_facts: dict[str, Any]
) -> dict[Job, Task]:
    """Submits jobs that run from the copy of the code; returns their numbers.

    They are held back until all are written down: what a job writes must not be overwritten from here.

    Args:
        command: What is asked for.
        whole: The plain run, or the sweep.
        chosen: The points to submit, each with its run.
        code_facts: What the records say of the copy.
    """
    folder, jobs = whole.folder, [Job(point, run.folder) for point, run in chosen]
    runs = {run.folder: run for run in (whole, *(run for _, run in chosen))}
    before = {where: read_record(where) for where in runs}
    for _, run in chosen:
        print(f"Folder {run.folder}: {run.reason}.")
    submitted: list[int] = []
    try:
        tasks = _submit_held(command, folder, jobs, submitted)
        _write_down(whole, runs, tasks, submitted, code_facts)
        for _, run in chosen:
            run.lock.release()
        for job_id in submitted:
            problem = release(job_id)
            if problem is not None:
                raise RunError(f"Job {job_id} cannot be released. {problem}")
    except BaseException as error:
        _take_back(folder, before, submitted, error)
        raise
    (folder / SLURM / HELD).unlink()
    listed = ", ".join(map(str, submitted))
    print(f"Submitted job {listed}, {len(jobs)} task(s), from the copy of the code in {folder / FOLDER_NAME}.")
    return tasks


def _submit_held(command: Command, folder: Path, jobs: list[Job], submitted: list[int]) -> dict[Job, Task]:
    """Submits jobs in as many pieces as the cluster's limit on arrays makes of them, one to run after the other.

    Args:
        command: What is asked for.
        folder: The run's or the sweep's folder.
        jobs: The jobs.
        submitted: Gets SLURM's numbers.
    """
    resources = _resources_of(command)
    tasks: dict[Job, Task] = {}
    most = largest_array() if len(jobs) > 1 else 1
    name, pairs = str(command.config.hydra.job.name), [(job.point, job.folder) for job in jobs]
    for number, script in enumerate(write_jobs(folder, pairs, name, resources, most)):
        piece = jobs[number * most : (number + 1) * most]
        before = submitted[-1] if submitted and len(jobs) > resources.array_parallelism else None
        submitted.append(submit(script, resources, before, submitted))
        tasks |= {job: (submitted[-1], task if len(piece) > 1 else None) for task, job in enumerate(piece)}
    return tasks


def _write_down(
    whole: Run, runs: dict[Path, Run], tasks: dict[Job, Task], submitted: list[int], code_facts: dict[str, Any]
) -> None:
    """Lets the records say which job each run is left to, and nothing of how an earlier one ended."""
    own = {job.folder: SlurmTask(job_id, task) for job, (job_id, task) in tasks.items()}
    for where, slurm in {whole.folder: SlurmTask(submitted[0], job_ids=list(submitted)), **own}.items():
        runs[where].update(**code_facts, status="queued", error=None, ended=None, slurm=slurm)


def _take_back(folder: Path, before: dict[Path, Record], submitted: list[int], error: BaseException) -> None:
    """Cancels what was submitted and cannot be released; what cannot be cancelled either, the next command cancels.

    Args:
        folder: The run's or the sweep's folder.
        before: What was on record.
        submitted: SLURM's numbers.
        error: What went wrong.
    """
    problems = [problem for problem in map(cancel, submitted) if problem is not None]
    if not problems and not isinstance(error, UnansweredError):
        (folder / SLURM / HELD).unlink(missing_ok=True)
    for where, record in before.items():
        is_new = record.status == "running"
        write_record(where, replace(record, status="stopped", error="it was not submitted") if is_new else record)
    if problems:
        held = " ".join(map(str, submitted))
        print(f"{problems[0]}\nStill held in the queue, until the same command is given again: {held}", flush=True)
    elif submitted:
        print(f"Cancelled again: {' '.join(map(str, submitted))}. The same command submits anew.", flush=True)
