"""What every subtask configures, whichever engine runs it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from hydra.conf import HydraConf, JobConf, RunMode, SweepDir
from omegaconf import MISSING

from common.utils.beartype import ge, gt, not_empty

Device = Literal["cpu", "gpu"]
"""Where the numbers are crunched. `gpu` is any accelerator that PyTorch drives through its CUDA or ROCm build."""


CONTINUE = "last"
"""The value of `config.ckpt_path` that continues."""


def linked(key: str) -> Any:
    """Returns a dataclass field that takes its value from another key of the run's configuration.

    The link is the field's own default, so that it holds however a project registers the dataclass.

    Args:
        key: The key, for example `config.seed`.
    """
    return field(default_factory=lambda: f"${{{key}}}")


def is_link(value: object) -> bool:
    """Returns whether a value is a link that no configuration has resolved: its dataclass was built by hand."""
    return isinstance(value, str) and value.startswith("${")


@dataclass
class BaseSubtaskConfig:
    """Settings of one subtask: a plain run, or one point of a sweep.

    Relative paths start where the command was typed, and are stored absolute.

    Attributes:
        seed: Seeds Python, NumPy, torch and the order of the data.
        device: `cpu` or `gpu`.
        data_dir: Where datasets lie and are downloaded to.
        output_dir: The run's folder, chosen by the launcher; not for setting by hand.
        compile: Whether the network is compiled with `torch.compile`.
        ckpt_path: `last` continues the newest earlier run of the same configuration if it is unfinished; null always
            starts afresh; a path starts a run of its own from that checkpoint, which the same command continues.
        save_every_n_minutes: How often to save within an epoch, in minutes; each epoch's end and each stop save too.
        skip_finished: Whether a sweep that is launched again leaves its finished points as they are.
        preflight_only: Whether to stop after the configuration was checked.
    """

    seed: Annotated[int, ge(0)] = 0
    device: Device = "cpu"
    data_dir: Annotated[str, not_empty()] = "${oc.env:AI_RESEARCH_PATH}/data/"
    output_dir: str = "${hydra:runtime.output_dir}"
    compile: bool = False
    ckpt_path: Annotated[str, not_empty()] | None = CONTINUE
    save_every_n_minutes: Annotated[float, gt(0)] = 10
    skip_finished: bool = False
    preflight_only: bool = False


@dataclass
class BaseTaskConfig:
    """The primary configuration, to which an engine adds the groups that a task file picks from.

    Attributes:
        project: The name of the project's folder, for use as `${project}`; not for setting.
        task: The name of the task file, for use as `${task}`; not for setting.
        config: The settings of each subtask.
    """

    project: str = MISSING
    task: str = MISSING
    config: Any = MISSING


PATH_KEYS = ("config.data_dir", "config.ckpt_path")
"""Keys whose relative values start where the command was typed."""


def _defaults() -> list[Any]:
    return [
        {"output": "default"},
        {"launcher": "local"},
        {"sweeper": "grid"},
        {"help": "default"},
        {"hydra_help": "default"},
        {"hydra_logging": "quiet"},
        {"job_logging": "run"},
        {"callbacks": None},
        {"env": "default"},
        "_self_",
    ]


@dataclass
class BaseHydraConfig(HydraConf):
    """Hydra's own settings.

    Hydra honours a launcher only in MULTIRUN mode, so that is always the mode; a comma in a value sweeps, with or
    without `-m`.

    Attributes:
        defaults: Which of Hydra's own groups are used.
        mode: Always MULTIRUN.
        sweep: Where outputs go; `common/launch` makes the folder, and its name unique.
        job: Its name is the task's; the run's log is named after it.
    """

    defaults: list[Any] = field(default_factory=_defaults)
    mode: RunMode | None = RunMode.MULTIRUN
    sweep: SweepDir = field(default_factory=lambda: SweepDir(dir="???", subdir="."))
    job: JobConf = field(default_factory=lambda: JobConf(chdir=False))
