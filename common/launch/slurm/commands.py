"""SLURM's commands: what is asked of it, and that a failure of its own is no answer.

What was submitted is never submitted twice, and never forgotten: `sbatch` may fail although the job has come about.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Container
from pathlib import Path

from common.errors import ConfigError
from common.launch.resources import SlurmResources
from common.launch.role import FOLDER_VARIABLE, JOB_VARIABLE, JUDGED_VARIABLE, PARENT_VARIABLE, STARTED_VARIABLE
from common.launch.slurm.batch import script_of
from common.launch.slurm.options import check_options
from common.run import queue
from common.run.queue import UnansweredError, asked, said_by, standings

LEADING_TO_SLURM = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
"""Variables of SLURM's that say where it is. All others tell a command or a job what nobody asked for here."""

OF_SLURM = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SCONTROL_")

OF_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

OF_THIS_PROCESS = (
    *OF_RANKS,
    FOLDER_VARIABLE,
    PARENT_VARIABLE,
    STARTED_VARIABLE,
    JOB_VARIABLE,
    JUDGED_VARIABLE,
    "WANDB_SERVICE",
)
"""Variables that say what this process is, and a job is not."""

TRANSIENT = re.compile(
    "timed out|no answer within|unable to contact|unable to connect|connection (refused|reset|failure|timed)|"
    "not responding|standby mode|zero bytes|transport endpoint|temporarily|try again|missing socket|broken pipe",
    re.IGNORECASE,
)
"""What `sbatch` says where it is SLURM that is at fault, and not what it is asked for."""


def check_request(num_points: int, resources: SlurmResources) -> None:
    """Asks SLURM whether it could ever run such a job.

    Raises:
        ConfigError: it could not, or there is no SLURM.
    """
    check_options(resources.additional_parameters)
    if 2 * resources.signal_delay_s > 60 * resources.timeout_min:
        raise ConfigError(
            f"hydra.launcher.timeout_min={resources.timeout_min} with "
            f"hydra.launcher.signal_delay_s={resources.signal_delay_s}: a job that is told to save so early in its "
            f"{60 * resources.timeout_min} s gets nowhere. Use at most half of the limit: "
            f"hydra.launcher.signal_delay_s={30 * resources.timeout_min}, or a longer limit."
        )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "hydra/launcher=slurm needs SLURM's commands, and sbatch was not found. Type the command on a cluster's "
            "login node, or use hydra/launcher=local."
        )
    try:
        num_together = min(num_points, largest_array()) if num_points > 1 else 1
        _sbatch(["--test-only"], script_of(Path.cwd(), num_together, resources), resources)
    except UnansweredError as error:
        raise ConfigError(f"{error}\nNothing was submitted. Try again when SLURM answers.") from error


def largest_array() -> int:
    """Returns how many points the cluster allows in one array.

    Raises:
        UnansweredError: SLURM does not answer.
    """

    def read(printed: str) -> int:
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", printed, re.MULTILINE)
        if found is None:
            raise ValueError(printed)
        return max(1, int(found[1]))

    return asked(["scontrol", "show", "config"], read)


def submit(script: Path, resources: SlurmResources, after: int | None, known: Container[int]) -> int:
    """Submits a script, held back until `release`.

    Args:
        script: The script.
        resources: What it asks for.
        after: A job that is to be over before this one begins.
        known: Jobs that were submitted from there before.

    Returns:
        The job's number, the array's where it is one.

    Raises:
        ConfigError: SLURM cannot run such a job.
        UnansweredError: SLURM does not answer.
    """
    options = ["--parsable", "--hold", *([] if after is None else [f"--dependency=afterany:{after}"])]

    def arrived() -> str | None:
        """Returns the job that came about although nobody said so."""
        return next((str(job) for job in jobs_from(script.parent) if job not in known), None)

    return int(_sbatch(options, script.read_text(encoding="utf-8"), resources, arrived).split(";")[0])


def release(job_id: int) -> str | None:
    """Lets a job start that was held back; returns what went wrong, or None."""
    problem = _told("scontrol", "release", str(job_id))
    if problem is None:
        return None
    try:
        is_held = any(one.is_held for one in standings([job_id]).values())
    except UnansweredError:
        return problem
    return problem if is_held else None


def cancel(job_id: int) -> str | None:
    """Takes a job out of the queue; returns what went wrong, or None."""
    return _told("scancel", str(job_id))


def jobs_from(place: Path) -> list[int]:
    """Returns the jobs that wait and were submitted from a folder.

    Raises:
        UnansweredError: SLURM does not answer.
    """

    def read(printed: str) -> list[int]:
        pairs = (line.split(maxsplit=1) for line in printed.splitlines())
        return sorted({int(job) for job, directory in pairs if directory.strip() == str(place)})

    return asked(["squeue", "--me", "--noheader", "--states=PENDING", "--format", "%F %Z"], read)


def environment_of_job(resources: SlurmResources) -> dict[str, str]:
    """Returns this process's environment without what is no business of a job's.

    The shell's own choice of an account stays where the configuration makes none: sites tell users to set it.
    """
    kept = [*LEADING_TO_SLURM, *(["SBATCH_ACCOUNT"] if resources.account is None else [])]
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not (name.startswith(OF_SLURM) or name in OF_THIS_PROCESS)
    }


def _told(*words: str) -> str | None:
    """Gives a command, again if it fails; returns what went wrong, or None."""
    try:
        asked(list(words), str)
    except UnansweredError as error:
        return str(error)
    return None


def _sbatch(
    options: list[str], script: str, resources: SlurmResources, arrived: Callable[[], str | None] = lambda: None
) -> str:
    """Runs `sbatch`, again where SLURM was at fault; returns what it prints, or what has arrived all the same."""
    problem = ""
    for number in range(queue.NUM_TRIES):
        if number:
            time.sleep(queue.PAUSE_S)
            found = arrived()
            if found is not None:
                return found
        said = said_by(["sbatch", *options], input=script, env=environment_of_job(resources))
        if not isinstance(said, str) and said.returncode == 0:
            return said.stdout.strip()
        problem = said if isinstance(said, str) else said.stderr.strip()
        problem = problem.removeprefix("sbatch: ").replace("\nsbatch: ", "\n")
        if problem and not TRANSIENT.search(problem):
            raise ConfigError(
                f"SLURM cannot run such a job: {problem}\nAsked for in hydra.launcher.* of the task file."
            )
    found = arrived()
    if found is None:
        raise UnansweredError(f"SLURM does not answer `sbatch`, asked {queue.NUM_TRIES} times: {problem}")
    return found
