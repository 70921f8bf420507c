"""Registers what all engines share: Hydra's settings, launchers and sweepers, how Python logs, and loggers.

A run logs bare messages in the terminal, and dated ones in `<task>.log`.
"""

from dataclasses import fields
from typing import Any

from hydra.conf import JobConf, SweepDir
from hydra_zen import ZenStore

from common.config import BaseHydraConfig, BaseSubtaskConfig, BaseTaskConfig
from common.launch.composing import CONFIG_NAME
from common.launch.resources import LocalLauncherConfig, SlurmLauncherConfig
from common.launch.sweep.optuna import OptunaSweeperConfig
from common.launch.sweep.search import GridSweeperConfig
from common.utils.hydra_zen import generate_config, generate_config_partial
from common.utils.runner import get_project_name, get_task_name

JOB_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {
        "terminal": {"format": "%(message)s"},
        "file": {"format": "[%(asctime)s][%(name)s][%(levelname)s] %(message)s"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "terminal",
            "level": "INFO",
            "stream": "ext://sys.stderr",
        },
        "file": {
            "class": "logging.FileHandler",
            "formatter": "file",
            "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
            "encoding": "utf-8",
            "errors": "backslashreplace",
        },
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    # A failed run's traceback: in the file, not in the terminal.
    "loggers": {"common.launch.job": {"level": "DEBUG"}},
    "disable_existing_loggers": False,
}
"""`hydra.job_logging`: what a job logs goes to the terminal and to the run's folder."""

QUIET_LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"terminal": {"format": "%(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "terminal", "stream": "ext://sys.stderr"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}
"""`hydra.hydra_logging`: before a job starts, only warnings are worth a line."""


def store_configs(store: ZenStore) -> None:
    """Registers the settings of Hydra itself, the launchers and the sweepers."""
    store_hydra(store)


def store_hydra(store: ZenStore) -> None:
    """Registers Hydra's settings and the groups below `hydra/`."""
    folder = f"${{oc.env:AI_RESEARCH_PATH}}/data/{get_project_name()}/{get_task_name()}"
    store(
        BaseHydraConfig(
            sweep=SweepDir(dir=f"{folder}/${{now:%Y-%m-%d_%H-%M-%S}}", subdir="."),
            job=JobConf(name=get_task_name(), chdir=False),
        )
    )
    store(LocalLauncherConfig(), group="hydra/launcher", name="local")
    store(SlurmLauncherConfig(), group="hydra/launcher", name="slurm")
    store(GridSweeperConfig, group="hydra/sweeper", name="grid")
    store(OptunaSweeperConfig, group="hydra/sweeper", name="optuna")
    store(JOB_LOGGING, group="hydra/job_logging", name="run")
    store(QUIET_LOGGING, group="hydra/hydra_logging", name="quiet")


def store_task(store: ZenStore, task: type[BaseTaskConfig], subtask: type[BaseSubtaskConfig]) -> None:
    """Registers an engine's primary configuration.

    Args:
        store: Where to register it.
        task: Says which groups a task picks from.
        subtask: The settings of each subtask.
    """
    config = task(project=get_project_name(), task=get_task_name(), config=generate_config(subtask))
    store(config, name=CONFIG_NAME)


def store_loggers(store: ZenStore, wandb: type, none: type) -> None:
    """Registers the loggers of an engine; `metrics.csv` is written whichever is chosen.

    Args:
        store: Where to register them.
        wandb: The engine's class that logs to W&B.
        none: The engine's class that logs nowhere, whatever it is given.
    """
    logger = generate_config_partial(
        wandb,
        project=f"{get_project_name()}_{get_task_name()}",
        name="${hydra:job.override_dirname}",
        save_dir="${config.output_dir}",
        # Arguments of wandb.init that Lightning's WandbLogger takes as **kwargs: declared, so that they can be set.
        entity=None,
        group=None,
        job_type=None,
        notes=None,
        tags=None,
    )
    store(logger, group="logger", name="wandb")
    # The same keys, so that a task file that sets some holds with either.
    keys = {field.name: None for field in fields(logger) if not field.name.startswith("_")}
    store(generate_config_partial(none, **keys), group="logger", name="none")
