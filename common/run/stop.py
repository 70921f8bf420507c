"""Stopping: signals only set a flag, and the run leaves at the next step boundary, where its state is whole.

A handler that saved by itself would save in the middle of a step and, with several ranks, on one of them alone.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask a run to save and leave: from a person, a scheduler, or a machine that shuts down."""

SECOND_INTERRUPT_STATUS = 130

_PR_SET_PDEATHSIG = 1

_received: list[signal.Signals] = []


def is_stop_requested() -> bool:
    """Returns whether a signal has asked this process to stop."""
    return bool(_received)


def name_of_stop() -> str:
    """Returns the name of the signal that asked this process to stop."""
    return _received[0].name if _received else "a signal to another rank"


def notice_of_stop() -> str:
    """Returns what a person should read about the last signal that asked this process to stop."""
    hint = " (Ctrl-C again leaves at once, unsaved)" if _received[-1] == signal.SIGINT else ""
    return f"{_received[-1].name}: saving at the next step, then leaving{hint}."


@contextmanager
def stop_on_signals(*, says_so: bool = True) -> Iterator[None]:
    """Lets the stop signals set the flag while the block runs; then the handlers before are back, and it is cleared.

    Within another such block this one changes nothing: the flag is the outer one's.

    Args:
        says_so: Whether the notice of a stop is printed at once; else the block prints it where it does no harm.
    """
    if signal.getsignal(SIGNALS[0]) in (_set_flag, _set_flag_and_say_so):
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, _set_flag_and_say_so if says_so else _set_flag)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def ignore_signals() -> None:
    """Lets this process ignore the stop signals: for workers, which leave when the process they serve does."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def serve(parent: int) -> None:
    """Makes this process a worker of another: it ignores the stop signals, and ends with that one.

    Args:
        parent: The id of the process that started this one.
    """
    ignore_signals()
    end_with(parent, signal.SIGKILL)


def end_with(parent: int, number: signal.Signals) -> None:
    """Lets the system send this process a signal when the one that started it ends, however that happens.

    Args:
        parent: The id of the process that started this one.
        number: The signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # It ended before it could be asked for.
            os._exit(1)


def _set_flag(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGINT and signal.SIGINT in _received:
        os._exit(SECOND_INTERRUPT_STATUS)
    _received.append(signal.Signals(number))


def _set_flag_and_say_so(number: int, frame: FrameType | None) -> None:
    _set_flag(number, frame)
    os.write(2, f"\n{notice_of_stop()}\n".encode())
