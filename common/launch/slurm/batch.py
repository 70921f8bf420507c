"""What SLURM is given: a script for a plain run or for the points of a sweep, and a command for each of them."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigError, RunStoppedError
from common.foreign.submitit import make_sbatch_string
from common.launch.point import Point
from common.launch.resources import SlurmResources
from common.launch.role import FOLDER_VARIABLE, JUDGED_VARIABLE, STARTED_VARIABLE
from common.launch.snapshot import FOLDER_NAME as CODE
from common.launch.snapshot import program_in, variables_of_job
from common.run.atomic import write_text_atomically
from common.utils.text import short, shown

FOLDER_NAME = SlurmResources.submitit_folder

SCRIPT_NAME = "job.sh"

HELD = "held"
"""A file beside the script, from before it is submitted until its jobs are released."""

PREPARE = """export PATH="${{PATH:+$PATH:}}/usr/local/bin:/usr/bin:/bin"
cd {directory} || exit 1"""

# Signals reach Python alone; the shell survives them to see how it ended, and to have the job queued again: from here,
# because a container has no `scontrol`. A job that was cancelled or preempted meanwhile is in another state. A question
# that fails is asked again: the job would be lost.
# 138, 140 and 143 are USR1, USR2 and TERM that came before Python could handle them, and so before it had begun.
REQUEUE = """status=$?
again() {{ for pause in 0 1 2 4 8 16; do sleep $pause; "$@" && return; done; return 1; }}
ask() {{ state=$(squeue --noheader --jobs "{job}" --format %T); }}
case $status in {stopped}|138|140|143) is_stopped=yes ;; *) is_stopped=no ;; esac
if [ $is_stopped = yes ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most} ]; then
    again ask && [ "$state" = RUNNING ] && again scontrol requeue "{job}"
fi
exit $status"""

# One task for each rank. TERM also comes from `srun` when a rank fails: a rank that cannot handle it yet must not end
# as if it had been stopped, or the job would be queued again. The address is that of the node where `srun` runs.
RANKS = """trap '' TERM
export RANK=$((SLURM_NODEID * {per_node} + SLURM_LOCALID)) LOCAL_RANK=$SLURM_LOCALID NODE_RANK=$SLURM_NODEID
export WORLD_SIZE={all} MASTER_ADDR=$SLURM_LAUNCH_NODE_IPADDR {started}=yes
if [ $RANK -gt 0 ]; then
    export {folder_variable}={folder}
    [ -L {folder}/rank_$RANK.log ] || exec >>{folder}/rank_$RANK.log 2>&1  # The first rank refuses a link.
fi"""

FREE_PORT = """port='import socket; print(socket.create_server(("", 0)).getsockname()[1])'
export MASTER_PORT=$({python} -c "$port")"""

SRUN_OPTIONS = (
    "--kill-on-bad-exit=1",  # Without one rank the others cannot go on.
    "--wait=0",  # The first rank has more to do in the end than the others, and may take its time.
    "--cpu-bind=none",  # A node's ranks divide its CPUs among themselves, as they do without SLURM.
    "--export=ALL",  # What the script has set, whatever `sbatch` was told.
)


def write_jobs(folder: Path, jobs: Sequence[tuple[Point, Path]], resources: SlurmResources, most: int) -> list[Path]:
    """Writes what is to be submitted.

    Args:
        folder: The run's or the sweep's folder, with the snapshot in it.
        jobs: What is to run, and in which folder.
        resources: What is asked for.
        most: How many points a script may have.

    Returns:
        The scripts.
    """
    place = folder / FOLDER_NAME
    place.mkdir(exist_ok=True)
    for number, (point, own) in enumerate(jobs):
        write_text_atomically(place / f"command_{number}.sh", command_of(point, own, folder / CODE, resources))
    scripts = []
    for first in range(0, len(jobs), most):
        scripts.append(place / (SCRIPT_NAME if first == 0 else f"job_{first}.sh"))
        text = script_of(place, min(most, len(jobs) - first), resources, first)
        write_text_atomically(scripts[-1], text)
    write_text_atomically(place / HELD, "")
    return scripts


def refuse_line_breaks(place: Path, resources: SlurmResources) -> None:
    """Refuses what would end a line of the script early, and make shell of what stands behind.

    Raises:
        ConfigError: a value, a name or the folder has such a character.
    """
    values = {name: getattr(resources, name) for name in ("account", "partition", "qos", "constraint", "python")}
    values |= {f"additional_parameters.{name}": value for name, value in resources.additional_parameters.items()}
    for name, value in values.items():
        if not re.fullmatch(r"[\w.-]+", name) or not str(value).isprintable():
            raise ConfigError(
                f"hydra.launcher.{short(name)}={shown(value)} is not allowed: it must be one line, and the name of an "
                "option letters and dashes."
            )
    if not str(place).isprintable():
        raise ConfigError(f"{shown(str(place))}: SLURM cannot run from a folder with such characters in its name.")


def command_of(point: Point, own_folder: Path, code: Path, resources: SlurmResources) -> str:
    """Returns the shell lines that run a point from the snapshot, in its own folder."""
    variables = variables_of_job(own_folder, code) | {JUDGED_VARIABLE: point.judged}
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


def script_of(place: Path, num_points: int, resources: SlurmResources, first: int = 0) -> str:
    """Returns the script of a submission, made by submitit: a task for each rank of a point.

    Args:
        place: Where the commands lie, and what is printed goes.
        num_points: How many points it runs.
        resources: What is asked for.
        first: The number of the first of these points among all.
    """
    tasks_per_node = max(resources.tasks_per_node, resources.num_gpus or 0)
    num_tasks = resources.nodes * tasks_per_node
    port = [FREE_PORT.format(python=resources.interpreter)] if num_tasks > 1 else []
    is_array = num_points > 1
    number = f'"$((SLURM_ARRAY_TASK_ID + {first}))"' if is_array else str(first)
    # The last task of an array has the array's own number, by which all of its tasks would be meant.
    job = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" if is_array else "$SLURM_JOB_ID"
    refuse_line_breaks(place, resources)
    further = {
        "ntasks": num_tasks,
        "requeue": True,
        "signal": f"USR2@{resources.signal_delay_s}",
        "export": "ALL",
        "chdir": str(place),  # By this a job is found whose number nobody has heard.
        **resources.additional_parameters,
    }
    text = make_sbatch_string(
        command=f"/bin/sh {shlex.quote(str(place))}/command_{number}.sh",
        folder=place,
        job_name=re.sub(r"[^\w.-]", "_", resources.name),
        time=resources.timeout_min,
        nodes=resources.nodes,
        ntasks_per_node=tasks_per_node,
        cpus_per_task=None if resources.cpus_per_gpu else resources.cpus_per_task or 1,  # SLURM takes one of them.
        cpus_per_gpu=resources.cpus_per_gpu,
        gpus_per_node=resources.gpus_per_node,
        gpus_per_task=resources.gpus_per_task,
        gres=resources.gres,
        mem=None if resources.mem_gb is None else f"{round(1024 * resources.mem_gb)}M",
        mem_per_cpu=resources.mem_per_cpu,
        mem_per_gpu=resources.mem_per_gpu,
        account=resources.account,
        partition=resources.partition,
        qos=resources.qos,
        constraint=resources.constraint,
        exclude=resources.exclude,
        comment=resources.comment,
        array_parallelism=resources.array_parallelism,
        map_count=num_points if is_array else None,
        setup=[
            "trap : TERM INT USR1 USR2",
            PREPARE.format(directory=shlex.quote(str(Path.cwd()))),
            *(resources.setup or []),
            *port,
        ],
        srun_args=SRUN_OPTIONS,
        teardown=[REQUEUE.format(stopped=RunStoppedError.exit_status, most=resources.max_num_timeout, job=job)],
        stderr_to_stdout=resources.stderr_to_stdout,
        additional_parameters=further,
    )
    return text + "\n"
