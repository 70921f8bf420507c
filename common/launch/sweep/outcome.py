"""How a point of a sweep ended, as its folder tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from common.run.finished import read_settled_record
from common.run.record import DamagedRecordError

PointStatus = Literal["finished", "failed", "pruned", "stopped", "killed", "not started"]
"""`pruned`: given up as hopeless, by an `optuna.TrialPruned`. `killed`: without a chance to say how it ended."""

PRUNED = "TrialPruned"


@dataclass
class Outcome:
    """How a point ended.

    Attributes:
        status: In a word.
        result: What its subtask returned, for a point that finished.
        error: What went wrong, for a point that failed.
        folder: Its folder; None for a point that was not started.
    """

    status: PointStatus
    result: Any = None
    error: str | None = None
    folder: Path | None = None


def outcome_of(folder: Path | None, error: str | None, budget: dict[str, Any]) -> Outcome:
    """Returns how a point ended that nobody works on any more.

    Args:
        folder: Its folder, if it has one.
        error: What went wrong, if that is known better than from the record.
        budget: How long the point was to go on: one that was finished earlier, and failed to go on, has failed.
    """
    if folder is None:
        return Outcome("not started")
    try:
        record = read_settled_record(folder)
    except DamagedRecordError as damage:
        return Outcome("failed", error=error or damage.what, folder=folder)
    if record.status == "finished" and error is None and not record.is_finished_at(budget):
        error = "it ended before its first checkpoint; what was finished earlier is as it was"
    if record.status == "finished" and error is None:
        return Outcome("finished", result=record.result, folder=folder)
    if (error or record.error or "").startswith(PRUNED):
        return Outcome("pruned", folder=folder)
    if record.status == "stopped" and error is None:
        return Outcome("stopped", folder=folder)
    error = error or record.error
    if record.status == "failed" or error is not None:
        return Outcome("failed", error=error, folder=folder)
    return Outcome("killed", error="it was killed before it could record why", folder=folder)
