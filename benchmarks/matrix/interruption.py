"""Interrupts the run that this process works on, at an event that its own code names.

Whoever starts a launch says in the environment what is to happen: `SIGTERM@train:5` sends SIGTERM when the launch's
fifth training step begins, `SIGKILL@val:2/1` kills rank 1 alone. An event that does not come interrupts nothing.
"""

import atexit
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

INTERRUPTION_VARIABLE = "CHAOS_INTERRUPTION"
COUNTS_VARIABLE = "CHAOS_COUNTS"
"""Names the file to which the first rank writes how often each event came, when it ends."""

EXCEPTION = "EXCEPTION"
"""Stands for a signal's name where the code itself fails."""

_counts: Counter[str] = Counter()


def event(name: str, writes_to: Path | None = None) -> None:
    """Counts an event of this launch, and interrupts the run if it is the one.

    Args:
        name: Of the kind of event.
        writes_to: The folder of the file that is written next; the interruption then waits for a part of that.

    Raises:
        RuntimeError: the interruption is an exception.
    """
    if not _counts and COUNTS_VARIABLE in os.environ and os.environ.get("RANK", "0") == "0":
        atexit.register(_write_counts, os.getpid())
    _counts[name] += 1
    what, _, when = os.environ.get(INTERRUPTION_VARIABLE, "").partition("@")
    moment, _, rank = when.partition("/")
    if moment != f"{name}:{_counts[name]}" or rank not in ("", os.environ.get("RANK", "0")):
        return
    if what == EXCEPTION:
        raise RuntimeError("The matrix interrupts this run.")
    if writes_to is None:
        os.kill(os.getpid(), signal.Signals[what])
    else:
        threading.Thread(target=_interrupt_writing, args=(signal.Signals[what], writes_to), daemon=True).start()


def _interrupt_writing(number: signal.Signals, folder: Path) -> None:
    while not any(folder.glob(".*.tmp")):
        pass
    os.kill(os.getpid(), number)


def _write_counts(owner: int) -> None:
    if os.getpid() == owner:  # Not in a worker that was forked from it.
        Path(os.environ[COUNTS_VARIABLE]).write_text(json.dumps(_counts))
