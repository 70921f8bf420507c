"""A sweep from its first point to its last, in whatever way its points are run."""

from collections.abc import Callable

from hydra.core.utils import JobReturn, JobStatus

from common.errors import RunError, RunStoppedError
from common.launch.command import Command
from common.launch.point import Composer, Point
from common.launch.sweep.folder import SweepFolder, opened_sweep
from common.launch.sweep.outcome import Outcome
from common.launch.sweep.report import describe_failures

RunBatch = Callable[[SweepFolder, list[Point]], None]
"""Runs points that may run at the same time, to their end, each in the folder that it reserves for it."""


def run_sweep(command: Command, composer: Composer, run_batch: RunBatch) -> list[JobReturn]:
    """Runs a sweep.

    Args:
        command: What is asked for.
        composer: Composes the points.
        run_batch: Runs points.

    Returns:
        The points' results, in the order of their indices; nothing where they go on without this process.

    Raises:
        RunError: at least one point failed; the others were finished first.
        RunStoppedError: the sweep was asked to stop, or points of it were taken out of a cluster's queue.
    """
    with opened_sweep(command, composer.examples(), composer.code_state) as sweep:
        for batch in command.search.batches(sweep.folder):
            points = composer.points(batch)
            sweep.points += points
            over = {proposal.index for proposal in batch if proposal.is_over}
            for point in points:
                if point.index in over:
                    sweep.adopt(point)
            open_points = [point for point in points if point.index not in over]
            run_batch(sweep, open_points)
            if sweep.is_left:
                return []
            outcomes = sweep.outcomes()
            for point in open_points:
                command.search.tell(point.index, outcomes[point.index])
            if any(outcome.status == "stopped" for outcome in outcomes.values()):
                break
    outcomes = sweep.outcomes()
    failures = describe_failures(sweep.points, outcomes, command.config.hydra.job.name)
    if failures:
        raise RunError(failures)
    num_stopped = sum(outcome.status == "stopped" for outcome in outcomes.values())
    if num_stopped:
        raise RunStoppedError(f"{num_stopped} of {len(outcomes)} points were stopped. The same command continues them.")
    return [result_of(outcome) for _, outcome in sorted(outcomes.items())]


def result_of(outcome: Outcome) -> JobReturn:
    """Returns what Hydra expects of a point that has finished."""
    result = JobReturn()
    result.status = JobStatus.COMPLETED
    result.return_value = outcome.result
    return result
