"""The local launcher: subtasks run on this machine, by default in this process and one after the other.

With `max_parallel` several points of a sweep run at a time, each in a process that starts from the copy of the code.

A sweep runs from a copy of the code, made before its first point. A grid's configurations are composed by then, and
those of trials from what was read then: no YAML file is read later. What this process has imported stays as it is, what
it imports later comes from the copy, and points that have processes of their own start from the copy. So an edit in
mid-sweep reaches no point.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus

from common.config import Device
from common.errors import RunStoppedError, message_of
from common.foreign.hydra import error_of
from common.launch.display import Display, Job, displayed
from common.launch.isolation import forget_frames
from common.launch.job import run_job, run_other_rank, run_own_job
from common.launch.point import Command, Composer, Point
from common.launch.resources import LocalResources, Resources, check_gpus, count_gpus, granted
from common.launch.role import (
    JUDGED_VARIABLE,
    PARALLEL_VARIABLE,
    PARENT_VARIABLE,
    count_parallel,
    folder_of_first_rank,
    folder_of_job,
)
from common.launch.snapshot import FOLDER_NAME as CODE
from common.launch.snapshot import imports_from, program_in, variables_of_job
from common.launch.sweep.run import SweepFolder, run_sweep
from common.run.continuation import Run, choose_folder, earlier_runs
from common.run.files import UnusableFileError, open_to_append
from common.run.stop import is_stop_requested, name_of_stop, notice_of_stop, stop_on_signals
from common.utils.misc import available_cpus

CONSOLE = "console.log"
"""What a point's process writes to the terminal that it does not have."""

POLL_S = 0.1


@dataclass
class Workers:
    """The processes of a batch.

    Attributes:
        places: What is free: for each process that may run besides, the GPUs that it has to itself, None for all.
        running: Those that run.
        held: The place of each of them.
        are_stopping: Whether they were asked to save and leave.
    """

    places: deque[str | None]
    running: dict[Job, subprocess.Popen[bytes]] = field(default_factory=dict)
    held: dict[Job, str | None] = field(default_factory=dict)
    are_stopping: bool = False


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process sees, each by the name that makes another process see it."""
    named = os.environ.get(_gpu_variable()) or os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[: count_gpus()] if named else [str(number) for number in range(count_gpus())]


def share_out(gpus: list[str], num_places: int) -> list[str | None]:
    """Returns what a process in each of so many places is to see of the GPUs; no two see the same one."""
    share = len(gpus) // num_places
    return [",".join(gpus[place * share : (place + 1) * share]) for place in range(num_places)]


def run_in_processes(sweep: SweepFolder, points: list[Point], places: list[str | None]) -> None:
    """Runs points, at most some at a time; a stop is passed on to all.

    Args:
        sweep: Holds the points' folders.
        points: What to run.
        places: One for each process that may run at the same time: the GPUs that it sees, None for all.

    Raises:
        RunStoppedError: the sweep was asked to stop; all that ran has saved.
    """
    jobs = [Job(point, sweep.folder) for point in points]
    waiting, workers = deque(jobs), Workers(deque(places))
    with stop_on_signals(says_so=False), displayed(jobs) as display:
        while workers.running or (waiting and not is_stop_requested()):
            while waiting and workers.places and not is_stop_requested():
                _start(sweep, waiting.popleft(), workers, display)
            if is_stop_requested() and not workers.are_stopping:
                _stop(workers)
            for job in [job for job, process in workers.running.items() if process.poll() is not None]:
                _end(sweep, job, workers, display)
            display.refresh()
            time.sleep(POLL_S)
        if is_stop_requested():
            raise RunStoppedError(f"Stopped by {name_of_stop()}; what ran has saved. The same command continues.")


def _start(sweep: SweepFolder, job: Job, workers: Workers, display: Display) -> None:
    """Starts a point's process, unless the point is finished."""
    run = sweep.reserve(job.point)
    if run is None:
        job.enter("finished")
        return
    run.lock.release()  # The process takes it.
    job.folder, code = run.folder, sweep.folder / CODE
    print(f"  {run.reason}; output in {job.folder / CONSOLE}", flush=True)
    num_parallel = len(workers.places) + len(workers.held)
    workers.held[job] = gpus = workers.places.popleft()
    own = {PARENT_VARIABLE: str(os.getpid()), PARALLEL_VARIABLE: str(num_parallel), JUDGED_VARIABLE: job.point.judged}
    own |= {} if gpus is None else {_gpu_variable(): gpus}
    environment = {**os.environ, **variables_of_job(job.folder, code), **own}
    try:
        output = open_to_append(job.folder, CONSOLE)
    except UnusableFileError as error:
        sweep.errors[job.point.index] = str(error)
        job.enter("failed")
        return
    with output:
        workers.running[job] = subprocess.Popen(
            [sys.executable, str(program_in(code)), *job.point.overrides],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on, once.
        )
    display.tell(job, "running")


def _end(sweep: SweepFolder, job: Job, workers: Workers, display: Display) -> None:
    """Notes how a process ended."""
    status = workers.running.pop(job).returncode
    workers.places.append(workers.held.pop(job))
    is_finished = status == 0 and job.is_finished
    if not is_finished and not workers.are_stopping:
        error = job.record.error
        last_line = _last_line(job.folder / CONSOLE)
        sweep.errors[job.point.index] = error or f"its process ended with status {status}; {last_line}"
    display.tell(job, "finished" if is_finished else "stopped" if workers.are_stopping else "failed")


def _gpu_variable() -> str:
    """Returns the environment variable by which PyTorch's build says which GPUs a process sees."""
    import torch

    return "CUDA_VISIBLE_DEVICES" if torch.version.hip is None else "HIP_VISIBLE_DEVICES"


def _stop(workers: Workers) -> None:
    """Asks all processes to save and leave."""
    workers.are_stopping = True
    print(f"\n{notice_of_stop()}", flush=True)
    for process in workers.running.values():
        process.send_signal(signal.SIGTERM)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the last line of its output: {lines[-1]}" if lines else "it printed nothing"


def launch(command: Command) -> list[JobReturn]:
    """Runs every point of a command on this machine.

    Returns:
        The points' results, in the order of their indices.

    Raises:
        ConfigError: the configuration cannot be run on this machine; nothing was started.
        RunError: at least one point of a sweep failed; the others were finished first.
        RunStoppedError: the command was asked to stop.
    """
    composer = Composer(command)
    points = composer.examples()
    ranks_on_gpus = [point.ranks_per_node for point in points if point.config.config.device == "gpu"]
    if ranks_on_gpus:
        check_gpus(max(ranks_on_gpus))
    _tell_what_is_not_granted(command.resources, "gpu" if ranks_on_gpus else "cpu")
    num_parallel = _count_parallel(command, max(ranks_on_gpus, default=0))
    _limit_threads(command.resources, num_parallel, points[0].ranks_per_node)
    if not command.search.swept:
        return [_run_single(command, points[0])]
    if num_parallel == 1 and points[0].num_ranks == 1:
        return run_sweep(command, composer, partial(run_in_turn, command))
    # Ranks, too, have a process for each point: they stay connected until it ends.
    places: list[str | None] = [None] * num_parallel
    if ranks_on_gpus and num_parallel > 1:
        places = share_out(visible_gpus(), num_parallel)
    return run_sweep(command, composer, partial(run_in_processes, places=places))


def run_in_turn(command: Command, sweep: SweepFolder, points: list[Point]) -> None:
    """Runs points in this process, one after the other.

    Args:
        command: What is asked for.
        sweep: Holds the points' folders.
        points: What to run.

    Raises:
        RunStoppedError: the sweep was asked to stop; the point that ran has saved.
    """
    with stop_on_signals(), imports_from(sweep.folder / CODE):
        for point in points:
            if is_stop_requested():  # After the last moment at which a run would have noticed.
                raise RunStoppedError(f"Stopped by {name_of_stop()} between two points. The same command continues.")
            run = sweep.reserve(point)
            if run is None:
                continue
            result = run_job(command.context, command.task_function, point, run)
            if result.status == JobStatus.FAILED:
                error = error_of(result)
                if isinstance(error, RunStoppedError):
                    raise error
                sweep.errors[point.index] = f"{type(error).__name__}: {error}"
                print(message_of(error), flush=True)
                forget_frames(error)


def _run_single(command: Command, point: Point) -> JobReturn:
    """Runs a command that has one point, be it a plain run, a job with a folder of its own, or a later rank."""
    first_rank_folder, own_folder = folder_of_first_rank(), folder_of_job()
    if first_rank_folder is not None:
        return run_other_rank(command.task_function, point, first_rank_folder)
    if own_folder is not None:
        result = run_own_job(command.context, command.task_function, point, own_folder)
    else:
        run = choose_run(command, point)
        result = run_job(command.context, command.task_function, point, run)
    if result.status == JobStatus.FAILED:
        raise error_of(result)
    return result


def choose_run(command: Command, point: Point) -> Run:
    """Chooses and locks the folder of a plain run."""
    path = Path(command.config.hydra.sweep.dir)
    earlier = earlier_runs(path.parent, point.record)
    return choose_folder(path, point.record, earlier, may_continue=point.may_continue)


def _tell_what_is_not_granted(resources: Resources, device: Device) -> None:
    less = granted(device, resources)
    _capped("nodes", resources.nodes, less.nodes)
    _capped("gpus_per_node", resources.num_gpus or 0, less.num_gpus or 0)


def _count_parallel(command: Command, gpus_per_point: int) -> int:
    """Returns how many points share this machine: also where this process runs one of them."""
    if folder_of_job() is not None:
        return count_parallel()
    if not command.search.swept or not isinstance(command.resources, LocalResources):
        return 1
    most = available_cpus()
    if gpus_per_point:
        most = min(most, count_gpus() // gpus_per_point)
    return _capped("max_parallel", command.resources.max_parallel, most)


def _limit_threads(resources: Resources, num_parallel: int, ranks_per_node: int) -> None:
    """Gives torch as many threads as the subtask has CPUs."""
    import torch

    share = max(1, available_cpus() // (ranks_per_node * num_parallel))
    wanted = resources.cpus_per_task or share
    torch.set_num_threads(_capped("cpus_per_task", wanted, share))


def _capped(field: str, wanted: int, granted: int) -> int:
    """Returns a number of what a machine has, at most as large as is granted; says so where it is less than wanted."""
    if wanted > granted:
        print(f"hydra.launcher.{field}={wanted} is more than this machine grants: {granted} used.")
    return min(wanted, granted)
