"""One job: from a composed configuration to a finished folder."""

import contextlib
import copy
import logging
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError, DamagedRunError, RunStoppedError
from common.foreign.hydra import error_of
from common.launch.isolation import isolated
from common.launch.point import Point
from common.launch.ranks import further_ranks
from common.launch.role import end_with_parent, fingerprint_of_judged, folder_of_job
from common.run.atomic import write_text_atomically
from common.run.continuation import Run, check_own_run, own_run
from common.run.files import UnusableFileError
from common.run.finished import forget_finished, put_back_finished
from common.run.folder import make_ready
from common.run.provenance import end_launch, start_launch
from common.run.record import FILE_NAME, Status
from common.run.stop import stop_on_signals
from common.utils.hydra import editable, hydra_config

log = logging.getLogger(__name__)


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
        make_ready(run.folder)
        result = hydra_utils.run_job(
            hydra_context=context,
            task_function=recorded(task_function, point, run),
            config=point.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        error = error_of(result) if result.status == JobStatus.FAILED else None
        return result
    except UnusableFileError as raised:
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
    if run.record.slurm is not None:  # A later try may end before it can say so.
        run.record.slurm.num_restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    point = replace(point, own_overrides=run.record.overrides)
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


def recorded(task_function: TaskFunction, point: Point, run: Run) -> TaskFunction:
    """Wraps a task function so that its run's start and end are recorded, however it ends."""

    def work(config: DictConfig) -> Any:
        log.info("Folder %s: %s. Identity %s.", run.folder, run.reason, run.record.identity)
        before = (run.folder / FILE_NAME).read_text(encoding="utf-8")
        start_launch(run, seed=config.config.seed, data=point.data, origin=run.record.origin or _origin(point))
        started = time.monotonic()
        try:
            with (
                stop_on_signals(),
                isolated(),
                further_ranks(point.ranks_per_node, point.overrides, run.folder, point.judged),
            ):
                result = task_function(config)
        except DamagedRunError:
            write_text_atomically(run.folder / FILE_NAME, before)
            raise
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


def run_further_rank(task_function: TaskFunction, point: Point, folder: Path) -> JobReturn:
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


def _failed(error: Exception) -> JobReturn:
    """Returns the result of a job that did not start."""
    result = JobReturn()
    result.return_value, result.status = error, JobStatus.FAILED
    return result


def _origin(point: Point) -> str | None:
    """Returns the checkpoint that a new run starts from, if it does."""
    path = point.config.config.ckpt_path
    return None if point.may_continue else path
