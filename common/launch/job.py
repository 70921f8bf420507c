"""One job: from a composed configuration to a finished folder."""

import logging
import time
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from common.run.provenance import Provenance

log = logging.getLogger(__name__)


def run_job(context: HydraContext, task_function: TaskFunction, config: DictConfig) -> JobReturn:
    """Runs a job in its own folder, with its configuration, log and provenance written there.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        config: A settled configuration; `hydra.sweep.dir` and `hydra.sweep.subdir` name the folder.

    Returns:
        The job's result or, for a job that failed, its error.
    """
    return hydra_utils.run_job(
        hydra_context=context,
        task_function=recorded(task_function),
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def recorded(task_function: TaskFunction) -> TaskFunction:
    """Wraps a task function so that its run's start and end are recorded, however it ends."""

    def run(config: DictConfig) -> Any:
        provenance = Provenance(Path(config.config.output_dir))
        provenance.start(seed=config.config.seed, data=_data_facts(config))
        started = time.monotonic()
        try:
            result = task_function(config)
        except BaseException as error:
            is_interrupt = isinstance(error, KeyboardInterrupt | SystemExit)
            if not is_interrupt:
                log.debug("The run failed.", exc_info=error)
            provenance.end(
                "stopped" if is_interrupt else "failed",
                error=f"{type(error).__name__}: {error}",
                seconds=round(time.monotonic() - started, 1),
            )
            raise
        provenance.end("finished", result=result, seconds=round(time.monotonic() - started, 1))
        return result

    return run


def _data_facts(config: DictConfig) -> dict[str, Any]:
    """Returns where the data comes from, as far as the configuration says."""
    return {
        "data_dir": config.config.data_dir,
        "source": OmegaConf.select(config, "datamodule.config.source", default=None),
    }
