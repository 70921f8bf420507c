"""The slurm launcher: subtasks are submitted as jobs, each with its folder, and run from a copy of the code.

In a job the same command runs again, in the folder that was chosen for it, and `launch` hands it to the local launcher.
"""

from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.launch import local
from common.launch.local_sweep import choose_sweep, finished_earlier
from common.launch.point import Point, settled_points
from common.launch.resources import SlurmResources
from common.launch.slurm_batch import check_request, release, submit, write_job
from common.launch.slurm_follow import Job, follow, how_to_follow
from common.launch.snapshot import FOLDER_NAME, take_snapshot
from common.run.choice import Choice, choose_folder, folder_of_job, newest_run, read_record, write_record
from common.run.folder import name_of_point
from common.run.provenance import git_state
from common.utils.misc import repository_path
from common.utils.runner import get_absolute_project_path


@dataclass
class SlurmLauncherConfig(SlurmResources):
    """Configures the slurm launcher; see `Resources` and `SlurmResources`."""

    _target_: str = "hydra_plugins.ai_research.slurm.SlurmLauncher"
    _convert_: str = "all"


def launch(
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    points: list[list[str]],
    resources: SlurmResources,
) -> list[JobReturn]:
    """Submits every point of a command and, unless `detach` is set, waits for the results.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration, in a job.
        config: The command's configuration, without the values that are swept.
        points: Each point's overrides.
        resources: What is asked of the cluster.

    Raises:
        ConfigError: the cluster cannot run this; nothing was submitted.
        RunError: at least one job failed.
    """
    if folder_of_job() is not None:
        return local.launch(context, task_function, config, points, resources)
    composed = settled_points(context, config, points, resources.tasks_per_node)
    if not composed:
        return []
    name = str(config.hydra.job.name)
    check_request(name, len(composed), resources)
    folder, jobs, results = _reserve(composed, Path(config.hydra.sweep.dir))
    if jobs:
        job_id = _submit(folder, jobs, name, resources)
        if resources.detach:
            print(how_to_follow(job_id, folder))
            return []
        results |= follow(job_id, folder, jobs)
    return [results[index] for index in sorted(results)]


def _reserve(points: list[Point], wanted: Path) -> tuple[Path, list[Job], dict[int, JobReturn]]:
    """Chooses a folder for each point, and leaves it to the job.

    Returns:
        The folder of the run or the sweep, what is to be submitted, and the results of points that are skipped.
    """
    launches = [point.launch() for point in points]
    if not points[0].own_overrides:
        earlier = newest_run(wanted.parent, launches[0])
        choice = choose_folder(wanted, launches[0], earlier, may_continue=points[0].may_continue)
        return choice.folder, [_left_to_job(points[0], choice)], {}
    sweep = choose_sweep(points, launches, wanted)
    print(f"Sweep of {len(points)} points in {sweep.folder} ({sweep.reason}).")
    jobs, results = [], {}
    for point, facts in zip(points, launches, strict=True):
        own = sweep.folder / name_of_point(point.index, len(points), point.own_overrides)
        print(f"[{point.index + 1}/{len(points)}] {' '.join(point.own_overrides)}")
        skipped = finished_earlier(point, facts, own)
        if skipped is not None:
            results[point.index] = skipped
            continue
        choice = choose_folder(own, facts, own if own.is_dir() else None, may_continue=point.may_continue)
        jobs.append(_left_to_job(point, choice))
    sweep.lock.release()
    return sweep.folder, jobs, results


def _left_to_job(point: Point, choice: Choice) -> Job:
    print(f"Folder {choice.folder}: {choice.reason}.")
    choice.lock.release()
    return Job(point, choice.folder)


def _submit(folder: Path, jobs: list[Job], name: str, resources: SlurmResources) -> int:
    """Submits the jobs, from a copy of the code as it is now; returns the job's number."""
    record = {"git": git_state(repository_path()), "snapshot": take_snapshot(folder, get_absolute_project_path())}
    script = write_job(folder, [job.point for job in jobs], [job.folder for job in jobs], name, resources)
    job_id = submit(script)  # Held back: what a job writes must not be overwritten from here.
    tasks = {job.folder: task if len(jobs) > 1 else None for task, job in enumerate(jobs)}
    for own, task in {folder: None, **tasks}.items():
        slurm = {"job_id": job_id, "task": task}
        write_record(own, read_record(own) | record | {"status": "queued", "slurm": slurm})
    release(job_id)
    print(f"Submitted job {job_id}, {len(jobs)} task(s), from the copy of the code in {folder / FOLDER_NAME}.")
    return job_id
