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
from common.launch.point import Point
from common.launch.progress import Job, State, show_counts, tell_state
from common.launch.ranks import PARENT_VARIABLE
from common.launch.snapshot import FOLDER_NAME as CODE
from common.launch.snapshot import program_in, variables_of_job
from common.launch.sweep_folder import SweepFolder
from common.run.choice import read_record
from common.run.stop import is_stop_requested, name_of_stop, stop_on_signals

CONSOLE = "console.log"
"""What a point's process writes to the terminal that it does not have."""

POLL_S = 0.1
SHOW_EVERY_S = 1.0


@dataclass
class Workers:
    """The processes of a batch.

    Attributes:
        running: Those that run, by their point's index.
        jobs: What was started, by the point's index.
        states: How each point stands.
        are_stopping: Whether they were asked to save and leave.
    """

    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    are_stopping: bool = False


def run_in_processes(sweep: SweepFolder, points: list[Point], max_parallel: int) -> None:
    """Runs points, at most some at a time; a stop is passed on to all.

    Args:
        sweep: Holds the points' folders.
        points: What to run.
        max_parallel: How many processes may run at the same time.

    Raises:
        RunStoppedError: the sweep was asked to stop; all that ran has saved.
    """
    waiting = deque(points)
    workers = Workers(states={point.index: "pending" for point in points})
    shown_s = 0.0
    with stop_on_signals():
        while workers.running or (waiting and not is_stop_requested()):
            while waiting and len(workers.running) < max_parallel and not is_stop_requested():
                _start(sweep, waiting.popleft(), workers)
            if is_stop_requested() and not workers.are_stopping:
                _stop(workers)
            for index in [index for index, process in workers.running.items() if process.poll() is not None]:
                _end(sweep, index, workers)
            if time.monotonic() - shown_s > SHOW_EVERY_S:
                shown_s = time.monotonic()
                show_counts(workers.states, workers.jobs)
            time.sleep(POLL_S)
        if is_stop_requested():
            raise RunStoppedError(f"Stopped by {name_of_stop()}; what ran has saved. The same command continues.")


def _start(sweep: SweepFolder, point: Point, workers: Workers) -> None:
    """Starts a point's process, unless the point is finished."""
    choice = sweep.reserve(point)
    if choice is None:
        workers.states[point.index] = "finished"
        return
    choice.lock.release()  # The process takes it.
    folder, code = choice.folder, sweep.folder / CODE
    print(f"  {choice.reason}; output in {folder / CONSOLE}", flush=True)
    environment = {**os.environ, **variables_of_job(folder, code), PARENT_VARIABLE: str(os.getpid())}
    with (folder / CONSOLE).open("ab") as output:
        workers.running[point.index] = subprocess.Popen(
            [sys.executable, str(program_in(code)), *point.overrides],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on, once.
        )
    workers.jobs[point.index] = Job(point, folder)
    workers.states[point.index] = "running"


def _end(sweep: SweepFolder, index: int, workers: Workers) -> None:
    """Notes how a process ended."""
    status = workers.running.pop(index).returncode
    job = workers.jobs[index]
    record = read_record(job.folder)
    is_finished = status == 0 and record["status"] == "finished"
    if not is_finished and not workers.are_stopping:
        error = record.get("error") if record["status"] == "failed" else None
        sweep.errors[index] = error or f"its process ended with status {status}; {_last_line(job.folder / CONSOLE)}"
    workers.states[index] = "finished" if is_finished else "failed"
    tell_state(job, workers.states[index])


def _stop(workers: Workers) -> None:
    """Asks all processes to save and leave."""
    workers.are_stopping = True
    for process in workers.running.values():
        process.send_signal(signal.SIGTERM)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return f"its last words: {lines[-1]}" if lines else "it said nothing"
