"""Points of a sweep on this machine, several at a time: each is a process that runs from the copy of the code."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import RunStoppedError
from common.launch.display import Display, Job, displayed
from common.launch.point import Point
from common.launch.resources import count_gpus
from common.launch.role import JUDGED_VARIABLE, PARALLEL_VARIABLE, PARENT_VARIABLE
from common.launch.snapshot import FOLDER_NAME as CODE
from common.launch.snapshot import program_in, variables_of_job
from common.launch.sweep.folder import SweepFolder
from common.run.stop import is_stop_requested, name_of_stop, notice_of_stop, stop_on_signals

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
    with (job.folder / CONSOLE).open("ab") as output:
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
