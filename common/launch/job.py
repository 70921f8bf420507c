"""One job: from a composed configuration to a finished folder, with all the ranks that share it.

On this machine the first rank starts the same command again for each other one; in a job of a cluster SLURM starts all
of them (`common/launch/slurm/batch.py`). Each finds its number in the environment, where Lightning looks for it too.
Only the first one chooses the folder, keeps the record and logs; the others write to `rank_<number>.log`.
"""

import contextlib
import copy
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError, RunError, RunStoppedError
from common.foreign.hydra import error_of
from common.launch.isolation import isolated
from common.launch.point import Point
from common.launch.role import (
    FOLDER_VARIABLE,
    JUDGED_VARIABLE,
    PARENT_VARIABLE,
    are_ranks_started,
    end_with_parent,
    fingerprint_of_judged,
    folder_of_job,
)
from common.run.checkpoint import last_checkpoint
from common.run.continuation import Run, check_own_run, own_run
from common.run.files import open_to_append
from common.run.finished import forget_finished, put_back_finished
from common.run.folder import make_ready
from common.run.provenance import end_launch, start_launch
from common.run.record import Status
from common.run.stop import stop_on_signals
from common.utils.hydra import editable, hydra_config

log = logging.getLogger(__name__)

GRACE_S = 15
"""How long the others may take to leave once one process is done or has failed."""

POLL_S = 0.5


@contextmanager
def other_ranks(num_ranks: int, overrides: list[str], folder: Path, judged: str) -> Iterator[None]:
    """Runs the other ranks beside the block, which is the first, unless they run already.

    Args:
        num_ranks: Processes in all, on this machine.
        overrides: The overrides of the one subtask to run.
        folder: The run's folder.
        judged: A fingerprint of the configuration that they are to build.

    Raises:
        RunError: the block ended well, but another rank did not.
    """
    if num_ranks == 1 or are_ranks_started():
        yield
        return
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(num_ranks),
        "NODE_RANK": "0",
    }
    with _variables(shared | {"RANK": "0", "LOCAL_RANK": "0"}):
        processes = [_start_rank(rank, overrides, folder, judged) for rank in range(1, num_ranks)]
        is_over = threading.Event()
        threading.Thread(target=_watch_ranks, args=(processes, is_over, folder), daemon=True, name="rank-watch").start()
        try:
            yield
        finally:
            is_over.set()
            _wait_for_ranks(processes)
        for rank, process in enumerate(processes, start=1):
            if process.returncode not in (0, -signal.SIGKILL):  # Killed: it was done, and took too long to leave.
                raise RunError(f"Rank {rank} ended with status {process.returncode}: {folder / f'rank_{rank}.log'}")


def _start_rank(rank: int, overrides: list[str], folder: Path, judged: str) -> subprocess.Popen[bytes]:
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), FOLDER_VARIABLE: str(folder), PARENT_VARIABLE: str(os.getpid())}
    environment = {**os.environ, **own, JUDGED_VARIABLE: judged}
    with open_to_append(folder, f"rank_{rank}.log") as output:
        return subprocess.Popen(
            [sys.executable, sys.argv[0], *overrides],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _watch_ranks(processes: list[subprocess.Popen[bytes]], is_over: threading.Event, folder: Path) -> None:
    """Ends this process if another rank fails and this one does not notice, because it waits for it."""
    while not is_over.wait(POLL_S):
        for rank, process in enumerate(processes, start=1):
            if process.poll() not in (None, 0):
                log.error("Rank %d ended with status %s; see %s.", rank, process.poll(), folder / f"rank_{rank}.log")
                if not is_over.wait(GRACE_S):
                    os._exit(1)
                return


def _wait_for_ranks(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _variables(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            with contextlib.suppress(KeyError):
                os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_job(context: HydraContext, task_function: TaskFunction, point: Point, run: Run) -> JobReturn:
    """Runs a job in its folder, with its configuration, log and provenance written there.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        point: What to run, settled.
        run: The run, locked; the lock is released at the end.

    Returns:
        The job's result or, for a job that failed, its error.
    """
    with editable(point.config):
        point.config.hydra.sweep.dir, point.config.hydra.sweep.subdir = str(run.folder), "."
        point.config.config.output_dir = str(run.folder)
    error: BaseException | None = None
    try:
        mended = make_ready(run.folder, run.record.engine.checkpoints)
        result = hydra_utils.run_job(
            hydra_context=context,
            task_function=recorded(task_function, point, run, mended),
            config=point.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        error = error_of(result) if result.status == JobStatus.FAILED else None
        return result
    except ConfigError as raised:  # The folder's state: this point's alone, where there are others.
        error = raised
        return _failed(raised)
    except BaseException as raised:
        error = raised
        raise
    finally:
        with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
            leave(run, error)
        run.lock.release()


def leave(run: Run, error: BaseException | None) -> None:
    """Sees to it that what was finished before this launch is still there, should this one have failed at its start.

    Args:
        run: The run, which this process leaves.
        error: What ended it, unless it finished.
    """
    if isinstance(error, RunStoppedError) and run.record.slurm is not None and folder_of_job() is not None:
        return  # SLURM may run this launch again, and needs to know of it; whoever comes instead puts it back.
    if error is None:
        forget_finished(run.folder)
    elif put_back_finished(run.folder):
        log.warning(
            "This launch ended before its first checkpoint: nothing of the finished run in %s was changed.", run.folder
        )


def run_own_job(context: HydraContext, task_function: TaskFunction, point: Point, folder: Path) -> JobReturn:
    """Runs what this process was submitted for, in the folder that was chosen then.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        point: What to run, settled. Its command varies nothing: what its sweep varied stands in the folder's record.
        folder: The job's own folder.
    """
    end_with_parent(signal.SIGTERM)
    run = own_run(folder)
    point = replace(point, own_overrides=run.record.overrides)
    # It goes on from its own checkpoint, whatever became of the file that it started from.
    if last_checkpoint(run.folder / run.record.engine.checkpoints) is not None:
        point = replace(point, origin=run.record.origin)
    check_own_run(run, point.record)
    check_judged(point)
    if run.record.slurm is not None:  # A later try may end before it can say so.
        run.record.slurm.num_restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return run_job(context, task_function, point, run)


def check_judged(point: Point) -> None:
    """Checks that this process is about to build what was judged where it was started.

    Raises:
        ConfigError: it is not.
    """
    judged = fingerprint_of_judged()
    if judged not in (None, point.judged):
        raise ConfigError(
            f"This process composed another configuration (fingerprint {point.judged}) than the one that was checked "
            f"when it was started ({judged}). Does an environment variable differ? Give the command again."
        )


def recorded(task_function: TaskFunction, point: Point, run: Run, mended: Sequence[str] = ()) -> TaskFunction:
    """Wraps a task function so that its run's start and end are recorded, however it ends.

    Args:
        task_function: Runs a composed configuration.
        point: What to run, settled.
        run: The run, locked.
        mended: What was damaged in its folder, for the log.
    """

    def work(config: DictConfig) -> Any:
        log.info("Folder %s: %s. Identity %s.", run.folder, run.reason, run.record.identity)
        for line in mended:
            log.warning(line)
        start_launch(run, seed=config.config.seed, data=point.data, **_code_facts(point))
        started = time.monotonic()
        try:
            with (
                stop_on_signals(),
                isolated(),
                other_ranks(point.ranks_per_node, point.overrides, run.folder, point.judged),
            ):
                result = task_function(config)
        except BaseException as error:
            status: Status = "stopped" if isinstance(error, RunStoppedError | KeyboardInterrupt) else "failed"
            if status == "failed":
                log.debug("The run failed.", exc_info=error)
            with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
                end_launch(run, status, time.monotonic() - started, error=f"{type(error).__name__}: {error}")
            raise
        end_launch(run, "finished", time.monotonic() - started, result=result)
        return result

    return work


def run_other_rank(task_function: TaskFunction, point: Point, folder: Path) -> JobReturn:
    """Runs this process's share of a job that another process leads, which keeps the record and says if it was stopped.

    Args:
        task_function: Runs a composed configuration.
        point: What to run, settled.
        folder: The run's folder.
    """
    end_with_parent(signal.SIGKILL)
    check_judged(point)
    with editable(point.config):
        point.config.hydra.runtime.output_dir = point.config.config.output_dir = str(folder)
        own = copy.deepcopy(point.config)
        del own["hydra"]
    result = JobReturn()
    with hydra_config(point.config), stop_on_signals():
        logging.basicConfig(level=logging.INFO)
        with contextlib.suppress(RunStoppedError):
            result.return_value = task_function(own)
    result.status = JobStatus.COMPLETED
    return result


def _code_facts(point: Point) -> dict[str, Any]:
    """Returns what the record says of the code; nothing new where it runs from a copy, of which the record knows."""
    if point.code_state is None or point.own_overrides:
        return {}
    return {"git": point.code_state.get(), "snapshot": None}


def _failed(error: Exception) -> JobReturn:
    """Returns the result of a job that did not start."""
    result = JobReturn()
    result.return_value, result.status = error, JobStatus.FAILED
    return result
