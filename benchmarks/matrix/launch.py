"""Launches of a command, on a pseudo-terminal or into a pipe, by processes that have imported what a run imports.

Half of a short run's time goes into imports. These processes are forked from one that has done nothing but import;
each has its own session, environment, signal handlers and memory, and can be killed like any other.
"""

import atexit
import contextlib
import fcntl
import multiprocessing
import os
import pty
import runpy
import signal
import struct
import sys
import termios
import threading
import time
from pathlib import Path

PRELOADED = [  # Not wandb: importing it makes a folder, which the first process to end would remove for all.
    "benchmarks.matrix.learning.train",
    "benchmarks.matrix.evolving.train",
    "pytorch_lightning",
    "torchmetrics",
    "matplotlib.backends.backend_agg",
    "requests",
    "PIL.PngImagePlugin",
    "antlr4.LL1Analyzer",
    "hydra._internal.hydra",
    "hydra_plugins.ai_research.local",
]

ROWS, COLUMNS = 40, 120
HANGS_AFTER_S = 240.0
GONE_WITHIN_S = 30.0
POLL_S = 0.02


class Launch:
    """A Python script in a session of its own, whose output is collected.

    Args:
        words: The script and its arguments.
        environment: All of its environment.
        on_terminal: Whether it reads from and writes to a pseudo-terminal; otherwise it writes to a pipe.
    """

    def __init__(self, words: list[str], environment: dict[str, str], *, on_terminal: bool) -> None:
        self._own_end, self._other_end = pty.openpty() if on_terminal else os.pipe()
        if on_terminal:
            fcntl.ioctl(self._other_end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        path = os.ttyname(self._other_end) if on_terminal else f"/proc/{os.getpid()}/fd/{self._other_end}"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process = context.Process(target=_run, args=(words, environment, path, on_terminal))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def kill_after(self, number: signal.Signals, seconds: float) -> None:
        """Sends a signal after a while, unless the process ends before."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Waits for the end of the whole session.

        Returns:
            The status, negative for a signal, and what was printed.

        Raises:
            TimeoutError: the launch did not end, or left processes behind.
        """
        self._process.join(HANGS_AFTER_S)
        status = self._process.exitcode
        gone = self._wait_for_group(GONE_WITHIN_S if status is not None else 0)
        os.close(self._other_end)
        self._reader.join(5)
        output = b"".join(self._chunks).decode(errors="replace")
        if status is None:
            raise TimeoutError(f"a launch did not end within {HANGS_AFTER_S:.0f} s: {output[-300:]}")
        if not gone:
            raise TimeoutError(f"processes were left {GONE_WITHIN_S:.0f} s after a launch's end")
        return status, output

    def _wait_for_group(self, seconds: float) -> bool:
        """Waits until every process of the session is gone; ends those that are not."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(POLL_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join()
        return False

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # So ends a pseudo-terminal that nobody writes to any more.
            while chunk := os.read(self._own_end, 65536):
                self._chunks.append(chunk)
        os.close(self._own_end)


def _run(words: list[str], environment: dict[str, str], path: str, on_terminal: bool) -> None:
    os.setsid()
    output = os.open(path, os.O_RDWR if on_terminal else os.O_WRONLY)  # A terminal becomes the session's own.
    source = output if on_terminal else os.open(os.devnull, os.O_RDONLY)
    for own, given in ((0, source), (1, output), (2, output)):
        os.dup2(given, own)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # It was inherited; a process that a person starts has none.
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
