"""The slurm launcher: subtasks are submitted as jobs, each with its folder, and run from a copy of the code.

The jobs are followed until they are over: by what the queue says of them, and by what they write into their folders. In
a job the same command runs again, in the folder that was chosen for it, and `launch` hands it to the local launcher.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.core.utils import JobReturn

from common.errors import ConfigError, RunError, RunStoppedError
from common.launch import local
from common.launch.display import OVER, Display, Job, State, displayed
from common.launch.point import Command, Composer, Point
from common.launch.resources import SlurmResources
from common.launch.role import folder_of_job, is_replay
from common.launch.slurm.batch import FOLDER_NAME as SLURM
from common.launch.slurm.batch import HELD, write_jobs
from common.launch.slurm.commands import cancel, jobs_from, largest_array, release, submit
from common.launch.snapshot import FOLDER_NAME, list_for_copy, snapshot_facts
from common.launch.sweep.run import SweepFolder, result_of, run_sweep
from common.launch.sweep.search import outcome_of
from common.run.continuation import Run
from common.run.finished import is_kept
from common.run.lock import FolderLock
from common.run.queue import Standing, Task, UnansweredError, standings
from common.run.record import Record, SlurmTask, Status, read_record, write_record

POLL_S = 2.0

UNANSWERED_S = 600.0
"""For how long SLURM is asked in vain before the command leaves its jobs alone."""


def how_to_follow(tasks: Mapping[Job, Task], folder: Path) -> str:
    """Returns what a person types to follow or to cancel jobs that go on by themselves."""
    jobs = sorted({job for job, _ in tasks.values()})
    listed, spaced = ",".join(map(str, jobs)), " ".join(map(str, jobs))
    return f"  follow  squeue --jobs {listed}\n          tail -F {folder}/.slurm/*.out\n  cancel  scancel {spaced}"


def follow(tasks: Mapping[Job, Task], folder: Path) -> None:
    """Waits until all jobs are over, and lets their records say how each ended.

    Args:
        tasks: SLURM's numbers of the jobs.
        folder: The folder of the run or the sweep.

    Raises:
        RunError: SLURM does not answer; the jobs go on.
    """
    answered_s = time.monotonic()
    try:
        with displayed(list(tasks)) as display:
            while any(job.state not in OVER for job in tasks):
                display.refresh()
                time.sleep(POLL_S)
                try:
                    found = standings({job for job, _ in tasks.values()})
                except UnansweredError as error:
                    _wait_for_answer(error, time.monotonic() - answered_s, tasks, folder)
                else:
                    answered_s = time.monotonic()
                    _note(tasks, found, display)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on without this command.\n{how_to_follow(tasks, folder)}")
        raise


def state_of(job: Job, standing: Standing | None) -> State:
    """Returns how a job stands.

    Args:
        job: The job.
        standing: What SLURM says of it, or None if that remembers it no more.
    """
    if standing is not None and standing.is_in_queue:
        return "pending" if standing.state == "PENDING" else "running"
    if job.is_finished:
        return "finished"
    is_cancelled = standing is not None and standing.state == "CANCELLED"
    is_stopped = job.record.status == "stopped" and is_last_try(job, standing)
    return "stopped" if is_cancelled or is_stopped else "failed"


def is_last_try(job: Job, standing: Standing | None) -> bool:
    """Returns whether a job's record is of its last try: a later one may have ended before Python began."""
    recorded = job.record.slurm.num_restarts if job.record.slurm is not None else None
    return recorded is not None and (standing is None or recorded == standing.num_restarts)


def _note(tasks: Mapping[Job, Task], found: Mapping[Task, Standing], display: Display) -> None:
    """Notes how all jobs stand."""
    for job, task in tasks.items():
        state = state_of(job, found.get(task))
        if job.state not in OVER and state != job.state:
            if state == "failed" or state == "stopped":
                _complete_record(job, state, found.get(task))
            display.tell(job, state)


def _complete_record(job: Job, state: Literal["failed", "stopped"], standing: Standing | None) -> None:
    """Lets the record say how a job ended that could not do it itself, so that all that read it say the same."""
    record = job.record
    if record.status == "finished" or is_kept(job.folder) or (record.status == state and is_last_try(job, standing)):
        return  # What was finished before is as it was.
    said = f" (SLURM: {standing.state})" if standing is not None else ""
    error = f"it left the queue without a result{said}; what it printed is in .slurm/"
    if standing is not None and standing.num_restarts and not is_last_try(job, standing):
        error = f"its try {standing.num_restarts + 1} left the queue before Python began{said}; see .slurm/"
    if state == "stopped":
        error = f"it was taken out of the queue{said}"
    status: Status = "stopped" if state == "stopped" or record.has_finished else "failed"
    write_record(job.folder, replace(record, status=status, error=error))


def _wait_for_answer(error: UnansweredError, waited_s: float, tasks: Mapping[Job, Task], folder: Path) -> None:
    """Says that SLURM does not answer, and raises if it has not for long."""
    if waited_s > UNANSWERED_S:
        raise RunError(
            f"{error}, for {UNANSWERED_S / 60:.0f} minutes. The jobs go on without this command.\n"
            f"{how_to_follow(tasks, folder)}"
        ) from error
    print(f"{error}. The jobs go on; asked again.", flush=True)


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
    facts = snapshot_facts(run.folder, run.record.engine.checkpoints, listing, composer.code_state)
    tasks = _submit(command, run, [(point, run)], facts)
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
    pairs = [(job.point, job.folder) for job in jobs]
    for number, script in enumerate(write_jobs(folder, pairs, resources, most)):
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
