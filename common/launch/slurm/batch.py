"""What SLURM is given: one script for a plain run or for all points of a sweep, and a command for each of them."""

import re
import shlex
import subprocess
from pathlib import Path

from common.errors import ConfigError, RunStoppedError
from common.foreign.submitit import make_sbatch_string
from common.launch.point import Point
from common.launch.ranks import FOLDER_VARIABLE, STARTED_VARIABLE
from common.launch.resources import SlurmResources
from common.launch.snapshot import FOLDER_NAME as CODE
from common.launch.snapshot import program_in, variables_of_job

FOLDER_NAME = ".slurm"

SCRIPT_NAME = "job.sh"

# Signals reach Python alone; the shell survives them to see how it ended, and to have the job queued again: from here,
# because a container has no `scontrol`. A job that was cancelled or preempted meanwhile is in another state.
# 138, 140 and 143 are USR1, USR2 and TERM that came before Python could handle them, and so before it had begun.
REQUEUE = """status=$?
case $status in {stopped}|138|140|143) is_stopped=yes ;; *) is_stopped=no ;; esac
if [ $is_stopped = yes ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most} ]; then
    id="${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}}}"
    if [ "$(squeue --noheader --jobs "${{id:-$SLURM_JOB_ID}}" --format %T)" = RUNNING ]; then
        scontrol requeue "${{id:-$SLURM_JOB_ID}}"
    fi
fi
exit $status"""

# One task for each rank. TERM also comes from `srun` when a rank fails: a rank that cannot handle it yet must not end
# as if it had been stopped, or the job would be queued again. The address is that of the node where `srun` runs.
RANKS = """trap '' TERM
export RANK=$((SLURM_NODEID * {per_node} + SLURM_LOCALID)) LOCAL_RANK=$SLURM_LOCALID NODE_RANK=$SLURM_NODEID
export WORLD_SIZE={all} MASTER_ADDR=$SLURM_LAUNCH_NODE_IPADDR {started}=yes
if [ $RANK -gt 0 ]; then
    export {folder_variable}={folder}
    exec >>{folder}/rank_$RANK.log 2>&1
fi"""

FREE_PORT = """port='import socket; print(socket.create_server(("", 0)).getsockname()[1])'
export MASTER_PORT=$({python} -c "$port")"""

SRUN_OPTIONS = (
    "--kill-on-bad-exit=1",  # Without one rank the others cannot go on.
    "--wait=0",  # The first rank has more to do in the end than the others, and may take its time.
    "--cpu-bind=none",  # A node's ranks divide its CPUs among themselves, as they do without SLURM.
)


def write_job(folder: Path, points: list[Point], folders: list[Path], name: str, resources: SlurmResources) -> Path:
    """Writes the script and the commands of a submission.

    Args:
        folder: The run's or the sweep's folder, with the snapshot in it.
        points: What is to run.
        folders: Each point's own folder.
        name: The job's name.
        resources: What is asked for.

    Returns:
        The script.
    """
    place = folder / FOLDER_NAME
    place.mkdir(exist_ok=True)
    for number, (point, own) in enumerate(zip(points, folders, strict=True)):
        (place / f"command_{number}.sh").write_text(command_of(point, own, folder / CODE, resources))
    script = place / SCRIPT_NAME
    script.write_text(script_of(place, len(points), name, resources))
    return script


def command_of(point: Point, own_folder: Path, code: Path, resources: SlurmResources) -> str:
    """Returns the shell lines that run a point from the snapshot, in its own folder."""
    variables = variables_of_job(own_folder, code)
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    ranks = RANKS.format(
        per_node=point.ranks_per_node,
        all=point.num_ranks,
        started=STARTED_VARIABLE,
        folder_variable=FOLDER_VARIABLE,
        folder=shlex.quote(str(own_folder)),
    )
    lines = [
        f'[ "$SLURM_LOCALID" -lt {point.ranks_per_node} ] || exit 0  # Another point of the sweep has more ranks.',
        f"cd {shlex.quote(str(Path.cwd()))}",
        *exports,
        *([ranks] if point.num_ranks > 1 else []),
        f"exec {resources.interpreter} {shlex.join([str(program_in(code)), *point.overrides])}",
    ]
    return "\n".join([*lines, ""])


def script_of(place: Path, num_points: int, name: str, resources: SlurmResources) -> str:
    """Returns the script of a submission, made by submitit: a task for each rank of a point."""
    tasks_per_node = max(resources.tasks_per_node, resources.gpus_per_node or 0)
    num_tasks = resources.nodes * tasks_per_node
    port = [FREE_PORT.format(python=resources.interpreter)] if num_tasks > 1 else []
    number = "${SLURM_ARRAY_TASK_ID}" if num_points > 1 else "0"
    further = {
        "ntasks": num_tasks,
        "requeue": True,
        "signal": f"USR2@{resources.signal_delay_s}",
        **resources.additional_parameters,
    }
    text = make_sbatch_string(
        command=f'sh "{place}/command_{number}.sh"',
        folder=place,
        job_name=re.sub(r"[^\w.-]", "_", name),
        time=resources.timeout_min,
        nodes=resources.nodes,
        ntasks_per_node=tasks_per_node,
        cpus_per_task=resources.cpus_per_task or 1,
        gpus_per_node=resources.gpus_per_node,
        mem=None if resources.mem_gb is None else f"{round(1024 * resources.mem_gb)}M",
        account=resources.account,
        partition=resources.partition,
        qos=resources.qos,
        constraint=resources.constraint,
        array_parallelism=resources.array_parallelism,
        map_count=num_points if num_points > 1 else None,
        setup=["trap : TERM INT USR1 USR2", *resources.setup, *port],
        srun_args=SRUN_OPTIONS,
        teardown=[REQUEUE.format(stopped=RunStoppedError.exit_status, most=resources.max_num_timeout)],
        stderr_to_stdout=True,
        additional_parameters=further,
    )
    return text + "\n"


def check_request(name: str, num_points: int, resources: SlurmResources) -> None:
    """Asks SLURM whether it could ever run such a job.

    Raises:
        ConfigError: it could not, or there is no SLURM.
    """
    _sbatch(["--test-only"], script_of(Path.cwd(), num_points, name, resources))


def submit(script: Path) -> int:
    """Submits a script, held back until `release`; returns the job's number, the array's where it is one."""
    return int(_sbatch(["--parsable", "--hold"], script.read_text()).split(";")[0])


def release(job_id: int) -> None:
    """Lets a job start that was held back."""
    subprocess.run(["scontrol", "release", str(job_id)], check=True, capture_output=True)


def _sbatch(options: list[str], script: str) -> str:
    try:
        result = subprocess.run(["sbatch", *options], input=script, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ConfigError(
            "hydra/launcher=slurm needs SLURM's commands, and sbatch was not found. Type the command on a cluster's "
            "login node, or use hydra/launcher=local."
        ) from error
    if result.returncode != 0:
        said = result.stderr.strip().removeprefix("sbatch: ").replace("\nsbatch: ", "\n")
        raise ConfigError(f"SLURM cannot run such a job: {said}\nAsked for in hydra.launcher.* of the task file.")
    return result.stdout.strip()
