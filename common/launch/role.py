"""Which process this is: one that a person started, a job whose folder is chosen, or a rank that another process leads.

Whoever starts a process for a run says so in its environment; nothing else makes one.
"""

import os
import signal
from pathlib import Path

from common.run import stop

JOB_VARIABLE = "AI_RESEARCH_JOB_FOLDER"
"""Names a job's own folder, which was chosen when the job was submitted."""

FOLDER_VARIABLE = "AI_RESEARCH_RUN_FOLDER"
"""Names the folder of the run that this process shares as a rank other than the first."""

PARENT_VARIABLE = "AI_RESEARCH_PARENT_PID"
"""Names the process that started this one, and without which it is not to go on."""

STARTED_VARIABLE = "AI_RESEARCH_RANKS_STARTED"
"""Says that whoever started this process has started the others too."""


def folder_of_job() -> Path | None:
    """Returns the folder that was chosen for this job, if this process is one."""
    return _folder_in(JOB_VARIABLE)


def folder_of_first_rank() -> Path | None:
    """Returns the run's folder if this process is another rank of a run that a first one leads."""
    return _folder_in(FOLDER_VARIABLE)


def are_ranks_started() -> bool:
    """Returns whether the other ranks of this process's run were started with it."""
    return STARTED_VARIABLE in os.environ


def end_with_parent(number: signal.Signals) -> None:
    """Lets this process end by a signal with the one that started it, if that says so in the environment."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        stop.end_with(int(parent), number)


def _folder_in(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None
