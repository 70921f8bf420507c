"""Signals set a flag; a second Ctrl-C leaves at once; workers are left in peace."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from common.run import stop
from common.run.process import process_start_time

HANDLED = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2]
"""What `kill`, Ctrl-C, and schedulers before a time limit or a preemption send."""

NOTICES = {
    "SIGTERM": "\nSIGTERM: saving at the next step, then leaving.\n",
    "SIGINT": "\nSIGINT: saving at the next step, then leaving (Ctrl-C again leaves at once, unsaved).\n",
    "SIGUSR1": "\nSIGUSR1: saving at the next step, then leaving.\n",
    "SIGUSR2": "\nSIGUSR2: saving at the next step, then leaving.\n",
}


@pytest.mark.parametrize("number", HANDLED)
@pytest.mark.parametrize("says_so", [True, False])
def test_a_signal_sets_the_flag_and_no_more(
    number: signal.Signals, says_so: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with stop.stop_on_signals(says_so=says_so):
        assert not stop.is_stop_requested()
        os.kill(os.getpid(), number)
        assert stop.is_stop_requested()
        assert stop.name_of_stop() == number.name
        assert f"\n{stop.notice_of_stop()}\n" == NOTICES[number.name]
    assert signal.getsignal(number) == before
    assert capfd.readouterr() == ("", NOTICES[number.name] if says_so else "")


def test_no_other_signal_is_handled() -> None:
    others = set(signal.valid_signals()) - set(HANDLED)
    before = {number: signal.getsignal(number) for number in others}
    with stop.stop_on_signals():
        assert {number: signal.getsignal(number) for number in others} == before


def test_the_first_signal_gives_the_name_and_the_last_the_notice() -> None:
    with stop.stop_on_signals(says_so=False):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name_of_stop() == "SIGUSR1"
        assert stop.notice_of_stop().startswith("SIGTERM: ")
    assert stop.name_of_stop() == "a signal to another rank"


@pytest.mark.parametrize("says_so", [True, False])
def test_a_block_within_another_leaves_handlers_and_flag_to_it(says_so: bool) -> None:
    with stop.stop_on_signals(says_so=says_so):
        handlers = [signal.getsignal(number) for number in HANDLED]
        with stop.stop_on_signals():
            assert [signal.getsignal(number) for number in HANDLED] == handlers
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.is_stop_requested()
        assert [signal.getsignal(number) for number in HANDLED] == handlers


def test_handlers_come_back_after_an_error() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    with contextlib.suppress(ZeroDivisionError), stop.stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in HANDLED] == before
    assert not stop.is_stop_requested()


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
        f"for number in {[int(number) for number in HANDLED]}: os.kill(os.getpid(), number)\n"
        "print('still here')"
    )
    assert cli_in_subprocess(code, script="-c").out == "still here\n"


def test_two_different_signals_do_not_leave_at_once(cli_in_subprocess) -> None:
    code = (
        "import os, signal; from common.run import stop\n"
        "with stop.stop_on_signals():\n"
        "    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT): os.kill(os.getpid(), number)\n"
        "print('still here')"
    )
    assert cli_in_subprocess(code, script="-c").out == "still here\n"


def test_a_process_whose_starter_is_gone_ends_at_once(cli_in_subprocess) -> None:
    code = (
        "import os, signal; from common.run import stop\n"
        "stop.end_with(os.getppid() + 1, signal.SIGTERM)\n"
        "print('still here')"
    )
    outcome = cli_in_subprocess(code, script="-c")
    assert (outcome.status, outcome.out) == (1, "")


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
