"""The processes of a run on several ranks: on this machine the first one starts the same command again for each other.

In a job of a cluster SLURM starts all of them (`common/launch/slurm/batch.py`). Each process finds its number in the
environment, where Lightning looks for it too. Only the first one chooses the folder, keeps the record and logs; the
others write what they have to say to `rank_<number>.log`.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import RunError
from common.launch.role import FOLDER_VARIABLE, JUDGED_VARIABLE, PARENT_VARIABLE, are_ranks_started

log = logging.getLogger(__name__)

GRACE_S = 15
"""How long the others may take to leave once one process is done or has failed."""

POLL_S = 0.5


@contextmanager
def further_ranks(num_ranks: int, overrides: list[str], folder: Path, judged: str) -> Iterator[None]:
    """Runs the other ranks beside the block, which is the first, unless they run already.

    Args:
        num_ranks: Processes in all, on this machine.
        overrides: The overrides of the one subtask to run.
        folder: The run's folder.
        judged: A fingerprint of the configuration that they are to build.

    Raises:
        RunError: the block ended well, but another rank did not.
    """
    if num_ranks == 1 or are_ranks_started():
        yield
        return
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(num_ranks),
        "NODE_RANK": "0",
    }
    with _environment(shared | {"RANK": "0", "LOCAL_RANK": "0"}):
        processes = [_start(rank, overrides, folder, judged) for rank in range(1, num_ranks)]
        is_over = threading.Event()
        threading.Thread(target=_watch, args=(processes, is_over, folder), daemon=True, name="rank-watch").start()
        try:
            yield
        finally:
            is_over.set()
            _wait(processes)
        for rank, process in enumerate(processes, start=1):
            if process.returncode not in (0, -signal.SIGKILL):  # Killed: it was done, and took too long to leave.
                raise RunError(f"Rank {rank} ended with status {process.returncode}: {folder / f'rank_{rank}.log'}")


def _start(rank: int, overrides: list[str], folder: Path, judged: str) -> subprocess.Popen[bytes]:
    own = {"RANK": str(rank), "LOCAL_RANK": str(rank), FOLDER_VARIABLE: str(folder), PARENT_VARIABLE: str(os.getpid())}
    environment = {**os.environ, **own, JUDGED_VARIABLE: judged}
    with (folder / f"rank_{rank}.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, sys.argv[0], *overrides],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _watch(processes: list[subprocess.Popen[bytes]], is_over: threading.Event, folder: Path) -> None:
    """Ends this process if another rank fails and this one does not notice, because it waits for it."""
    while not is_over.wait(POLL_S):
        for rank, process in enumerate(processes, start=1):
            if process.poll() not in (None, 0):
                log.error("Rank %d ended with status %s; see %s.", rank, process.poll(), folder / f"rank_{rank}.log")
                if not is_over.wait(GRACE_S):
                    os._exit(1)
                return


def _wait(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            with contextlib.suppress(KeyError):
                os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
