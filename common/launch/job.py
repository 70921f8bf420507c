"""One job: from a composed configuration to a finished folder."""

import contextlib
import copy
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import DamagedRunError, RunStoppedError
from common.launch.isolation import isolated
from common.launch.point import Point
from common.launch.ranks import end_with_parent, further_ranks
from common.run.continuation import Choice, own_choice, read_record
from common.run.provenance import Provenance, Status
from common.run.stop import stop_on_signals
from common.utils.hydra import editable, hydra_config

log = logging.getLogger(__name__)


def run_job(context: HydraContext, task_function: TaskFunction, point: Point, choice: Choice) -> JobReturn:
    """Runs a job in its folder, with its configuration, log and provenance written there.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        point: What to run, settled.
        choice: The folder, locked; the lock is released at the end.

    Returns:
        The job's result or, for a job that failed, its error.
    """
    with editable(point.config):
        point.config.hydra.sweep.dir, point.config.hydra.sweep.subdir = str(choice.folder), "."
        point.config.config.output_dir = str(choice.folder)
    try:
        return hydra_utils.run_job(
            hydra_context=context,
            task_function=recorded(task_function, point, choice),
            config=point.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    finally:
        choice.lock.release()


def run_own_job(context: HydraContext, task_function: TaskFunction, point: Point, folder: Path) -> JobReturn:
    """Runs what this process was submitted for, in the folder that was chosen then.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        point: What to run, settled. Its command varies nothing: what its sweep varied stands in the folder's record.
        folder: The job's own folder.
    """
    end_with_parent(signal.SIGTERM)
    point.own_overrides = read_record(folder)["overrides"]
    choice = own_choice(folder, point.launch())
    if "slurm" in choice.record:  # A later try may end before it can say so.
        choice.record["slurm"]["num_restarts"] = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    return run_job(context, task_function, point, choice)


def recorded(task_function: TaskFunction, point: Point, choice: Choice) -> TaskFunction:
    """Wraps a task function so that its run's start and end are recorded, however it ends."""

    def run(config: DictConfig) -> Any:
        log.info("Folder %s: %s. Identity %s.", choice.folder, choice.reason, choice.record["identity"])
        provenance = Provenance(choice.folder, choice.record)
        provenance.start(seed=config.config.seed, data=point.data, origin=choice.record.get("origin") or _origin(point))
        started = time.monotonic()
        try:
            with stop_on_signals(), isolated(), further_ranks(point.ranks_per_node, point.overrides, choice.folder):
                result = task_function(config)
        except DamagedRunError:
            provenance.take_back()
            raise
        except BaseException as error:
            status: Status = "stopped" if isinstance(error, RunStoppedError | KeyboardInterrupt) else "failed"
            if status == "failed":
                log.debug("The run failed.", exc_info=error)
            with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
                provenance.end(status, f"{type(error).__name__}: {error}", seconds=round(time.monotonic() - started, 1))
            raise
        provenance.end("finished", result=result, seconds=round(time.monotonic() - started, 1))
        return result

    return run


def run_further_rank(task_function: TaskFunction, point: Point, folder: Path) -> JobReturn:
    """Runs this process's share of a job that another process leads, which keeps the record and says if it was stopped.

    Args:
        task_function: Runs a composed configuration.
        point: What to run, settled.
        folder: The run's folder.
    """
    end_with_parent(signal.SIGKILL)
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


def _origin(point: Point) -> str | None:
    """Returns the checkpoint that a new run starts from, if it does."""
    path = point.config.config.ckpt_path
    return None if point.may_continue else path
