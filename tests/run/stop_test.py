"""Signals set a flag; a second Ctrl-C leaves at once; workers are left in peace."""

import os
import signal
import subprocess
import sys
import time

import pytest

from common.run import stop
from common.run.process import process_start_time


@pytest.mark.parametrize("number", stop.SIGNALS)
def test_a_signal_sets_the_flag_and_no_more(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop.stop_on_signals():
        assert not stop.is_stop_requested()
        os.kill(os.getpid(), number)
        assert stop.is_stop_requested()
        assert stop.name_of_stop() == number.name
    assert signal.getsignal(number) == before


def test_the_flag_goes_with_the_outermost_block() -> None:
    with stop.stop_on_signals():
        with stop.stop_on_signals():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.is_stop_requested()
    assert not stop.is_stop_requested()


def test_a_second_interrupt_leaves_at_once(cli_in_subprocess) -> None:
    code = (
        "import os, signal; from common.run import stop\n"
        "with stop.stop_on_signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    for _ in range(2): os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here')"
    )
    outcome = cli_in_subprocess(code, script="-c")
    assert outcome.status == 130
    assert "still here" not in outcome.out
    assert "Ctrl-C again leaves at once" in outcome.err


def test_workers_ignore_the_signals(cli_in_subprocess) -> None:
    code = (
        "import os; from common.run import stop\n"
        "stop.ignore_signals()\n"
        "for number in stop.SIGNALS: os.kill(os.getpid(), number)\n"
        "print('still here')"
    )
    assert cli_in_subprocess(code, script="-c").out == "still here\n"


def test_worker_ends_with_the_process_that_it_serves() -> None:
    worker = "import os, time; from common.run import stop; stop.serve(os.getppid()); print('ready', flush=True); "
    starter = (
        "import os, signal, subprocess, sys\n"
        f"words = [sys.executable, '-c', {worker + 'time.sleep(600)'!r}]\n"
        "process = subprocess.Popen(words, stdout=subprocess.PIPE)\n"
        "process.stdout.readline()\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGUSR2)"
    )
    ended = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGUSR2, ended.stderr
    deadline = time.monotonic() + 30
    while process_start_time(int(ended.stdout)) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
