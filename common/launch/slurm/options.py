"""Which of `sbatch`'s options are the launcher's own: it could not find, stop or continue a job that has others."""

from collections.abc import Iterable

from common.errors import ConfigError

FIELDS = {
    "account": "account",
    "array": "array_parallelism",
    "constraint": "constraint",
    "cpus-per-task": "cpus_per_task",
    "gpus-per-node": "gpus_per_node",
    "error": "stderr_to_stdout",
    "job-name": "name",
    "mem": "mem_gb",
    "no-requeue": "max_num_timeout",
    "nodes": "nodes",
    "ntasks": "tasks_per_node",
    "ntasks-per-node": "tasks_per_node",
    "partition": "partition",
    "qos": "qos",
    "requeue": "max_num_timeout",
    "signal": "signal_delay_s",
    "time": "timeout_min",
}
"""The field that says what an option would."""

OWN = (*("chdir", "dependency", "export", "hold", "open-mode", "output", "parsable", "test-only", "wait", "wrap"),)
"""Options that no field stands for."""


def check_options(names: Iterable[str]) -> None:
    """Checks that further options of `sbatch` are none of the launcher's own; `sbatch` takes shortened names, too.

    Raises:
        ConfigError: one is.
    """
    for name in names:
        own = next((one for one in (*FIELDS, *OWN) if one.startswith(str(name).strip("-").replace("_", "-"))), None)
        if own is not None:
            remedy = f"Use hydra.launcher.{FIELDS[own]}." if own in FIELDS else "Leave it out."
            raise ConfigError(
                f"hydra.launcher.additional_parameters has {name}: sbatch's option --{own} is the launcher's own. "
                f"{remedy}"
            )
