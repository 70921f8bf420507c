"""The state of the code as a command begins, taken beside all else that happens until it is needed."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common.run.record import Git

log = logging.getLogger(__name__)


class CodeState:
    """The state of the code as it is when this is made; most of the time that it takes is git's own.

    Args:
        root: The repository's folder.
        project: The running project's.
    """

    def __init__(self, root: Path, project: Path) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="code-state")
        self._state = self._worker.submit(_taken, root, project)

    def get(self) -> Git:
        """Returns the state; says what of it could not be recorded."""
        state = self._state.result()
        self._worker.shutdown()
        for problem in state.problems:
            log.warning("Not on record of the code: %s.", problem)
        return state


def _taken(root: Path, project: Path) -> Git:
    from common.run.uncommitted import git_state  # Only here: loading it, too, takes its time beside all else.

    return git_state(root, project)
