"""Processes that have imported what a run imports before they begin: all else is as in a fresh interpreter.

Half of a short run's time goes into imports. These processes are forked from one that has done nothing but import, so
that each has its own id, session, environment, signal handlers and memory, and can be killed like any other.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

PRELOADED = [
    "projects.classify_mnist.train",
    "projects.classify_mnist.litmodule",
    "projects.ne_control_score.train",
    "pytorch_lightning",
    "torchmetrics",
    "matplotlib.figure",
]


class WarmProcess:
    """Runs a Python script as `subprocess.Popen` does, whose methods it has.

    Attributes:
        pid: The process's id, which is its session's too.
    """

    def __init__(self, words: list[str], *, env: dict[str, str], stdout: IO[Any], **_: Any) -> None:
        """Starts the script.

        Args:
            words: The interpreter, which must be this one, the script and its arguments.
            env: The environment.
            stdout: An open file with a name, to whose end both of the script's outputs go.
            _: What always holds: both outputs are one, and the session is the process's own.
        """
        assert words[0] == sys.executable
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._output = Path(stdout.name)
        self._process = context.Process(target=_run, args=(words[1:], env, str(self._output)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The status that it ended with, negative for a signal, or None."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Returns the status that it ended with, or None."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; returns the status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the script", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Waits for the end; returns what was written to the output's file, which is removed."""
        self.wait(timeout)
        printed = self._output.read_text()
        self._output.unlink()
        return printed, None

    def send_signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)


Process = WarmProcess | subprocess.Popen[str]


def start(words: list[str], environment: dict[str, str], *, is_warm: bool = True) -> Process:
    """Starts a Python script whose outputs, as one, `communicate()` returns.

    Args:
        words: The interpreter, the script and its arguments.
        environment: All of its environment.
        is_warm: Whether what this repository's code imports may be imported before the script begins.
    """
    if not is_warm:
        return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with tempfile.NamedTemporaryFile(prefix="output", delete=False) as output:
        return WarmProcess(words, env=environment, stdout=output)


def _run(words: list[str], environment: dict[str, str], output: str) -> None:
    os.setsid()
    file, nothing = os.open(output, os.O_RDWR | os.O_APPEND), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # A terminal that is opened for reading, too, becomes the one that controls the session.
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()
